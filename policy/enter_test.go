package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy"
)

func TestEntersWhereListenerLoginAndClientSay(t *testing.T) {
	const mapped = "::ffff:"
	for _, c := range []struct {
		listener        policy.Checkpoint
		login, client   string
		onHost          bool
		point, platform string
	}{
		// Made on the host goes before everything.
		{policy.Undecided, "", "127.0.0.1", true, "S2", ""},
		{policy.S0, "bob", officeClient, true, "S2", ""},
		{policy.S1, "", internetClient, true, "S2", ""},
		// Then the listener.
		{policy.S0, "", internetClient, false, "S0", ""},
		{policy.S0, "bob", internetClient, false, "S0", ""},
		{policy.S0, "", ourClient, false, "S0", ""},
		{policy.S0, "", officeClient, false, "S0", ""},
		{policy.S2, "", internetClient, false, "S2", ""},
		{policy.S2, "", officeClient, false, "S2", ""},
		{policy.S1, "", officeClient, false, "S1", "office365"},
		{policy.S1, "bob", officeClient, false, "S1", "office365"},
		{policy.S1, "", internetClient, false, "S0", ""},
		{policy.S1, "bob", internetClient, false, "S0", ""},
		{policy.S1, "", ourClient, false, "S0", ""},
		// Then the login.
		{policy.Undecided, "bob", internetClient, false, "S2", ""},
		{policy.Undecided, "bob", officeClient, false, "S2", ""},
		// Then our networks, then the platforms'.
		{policy.Undecided, "", ourClient, false, "S2", ""},
		{policy.Undecided, "", mapped + ourClient, false, "S2", ""},
		{policy.Undecided, "", "fd00::1", false, "S2", ""},
		{policy.Undecided, "", "fd00::1%eth0", false, "S2", ""},
		{policy.Undecided, "", officeClient, false, "S1", "office365"},
		{policy.Undecided, "", mapped + officeClient, false, "S1", "office365"},
		{policy.Undecided, "", googleClient, false, "S1", "google"},
		// Then the Internet.
		{policy.Undecided, "", internetClient, false, "S0", ""},
		{policy.Undecided, "", mapped + internetClient, false, "S0", ""},
		{policy.Undecided, "", "127.0.0.1", false, "S0", ""},
		{policy.Undecided, "", "2001:db8::1", false, "S0", ""},
		{policy.Undecided, "", "", false, "S0", ""},
	} {
		a := policy.Arrival{Listener: c.listener, Login: c.login, OnHost: c.onHost}
		if c.client != "" {
			a.Client = netip.MustParseAddr(c.client)
		}
		e := newWorld().Enter(a)
		platform := ""
		if e.Platform != nil {
			platform = e.Platform.Name
		}
		if e.Point.String() != c.point || platform != c.platform {
			t.Errorf("%+v: got %v %q, want %s %q", a, e.Point, platform, c.point, c.platform)
		}
		if e.Provisional != (c.point == "S1") || e.OnHost != c.onHost || e.Why == "" {
			t.Errorf("%+v: got %+v", a, e)
		}
	}
}

func TestOurNetworksGoBeforeAPlatformsThatHoldThem(t *testing.T) {
	w := newWorld()
	w.OurNetworks = append(w.OurNetworks, netip.MustParsePrefix("40.92.1.2/32"))
	if e := w.Enter(policy.Arrival{Client: netip.MustParseAddr(officeClient)}); e.Point != policy.S2 {
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
		got := newWorld().send(t, mail{client: c.client, login: c.login, proven: c.proven,
			from: "x@elsewhere.example", to: []string{"bob@acmecorp.com"}})
		want(t, c.client+" point", got.Checkpoint.String(), c.point)
		want(t, c.client+" platform", got.Platform, c.platform)
		if shown := strings.Contains(got.Reason, "the test says so"); shown != (c.login == "" && (c.client == officeClient || c.client == googleClient)) {
			t.Errorf("%s: the reason is %q", c.client, got.Reason)
		}
	}
}

func TestNothingIsRefusedAtRCPTOnTheGroundOfAProvisionalS1(t *testing.T) {
	// Each of these is refused at S1, and some of them at S0 in other words.
	for _, path := range []string{"alice@acmecorp.com", "alice@acmecorp-com.onmicrosoft.com"} {
		got := newWorld().send(t, mail{client: officeClient, proven: true, from: "x@elsewhere.example", to: []string{path}})
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
		got := w.send(t, mail{client: officeClient, proven: true, from: "x@elsewhere.example", to: []string{path}})
		want(t, path, got.refused[path].Reply.Enhanced, code)
	}
	w.failed = true
	got := w.send(t, mail{client: officeClient, from: "x@elsewhere.example", to: []string{"bob@acmecorp.com"}})
	want(t, "a failed directory", got.refused["bob@acmecorp.com"].Reply.String()[:9], "451 4.3.0")
}

func TestWordsOfTheConfigurationAreReadBack(t *testing.T) {
	for _, point := range []policy.Checkpoint{policy.S0, policy.S1, policy.S2, policy.S3, policy.S4} {
		if got, ok := policy.ParseCheckpoint(point.String()); !ok || got != point {
			t.Errorf("%v is read as %v, %v", point, got, ok)
		}
	}
	for _, word := range []string{"", "s1", "S5", "S"} {
		if _, ok := policy.ParseCheckpoint(word); ok {
			t.Errorf("%q is read as a checkpoint", word)
		}
	}
	want(t, "the strictest verdict", policy.Reject.String(), "reject")
	if !(policy.Accept < policy.Tag && policy.Tag < policy.Quarantine && policy.Quarantine < policy.Discard &&
		policy.Discard < policy.Tempfail && policy.Tempfail < policy.Reject) {
		t.Error("the verdicts are not in order of strictness")
	}
}
