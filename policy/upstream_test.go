package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// The upstream of the tests, and an address of its own hosts.
const gateway, innerHost = "192.0.2.7", "172.20.0.5"

// withUpstream has a gateway in front, whose address lies among ours.
func withUpstream() *world {
	w := newWorld()
	w.OurNetworks = w.OurNetworks.With(netip.MustParsePrefix("192.0.2.0/24"))
	w.live["mimecast"] = networks.Known{Networks: networks.SetOf(netip.MustParsePrefix("192.0.2.0/28")), Upstream: true}
	w.Upstreams = map[string]policy.Upstream{"mimecast": {Inner: networks.SetOf(netip.MustParsePrefix("172.20.0.0/16"))}}
	return w
}

// received is the field of a host that has a message from a client.
func received(client string) string {
	return fmt.Sprintf("Received: from helo.%s.example (unknown [%s])\n by gw.example with ESMTP id 1; Mon, 1 Jun 2020 10:00:00 +0000", strings.ReplaceAll(client, ":", "-"), client)
}

func TestTheClientIsTheOneBeforeTheUpstream(t *testing.T) {
	const qmail = "Received: (qmail 1 invoked from network); x"
	within := func(n int) []string { return slices.Repeat([]string{received(gateway)}, n) }
	for _, c := range []struct {
		about  string
		fields []string
		client string // "": it is not known
		why    string
	}{
		{"one field", []string{received(internetClient)}, internetClient, "it came through mimecast (192.0.2.7); mimecast has it from 203.0.113.9"},
		{"a forged one below", []string{received(internetClient), received(ourClient)}, internetClient, ""},
		{"a forged one that names the gateway", []string{received(internetClient), received(gateway), received(ourClient)}, internetClient, ""},
		{"another of the gateway's addresses", []string{received("192.0.2.9"), received(internetClient), received(ourClient)}, internetClient, ""},
		{"within the gateway", []string{"Subject: x", received(innerHost), "X-Filter: y", received(gateway), received(internetClient)}, internetClient, ""},
		{"an IPv6 client", []string{received("2001:db8::1")}, "2001:db8::1", ""},
		{"qmail's own", []string{qmail, received(internetClient)}, internetClient, ""},
		{"none", nil, "", "0 Received fields were read, and none of them names a client"},
		{"all within", []string{received(gateway), received(innerHost)}, "", "2 Received fields were read, and none of them names a client"},
		{"many within", append(within(19), received(internetClient)), internetClient, ""},
		{"too many within", append(within(20), received(internetClient)), "", "20 Received fields were read"},
		{"one that cannot be read", []string{"Received: by gw.example id 1; x", received(internetClient)}, "", `its Received field, the number 1, cannot be read: "by gw.example id 1; x"`},
		{"one that cannot be read below", []string{received(gateway), "Received: from x by gw; y"}, "", "the number 2, cannot be read"},
		{"loopback", []string{received("127.0.0.1"), received(internetClient)}, "", "names 127.0.0.1, which is no client's address; if it is its own, name it in upstream.mimecast.inner"},
		{"an address of ours", []string{received(ourClient)}, ourClient, ""},
	} {
		w := withUpstream()
		entry := w.enter(policy.Arrival{Client: netip.MustParseAddr(gateway), Certificate: "gw.example"})
		if entry.Upstream != "mimecast" {
			t.Fatalf("it enters as %+v", entry)
		}
		open := w.open(policy.Message{
			Entry: entry, Client: netip.MustParseAddr(gateway), Helo: "gw.example", Certificate: "gw.example", Header: header(c.fields...),
			Sender: w.address(t, stranger), Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com")},
		})
		client, helo := "", ""
		if open.Client.IsValid() {
			client = open.Client.String()
			helo = "helo." + strings.ReplaceAll(client, ":", "-") + ".example"
		}
		if client != c.client || open.Helo != helo || open.Certificate != "" {
			t.Errorf("%s: the client is %q, its HELO %q, its certificate %q; want %q", c.about, client, open.Helo, open.Certificate, c.client)
		}
		d := open.Decide()
		if d.Checkpoint != verdict.S0 || d.Verdict != verdict.Accept || !strings.Contains(d.Reasons.String(), c.why) || c.client == "" && !strings.Contains(d.Reasons.String(), "is not known") {
			t.Errorf("%s: %v at %v: %s", c.about, d.Verdict, d.Checkpoint, d.Reasons)
		}
	}
}

