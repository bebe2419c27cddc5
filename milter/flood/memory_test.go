package flood

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/policy"
)

func ipv4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// ipv6 is an address in 2001:db8::/32, in the /64 with that number.
func ipv6(n uint32) netip.Addr {
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	binary.BigEndian.PutUint32(b[4:], n)
	return netip.AddrFrom16(b)
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (g *Guard) counted() (clients, networks int) {
	for i := range g.shards {
		clients += len(g.shards[i].clients.tallies)
		networks += len(g.shards[i].networks.tallies)
	}
	return clients, networks
}

// What is kept of each of so many clients, half as many again as there is room for, would
// be over the bound.
func TestAFloodOfClientsTakesBoundedMemory(t *testing.T) {
	const most = 64 << 20
	for name, c := range map[string]struct {
		clients uint32
		addr    func(uint32) netip.Addr
	}{
		"IPv6, one /32":  {300_000, func(uint32) netip.Addr { return ipv6(rand.Uint32()) }},
		"IPv6, one /48":  {100_000, func(n uint32) netip.Addr { return ipv6(n % (1 << 16)) }},
		"IPv4, anywhere": {300_000, func(n uint32) netip.Addr { return ipv4(n << 8) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := &policy.DDoS{Connections: 10, Total: 1000, PerMinute: 60, NetworkPerMinute: 1 << 30, Unknown: 50}
			before := heap()
			w := newWorld(t, *l)
			// One client is connected all the while, and one has harvested.
			w.enter(alice)
			harvester := w.enter(stranger)
			for range 51 {
				harvester.Refused(w.now, l, true)
			}
			for n := range c.clients {
				v, e := w.guard.Connect(w.now, l, c.addr(n))
				if e.Over() {
					t.Fatalf("client %d: %+v", n, e)
				}
				v.Refused(w.now, l, true)
				v.End()
				w.wait(10 * time.Microsecond)
			}
			clients, networks := w.guard.counted()
			used := heap() - before
			t.Logf("%d clients and %d networks take %.1f MB", clients, networks, float64(used)/1e6)
			if clients > shardCount*maxClients || networks > shardCount*maxNetworks || used > most {
				t.Errorf("%d clients and %d networks take %d bytes; the bounds are %d, %d and %d",
					clients, networks, used, shardCount*maxClients, shardCount*maxNetworks, most)
			}
			w.bounce(stranger, "asked for 51 unknown recipients")
			harvester.End()
			for range 9 {
				w.enter(alice)
			}
			w.bounce(alice, "has 10 connections open")
		})
	}
}

func TestSpentCountsLeaveTheMemory(t *testing.T) {
	w := newWorld(t, policy.DDoS{})
	const n = 50_000
	for i := range uint32(n) {
		v, _ := w.guard.Connect(w.now, w.limits, ipv4(i<<8))
		if i%100 == 0 {
			v.Refused(w.now, w.limits, true)
		}
		v.End()
	}
	w.wait(701 * time.Second)
	for i := range uint32(n) { // those who come now are others, in all shards
		v, _ := w.guard.Connect(w.now, w.limits, ipv4((n+i)<<8))
		v.End()
	}
	if clients, networks := w.guard.counted(); clients > n+n/10 || networks > n+n/10 {
		t.Errorf("%d clients and %d networks are counted, though only %d came in the last minute", clients, networks, n)
	}
}

func TestNoClientIsCountedBeyondTheRoom(t *testing.T) {
	w := newWorld(t, policy.DDoS{})
	// The clients of one network share a shard, and stay.
	var visits []*Visit
	for i := range uint32(maxClients) {
		visits = append(visits, w.enter(ipv6(i).String()))
	}
	late := ipv6(maxClients).String()
	w.bounce(late, "3125 others have connections open, and the bound is 3125")
	w.enter(ipv6(0).String())
	visits[7].End()
	w.enter(late)
	w.bounce(ipv6(7).String(), "cannot be counted")
	if clients, networks := w.guard.counted(); clients != maxClients || networks != 1 {
		t.Errorf("%d clients and %d networks are counted, want %d and 1", clients, networks, maxClients)
	}
}

func TestAFloodFromOneAddressTakesTheRoomOfOneClient(t *testing.T) {
	w := newWorld(t, policy.DDoS{Connections: 20, PerMinute: 60, NetworkPerMinute: 600, Total: 100})
	others := uint32(0)
	for i := range 50_000 {
		v, _ := w.connect(alice)
		v.End()
		if i%100 == 0 {
			w.enter(ipv4(0xc6330000 + others<<8).String()).End()
			others++
		}
		w.wait(200 * time.Microsecond)
	}
	if clients, networks := w.guard.counted(); clients != int(others)+1 || networks != int(others)+1 {
		t.Errorf("%d clients and %d networks are counted, want %d", clients, networks, others+1)
	}
	w.bounce(alice, "opened 60 connections in a minute")
}

func TestBoundsHoldWhenManyConnectAtOnce(t *testing.T) {
	const connections, networkConnections, total = 5, 12, 20
	l := &policy.DDoS{Connections: connections, NetworkConnections: networkConnections, Total: total, Unknown: 1 << 30, Messages: 2, Refused: 3}
	g := New()
	var clients [8]atomic.Int32
	var networks [2]atomic.Int32
	var all, in atomic.Int32
	var workers sync.WaitGroup
	for seed := range uint64(8) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			type visit struct {
				*Visit
				client int
			}
			var open []visit
			leave := func() {
				i := random.IntN(len(open))
				v := open[i]
				open = append(open[:i], open[i+1:]...)
				clients[v.client].Add(-1)
				networks[v.client%2].Add(-1)
				all.Add(-1)
				v.End()
				v.End()
			}
			for range 20_000 {
				if len(open) > random.IntN(10) {
					leave()
					continue
				}
				client := random.IntN(len(clients))
				addr := netip.AddrFrom4([4]byte{192, 0, byte(client % 2), byte(client)})
				v, e := g.Connect(time.Now(), l, addr)
				if e.Over() {
					continue
				}
				in.Add(1)
				if n := clients[client].Add(1); n > connections {
					t.Errorf("client %d has %d connections", client, n)
				}
				if n := networks[client%2].Add(1); n > networkConnections {
					t.Errorf("network %d has %d connections", client%2, n)
				}
				if n := all.Add(1); n > total {
					t.Errorf("there are %d connections", n)
				}
				for range 3 {
					v.Message(time.Now(), l)
					v.Refused(time.Now(), l, true)
				}
				open = append(open, visit{v, client})
			}
			for len(open) > 0 {
				leave()
			}
		})
	}
	workers.Wait()
	if in.Load() == 0 {
		t.Error("nobody was let in")
	}
	assertNobodyIsHere(t, g)
}
