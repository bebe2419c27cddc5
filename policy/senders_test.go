package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/senders"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// listing gives the world the checks of the Internet's mail, and senders whom recipients have
// allowed and blocked: until so many seconds after now.
func (w *world) listing(lasts int64, listed ...senders.Sender) *world {
	var checks []policy.Check
	for _, name := range []string{verdict.CheckSpoof, verdict.CheckBlock, verdict.CheckSpam, verdict.CheckVirus, verdict.CheckMalware} {
		row, _ := policy.CheckOf(name)
		checks = append(checks, policy.Check{Name: name, OnHit: row.OnHit, OnError: row.OnError})
	}
	checks[0].OnHit = verdict.Accept // spoof is made for its facts
	w.at(verdict.S0, checks...).at(verdict.S1, checks[1:]...)
	w.Spoof = spoof.Rules{DMARC: verdict.Accept, SPF: verdict.Accept}
	w.senders = senders.NewList(func(add func(senders.Sender, int64)) {
		for _, s := range listed {
			add(s, now+lasts)
		}
	})
	return w
}

func bobAllows(sender string) senders.Sender {
	return senders.Sender{Owner: "bob@acmecorp.com", Name: sender, Kind: senders.Allowed}
}

func bobBlocks(sender string) senders.Sender {
	return senders.Sender{Owner: "bob@acmecorp.com", Name: sender, Kind: senders.Blocked}
}

const partner = "eve@partner.example"

func TestAnAllowedSenderIsSparedTheCheckSpamOnlyWhereTheirDomainIsProven(t *testing.T) {
	spf := func(result spoof.AuthResult, domain string) *spoof.Authentication {
		return authentication(result, domain)
	}
	signed := func(domains ...string) *spoof.Authentication {
		return authentication(spoof.AuthFail, "elsewhere.example", domains...)
	}
	failing := authentication(spoof.AuthNone, "")
	failing.DKIM = []spoof.DKIM{{Result: spoof.AuthFail, Domain: "partner.example"}}
	strict := signed("mail.partner.example")
	strict.DMARC = []spoof.DMARC{{Domain: "partner.example", At: "partner.example", Lookup: spoof.AuthPass, Percent: 100, StrictDKIM: true}}
	for _, c := range []struct {
		about   string
		allowed senders.Sender
		fields  []string
		a       *spoof.Authentication
		spared  bool
	}{
		{"by SPF", bobAllows("@partner.example"), from(partner), spf(spoof.AuthPass, "partner.example"), true},
		{"by a signature", bobAllows("@partner.example"), from(partner), signed("partner.example"), true},
		{"by a signature of one domain below", bobAllows("@partner.example"), from(partner), signed("mail.partner.example"), true},
		{"where that is not enough", bobAllows("@partner.example"), from(partner), strict, false},
		{"their address", bobAllows(partner), from("Eve <Eve@Partner.example>"), spf(spoof.AuthPass, "partner.example"), true},
		{"another address there", bobAllows(partner), from("mallory@partner.example"), spf(spoof.AuthPass, "partner.example"), false},
		{"a domain below", bobAllows("@partner.example"), from("eve@sub.partner.example"), spf(spoof.AuthPass, "sub.partner.example"), false},
		{"another domain", bobAllows("@partner.example"), from("eve@other.example"), spf(spoof.AuthPass, "other.example"), false},
		{"without a proof", bobAllows("@partner.example"), from(partner), spf(spoof.AuthFail, "partner.example"), false},
		{"with a signature that fails", bobAllows("@partner.example"), from(partner), failing, false},
		{"while the DNS fails", bobAllows("@partner.example"), from(partner), spf(spoof.AuthTempError, "partner.example"), false},
		{"where nobody was asked", bobAllows("@partner.example"), from(partner), nil, false},
		{"a stranger's signature", bobAllows("@partner.example"), from(partner), signed("stranger.example"), false},
		{"a stranger who is allowed writes another's name", bobAllows("@stranger.example"), from(partner), signed("stranger.example"), false},
		{"two authors", bobAllows("@partner.example"), from(partner + ", x@stranger.example"), signed("partner.example"), false},
		{"two fields", bobAllows("@partner.example"), []string{"From: " + partner, "From: " + partner}, signed("partner.example"), false},
		{"another recipient's", senders.Sender{Owner: "alice@acmecorp.com", Name: "@partner.example", Kind: senders.Allowed}, from(partner), signed("partner.example"), false},
	} {
		w := newWorld().listing(1, c.allowed)
		m := message{client: internetClient, from: "bounces@elsewhere.example", to: []string{"Bob+x@acmecorp.com"}, fields: c.fields, authentication: c.a, findings: found(hit("spam", "s"))}
		got := w.send(t, m)
		want(t, c.about, got.Verdict.String(), map[bool]string{true: "accept", false: "quarantine"}[c.spared])
		if told := strings.Contains(got.Reasons.String(), "spam is passed by: bob@acmecorp.com has allowed "+c.allowed.Name+", which SPF or DKIM proves"); told != c.spared {
			t.Errorf("%s: the reason is %q", c.about, got.Reasons.String())
		}
		m.findings = found(hit("spam", "s"), hit("virus", "v"))
		want(t, c.about+", with a virus", w.send(t, m).Verdict.String(), "reject")
		m.findings = found(hit("malware", "m"))
		want(t, c.about+", with malware", w.send(t, m).Verdict.String(), "quarantine")
	}
}