func TestAnUpstreamGoesBeforeNetworksAndBehindListenersAndLogins(t *testing.T) {
	for _, c := range []struct {
		listener        verdict.Checkpoint
		login           string
		byMTA           bool
		point, upstream string
		candidates      int
	}{
		{verdict.Undecided, "", false, "S1", "mimecast", 2},
		{verdict.S1, "", false, "S1", "mimecast", 2},
		{verdict.S0, "", false, "S0", "mimecast", 0},
		{verdict.S2, "", false, "S2", "", 0},
		{verdict.Undecided, "bob", false, "S2", "", 0},
		// With "mta", what comes from the gateway's address is the gateway's own.
		{verdict.Undecided, "", true, "S2", "", 0},
		{verdict.S1, "", true, "S0", "mimecast", 0},
	} {
		w := withUpstream()
		w.Upstreams["mimecast"] = policy.Upstream{ByMTA: c.byMTA}
		e := w.enter(policy.Arrival{Listener: c.listener, Login: c.login, Client: netip.MustParseAddr(gateway)})
		if e.Point.String() != c.point || e.Upstream != c.upstream || len(e.Candidates) != c.candidates {
			t.Errorf("%+v: got %+v", c, e)
		}
		check := policy.Point{Checks: []policy.Check{{Name: verdict.CheckDDoS, OnHit: verdict.Tempfail}}}
		w.Points[verdict.S0], w.Points[verdict.S2] = check, check
		if _, guards := w.Guards(e); guards != (e.Point == verdict.S2) {
			t.Errorf("%+v: ddos bounds the client: %v", c, guards)
		}
	}
}

func TestAClientThatMayBeAnUpstreamsWaits(t *testing.T) {
	w := withUpstream()
	w.live["mimecast"] = networks.Known{Pending: true, Upstream: true}
	for _, listener := range []verdict.Checkpoint{verdict.Undecided, verdict.S0} {
		if e := w.enter(policy.Arrival{Listener: listener, Client: netip.MustParseAddr(internetClient)}); e.Unready.Code != verdict.NetworksNotKnown || e.Unready.Args[0] != "mimecast" {
			t.Errorf("%v: got %+v", listener, e)
		}
	}
	if e := w.enter(policy.Arrival{Client: netip.MustParseAddr(officeClient)}); e.Unready.Code != "" {
		t.Errorf("a platform's client waits: %+v", e)
	}
}

func TestThePlatformsMailThroughAnUpstreamIsS1WhenItIsProven(t *testing.T) {
	const to = "bob@acmecorp.com"
	for _, c := range []struct {
		about           string
		fields          []string
		proven          bool
		point, platform string
	}{
		{"proven", []string{received(officeClient)}, true, "S1", "office365"},
		{"the other platform", []string{received(googleClient)}, true, "S1", "google"},
		{"not proven", []string{received(officeClient)}, false, "S0", ""},
		{"a stranger with the proof", []string{received(internetClient), received(officeClient)}, true, "S0", ""},
		{"a stranger who is not known", []string{received("127.0.0.1"), received(officeClient)}, true, "S0", ""},
	} {
		got := withUpstream().send(t, message{client: gateway, proven: c.proven, from: stranger, to: []string{to}, fields: c.fields})
		if got.Checkpoint.String() != c.point || got.Platform != c.platform || got.Verdict != verdict.Accept {
			t.Errorf("%s: %v at %v %q: %v", c.about, got.Verdict, got.Checkpoint, got.Platform, got.Reasons)
		}
	}
	// It is refused as at S1, and not before the header has come.
	got := withUpstream().send(t, message{client: gateway, proven: true, from: stranger, to: []string{"alice@acmecorp.com"}, fields: []string{received(officeClient)}})
	want(t, "a loop", got.Reply.Enhanced, "5.4.6")
	got = withUpstream().send(t, message{client: gateway, from: stranger, to: []string{"nobody@acmecorp.com"}})
	want(t, "nobody", got.refused["nobody@acmecorp.com"].Reply.Enhanced, "5.1.1")
}

func TestAnUpstreamsCertificateProvesNoTenant(t *testing.T) {
	w := withUpstream()
	w.Tenants["office365"] = tenant.Proofs{Certificate: "gw.example"}
	open := w.open(policy.Message{
		Entry:  w.enter(policy.Arrival{Client: netip.MustParseAddr(gateway), Certificate: "gw.example"}),
		Client: netip.MustParseAddr(gateway), Certificate: "gw.example", Header: header(received(officeClient)),
		Sender: w.address(t, stranger), Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com")},
	})
	if d := open.Decide(); d.Checkpoint != verdict.S0 || open.Proof().Platform != "" {
		t.Errorf("it enters at %v: %v", d.Checkpoint, d.Reasons)
	}
}

func TestAPlatformBeforeAnUpstreamWhoseNetworksAreNotKnownWaits(t *testing.T) {
	w := withUpstream()
	w.live["office365"] = networks.Known{Pending: true}
	got := w.send(t, message{client: gateway, from: stranger, to: []string{"bob@acmecorp.com"}, fields: []string{received(internetClient)}})
	want(t, "a client that may be the platform's", got.Reply.Enhanced, "4.3.0")
	want(t, "why", got.Reasons.String(), "the networks of office365 are not known yet")
}

