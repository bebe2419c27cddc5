package policy_test

import (
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

const stranger = "someone@elsewhere.example"

// fromOffice is the entry of a message from Office 365, which its proof is to settle.
var fromOffice = policy.Entry{Point: verdict.S1, Candidates: []string{"office365"}}

func TestOneMessageGoesToEveryPlaceOnce(t *testing.T) {
	got := newWorld().send(t, message{client: ourClient, from: "bob@acmecorp.com",
		to: []string{"bob@acmecorp.com", "alice@acmecorp.com", "carol@acmecorp.com", "gina@acmecorp.com", "x@far.example"}})
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "deleted", deleted(got.Decision), "alice@acmecorp.com gina@acmecorp.com")
	want(t, "added", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com carol@acmecorp-com.onmicrosoft.com gina@gapps.acmecorp.com")
	for i, flow := range []string{"S2=>LD", "S2=>S4=>O1=>LD", "S2=>LD, S2=>S4=>O1=>LD", "S2=>S4=>G1=>LD", "S2=>S3=>ED"} {
		want(t, "flow", got.Recipients[i].Ways.String(), flow)
	}
	for i, residence := range []string{"here", "office365", "both", "google", ""} {
		want(t, "residence", got.Recipients[i].Residence.String(), residence)
	}
}

func TestTheStrictestVerdictWins(t *testing.T) {
	w := newWorld()
	w.domain().MX, w.domain().RefusePastMX = "office365", true
	// At RCPT, S0 and S1 give each of these a different answer.
	got := w.send(t, message{client: officeClient, proven: true, from: stranger,
		to: []string{"bob@acmecorp.com", "dave@acmecorp.com"}})
	want(t, "accepted and moving", got.Reply.String()[:9], "450 4.2.1")
	got = w.send(t, message{client: officeClient, proven: true, from: stranger,
		to: []string{"dave@acmecorp.com", "alice@acmecorp.com", "bob@acmecorp.com"}})
	want(t, "moving and looping", got.Reply.String()[:9], "554 5.4.6")
	want(t, "the check", got.Check, "loop")
	want(t, "the reason", got.Reasons.String(), got.Recipients[1].Reasons.String())
}

func TestARecipientRefusedAtRCPTLeavesTheOthersAlone(t *testing.T) {
	got := newWorld().send(t, message{client: internetClient, from: stranger,
		to: []string{"nobody@acmecorp.com", "alice@acmecorp.com", "dave@acmecorp.com", "x@far.example"}})
	if len(got.refused) != 3 {
		t.Errorf("refused: %v", got.refused)
	}
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "added", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com")
}

func TestBothThatArrivesFromItsPlatformIsDeliveredHereOnly(t *testing.T) {
	got := newWorld().send(t, message{client: officeClient, proven: true, from: stranger, to: []string{"carol@acmecorp.com"}})
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "added", added(got.Decision), "")
	want(t, "flow", got.Recipients[0].Ways.String(), "O2=>O3=>S1=>LD")

	got = newWorld().send(t, message{client: googleClient, proven: true, from: stranger, to: []string{"carol@acmecorp.com"}})
	want(t, "from the other one", got.Recipients[0].Ways.String(), "G2=>G3=>S1=>LD, G2=>G3=>S1=>S4=>O1=>LD")
	want(t, "from the other one, deleted", deleted(got.Decision), "")
}