// All tenants of a platform pass SPF for each other's domains.
func TestWhatAllTenantsOfAPlatformPassProvesNoAllowedSender(t *testing.T) {
	w := newWorld().listing(1, bobAllows("@partner.example"))
	m := message{client: officeClient, from: partner, to: []string{"bob@acmecorp.com"}, fields: from(partner),
		authentication: authentication(spoof.AuthPass, "partner.example"), findings: found(hit("spam", "s"))}
	got := w.send(t, m)
	want(t, "point", got.Checkpoint.String(), "S0")
	want(t, "SPF", got.Verdict.String(), "quarantine")
	m.authentication = authentication(spoof.AuthPass, "partner.example", "partner.example")
	want(t, "a signature", w.send(t, m).Verdict.String(), "accept")
}

func TestABlockedSenderIsHeldForWhoHasBlockedThem(t *testing.T) {
	for _, c := range []struct {
		about   string
		blocked senders.Sender
		m       message
		held    bool
	}{
		{"their address in the envelope", bobBlocks(partner), message{from: "Eve@Partner.example"}, true},
		{"their domain in the envelope", bobBlocks("@partner.example"), message{from: partner}, true},
		{"their address in the header", bobBlocks(partner), message{from: "bounces@mailer.example", fields: from("Eve <" + partner + ">")}, true},
		{"among authors", bobBlocks("@partner.example"), message{from: "x@far.example", fields: from("x@far.example, " + partner)}, true},
		{"another address of the domain", bobBlocks(partner), message{from: "adam@partner.example", fields: from("adam@partner.example")}, false},
		{"a domain below", bobBlocks("@partner.example"), message{from: "eve@sub.partner.example"}, false},
		{"by another", senders.Sender{Owner: "alice@acmecorp.com", Name: partner, Kind: senders.Blocked}, message{from: partner}, false},
		{"allowed, not blocked", bobAllows(partner), message{from: partner}, false},
		{"a bounce", bobBlocks("@partner.example"), message{from: "", fields: from("mailer-daemon@partner.example")}, false},
		{"one of ours", bobBlocks("@acmecorp.com"), message{client: officeClient, proven: true, from: "alice@acmecorp.com", fields: from("alice@acmecorp.com")}, false},
		{"one of ours by their alternate domain", bobBlocks("@acmecorp-com.onmicrosoft.com"), message{client: officeClient, proven: true, from: "alice@acmecorp-com.onmicrosoft.com"}, false},
		{"through a platform", bobBlocks(partner), message{client: officeClient, proven: true, from: partner}, true},
		{"from our own users", bobBlocks(partner), message{client: ourClient, from: partner}, false},
	} {
		if c.m.client == "" {
			c.m.client = internetClient
		}
		c.m.to, c.m.findings = []string{"bob+x@acmecorp.com"}, found()
		w := newWorld().listing(1, c.blocked)
		got := w.send(t, c.m)
		want(t, c.about, got.Verdict.String(), map[bool]string{true: "quarantine", false: "accept"}[c.held])
		if !c.held {
			continue
		}
		r := got.Recipients[0]
		want(t, c.about, r.Reasons.String(), "block: bob@acmecorp.com has blocked "+c.blocked.Name)
		want(t, c.about, strings.Join(r.Held, " ")+", "+r.Check, "block, block")
		want(t, c.about, got.Check, "block")
		if r.Report {
			t.Errorf("%s: they are told of whom they have blocked", c.about)
		}
	}
}