func TestMailPastAllUpstreamsIsRefusedWhenTheAdministratorSaysSo(t *testing.T) {
	const to = "bob@acmecorp.com"
	for _, c := range []struct {
		about string
		m     message
		code  string
	}{
		{"past it", message{client: internetClient}, "550 5.7.1"},
		{"past it, with a field", message{client: internetClient, fields: []string{received(gateway)}}, "550 5.7.1"},
		{"past it, to a postmaster", message{client: internetClient, to: []string{"postmaster@acmecorp.com"}}, ""},
		{"past it, from the platform", message{client: officeClient, proven: true}, ""},
		{"past it, without the proof", message{client: officeClient}, "550 5.7.1"},
		{"through it", message{client: gateway, fields: []string{received(internetClient)}}, ""},
		{"through it, from nobody knows whom", message{client: gateway}, ""},
		{"through it, from the platform", message{client: gateway, fields: []string{received(officeClient)}}, ""},
		{"from one of ours", message{client: ourClient}, ""},
	} {
		w := withUpstream()
		w.domain().RefusePastMX = true
		c.m.from = stranger
		if c.m.to == nil {
			c.m.to = []string{to}
		}
		got := w.send(t, c.m)
		reply := got.Reply
		for _, ruling := range got.refused {
			reply = ruling.Reply
			want(t, c.about, ruling.Reasons.String(), "the MX of acmecorp.com is at an upstream, and past_mx refuses what comes past it")
		}
		if text := reply.String(); !strings.HasPrefix(text, c.code) || (c.code == "") != (text == "") {
			t.Errorf("%s: got %q", c.about, text)
		}
	}
}

func TestAClientBeforeAnUpstreamIsWhomAllowancesAndLimitsGoBy(t *testing.T) {
	for _, c := range []struct {
		about   string
		field   string
		charges string
		spared  bool
	}{
		{"known", received(internetClient), internetClient, true},
		{"another", received("203.0.113.200"), "203.0.113.200", false},
		{"not known", "Received: x", "", false},
	} {
		w := withUpstream()
		w.Points[verdict.S0] = policy.Point{Checks: []policy.Check{{Name: verdict.CheckRate, OnHit: verdict.Reject}, {Name: verdict.CheckSpam, OnHit: verdict.Quarantine}}}
		w.Rates = []rate.Rule{{Name: "clients", Points: []verdict.Checkpoint{verdict.S0}, By: rate.ByClient, Limit: 10, Burst: 10, Per: 60}}
		w.Allow = []policy.Allowance{
			{Name: "partner", Checks: []string{verdict.CheckSpam}, Clients: networks.SetOf(netip.MustParsePrefix("203.0.113.0/28"))},
			{Name: "gateway", Checks: []string{verdict.CheckSpam}, Clients: networks.SetOf(netip.MustParsePrefix(gateway + "/32"))},
		}
		open := w.open(policy.Message{
			Entry: w.enter(policy.Arrival{Client: netip.MustParseAddr(gateway)}), Client: netip.MustParseAddr(gateway), Header: header(c.field),
			Sender: w.address(t, stranger), Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com")},
		})
		var keys []string
		for _, charge := range open.Charges() {
			keys = append(keys, charge.Key)
		}
		want(t, c.about+": who is counted", strings.Join(keys, " "), c.charges)
		if spared := len(open.Asks().Scans) == 0; spared != c.spared {
			t.Errorf("%s: the check is spared: %v", c.about, spared)
		}
	}
}

func TestARefusalTellsThroughWhatTheMessageCame(t *testing.T) {
	w := withUpstream()
	w.Points[verdict.S0] = policy.Point{Checks: []policy.Check{{Name: verdict.CheckVirus, OnHit: verdict.Reject}}}
	got := w.send(t, message{
		client: gateway, from: stranger, to: []string{"bob@acmecorp.com"}, fields: []string{received(internetClient)},
		findings: []verdict.Finding{{Check: verdict.CheckVirus, State: verdict.Hit, Name: "Eicar", Reasons: verdict.Because(verdict.Why(verdict.VirusFound, "Eicar"))}},
	})
	want(t, "the reply", got.Reply.String(), "554 5.7.1 Virus found: Eicar")
	if text := got.Reasons.String(); !strings.Contains(text, "it came through mimecast (192.0.2.7); mimecast has it from 203.0.113.9") {
		t.Errorf("the reason is %q", text)
	}
}

func TestWhatIsReleasedHasComeByTheMX(t *testing.T) {
	w := withUpstream()
	w.domain().RefusePastMX = true
	m := message{client: ourClient, from: stranger, to: []string{"bob@acmecorp.com"}}
	m.pass = w.pass(released(), "bob@acmecorp.com")
	if got := w.send(t, m); got.Verdict != verdict.Accept || got.Checkpoint != verdict.S0 {
		t.Errorf("%v at %v: %v", got.Verdict, got.Checkpoint, got.Reasons)
	}
}