func TestOnePlatformReachesTheOther(t *testing.T) {
	got := newWorld().send(t, message{client: googleClient, proven: true, from: "gina@acmecorp.com", to: []string{"alice@acmecorp.com"}})
	want(t, "flow", got.Recipients[0].Ways.String(), "G2=>G3=>S1=>S4=>O1=>LD")
	want(t, "added", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com")

	path := "alice@acmecorp-com.onmicrosoft.com"
	got = newWorld().send(t, message{client: googleClient, proven: true, from: "gina@acmecorp.com", to: []string{path}})
	want(t, "its alternate address", got.refused[path].Reply.Enhanced, "5.7.1")
}

func TestUnlistedAddressesGoWhereTheDomainSays(t *testing.T) {
	const path = "nobody@acmecorp.com"
	for _, c := range []struct {
		residence              route.Residence
		enhanced, flow, sentOn string
	}{
		{route.Residence{}, "5.1.1", "", ""},
		{route.Residence{Kind: route.Here}, "", "S0=>LD", ""},
		{route.Residence{Kind: route.There, Platform: "google"}, "", "S0=>S4=>G1=>LD", "nobody@gapps.acmecorp.com"},
	} {
		w := newWorld()
		w.domain().Unlisted = c.residence
		got := w.send(t, message{client: internetClient, from: stranger, to: []string{path}})
		want(t, "reply", got.refused[path].Reply.Enhanced, c.enhanced)
		want(t, "added", added(got.Decision), c.sentOn)
		if len(got.Recipients) > 0 {
			want(t, "flow", got.Recipients[0].Ways.String(), c.flow)
		}
		if w.failed = true; w.send(t, message{client: internetClient, from: stranger, to: []string{path}}).refused[path].Verdict != verdict.Tempfail {
			t.Errorf("%+v: a directory that cannot answer is not 4xx", c)
		}
	}
}

func TestAnUnlistedAddressThatComesFromWhereItWouldLiveIsALoop(t *testing.T) {
	w := newWorld()
	w.domain().Unlisted = route.Residence{Kind: route.There, Platform: "google"}
	got := w.send(t, message{client: googleClient, proven: true, from: stranger, to: []string{"nobody@acmecorp.com"}})
	want(t, "reply", got.Reply.String(), "554 5.4.6 Mail loop: the directory lacks nobody@acmecorp.com, and unlisted addresses of acmecorp.com live at google, but google sent the message here")
}

func TestAFailedDirectoryIsNeverAPermanentRefusal(t *testing.T) {
	w := newWorld()
	w.failed = true
	for _, m := range []message{{client: internetClient}, {client: officeClient, proven: true}, {client: ourClient}} {
		for _, path := range []string{"alice@acmecorp.com", "nobody@acmecorp.com", "postmaster@acmecorp.com"} {
			m.from, m.to = stranger, []string{path}
			got := w.send(t, m)
			want(t, path, got.refused[path].Reply.String()[:9], "451 4.3.0")
		}
	}
	got := w.send(t, message{client: ourClient, from: stranger, to: []string{"x@far.example"}})
	want(t, "a foreign recipient needs no directory", got.Verdict.String(), "accept")
}

func TestAnEntryThatNoPlatformBearsOutIsNoAnswer(t *testing.T) {
	for _, residence := range []route.Residence{
		{Kind: route.There, Platform: "gone"}, {Kind: route.Both, Platform: "gone"}, {Kind: route.There}, {Kind: route.There, Platform: "google"},
	} {
		got := newWorld().send(t, message{client: internetClient, from: stranger, to: []string{"alice@acme.net"},
			edit: func(r *route.Recipient) { r.Listing.Residence = residence }})
		want(t, residence.String(), got.refused["alice@acme.net"].Reply.String()[:9], "451 4.3.0")
	}
}

func TestPostmasterAndAbuseAreNeverRefused(t *testing.T) {
	for _, role := range []string{"postmaster@acmecorp.com", "Abuse@ACMECORP.com", `"postmaster"@acmecorp.com`, "abuse+x@acmecorp.com", "postmaster@eu.acmecorp.com"} {
		for _, m := range []message{
			{client: internetClient}, {client: officeClient, proven: true}, {client: officeClient}, {client: ourClient}, {onHost: true},
		} {
			m.from, m.to = stranger, []string{role}
			w := newWorld().withMX("office365")
			w.domain().RefusePastMX = true
			got := w.send(t, m)
			want(t, role, got.Verdict.String(), "accept")
			if len(got.Recipients) != 1 || !strings.HasSuffix(got.Recipients[0].Ways.String(), "LD") {
				t.Errorf("%s: %+v", role, got)
			}
		}
	}
}

func TestPostmasterFollowsTheDirectoryAndLoopsLikeAnyone(t *testing.T) {
	const role = "postmaster@acmecorp.com"
	w := newWorld().with(map[string]string{role: "office365"})
	got := w.send(t, message{client: internetClient, from: stranger, to: []string{role}})
	want(t, "added", added(got.Decision), "postmaster@acmecorp-com.onmicrosoft.com")
	got = w.send(t, message{client: officeClient, proven: true, from: stranger, to: []string{role}})
	want(t, "at S1", got.Reply.String()[:9], "554 5.4.6")
}

func TestABounceHasOneRecipient(t *testing.T) {
	two := []string{"bob@acmecorp.com", "alice@acmecorp.com"}
	for _, client := range []string{internetClient, officeClient} {
		got := newWorld().send(t, message{client: client, from: "<>", to: two})
		want(t, client, got.refused[two[1]].Reply.String()[:9], "550 5.5.3")
		if len(got.Recipients) != 1 {
			t.Errorf("%s: the first recipient was refused", client)
		}
	}
	got := newWorld().send(t, message{client: ourClient, from: "<>", to: two})
	want(t, "from our own users", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com")
	got = newWorld().send(t, message{client: internetClient, from: "<>", to: []string{"nobody@acmecorp.com", "bob@acmecorp.com"}})
	want(t, "one that was refused does not count", got.Recipients[0].Ways.String(), "S0=>LD")
}

func TestALoopingBounceIsDroppedAndNeverBounced(t *testing.T) {
	for _, path := range []string{"alice@acmecorp.com", "alice@acmecorp-com.onmicrosoft.com"} {
		got := newWorld().send(t, message{client: officeClient, proven: true, from: "<>", to: []string{path}})
		want(t, path, got.Verdict.String(), "discard")
		want(t, path, got.Reply.String(), "")
		want(t, path, got.Check, "loop")
	}
}

func TestALoopingBounceIsDroppedAloneBesideOthers(t *testing.T) {
	// Such a message is made by hand, since Admit takes one recipient only.
	w := newWorld()
	m := policy.Message{Entry: fromOffice, Header: (&message{proven: true}).header()}
	for _, path := range []string{"Alice@acmecorp.com", "bob@acmecorp.com", "gina@acmecorp.com"} {
		m.Recipients = append(m.Recipients, w.recipient(t, path))
	}
	d := w.decide(m)
	checkEnvelope(t, m, d)
	want(t, "verdict", d.Verdict.String(), "accept")
	want(t, "deleted", deleted(d), "Alice@acmecorp.com gina@acmecorp.com")
	want(t, "added", added(d), "gina@gapps.acmecorp.com")
}

func TestTheInternetNeverRelays(t *testing.T) {
	w := newWorld().withMX("office365")
	w.Routes.Outbound = "google"
	for _, platform := range w.Routes.Platforms {
		platform.MayRelay = true
	}
	for _, client := range []string{internetClient, officeClient, ""} {
		for _, from := range []string{stranger, "bob@acmecorp.com", "<>", "alice@acmecorp-com.onmicrosoft.com"} {
			for _, to := range []string{"x@far.example", "alice@gapps.acmecorp.com", "x@[192.0.2.1]", "x@[IPv6:2001:db8::1]", "x@sub.acmecorp.com",
				"x@far.example@gapps.acmecorp.com", "@acmecorp.com:x@far.example", `"bob@acmecorp.com"@far.example`, "x@xacmecorp.com"} {
				got := w.send(t, message{client: client, from: from, to: []string{to}})
				ruling, ok := got.refused[to]
				if !ok {
					ruling.Reply = got.Reply
				}
				reply := "554 5.7.1"
				if client == officeClient && from != stranger && from != "<>" && !strings.Contains(to, "@gapps.") {
					reply = "451 4.7.0" // one of our own users, whose proof the platform may have left out
				}
				want(t, client+" "+from+" "+to, ruling.Reply.String()[:9], reply)
			}
		}
	}
}

func TestUsersThereSendThroughUsOnlyWhenProvenAndAllowed(t *testing.T) {
	const to = "x@far.example"
	for _, c := range []struct {
		allowed, proven bool
		flow, outbound  string
	}{
		{true, true, "O2=>O3=>S1=>S3=>ED", ""},
		{true, true, "O2=>O3=>S1=>S4=>G1=>G4=>ED", "google"},
		{true, false, "", ""},
		{false, true, "", ""},
	} {
		w := newWorld()
		w.Routes.Platform("office365").MayRelay = c.allowed
		w.Routes.Outbound = c.outbound
		got := w.send(t, message{client: officeClient, proven: c.proven, from: "alice@acmecorp.com", to: []string{to}})
		if ruling, refused := got.refused[to]; refused != !c.allowed {
			t.Errorf("%+v: refused at RCPT: %v", c, ruling.Reply)
		}
		if c.flow == "" {
			if c.allowed {
				want(t, "reply", got.Reply.String(), "451 4.7.0 The message lacks the proof of its tenant, try again later")
			}
			continue
		}
		want(t, "flow", got.Recipients[0].Ways.String(), c.flow)
		want(t, "verdict", got.Verdict.String(), "accept")
	}
}

func TestMailFromOutsideIsNotRelayedByTheLocalPart(t *testing.T) {
	routed := []string{"bob+x%far.example@acmecorp.com", "postmaster+x%far.example@acmecorp.com", "carol+x!y@acmecorp.com", "x%far.example", "far.example!x", "x%far.example@acme.net", "far.example!x@acme.net", `"x@far.example"@acme.net`, "x@far.example@acme.net"}
	for _, m := range []message{{client: internetClient}, {client: officeClient}, {client: officeClient, proven: true}} {
		for _, to := range routed {
			w := newWorld()
			w.Routes.Domains["acme.net"].Unlisted = route.Residence{Kind: route.Here}
			m.from, m.to = stranger, []string{to}
			want(t, to, w.send(t, m).refused[to].Reply.String(), "554 5.7.1 Relay access denied")
		}
	}
	for _, m := range []message{{client: ourClient}, {onHost: true}} {
		m.from, m.to = stranger, routed[3:4]
		want(t, "our own users", newWorld().send(t, m).Verdict.String(), "accept")
	}
	w := newWorld().with(map[string]string{"x%y@acmecorp.com": "here"})
	got := w.send(t, message{client: internetClient, from: stranger, to: []string{"x%y@acmecorp.com"}})
	want(t, "a listed address", got.Verdict.String(), "accept")
}

func TestMailForTheInternetLeavesWhereOutboundSays(t *testing.T) {
	w := newWorld()
	w.Routes.Outbound = "office365"
	got := w.send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"x@far.example", "alice@gapps.acmecorp.com", "gina@acmecorp.com", "bob@acmecorp.com"}})
	for i, flow := range []string{"S2=>S4=>O1=>O4=>ED", "S2=>S4=>G1=>LD", "S2=>S4=>G1=>LD", "S2=>LD"} {
		want(t, "flow", got.Recipients[i].Ways.String(), flow)
	}
}

func TestMailPastTheMXIsRefusedWhenTheAdministratorSaysSo(t *testing.T) {
	const to = "bob@acmecorp.com"
	for _, c := range []struct {
		mx     string
		refuse bool
		m      message
		code   string
	}{
		{"office365", true, message{client: internetClient}, "550 5.7.1"},
		{"office365", false, message{client: internetClient}, ""},
		{"", true, message{client: internetClient}, "550 5.7.1"}, // past the upstreams
		{"office365", true, message{client: officeClient}, "550 5.7.1"},
		{"office365", true, message{client: officeClient, proven: true}, ""},
		{"office365", true, message{client: googleClient, proven: true}, ""},
		{"office365", true, message{client: ourClient}, ""},
	} {
		w := newWorld()
		w.domain().MX, w.domain().RefusePastMX = c.mx, c.refuse
		c.m.from, c.m.to = stranger, []string{to}
		got := w.send(t, c.m)
		reply := got.Reply
		if ruling, ok := got.refused[to]; ok {
			reply = ruling.Reply
		}
		if text := reply.String(); !strings.HasPrefix(text, c.code) || (c.code == "") != (text == "") {
			t.Errorf("%+v: got %q", c, text)
		}
	}
}
