package flood

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"coexistd/policy"
)

// model says what a guard should say, from lists of all that happened.
type model struct {
	open    []*modelVisit
	came    []event // connections that were let in
	unknown []event
}

type event struct {
	at              time.Duration
	client, network string
}

type modelVisit struct {
	event
	messages, refused int
}

// recent counts the events of a client or a network that are in the part of the
// period that has begun or in the six before it.
func recent(events []event, at, period time.Duration, client, network string) (n int) {
	part := period / 6
	for _, e := range events {
		if at/part-e.at/part <= 6 && (client == e.client || network == e.network) {
			n++
		}
	}
	return n
}

func (m *model) openOf(client, network string) (n int) {
	for _, v := range m.open {
		if client == v.client || network == v.network {
			n++
		}
	}
	return n
}

func (m *model) refuses(at time.Duration, l *policy.DDoS, client, network string) bool {
	const none = "none"
	if l.Total > 0 && len(m.open) >= l.Total {
		return true
	}
	if client == "" {
		return false
	}
	return l.Unknown > 0 && recent(m.unknown, at, 10*time.Minute, client, none) > l.Unknown ||
		l.Connections > 0 && m.openOf(client, none) >= l.Connections ||
		l.PerMinute > 0 && recent(m.came, at, time.Minute, client, none) >= l.PerMinute ||
		l.NetworkConnections > 0 && m.openOf(none, network) >= l.NetworkConnections ||
		l.NetworkPerMinute > 0 && recent(m.came, at, time.Minute, none, network) >= l.NetworkPerMinute
}

// sources are clients with their names and those of their networks, as the
// model has them.
var sources = []struct{ addr, client, network string }{
	{"192.0.2.1", "a", "A"}, {"::ffff:192.0.2.1", "a", "A"}, {"192.0.2.2", "b", "A"}, {"192.0.3.1", "c", "C"},
	{"2001:db8::1", "d", "D"}, {"2001:db8::2", "d", "D"}, {"2001:db8:0:1::1", "e", "D"}, {"2001:db8:1::1", "f", "F"},
	{"", "", ""},
}

// compare does what the bytes say, with a guard and with the model.
func compare(t *testing.T, script []byte) {
	next := func() int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b)
	}
	script = script[:min(len(script), 2000)] // the model looks through lists
	l := &policy.DDoS{Connections: next() % 4, NetworkConnections: next() % 6, Total: next() % 8, PerMinute: next() % 5,
		NetworkPerMinute: next() % 8, Messages: next() % 4, Refused: next() % 6, Unknown: next() % 6}
	g, m := New(), &model{}
	now := g.start
	var visits []*Visit
	for step := 0; len(script) > 0; step++ {
		op, at := next(), now.Sub(g.start)
		if op%4 == 0 || len(visits) == 0 {
			s := sources[next()%len(sources)]
			addr, _ := netip.ParseAddr(s.addr)
			want := m.refuses(at, l, s.client, s.network)
			looks := step%16 == 0
			if looks && !want && lists(g, now, l, addr) {
				t.Fatalf("step %d at %v, bounds %+v: %q is listed as turned away, and would be let in", step, at, *l, s.addr)
			}
			v, e := g.Connect(now, l, addr)
			if looks && v == nil && !lists(g, now, l, addr) {
				t.Fatalf("step %d at %v, bounds %+v: %q is turned away and not listed: %+v", step, at, *l, s.addr, e)
			}
			if e.Over() != want || (v == nil) != want {
				t.Fatalf("step %d at %v, bounds %+v: %q got %v, %+v; refused should be %v", step, at, *l, s.addr, v, e, want)
			}
			if v != nil {
				visits = append(visits, v)
				visit := &modelVisit{event: event{at, s.client, s.network}}
				m.open, m.came = append(m.open, visit), append(m.came, visit.event)
			}
			continue
		}
		i := next() % len(visits)
		v, known := visits[i], m.open[i]
		var got Excess
		var want bool
		switch op % 4 {
		case 1:
			v.End()
			v.End()
			visits, m.open = append(visits[:i], visits[i+1:]...), append(m.open[:i], m.open[i+1:]...)
		case 2:
			known.messages++
			want = l.Messages > 0 && known.messages > l.Messages
			got = v.Message(now, l)
		case 3:
			known.refused++
			want = l.Refused > 0 && known.refused > l.Refused
			unknown := op&4 != 0
			if unknown && known.client != "" {
				m.unknown = append(m.unknown, event{at, known.client, known.network})
				want = want || l.Unknown > 0 && recent(m.unknown, at, 10*time.Minute, known.client, "none") > l.Unknown
			}
			got = v.Refused(now, l, unknown)
		}
		if got.Over() != want {
			t.Fatalf("step %d at %v, bounds %+v: operation %d of %q got %+v; over should be %v", step, at, *l, op%4, known.client, got, want)
		}
		// Most steps are close together; some jump past a minute, few past ten.
		switch op >> 3 {
		case 31:
			now = now.Add(time.Duration(next()) * 5 * time.Second)
		case 30, 29, 28:
			now = now.Add(time.Duration(next()) * 200 * time.Millisecond)
		default:
			now = now.Add(time.Duration(op) * 2 * time.Millisecond)
		}
	}
	for _, v := range visits {
		v.End()
	}
	assertNobodyIsHere(t, g)
}

// lists reports that a client, its network or everybody is listed as turned away.
func lists(g *Guard, now time.Time, l *policy.DDoS, client netip.Addr) bool {
	list, _ := g.Turned(now, l, 100)
	return slices.ContainsFunc(list, func(t Turned) bool { return !t.Who.IsValid() || t.Who.Contains(client.Unmap()) })
}

// assertNobodyIsHere checks that no connection is counted as open and that
// every tally is where expire and put find it.
func assertNobodyIsHere(t *testing.T, g *Guard) {
	t.Helper()
	if n := g.open.Load(); n != 0 {
		t.Errorf("%d connections are open in all, want none", n)
	}
	for i := range g.shards {
		for _, table := range []*table{&g.shards[i].clients, &g.shards[i].networks} {
			idle := 0
			for c := table.idle.newer; c != &table.idle; c = c.newer {
				idle++
				if c.open != 0 || table.tallies[c.key] != c || c.newer.older != c {
					t.Fatalf("a tally of the ring is wrong: %+v", c)
				}
			}
			if idle != len(table.tallies) || idle > table.bound {
				t.Errorf("%d tallies are in the ring, %d in the table; the bound is %d", idle, len(table.tallies), table.bound)
			}
		}
	}
}

func TestTheGuardSaysWhatANaiveModelSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		script := make([]byte, 8+random.IntN(1000))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		compare(t, script)
	}
}

func FuzzGuard(f *testing.F) {
	f.Add([]byte{2, 3, 5, 3, 4, 2, 3, 2, 0, 0, 0, 1, 7, 0, 7, 0, 7, 0, 1, 0, 4, 4})
	f.Fuzz(compare)
}
