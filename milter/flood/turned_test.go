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

// turned is who is turned away, in a line each.
func (w *world) turned(most int) string {
	list, more := w.guard.Turned(w.now, w.limits, most)
	var lines []string
	for _, t := range list {
		until := "open"
		if !t.Until.IsZero() {
			until = t.Until.Sub(w.now).String()
		}
		lines = append(lines, fmt.Sprintf("%s %s %d/%d %s", t.Who, t.Bound, t.Count, t.Most, until))
	}
	if more {
		lines = append(lines, "more")
	}
	return strings.Join(lines, "\n")
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.turned(100); got != strings.Join(want, "\n") {
		w.t.Errorf("turned away at %v are\n%s\nwant\n%s", w.now.Sub(w.guard.start), got, strings.Join(want, "\n"))
	}
}

func (w *world) unblock(who string, forgot bool) {
	w.t.Helper()
	if got := w.guard.Unblock(w.now, netip.MustParsePrefix(who)); got != forgot {
		w.t.Errorf("unblock %s: %v, want %v", who, got, forgot)
	}
}

func TestWhoIsTurnedAwayIsListedUntilTheyAreLetIn(t *testing.T) {
	w := newWorld(t, policy.DDoS{PerMinute: 2, Unknown: 1})
	w.enter(alice).End()
	w.wait(25 * time.Second)
	v := w.enter(alice)
	w.expect() // nobody has been turned away
	w.bounce(alice, "2 connections in a minute")
	w.expect("192.0.2.1/32 per_minute 2/2 45s")
	harvester := w.enter("2001:db8::1")
	w.wait(time.Second)
	for range 2 {
		harvester.Refused(w.now, w.limits, true)
	}
	w.expect("2001:db8::/64 unknown 2/1 11m14s", "192.0.2.1/32 per_minute 2/2 44s")
	list, _ := w.guard.Turned(w.now, w.limits, 1)
	if len(list) != 1 || list[0].Last != w.now || list[0].Why != "client 2001:db8::/64 asked for 2 unknown recipients in ten minutes, and the bound is 1" {
		t.Errorf("the most recent is %+v", list)
	}
	w.wait(44*time.Second - 1)
	w.bounce(alice, "in a minute")
	w.wait(1)
	w.expect("2001:db8::/64 unknown 2/1 10m30s")
	w.enter(alice)
	w.wait(10*time.Minute + 30*time.Second - 1)
	w.bounce("2001:db8::2", "unknown recipients")
	w.expect("2001:db8::/64 unknown 2/1 1ns")
	w.wait(1)
	w.expect()
	w.enter("2001:db8::2")
	v.End()
}

func TestOpenConnectionsTurnAwayUntilTheyEnd(t *testing.T) {
	w := newWorld(t, policy.DDoS{Connections: 1, NetworkConnections: 2, Total: 3})
	first, second := w.enter(alice), w.enter(neighbour)
	w.bounce(alice, "has 1 connections open")
	w.wait(time.Second)
	w.bounce("192.0.2.9", "network 192.0.2.0/24 has 2 connections open")
	w.expect("192.0.2.0/24 connections_network 2/2 open", "192.0.2.1/32 connections 1/1 open")
	w.enter(stranger)
	w.expect("invalid Prefix total 3/3 open", "192.0.2.0/24 connections_network 2/2 open", "192.0.2.1/32 connections 1/1 open")
	w.unblock("192.0.2.0/24", true)
	w.bounce(alice, "has 1 connections open") // which goes on to count
	second.End()
	w.bounce(alice, "has 1 connections open")
	first.End()
	w.expect()
	w.enter(alice)
}

func TestWhoWasTurnedAwayLongAgoIsNotListed(t *testing.T) {
	w := newWorld(t, policy.DDoS{Connections: 1})
	w.wait(time.Second)
	w.enter(alice)
	w.bounce(alice, "has 1 connections open")
	w.wait(700 * time.Second)
	w.expect("192.0.2.1/32 connections 1/1 open")
	w.wait(1)
	w.expect()
}

