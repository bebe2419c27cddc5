package flood

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/policy/networks"
)

const (
	alice = "192.0.2.1"
	// neighbour is in the network of alice.
	neighbour = "192.0.2.77"
	stranger  = "198.51.100.9"
)

// world is a guard with bounds and a clock.
type world struct {
	t      *testing.T
	guard  *Guard
	limits *policy.DDoS
	now    time.Time
}

func newWorld(t *testing.T, l policy.DDoS) *world {
	g := New()
	return &world{t: t, guard: g, limits: &l, now: g.start}
}

func (w *world) connect(client string) (*Visit, Excess) {
	var addr netip.Addr
	if client != "" {
		addr = netip.MustParseAddr(client)
	}
	return w.guard.Connect(w.now, w.limits, addr)
}

// enter is a connection that must be let in.
func (w *world) enter(client string) *Visit {
	w.t.Helper()
	v, e := w.connect(client)
	if e.Over() || v == nil {
		w.t.Fatalf("%q at %v: %v, %+v; want to be let in", client, w.now.Sub(w.guard.start), v, e)
	}
	return v
}

// bounce is a connection that must be refused, with the text in its reason.
func (w *world) bounce(client, why string) Excess {
	w.t.Helper()
	v, e := w.connect(client)
	if v != nil || !strings.Contains(e.Why, why) || !e.Over() {
		w.t.Fatalf("%q at %v: %v, %+v; want to be refused because %q", client, w.now.Sub(w.guard.start), v, e, why)
	}
	return e
}

func (w *world) wait(d time.Duration) { w.now = w.now.Add(d) }

func TestConnectionsAtOnceAreBoundedByClient(t *testing.T) {
	w := newWorld(t, policy.DDoS{Connections: 2})
	first, _ := w.enter(alice), w.enter(alice)
	w.bounce(alice, "client 192.0.2.1 has 2 connections open, and the bound is 2")
	w.enter(neighbour)
	first.End()
	first.End()
	w.enter(alice)
	w.bounce(alice, "has 2 connections open")
}

func TestConnectionsAtOnceAreBoundedByNetwork(t *testing.T) {
	for _, c := range []struct{ network, in, out string }{
		{"192.0.2.0/24", "192.0.2.200", "192.0.3.1"},
		{"2001:db8:7::/48", "2001:db8:7:ffff::1", "2001:db8:8::1"},
	} {
		w := newWorld(t, policy.DDoS{NetworkConnections: 2})
		addr := netip.MustParsePrefix(c.network).Addr().Next().String()
		first, _ := w.enter(addr), w.enter(addr)
		w.bounce(c.in, "network "+c.network+" has 2 connections open, and the bound is 2")
		w.enter(c.out)
		first.End()
		w.enter(c.in)
	}
}

func TestOneClientIsAnAddressOrASlash64(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"192.0.2.1", "::192.0.2.1", false},
	} {
		w := newWorld(t, policy.DDoS{Connections: 1})
		w.enter(c.a)
		if _, e := w.connect(c.b); e.Over() != c.same {
			t.Errorf("%s, then %s: %+v; one client: %v", c.a, c.b, e, c.same)
		}
	}
}

func TestTheTotalBoundsEverybody(t *testing.T) {
	w := newWorld(t, policy.DDoS{Total: 3, Exempt: networks.SetOf(netip.MustParsePrefix("203.0.113.0/24"))})
	w.enter(alice)
	w.enter("2001:db8::1")
	unnamed := w.enter("")
	w.bounce(stranger, "everybody together has 3 connections open, and the bound is 3")
	w.bounce("", "everybody together")
	if v, e := w.connect("203.0.113.5"); v != nil || e.Over() {
		t.Errorf("an exempt client got %v, %+v", v, e)
	}
	unnamed.End()
	w.enter(stranger)
}

