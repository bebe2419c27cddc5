package flood

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"coexistd/policy"
)

// Turned is a client or a network that is turned away by one bound at the moment.
type Turned struct {
	// Who is invalid where everybody together is over Total.
	Who netip.Prefix
	// Bound is the key of [check.ddos] that has the bound, Count what is counted now,
	// and Most the bound.
	Bound       string
	Count, Most int
	// Why says so for people, as Excess.Why does.
	Why string
	// Last is when they were last turned away. It is zero for everybody together.
	Last time.Time
	// Until is when they are let in again if they do nothing. It is zero where that
	// hangs on connections that are open.
	Until time.Time
}

// remembered is how long it matters that somebody was turned away: as long as anything
// is remembered of a client that does nothing.
const remembered = harvestTime + harvestTime/(slots-1)

// Turned returns who would be turned away if they came now, and were in the last
// minutes, most recent first, and whether there are more than most. Who is over
// several bounds is there for each. A connection that is over Messages or Refused is
// not among them: that ends with the connection.
func (g *Guard) Turned(now time.Time, l *policy.DDoS, most int) (list []Turned, more bool) {
	if l == nil || most <= 0 {
		return nil, false
	}
	at := g.at(now)
	if n := int(g.open.Load()); passes(n+1, l.Total) {
		list = append(list, Turned{Bound: "total", Count: n, Most: l.Total, Why: fmt.Sprintf(overOpen, everybody, n, l.Total)})
	}
	for i := range g.shards {
		list = g.shards[i].turned(g.start, at, l, list)
		if len(list) > 2*most {
			list, more = latest(list, most), true
		}
	}
	more = more || len(list) > most
	return latest(list, most), more
}

// latest returns the most recent ones, after everybody together.
func latest(list []Turned, most int) []Turned {
	slices.SortFunc(list, func(a, b Turned) int {
		if a.Who.IsValid() != b.Who.IsValid() {
			return cmp.Compare(a.Who.Bits(), b.Who.Bits()) // -1 of the one that is not
		}
		return cmp.Or(b.Last.Compare(a.Last), a.Who.Addr().Compare(b.Who.Addr()), cmp.Compare(a.Who.Bits(), b.Who.Bits()), cmp.Compare(a.Bound, b.Bound))
	})
	return list[:min(len(list), most)]
}

// turned adds those of a shard to a list.
func (s *shard) turned(start time.Time, at time.Duration, l *policy.DDoS, list []Turned) []Turned {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, t := range s.clients.tallies {
		if t.recently(at) {
			who := prefixOf(key, client4, client6)
			list = append(list, t.over(start, at, who, l, l.Connections, l.PerMinute, l.Unknown)...)
		}
	}
	for key, t := range s.networks.tallies {
		if t.recently(at) {
			found := t.over(start, at, prefixOf(key, network4, network6), l, l.NetworkConnections, l.NetworkPerMinute, 0)
			for i := range found {
				found[i].Bound += "_network"
			}
			list = append(list, found...)
		}
	}
	return list
}

// recently reports that the tally's client or network was turned away a short time ago.
func (t *tally) recently(at time.Duration) bool { return t.turned > 0 && at-t.turned <= remembered }

// over returns the bounds that turn a client or a network away now.
func (t *tally) over(start time.Time, at time.Duration, who netip.Prefix, l *policy.DDoS, open, perMinute, unknown int) (list []Turned) {
	if l.Exempt.Holds(who) {
		return nil
	}
	add := func(bound, why string, count, most int, until time.Time) {
		list = append(list, Turned{
			Who: who, Bound: bound, Count: count, Most: most, Why: fmt.Sprintf(why, name(who), count, most),
			Last: start.Add(t.turned), Until: until,
		})
	}
	if t.unknown != nil {
		now := slot(at, harvestTime)
		if n := t.unknown.sum(now); passes(n, unknown) {
			add("unknown", overUnknown, n, unknown, start.Add(begin(t.unknown.until(now, unknown), harvestTime)))
		}
	}
	if passes(t.open+1, open) {
		add("connections", overOpen, t.open, open, time.Time{})
	}
	now := slot(at, time.Minute)
	if n := t.opened.sum(now); passes(n+1, perMinute) {
		add("per_minute", overNew, n, perMinute, start.Add(begin(t.opened.until(now, perMinute-1), time.Minute)))
	}
	return list
}

// covers reports that all addresses of a prefix are in another.
func covers(all, part netip.Prefix) bool {
	return all.Bits() <= part.Bits() && all.Contains(part.Addr())
}

// Unblock forgets the connections that were opened and the unknown recipients that were
// asked for by all clients in a prefix, and by all networks that are in it as a whole. A
// prefix that is smaller than a client is taken for the client. It reports whether
// there was anything to forget. Connections that are open go on to count, and a client
// may still be turned away for its network's sake.
func (g *Guard) Unblock(now time.Time, who netip.Prefix) bool {
	at, who := g.at(now), normal(who)
	if !who.IsValid() {
		return false
	}
	forgot := false
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		forgot = s.clients.forgive(at, who, client4, client6) || forgot
		forgot = s.networks.forgive(at, who, network4, network6) || forgot
		s.mu.Unlock()
	}
	return forgot
}

// normal returns a prefix as clients are counted, or one that is not valid.
func normal(p netip.Prefix) netip.Prefix {
	addr, bits := p.Addr(), p.Bits()
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	if addr.Is6() {
		bits = min(bits, client6)
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

// forgive forgets all but open connections of those who are in a prefix.
func (t *table) forgive(at time.Duration, who netip.Prefix, bits4, bits6 int) (forgot bool) {
	for key, c := range t.tallies {
		if !covers(who, prefixOf(key, bits4, bits6)) {
			continue
		}
		forgot = forgot || c.opened.sum(slot(at, time.Minute)) > 0 || c.unknown != nil && c.unknown.sum(slot(at, harvestTime)) > 0
		// The clock goes on from where it is: a window must not begin anew in the past.
		c.opened = window{now: c.opened.now}
		c.unknown, c.turned = nil, 0
		c.told.until.Store(0)
	}
	return forgot
}
