package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

func TestEntersWhereListenerLoginAndClientSay(t *testing.T) {
	const mapped = "::ffff:"
	for _, c := range []struct {
		listener        verdict.Checkpoint
		login, client   string
		onHost          bool
		point, platform string
	}{
		// Made on the host goes before everything.
		{verdict.Undecided, "", "127.0.0.1", true, "S2", ""},
		{verdict.S0, "bob", officeClient, true, "S2", ""},
		{verdict.S1, "", internetClient, true, "S2", ""},
		// Then the listener.
		{verdict.S0, "", internetClient, false, "S0", ""},
		{verdict.S0, "bob", internetClient, false, "S0", ""},
		{verdict.S0, "", ourClient, false, "S0", ""},
		{verdict.S0, "", officeClient, false, "S0", ""},
		{verdict.S2, "", internetClient, false, "S2", ""},
		{verdict.S2, "", officeClient, false, "S2", ""},
		{verdict.S1, "", officeClient, false, "S1", "office365"},
		{verdict.S1, "bob", officeClient, false, "S1", "office365"},
		{verdict.S1, "", internetClient, false, "S0", ""},
		{verdict.S1, "bob", internetClient, false, "S0", ""},
		{verdict.S1, "", ourClient, false, "S0", ""},
		// Then the login.
		{verdict.Undecided, "bob", internetClient, false, "S2", ""},
		{verdict.Undecided, "bob", officeClient, false, "S2", ""},
		// Then our networks, then the platforms'.
		{verdict.Undecided, "", ourClient, false, "S2", ""},
		{verdict.Undecided, "", mapped + ourClient, false, "S2", ""},
		{verdict.Undecided, "", "fd00::1", false, "S2", ""},
		{verdict.Undecided, "", "fd00::1%eth0", false, "S2", ""},
		{verdict.Undecided, "", officeClient, false, "S1", "office365"},
		{verdict.Undecided, "", mapped + officeClient, false, "S1", "office365"},
		{verdict.Undecided, "", googleClient, false, "S1", "google"},
		// Then the Internet.
		{verdict.Undecided, "", internetClient, false, "S0", ""},
		{verdict.Undecided, "", mapped + internetClient, false, "S0", ""},
		{verdict.Undecided, "", "127.0.0.1", false, "S0", ""},
		{verdict.Undecided, "", "2001:db8::1", false, "S0", ""},
		{verdict.Undecided, "", "", false, "S0", ""},
	} {
		a := policy.Arrival{Listener: c.listener, Login: c.login, OnHost: c.onHost}
		if c.client != "" {
			a.Client = netip.MustParseAddr(c.client)
		}
		e := newWorld().enter(a)
		platform := strings.Join(e.Candidates, " ")
		if e.Point.String() != c.point || platform != c.platform {
			t.Errorf("%+v: got %v %q, want %s %q", a, e.Point, platform, c.point, c.platform)
		}
		if e.IsProvisional() != (c.point == "S1") || e.OnHost != c.onHost || e.Why.String() == "" {
			t.Errorf("%+v: got %+v", a, e)
		}
	}
}

func TestOurNetworksGoBeforeAPlatformsThatHoldThem(t *testing.T) {
	w := newWorld()
	w.OurNetworks = w.OurNetworks.With(netip.MustParsePrefix("40.92.1.2/32"))
	if e := w.enter(policy.Arrival{Client: netip.MustParseAddr(officeClient)}); e.Point != verdict.S2 {
		t.Errorf("got %v", e.Point)
	}
}

func TestAProvisionalEntryIsS1OnlyWhenTheTenantIsProven(t *testing.T) {
	for _, c := range []struct {
		client, login   string
		proven          bool
		point, platform string
	}{
		{officeClient, "", true, "S1", "office365"},
		{officeClient, "", false, "S0", ""},
		{googleClient, "", true, "S1", "google"},
		// A proof from anywhere else is only a header that anybody can write.
		{internetClient, "", true, "S0", ""},
		{ourClient, "", true, "S2", ""},
		{officeClient, "bob", true, "S2", ""},
	} {
		got := newWorld().send(t, message{client: c.client, login: c.login, proven: c.proven,
			from: "x@elsewhere.example", to: []string{"bob@acmecorp.com"}})
		want(t, c.client+" point", got.Checkpoint.String(), c.point)
		want(t, c.client+" platform", got.Platform, c.platform)
		if shown := strings.Contains(got.Reasons.String(), tenant.CrossTenantHeader); shown != (c.login == "" && (c.client == officeClient || c.client == googleClient)) {
			t.Errorf("%s: the reason is %q", c.client, got.Reasons.String())
		}
	}
}

func TestNothingIsRefusedAtRCPTOnTheGroundOfAProvisionalS1(t *testing.T) {
	// Each of these is refused at S1, and some of them at S0 in other words.
	for _, path := range []string{"alice@acmecorp.com", "alice@acmecorp-com.onmicrosoft.com"} {
		got := newWorld().send(t, message{client: officeClient, proven: true, from: "x@elsewhere.example", to: []string{path}})
		if r, ok := got.refused[path]; ok {
			t.Errorf("%s was refused at RCPT: %v", path, r.Reply)
		}
		want(t, path, got.Reply.Enhanced, "5.4.6")
	}
}

func TestAProvisionalEntryIsRefusedAtRCPTWhenS0AndS1Agree(t *testing.T) {
	w := newWorld()
	for path, code := range map[string]string{
		"nobody@acmecorp.com": "5.1.1", "dave@acmecorp.com": "4.2.1", "x@far.example": "5.7.1",
	} {
		got := w.send(t, message{client: officeClient, proven: true, from: "x@elsewhere.example", to: []string{path}})
		want(t, path, got.refused[path].Reply.Enhanced, code)
	}
	w.failed = true
	got := w.send(t, message{client: officeClient, from: "x@elsewhere.example", to: []string{"bob@acmecorp.com"}})
	want(t, "a failed directory", got.refused["bob@acmecorp.com"].Reply.String()[:9], "451 4.3.0")
}

func TestWordsOfTheConfigurationAreReadBack(t *testing.T) {
	for _, point := range []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2, verdict.S3, verdict.S4} {
		if got, ok := verdict.ParseCheckpoint(point.String()); !ok || got != point {
			t.Errorf("%v is read as %v, %v", point, got, ok)
		}
	}
	for _, word := range []string{"", "s1", "S5", "S"} {
		if _, ok := verdict.ParseCheckpoint(word); ok {
			t.Errorf("%q is read as a checkpoint", word)
		}
	}
	want(t, "the strictest verdict", verdict.Reject.String(), "reject")
	if !(verdict.Accept < verdict.Tag && verdict.Tag < verdict.Quarantine && verdict.Quarantine < verdict.Discard &&
		verdict.Discard < verdict.Tempfail && verdict.Tempfail < verdict.Reject) {
		t.Error("the verdicts are not in order of strictness")
	}
}