func TestNothingIsBoundedForExemptClientsAndWithoutACheck(t *testing.T) {
	l := policy.DDoS{Connections: 1, PerMinute: 1, Messages: 1, Refused: 1, Unknown: 1, Total: 1,
		Exempt: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10"))}
	for _, c := range []struct {
		client string
		limits *policy.DDoS
	}{{alice, &l}, {"::ffff:192.0.2.1", &l}, {"fe80::1%eth0", &l}, {stranger, nil}} {
		w := newWorld(t, l)
		w.limits = c.limits
		for range 5 {
			v, e := w.connect(c.client)
			if v != nil || e.Over() || v.Message(w.now, &l).Over() || v.Refused(w.now, &l, true).Over() {
				t.Fatalf("%s: got %v, %+v", c.client, v, e)
			}
			v.End()
		}
	}
}

func TestNoBoundHoldsThatIsZero(t *testing.T) {
	w := newWorld(t, policy.DDoS{})
	for range 1000 {
		v := w.enter(alice)
		if v.Message(w.now, w.limits).Over() || v.Refused(w.now, w.limits, true).Over() {
			t.Fatal("over a bound that there is not")
		}
	}
}

func TestClientsWithoutAnAddressCountForTheTotalAlone(t *testing.T) {
	w := newWorld(t, policy.DDoS{Connections: 1, PerMinute: 1, NetworkConnections: 1, NetworkPerMinute: 1, Unknown: 1, Messages: 1, Refused: 5})
	v := w.enter("")
	w.enter("")
	for range 5 {
		if e := v.Refused(w.now, w.limits, true); e.Over() {
			t.Fatalf("over: %+v", e)
		}
	}
	if e := v.Refused(w.now, w.limits, true); e.Why != "a client without an address had 6 recipients refused in one connection, and the bound is 5" {
		t.Errorf("got %+v", e)
	}
	v.End()
	if n := w.guard.open.Load(); n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
}

func TestNewConnectionsAreBoundedByTheMinute(t *testing.T) {
	for _, c := range []struct {
		limits policy.DDoS
		why    string
	}{
		{policy.DDoS{PerMinute: 3}, "client 192.0.2.1 opened 3 connections in a minute, and the bound is 3"},
		{policy.DDoS{NetworkPerMinute: 3}, "network 192.0.2.0/24 opened 3 connections in a minute, and the bound is 3"},
	} {
		w := newWorld(t, c.limits)
		for range 3 {
			w.enter(alice).End()
		}
		for range 60 {
			w.bounce(alice, c.why)
			w.wait(time.Second)
		}
		w.wait(10 * time.Second)
		w.enter(alice).End()
	}
}

// TestAKnockerGetsNoMoreThanItsShare knocks ten times a second for an hour.
func TestAKnockerGetsNoMoreThanItsShare(t *testing.T) {
	const bound = 30
	w := newWorld(t, policy.DDoS{PerMinute: bound})
	w.wait(3 * time.Second)
	var in []time.Time
	for range 36_000 {
		if v, e := w.connect(alice); !e.Over() {
			v.End()
			in = append(in, w.now)
			if n := len(in); n > bound && w.now.Sub(in[n-1-bound]) <= time.Minute {
				t.Fatalf("%d connections were let in within %v", bound+1, w.now.Sub(in[n-1-bound]))
			}
		}
		w.wait(100 * time.Millisecond)
	}
	if least := bound * 3600 / 70; len(in) < least {
		t.Errorf("%d connections were let in in an hour; the guard promises at least %d", len(in), least)
	}
}

func TestOneConnectionsMessagesAndRefusedRecipientsAreBounded(t *testing.T) {
	w := newWorld(t, policy.DDoS{Messages: 2, Refused: 2})
	v, other := w.enter(alice), w.enter(alice)
	for range 2 {
		if e := v.Message(w.now, w.limits); e.Over() {
			t.Fatalf("over: %+v", e)
		}
		if e := v.Refused(w.now, w.limits, false); e.Over() {
			t.Fatalf("over: %+v", e)
		}
	}
	if e := v.Message(w.now, w.limits); e != (Excess{"client 192.0.2.1 began 3 messages in one connection, and the bound is 2", true, false}) {
		t.Errorf("got %+v", e)
	}
	if e := v.Refused(w.now, w.limits, true); e != (Excess{"client 192.0.2.1 had 3 recipients refused in one connection, and the bound is 2", false, false}) {
		t.Errorf("got %+v", e)
	}
	if other.Message(w.now, w.limits).Over() || other.Refused(w.now, w.limits, false).Over() {
		t.Error("another connection is over too")
	}
	if v.Message(w.now, nil).Over() || v.Refused(w.now, nil, true).Over() {
		t.Error("over a bound although the check is off by now")
	}
}

func TestAHarvesterIsRefusedUntilItHasCooledDown(t *testing.T) {
	w := newWorld(t, policy.DDoS{Unknown: 10})
	for range 5 {
		v := w.enter("2001:db8::1")
		for range 2 {
			if e := v.Refused(w.now, w.limits, true); e.Over() {
				t.Fatalf("over: %+v", e)
			}
			if e := v.Refused(w.now, w.limits, false); e.Over() {
				t.Fatalf("a recipient that is not unknown: %+v", e)
			}
		}
		v.End()
		w.wait(time.Minute)
	}
	v, open := w.enter("2001:db8::2"), w.enter("2001:db8::3")
	const why = "client 2001:db8::/64 asked for 11 unknown recipients in ten minutes, and the bound is 10"
	if e := v.Refused(w.now, w.limits, true); e != (Excess{why, true, true}) {
		t.Fatalf("got %+v", e)
	}
	v.End()
	w.bounce("2001:db8::1", why)
	w.enter("2001:db8:0:1::1")
	if e := open.Refused(w.now, w.limits, true); !e.Over() {
		t.Error("another connection of the harvester goes on")
	}
	open.End()
	for range 5 * 60 { // the first of its recipients came five minutes ago
		w.bounce("2001:db8::1", "unknown recipients in ten minutes")
		w.wait(time.Second)
	}
	w.wait(4 * time.Minute)
	w.enter("2001:db8::1")
}

func TestWhatIsOverABoundIsCounted(t *testing.T) {
	w := newWorld(t, policy.DDoS{Connections: 1, Messages: 1, Refused: 1})
	v := w.enter(alice)
	for range 3 {
		w.bounce(alice, "connections open")
	}
	for range 3 {
		v.Message(w.now, w.limits)
	}
	for range 2 {
		v.Refused(w.now, w.limits, false)
	}
	if connections, messages, recipients := w.guard.Excesses(); connections != 3 || messages != 2 || recipients != 1 {
		t.Errorf("it counts %d connections, %d messages and %d recipients", connections, messages, recipients)
	}
}

func TestAFloodLeavesOneLineAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		limits policy.DDoS
		stays  bool // connections that were let in stay open
		client func(i int) string
	}{
		"connections": {policy.DDoS{Connections: 1}, true, func(int) string { return alice }},
		"a minute":    {policy.DDoS{PerMinute: 1}, false, func(int) string { return alice }},
		"two bounds":  {policy.DDoS{Connections: 2, PerMinute: 3}, true, func(int) string { return alice }},
		"network":     {policy.DDoS{NetworkPerMinute: 1}, false, func(i int) string { return fmt.Sprintf("192.0.2.%d", i%256) }},
		"total":       {policy.DDoS{Total: 1}, true, func(i int) string { return []string{alice, stranger, ""}[i%3] }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.limits)
			var lines []time.Time
			for i := range 5 * 60 * 50 {
				v, e := w.connect(c.client(i))
				if !c.stays {
					v.End()
				}
				if e.First {
					lines = append(lines, w.now)
					if n := len(lines); n > 1 && w.now.Sub(lines[n-2]) < time.Minute {
						t.Fatalf("two lines within %v", w.now.Sub(lines[n-2]))
					}
				}
				w.wait(20 * time.Millisecond)
			}
			if len(lines) < 4 || len(lines) > 5 {
				t.Errorf("%d lines in five minutes, want 4 or 5", len(lines))
			}
		})
	}
}

func TestBoundsThatAReloadChangesHoldAtOnce(t *testing.T) {
	w := newWorld(t, policy.DDoS{})
	visits := []*Visit{w.enter(alice), w.enter(alice), w.enter(alice)}
	w.limits = &policy.DDoS{Connections: 2}
	w.bounce(alice, "has 3 connections open, and the bound is 2")
	visits[0].End()
	visits[1].End()
	w.enter(alice)
}

func TestAClockThatGoesBackForgetsNothing(t *testing.T) {
	w := newWorld(t, policy.DDoS{PerMinute: 2})
	w.wait(5 * time.Minute)
	w.enter(alice).End()
	w.wait(-30 * time.Second)
	w.enter(alice).End()
	w.bounce(alice, "2 connections in a minute")
	w.wait(-time.Hour)
	w.bounce(alice, "2 connections in a minute")
	w.wait(time.Hour + 101*time.Second)
	w.enter(alice)
}