func TestNobodyIsListedWhomNothingBounds(t *testing.T) {
	w := newWorld(t, policy.DDoS{PerMinute: 1, NetworkPerMinute: 1})
	w.enter(alice).End()
	w.bounce(alice, "1 connections in a minute")
	w.bounce(neighbour, "1 connections in a minute")
	w.limits = &policy.DDoS{PerMinute: 1, NetworkPerMinute: 1, Exempt: networks.SetOf(netip.MustParsePrefix("192.0.2.1/32"))}
	w.expect("192.0.2.0/24 per_minute_network 1/1 1m10s")
	w.limits.Exempt = networks.SetOf(netip.MustParsePrefix("192.0.0.0/16"))
	w.expect()
	w.limits = nil
	w.expect()
	w.limits = &policy.DDoS{}
	w.expect()
}

func TestWhoIsUnblockedIsLetIn(t *testing.T) {
	for _, c := range []struct {
		client, who string
		in          bool
	}{
		{alice, "192.0.2.1/32", true},
		{alice, "::ffff:192.0.2.1/128", true},
		{alice, "192.0.2.0/24", true},
		{alice, "0.0.0.0/0", true},
		{alice, "192.0.2.2/32", false},
		{alice, "::/0", false},
		{"2001:db8::1", "2001:db8::ffff/128", true},
		{"2001:db8::1", "2001:db8::/64", true},
		{"2001:db8::1", "2001:db8:0:1::/64", false},
		{"2001:db8::1", "0.0.0.0/0", false},
	} {
		w := newWorld(t, policy.DDoS{PerMinute: 1, Unknown: 1})
		v := w.enter(c.client)
		v.Refused(w.now, w.limits, true)
		v.Refused(w.now, w.limits, true)
		v.End()
		w.bounce(c.client, "unknown")
		w.unblock(c.who, c.in)
		w.unblock(c.who, false)
		if !c.in {
			w.bounce(c.client, "unknown")
			continue
		}
		w.expect()
		w.enter(c.client).End()
		if e := w.bounce(c.client, "1 connections in a minute"); !e.First {
			t.Errorf("%s: the first excess after they were let go is not the first", c.client)
		}
	}
}

func TestANetworkIsUnblockedAsAWhole(t *testing.T) {
	w := newWorld(t, policy.DDoS{NetworkPerMinute: 1})
	w.enter(alice).End()
	w.bounce(neighbour, "network 192.0.2.0/24")
	w.unblock("192.0.2.1/32", true)
	w.bounce(alice, "network 192.0.2.0/24")
	w.unblock("192.0.2.0/25", false)
	w.bounce(alice, "network 192.0.2.0/24")
	w.unblock("192.0.2.0/24", true)
	w.enter(alice).End()
	w.wait(71 * time.Second)
	w.unblock("192.0.2.0/24", false) // all is forgotten already
	if w.guard.Unblock(w.now, netip.Prefix{}) {
		t.Error("nobody was unblocked")
	}
}

func TestOfManyTheLatestAreListed(t *testing.T) {
	w := newWorld(t, policy.DDoS{PerMinute: 1})
	for i := range uint32(1000) {
		w.enter(ipv4(i << 8).String()).End()
		w.bounce(ipv4(i<<8).String(), "in a minute")
		w.wait(time.Millisecond)
	}
	if got := w.turned(2); got != "0.3.231.0/32 per_minute 1/1 1m9s\n0.3.230.0/32 per_minute 1/1 1m9s\nmore" {
		t.Errorf("the two latest are\n%s", got)
	}
	if got := w.turned(0); got != "" {
		t.Errorf("none are %s", got)
	}
	if list, more := w.guard.Turned(w.now, w.limits, 1000); len(list) != 1000 || more {
		t.Errorf("%d are listed, more: %v", len(list), more)
	}
}
