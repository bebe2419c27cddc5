package flood

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/policy/networks"
)

var benchLimits = &policy.DDoS{Connections: 1000, NetworkConnections: 5000, PerMinute: 1 << 30, NetworkPerMinute: 1 << 30, Total: 10_000,
	Messages: 100, Refused: 100, Unknown: 100, Exempt: networks.SetOf(netip.MustParsePrefix("203.0.113.0/24"))}

// benchmark has connections begin and end, from clients that addr chooses.
func benchmark(b *testing.B, l *policy.DDoS, addr func() netip.Addr) {
	g := New()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			v, _ := g.Connect(time.Now(), l, addr())
			v.End()
		}
	})
}

func BenchmarkConnectOfOneClient(b *testing.B) {
	addr := netip.MustParseAddr(alice)
	benchmark(b, benchLimits, func() netip.Addr { return addr })
}

func BenchmarkConnectOfTenThousandClients(b *testing.B) {
	benchmark(b, benchLimits, func() netip.Addr { return ipv4(0xc6000000 + 37*rand.Uint32N(10_000)) })
}

func BenchmarkConnectOfEverNewClients(b *testing.B) {
	benchmark(b, benchLimits, func() netip.Addr { return ipv6(rand.Uint32()) })
}

func BenchmarkConnectRefused(b *testing.B) {
	addr := netip.MustParseAddr(alice)
	benchmark(b, &policy.DDoS{PerMinute: 10}, func() netip.Addr { return addr })
}

func BenchmarkConnectExempt(b *testing.B) {
	addr := netip.MustParseAddr("203.0.113.9")
	benchmark(b, benchLimits, func() netip.Addr { return addr })
}

// BenchmarkConnectBesideAFlood is the cost to others while one address is
// refused as often as one goroutine can.
func BenchmarkConnectBesideAFlood(b *testing.B) {
	g := New()
	l := &policy.DDoS{Connections: 20, PerMinute: 1 << 30, Total: 1000, NetworkConnections: 500}
	flooder := netip.MustParseAddr(alice)
	for range l.Connections {
		g.Connect(time.Now(), l, flooder)
	}
	var stop atomic.Bool
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for !stop.Load() {
			g.Connect(time.Now(), l, flooder)
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		v, _ := g.Connect(time.Now(), l, ipv4(0xc6000000+37*rand.Uint32N(10_000)))
		v.End()
	}
	stop.Store(true)
	<-stopped
}

func BenchmarkRefusedUnknown(b *testing.B) {
	l := &policy.DDoS{Unknown: 1 << 30}
	g := New()
	v, _ := g.Connect(time.Now(), l, netip.MustParseAddr(alice))
	b.ReportAllocs()
	for b.Loop() {
		v.Refused(time.Now(), l, true)
	}
}