func TestASenderWhomOneRecipientHasBlockedReachesTheOthers(t *testing.T) {
	w := newWorld().listing(1, bobBlocks(partner), senders.Sender{Owner: "carol@acmecorp.com", Name: "x@far.example", Kind: senders.Blocked})
	m := message{client: internetClient, from: partner, to: []string{"alice@acmecorp.com", "bob@acmecorp.com", "carol@acmecorp.com"}, findings: found()}
	got := w.send(t, m)
	want(t, "verdict", got.Verdict.String(), "accept")
	for i, expected := range []string{"accept", "quarantine", "accept"} {
		want(t, m.to[i], got.Recipients[i].Verdict.String(), expected)
	}
	if !strings.Contains(deleted(got.Decision), "bob@acmecorp.com") {
		t.Errorf("bob gets it all the same: %+v", got.Edits)
	}
	if i := slices.IndexFunc(got.Findings, func(f verdict.Finding) bool { return f.Check == verdict.CheckBlock }); i < 0 || got.Findings[i].State != verdict.Hit {
		t.Errorf("the findings are %v", got.Findings)
	}
	m.to = []string{"alice@acmecorp.com"}
	if got := w.send(t, m); slices.Contains(got.Checks, verdict.CheckBlock) {
		t.Errorf("for whom has blocked nobody, the checks %q are made", got.Checks)
	}
	m.to, m.findings = []string{"bob@acmecorp.com", "alice@acmecorp.com"}, found(hit("virus", "v"))
	want(t, "with a virus", w.send(t, m).Verdict.String(), "reject")
}

func TestWhatIsReleasedPassesItsBlock(t *testing.T) {
	w := newWorld().listing(1, bobBlocks(partner))
	pass := released()
	pass.Checks = []string{verdict.CheckBlock}
	got := w.send(t, message{client: ourClient, from: partner, to: []string{"bob@acmecorp.com"}, findings: found(), pass: w.pass(pass, "bob@acmecorp.com")})
	want(t, "verdict", got.Verdict.String(), "accept")
}

func TestSendersAreAllowedAndBlockedNoLongerThanTheirTime(t *testing.T) {
	m := message{client: internetClient, from: partner, to: []string{"bob@acmecorp.com"}, fields: from(partner), authentication: authentication(spoof.AuthPass, "partner.example"), findings: found()}
	for lasts, expected := range map[int64]string{1: "quarantine", 0: "accept", -1: "accept"} {
		want(t, "blocked", newWorld().listing(lasts, bobBlocks(partner)).send(t, m).Verdict.String(), expected)
	}
	m.findings = found(hit("spam", "s"))
	for lasts, expected := range map[int64]string{1: "accept", 0: "quarantine", -1: "quarantine"} {
		want(t, "allowed", newWorld().listing(lasts, bobAllows(partner)).send(t, m).Verdict.String(), expected)
	}
}

func TestAMessageToThousandsWhoAllowItsSenderNamesSomeOfThem(t *testing.T) {
	w := newWorld()
	m := message{client: internetClient, from: partner, fields: from(partner), authentication: authentication(spoof.AuthPass, "partner.example"), findings: found(hit("spam", "s"))}
	var allow []senders.Sender
	for n := range 2000 {
		owner := fmt.Sprintf("user%d@acmecorp.com", n)
		w.words[owner] = "here"
		m.to, allow = append(m.to, owner), append(allow, senders.Sender{Owner: owner, Name: "@partner.example", Kind: senders.Allowed})
	}
	got := w.listing(1, allow...).send(t, m)
	want(t, "verdict", got.Verdict.String(), "accept")
	if told := len(got.Reasons.List()); told < 2 || told > 100 {
		t.Errorf("the message has %d reasons", told)
	}
	last := got.Recipients[1999]
	if !strings.Contains(last.Reasons.String(), "user1999@acmecorp.com has allowed @partner.example") {
		t.Errorf("the last has the reasons %s", last.Reasons)
	}
}
