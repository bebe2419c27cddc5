package transaction

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/milter/flood"
	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

const gateway = "198.51.100.7"

// withGateway puts an upstream before a runtime.
func withGateway(rt *Runtime, byMTA bool) {
	rules := *rt.Policy.Rules
	rules.Upstreams = map[string]policy.Upstream{"filter": {ByMTA: byMTA}}
	live := networks.Live{"filter": {Networks: networks.SetOf(netip.MustParsePrefix(gateway + "/32")), Upstream: true}}
	rt.Policy = policy.New(&rules, rt.Policy.Keys, live)
}

func TestWhoIsAskedAboutAndToldOfIsTheClientBeforeAnUpstream(t *testing.T) {
	for _, c := range []struct {
		about, field string
		byMTA        bool
		client, helo string
		name         string
	}{
		{"known", " from mail.example (mail.example [" + stranger + "]) by gw with ESMTP id 1; x", false, stranger, "mail.example", ""},
		{"not known", " by gw id 1; x", false, "", "", ""},
		{"what the MTA tells", " from mail.example (mail.example [" + stranger + "]) by gw with ESMTP id 1; x", true, gateway, "gw.example", "gw.example"},
	} {
		world := &fakeWorld{grants: []rate.Grant{{}}, find: verdict.Hit}
		rt, sink := newRuntime(world)
		withGateway(rt, c.byMTA)
		a := from(gateway, "x@example.org")
		a.Name, a.Helo = "gw.example", "gw.example"
		if answer := end(t, rt, a, "bob@open.example", [][2]string{{"Received", c.field}, {"From", " x@example.org"}}, "body\r\n"); !answer.Drop {
			t.Fatalf("%s: it is answered %+v", c.about, answer)
		}
		client := netip.Addr{}
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		if q := world.asked; q.Sender.Client != client || q.Sender.Helo != c.helo || q.Message.Client != client || q.Message.Helo != c.helo || q.Message.ClientName != c.name {
			t.Errorf("%s: it asked of %+v and %+v", c.about, q.Sender, q.Message)
		}
		r := (*sink)[0]
		if r.Client != client || world.held.Client != c.client || r.Entry.Upstream != "filter" || !strings.Contains(r.Decision.Reasons.String(), gateway) {
			t.Errorf("%s: the record is %+v, and %+v is held", c.about, r, world.held)
		}
	}
}

func TestAnUpstreamIsBoundedByNothing(t *testing.T) {
	rt, _ := newRuntime(&fakeWorld{})
	rules := *rt.Policy.Rules
	rules.Points[verdict.S0].Checks = append([]policy.Check{{Name: verdict.CheckDDoS, OnHit: verdict.Tempfail}}, rules.Points[verdict.S0].Checks...)
	rules.DDoS = policy.DDoS{PerMinute: 1, Total: 1}
	rt.Policy, rt.Flood = policy.New(&rules, rt.Policy.Keys, rt.Policy.Networks), flood.New()
	for _, byMTA := range []bool{false, true} {
		withGateway(rt, byMTA)
		for range 3 {
			var v Visitor
			if reply := v.Arrive(rt, policy.Arrival{Client: netip.MustParseAddr(gateway)}); !reply.IsZero() {
				t.Errorf("client told by the MTA %v: the upstream is turned away: %s", byMTA, reply)
			}
		}
	}
	turned := 0
	for range 3 {
		var v Visitor
		if reply := v.Arrive(rt, policy.Arrival{Client: netip.MustParseAddr(stranger)}); !reply.IsZero() {
			turned++
		}
	}
	if turned != 2 {
		t.Errorf("a stranger is turned away %d times of 3", turned)
	}
}
