// Package flood is the memory of the check ddos: it counts the connections, the
// messages and the refused recipients of clients and of networks, and says when
// one of them is over its bound.
//
// All of it is in this process, so that a flood costs no round trip, and it is
// bounded: a flood from however many addresses takes some tens of megabytes.
package flood

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"coexistd/policy"
)

const (
	// quiet is the time in which one client leaves one line in the log.
	quiet = time.Minute
	// shardCount is the number of parts that the memory is in. All clients of a
	// network are in one part, so that one network, with however many addresses,
	// drives out no more than that part of the others' counts.
	shardCount = 64
	// maxClients and maxNetworks bound one shard: 200,000 clients and 65,536
	// networks in all.
	maxClients  = 200_000 / shardCount
	maxNetworks = 65_536 / shardCount
)

// Guard counts for all connections of a daemon. It holds counts alone: the
// bounds come with each call, so that it outlives reloads. Any number of
// goroutines may call Connect at once.
type Guard struct {
	start   time.Time
	seed    maphash.Seed
	open    atomic.Int64 // connections of everybody who is not exempt
	total   told         // what was told of them
	unnamed told         // what was told of clients without an address

	connections, messages, recipients atomic.Int64 // of Excesses
	shards                            [shardCount]shard
}

// shard is the part of the memory that some networks and all their clients are
// in. Which ones is a secret of the process: nobody can choose with whom they
// share a shard.
type shard struct {
	mu                sync.Mutex
	clients, networks table
}

// New returns a guard that has counted nothing.
func New() *Guard {
	g := &Guard{start: time.Now(), seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].clients.init(maxClients)
		g.shards[i].networks.init(maxNetworks)
	}
	return g
}

// Excess says that a bound has been passed. The zero Excess says that none has.
type Excess struct {
	// Why is for the log: who is over which bound, with both numbers.
	Why string
	// First is set for the first excess of the client in a minute, or of the
	// network or of everybody together when the bound is theirs: a log that
	// leaves out the others has one line a minute for a flood.
	First bool
	// Unknown is set when the bound is that of unknown recipients.
	Unknown bool
}

// Over reports whether a bound has been passed.
func (e Excess) Over() bool { return e.Why != "" }

// count counts it, if a bound has been passed.
func (e Excess) count(in *atomic.Int64) Excess {
	if e.Over() {
		in.Add(1)
	}
	return e
}

// Excesses tells how often a bound was found to be passed so far: by a connection, by a
// message, and by a recipient that was refused.
func (g *Guard) Excesses() (connections, messages, recipients int64) {
	return g.connections.Load(), g.messages.Load(), g.recipients.Load()
}

// The texts of Why are filled in with who it is, the count and the bound.
const (
	overOpen     = "%s has %d connections open, and the bound is %d"
	overNew      = "%s opened %d connections in a minute, and the bound is %d"
	overUnknown  = "%s asked for %d unknown recipients in ten minutes, and the bound is %d"
	overMessages = "%s began %d messages in one connection, and the bound is %d"
	overRefused  = "%s had %d recipients refused in one connection, and the bound is %d"
	overRoom     = "%s cannot be counted: in its part of the memory %d others have connections open, and the bound is %d"
)

// Connect counts a new connection, unless it passes a bound: then no count
// changes, the Visit is nil and the connection is to be refused. For a client
// that is exempt, and when l is nil because the check is off, the Visit is nil
// too, and the Excess is zero.
//
// PerMinute and NetworkPerMinute bound the connections that are let in. No more
// than that are in any 60 seconds. A connection is forgotten between 60 and 70
// seconds after it came, so that a client with fewer than PerMinute connections
// in 70 seconds is never refused for it. Those that are refused do not count: a
// client that never stops knocking is let in PerMinute times every 70 seconds
// and no more.
//
// A client that is over Unknown is refused until enough of what it asked for is
// forgotten, between 600 and 700 seconds after it asked.
//
// Of a client without a valid address nothing counts but Total and, later, the
// messages and the refused recipients of this connection.
func (g *Guard) Connect(now time.Time, l *policy.DDoS, client netip.Addr) (*Visit, Excess) {
	client = client.Unmap().WithZone("")
	if l == nil || l.Exempt.Has(client) {
		return nil, Excess{}
	}
	visit, excess := g.take(g.at(now), l, client)
	return visit, excess.count(&g.connections)
}

func (g *Guard) take(at time.Duration, l *policy.DDoS, client netip.Addr) (*Visit, Excess) {
	if client.IsValid() {
		return g.admit(at, l, clientOf(client), networkOf(client))
	}
	if n, ok := g.enter(l.Total); !ok {
		return nil, g.total.excess(at, overOpen, everybody, n, l.Total)
	}
	return &Visit{guard: g, told: &g.unnamed}, Excess{}
}

// at turns a time into the guard's own, which does not jump when the clock is
// set, as long as now has a monotonic reading.
func (g *Guard) at(now time.Time) time.Duration { return max(now.Sub(g.start), 0) }

// admit counts a connection for the client, the network and everybody, or for
// none of them.
func (g *Guard) admit(at time.Duration, l *policy.DDoS, client, network netip.Prefix) (*Visit, Excess) {
	clientKey, networkKey := keyOf(client), keyOf(network)
	s := &g.shards[maphash.Comparable(g.seed, networkKey)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients.expire(at)
	s.networks.expire(at)
	c, n := s.clients.tallies[clientKey], s.networks.tallies[networkKey]
	if e := c.harvests(at, client, l.Unknown); e.Over() {
		return nil, e
	}
	if e := c.excess(at, client, l.Connections, l.PerMinute); e.Over() {
		return nil, e
	}
	if e := n.excess(at, network, l.NetworkConnections, l.NetworkPerMinute); e.Over() {
		return nil, e
	}
	if c == nil && !s.clients.room() {
		return nil, g.total.excess(at, overRoom, name(client), maxClients, maxClients)
	}
	if n == nil && !s.networks.room() {
		return nil, g.total.excess(at, overRoom, name(network), maxNetworks, maxNetworks)
	}
	if n, ok := g.enter(l.Total); !ok {
		return nil, g.total.excess(at, overOpen, everybody, n, l.Total)
	}
	if c == nil {
		c = s.clients.put(clientKey)
	}
	if n == nil {
		n = s.networks.put(networkKey)
	}
	s.clients.take(c, at)
	s.networks.take(n, at)
	return &Visit{guard: g, shard: s, client: c, network: n, prefix: client, told: &c.told}, Excess{}
}

// enter counts a connection for everybody, unless there are as many as the
// bound. It returns how many there were.
func (g *Guard) enter(bound int) (int, bool) {
	for {
		n := g.open.Load()
		if passes(int(n)+1, bound) {
			return int(n), false
		}
		if g.open.CompareAndSwap(n, n+1) {
			return int(n), true
		}
	}
}

// passes reports whether a count is more than the bound, if there is one.
func passes(count, bound int) bool { return bound > 0 && count > bound }

// told remembers when it was last said that somebody is over a bound. In zero
// it has never been said.
type told struct {
	until atomic.Int64 // the end of the quiet time, by Guard.at
}

// excess says that somebody is over a bound.
func (t *told) excess(at time.Duration, text, who string, count, bound int) Excess {
	until := t.until.Load()
	return Excess{
		Why:   fmt.Sprintf(text, who, count, bound),
		First: int64(at) >= until && t.until.CompareAndSwap(until, int64(at+quiet)),
	}
}
