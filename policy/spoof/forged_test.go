package spoof_test

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

func TestSPFAndDKIMAndDMARCTogether(t *testing.T) {
	const (
		far    = "x@far.example"
		bob    = "bob@acmecorp.com"
		bounce = "bounce@esp.example"
		own    = "reject own domain"
	)
	for _, c := range []struct {
		about        string
		sender, from string
		spf, dkim    string
		dmarc        string
		want         string
	}{
		// Alignment.
		{"RFC 7489 3.1: both pass", far, far, "pass far.example", "pass far.example", "far.example p=reject", "accept"},
		{"RFC 7489 3.1.1: DKIM alone", far, far, "fail far.example", "pass far.example", "far.example p=reject", "accept"},
		{"RFC 7489 3.1.2: SPF alone", far, far, "pass far.example", "fail far.example", "far.example p=reject", "accept"},
		{"RFC 7489 3.1.1: DKIM, relaxed, of a subdomain", bounce, far, "pass esp.example", "pass mail.far.example", "far.example p=reject", "accept"},
		{"RFC 7489 3.1.1: DKIM, relaxed, of the domain above", bounce, "x@news.far.example", "pass esp.example", "pass far.example", "news.far.example at=far.example p=reject", "accept"},
		{"RFC 7489 3.1.1: DKIM, relaxed, of a sibling", bounce, "x@a.far.example", "none", "pass b.far.example", "a.far.example at=far.example p=reject", "accept"},
		{"RFC 7489 3.1.1: DKIM, strict, of a subdomain", bounce, far, "pass esp.example", "pass mail.far.example", "far.example p=reject adkim=s", "reject DMARC"},
		{"RFC 7489 3.1.1: DKIM, strict, of the same", bounce, far, "pass esp.example", "pass far.example", "far.example p=reject adkim=s", "accept"},
		{"RFC 7489 3.1.2: SPF, relaxed, of a subdomain", "x@bounce.far.example", far, "pass bounce.far.example", "", "far.example p=reject", "accept"},
		{"RFC 7489 3.1.2: SPF, strict, of a subdomain", "x@bounce.far.example", far, "pass bounce.far.example", "", "far.example p=reject aspf=s", "reject DMARC"},
		{"RFC 7489 3.1.2: strict SPF does not make DKIM strict", "x@bounce.far.example", far, "pass bounce.far.example", "pass m.far.example", "far.example p=reject aspf=s", "accept"},
		{"RFC 7489 3.1.2: strict DKIM does not make SPF strict", "x@bounce.far.example", far, "pass bounce.far.example", "pass m.far.example", "far.example p=reject adkim=s", "accept"},
		{"RFC 7489 3.1: both pass for another", bounce, far, "pass esp.example", "pass esp.example", "far.example p=reject", "reject DMARC"},
		{"RFC 7489 3.2: a public suffix is no organisation", "x@b.co.uk", "x@a.co.uk", "pass b.co.uk", "pass b.co.uk", "a.co.uk p=reject", "reject DMARC"},
		{"RFC 7489 3.2: a signature of a public suffix", bounce, "x@a.co.uk", "none", "pass co.uk", "a.co.uk p=reject", "reject DMARC"},
		{"RFC 7489 3.2: a name that ends like another", bounce, far, "none", "pass notfar.example", "far.example p=reject", "reject DMARC"},
		{"RFC 7489 6.6.2: one signature of several", bounce, far, "none", "fail far.example, pass esp.example, pass far.example", "far.example p=reject", "accept"},
		{"RFC 7489 6.6.2: none of several", bounce, far, "none", "fail far.example, pass esp.example, permerror far.example", "far.example p=reject", "reject DMARC"},
		{"RFC 7489 4.1: HELO of the null sender", "", far, "pass mx.far.example", "", "far.example p=reject", "accept"},
		{"RFC 7208 2.6.3: a pass by softfail is none", far, far, "softfail far.example", "", "far.example p=reject", "reject DMARC"},
		{"RFC 7208 2.6.2: neutral is no pass", far, far, "neutral far.example", "", "far.example p=reject", "reject DMARC"},
		{"RFC 6376 3.9: neutral is no pass", far, far, "none", "neutral far.example", "far.example p=reject", "reject DMARC"},

		// The policy.
		{"RFC 7489 6.3: p=none", far, far, "fail far.example", "fail far.example", "far.example p=none", "accept"},
		{"RFC 7489 6.3: p=quarantine", far, far, "fail far.example", "", "far.example p=quarantine", "quarantine DMARC"},
		{"RFC 7489 6.3: p=reject", far, far, "fail far.example", "", "far.example p=reject", "reject DMARC"},
		{"RFC 7489 6.7: p=none goes before SPF's fail", far, far, "fail far.example", "", "far.example p=none", "accept"},
		{"RFC 7489 6.3: sp below", far, "x@a.far.example", "none", "", "a.far.example at=far.example p=none sp=reject", "reject DMARC"},
		{"RFC 7489 6.3: sp milder below", far, "x@a.far.example", "none", "", "a.far.example at=far.example p=reject sp=none", "accept"},
		{"RFC 7489 6.3: without sp, p holds below", far, "x@a.far.example", "none", "", "a.far.example at=far.example p=quarantine", "quarantine DMARC"},
		{"RFC 7489 6.3: sp is not for the domain itself", far, far, "none", "", "far.example p=none sp=reject", "accept"},
		{"RFC 7489 6.6.3: a record of the subdomain's own: p", far, "x@a.far.example", "none", "", "a.far.example p=none sp=reject", "accept"},
		{"RFC 9091 3.2: np of what does not exist", far, "x@no.far.example", "none", "", "no.far.example at=far.example p=none sp=none np=reject missing", "reject DMARC"},
		{"RFC 9091 3.2: np milder than sp", far, "x@no.far.example", "none", "", "no.far.example at=far.example p=reject sp=reject np=none missing", "accept"},
		{"RFC 9091 3.2: np is not for what exists", far, "x@a.far.example", "none", "", "a.far.example at=far.example sp=none np=reject", "accept"},
		{"RFC 9091 3.2: without np, sp", far, "x@no.far.example", "none", "", "no.far.example at=far.example p=none sp=quarantine missing", "quarantine DMARC"},
		{"RFC 7489 6.6.4: sampled out, reject", far, far, "none", "", "far.example p=reject pct=0", "quarantine DMARC"},
		{"RFC 7489 6.6.4: sampled out, quarantine", far, far, "none", "", "far.example p=quarantine pct=0", "accept"},

		// No record, and the DNS failing.
		{"RFC 7489 6.6.3: no record, all pass", far, far, "pass far.example", "pass far.example", "", "accept"},
		{"RFC 7489 6.6.3: no record, nothing passes", far, far, "none", "", "", "accept"},
		{"RFC 7208 8.4: fail, no record", far, far, "fail far.example", "", "", "tag SPF"},
		{"RFC 7208 8.4: fail, a record that cannot be read", far, far, "fail far.example", "", "far.example permerror", "tag SPF"},
		{"RFC 7208 8.4: fail, but signed by the author", far, far, "fail far.example", "pass far.example", "", "accept"},
		{"RFC 7208 8.4: fail, and signed by another", far, far, "fail far.example", "pass esp.example", "", "tag SPF"},
		{"RFC 7208 2.4: fail of HELO, null sender", "", far, "fail mx.far.example", "", "", "tag SPF"},
		{"RFC 7208 8.5: softfail, no record", far, far, "softfail far.example", "", "", "accept"},
		{"RFC 7208 8.2: neutral, no record", far, far, "neutral far.example", "", "", "accept"},
		{"RFC 7208 8.1: none, no record", far, far, "none far.example", "", "", "accept"},
		{"RFC 7208 8.7: permerror, no record", far, far, "permerror far.example", "", "", "accept"},
		{"RFC 7208 8.6: temperror, no record: marked at worst", far, far, "temperror far.example", "", "", "accept"},
		{"RFC 7489 6.6.2: the record could not be had", far, far, "fail far.example", "fail far.example", "far.example temperror", "accept unknown"},
		{"RFC 7489 6.6.2: the record could not be had, all pass", far, far, "pass far.example", "pass far.example", "far.example temperror", "accept"},
		{"RFC 7489 6.6.2: SPF's DNS failed", far, far, "temperror far.example", "", "far.example p=reject", "tempfail unknown"},
		{"RFC 7489 6.6.2: DKIM's DNS failed", bounce, far, "pass esp.example", "temperror far.example", "far.example p=reject", "tempfail unknown"},
		{"RFC 7489 6.6.2: DKIM's DNS failed, p=quarantine", bounce, far, "pass esp.example", "temperror far.example", "far.example p=quarantine", "tempfail unknown"},
		{"RFC 7489 6.6.2: DKIM's DNS failed, sampled out of quarantine", bounce, far, "none", "temperror far.example", "far.example p=quarantine pct=0", "accept"},
		{"RFC 7489 6.6.2: a name below the author's whose DNS fails", far, far, "fail far.example", "temperror lame.far.example", "far.example p=reject", "tempfail unknown"},
		{"RFC 7489 6.6.2: a name below the author's, strict", far, far, "fail far.example", "temperror lame.far.example", "far.example p=reject adkim=s", "reject DMARC"},
		{"RFC 7489 6.6.2: an envelope below the author's whose DNS fails", "x@lame.far.example", far, "temperror lame.far.example", "", "far.example p=reject", "tempfail unknown"},
		{"RFC 7489 6.6.2: the DNS of another failed", bounce, far, "temperror esp.example", "temperror esp.example", "far.example p=reject", "reject DMARC"},
		{"RFC 7489 6.6.2: DKIM's DNS failed, SPF passes", far, far, "pass far.example", "temperror far.example", "far.example p=reject", "accept"},
		{"RFC 7489 6.6.2: the DNS failed, p=none", far, far, "temperror far.example", "", "far.example p=none", "accept"},
		{"RFC 7489 6.6.3: an author whose record nobody looked for", far, far, "none", "", "other.example p=none; far.example temperror", "accept unknown"},
		{"RFC 5321 4.1.3: an address literal has no policy", "x@[192.0.2.1]", "x@[192.0.2.1]", "none", "", "", "accept"},

		// Our own domains.
		{"RFC 7489 3.1.2: ours, SPF", bob, bob, "pass acmecorp.com", "", "", "accept"},
		{"RFC 7489 3.1.1: ours, DKIM", bounce, bob, "fail esp.example", "pass acmecorp.com", "", "accept"},
		{"RFC 7489 3.1.1: ours, DKIM of a subdomain", bounce, bob, "none", "pass m.acmecorp.com", "", "accept"},
		{"RFC 7489 3.1.1: ours, strict, DKIM of a subdomain", bounce, bob, "none", "pass m.acmecorp.com", "acmecorp.com p=none adkim=s", own},
		{"RFC 7489 6.7: ours, nothing passes, no record", bob, bob, "none", "", "", own},
		{"RFC 7489 6.7: ours, p=none", bob, bob, "softfail acmecorp.com", "", "acmecorp.com p=none", own},
		{"RFC 7489 6.7: ours, pct=0", bob, bob, "softfail acmecorp.com", "", "acmecorp.com p=reject pct=0", own},
		{"RFC 7489 3.1: ours as author, a stranger's envelope", bounce, bob, "pass esp.example", "pass esp.example", "", own},
		{"RFC 7489 3.1: ours as author, the null sender", "", bob, "pass mx.esp.example", "", "", own},
		{"RFC 7208 2.4: ours as envelope sender, a foreign author", bob, far, "softfail acmecorp.com", "pass far.example", "far.example p=reject", own},
		{"RFC 7208 2.4: ours as envelope sender, SPF", bob, far, "pass acmecorp.com", "", "", "accept"},
		{"RFC 6376 6.1: ours as envelope sender, DKIM of ours", bob, far, "fail acmecorp.com", "pass acmecorp.com, pass far.example", "far.example p=reject", "accept"},
		{"RFC 7489 6.6.2: ours, SPF's DNS failed", bob, bob, "temperror acmecorp.com", "", "", "tempfail unknown"},
		{"RFC 7489 6.6.2: ours, DKIM's DNS failed", bounce, bob, "fail esp.example", "temperror acmecorp.com", "", "tempfail unknown"},
		{"RFC 7489 6.6.2: ours, the DNS of another failed", bounce, bob, "temperror esp.example", "temperror esp.example", "", own},
		{"RFC 7489 6.6.2: ours, its policy could not be had", bob, bob, "none", "", "acmecorp.com temperror", own},
		{"RFC 7208 8.7: ours, permerror", bob, bob, "permerror acmecorp.com", "", "", own},
		{"RFC 7489 3.2: ours, of another domain of ours", bob, bob, "none", "pass acme.net", "", own},
		{"RFC 7489 3.2: a subdomain of ours without a record", "x@no.acmecorp.com", "x@no.acmecorp.com", "none", "", "", own},
		{"RFC 7489 3.2: a subdomain of ours, signed", bounce, "x@no.acmecorp.com", "none", "pass acmecorp.com", "", "accept"},
		{"RFC 7489 3.2: an alternate domain", "x@acmecorp-com.onmicrosoft.com", "x@acmecorp-com.onmicrosoft.com", "none", "", "", own},
		{"RFC 7489 3.2: an alternate domain, signed", bounce, "x@acmecorp-com.onmicrosoft.com", "none", "pass acmecorp-com.onmicrosoft.com", "", "accept"},
		{"RFC 7489 3.2: an alternate domain, by its platform's other tenant", bounce, "x@acmecorp-com.onmicrosoft.com", "pass evil.onmicrosoft.com", "pass evil.onmicrosoft.com", "", own},
		{"RFC 7489 3.2: an alternate domain below ours", bounce, "x@gapps.acmecorp.com", "none", "pass acmecorp.com", "", "accept"},
		{"RFC 5321 4.1.1.2: an envelope sender without a domain", "bob", far, "pass", "pass far.example", "", own},
		{"RFC 6376 6.1: a service by DKIM", bounce, bob, "pass esp.example", "pass mailing.example", "", "accept"},
		{"RFC 6376 6.1: a service by DKIM of a subdomain", bounce, bob, "pass esp.example", "pass eu.mailing.example", "", "accept"},
		{"RFC 7208 2.6.3: a service by SPF", "b@mailing.example", bob, "pass mailing.example", "", "", "accept"},
		{"RFC 6376 6.1: what ends like a service", bounce, bob, "none", "pass notmailing.example", "", own},
		{"RFC 6376 6.1: a service's signature that fails", bounce, bob, "none", "fail mailing.example", "", own},
		{"RFC 6376 6.1: a service, the DNS failed", bounce, bob, "none", "temperror mailing.example", "", "tempfail unknown"},
	} {
		t.Run(c.about, func(t *testing.T) {
			w := newWorld()
			authors := writtenBy(t, c.from)
			m := w.fromOutside(t, internetClient, c.sender, authors, readAuthentication(t, c.spf, c.dkim, c.dmarc, authors))
			want(t, "the outcome", w.outcome(t, m), c.want)
		})
	}
}

func TestEveryAuthorIsJudgedAndTheStrictestCounts(t *testing.T) {
	for _, c := range []struct {
		about             string
		from              string
		spf, dkim, dmarc  string
		want, alsoReasons string
	}{
		{"RFC 7489 6.6.1: reject and quarantine", "x@a.example y@b.example", "none", "", "a.example p=quarantine; b.example p=reject", "reject DMARC", "a.example"},
		{"RFC 7489 6.6.1: one of two passes", "x@a.example y@b.example", "none", "pass a.example", "a.example p=reject; b.example p=reject", "reject DMARC", "b.example"},
		{"RFC 7489 6.6.1: both pass", "x@a.example y@b.example", "none", "pass a.example, pass b.example", "a.example p=reject; b.example p=reject", "accept", ""},
		{"RFC 7489 6.6.1: unknown and quarantine", "x@a.example y@b.example", "none", "", "a.example temperror; b.example p=quarantine", "quarantine unknown", "b.example"},
		{"RFC 7489 6.6.1: unknown and reject", "x@a.example y@b.example", "none", "", "a.example temperror; b.example p=reject", "reject DMARC", "a.example"},
		{"RFC 7489 6.6.1: unproved and quarantine", "x@a.example y@b.example", "none", "temperror a.example", "a.example p=reject; b.example p=quarantine", "tempfail unknown", "b.example"},
		{"RFC 7489 6.6.1: unproved and reject", "x@a.example y@b.example", "none", "temperror a.example", "a.example p=reject; b.example p=reject", "reject DMARC", "a.example"},
		{"RFC 7489 6.6.1: unproved beside a policy that could not be had", "x@b.example y@a.example", "none", "temperror a.example", "a.example p=reject; b.example temperror", "tempfail unknown", "b.example"},
		{"RFC 7489 6.6.1: ours beside a stranger that passes", "x@a.example bob@acmecorp.com", "pass a.example", "pass a.example", "", "reject own domain", "acmecorp.com"},
		{"RFC 7489 6.6.1: four domains", "x@a.example x@b.example x@c.example x@d.example", "none", "", "", "accept", ""},
		{"RFC 7489 6.6.1: five domains", "x@a.example x@b.example x@c.example x@d.example x@e.example", "none", "", "", "reject many authors", "5 domains"},
		{"RFC 5322 3.6.2: many mailboxes of one domain", "a@a.example b@a.example c@a.example d@a.example e@a.example", "none", "pass a.example", "a.example p=reject", "accept", ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			w := newWorld()
			authors := writtenBy(t, strings.Fields(c.from)...)
			m := w.fromOutside(t, internetClient, "", authors, readAuthentication(t, c.spf, c.dkim, c.dmarc, authors))
			want(t, "the outcome", w.outcome(t, m), c.want)
			if why := w.find(m).Reasons.String(); !strings.Contains(why, c.alsoReasons) {
				t.Errorf("the reason %q does not name %s", why, c.alsoReasons)
			}
		})
	}
}

func TestAMailingServiceMaySendInOurNameFromItsNetworks(t *testing.T) {
	w := newWorld()
	authors := writtenBy(t, "bob@acmecorp.com")
	nothing := readAuthentication(t, "none", "", "", authors)
	want(t, "with the DNS", w.outcome(t, w.fromOutside(t, serviceClient, "b@esp.example", authors, nothing)), "accept")
	want(t, "a bare envelope sender", w.outcome(t, w.fromOutside(t, serviceClient, "cron", authors, nothing)), "accept")
	want(t, "without the DNS", w.outcome(t, w.fromOutside(t, serviceClient, "b@esp.example", authors, nil)), "accept unknown")
	far := writtenBy(t, "x@far.example")
	want(t, "in a stranger's name", w.outcome(t, w.fromOutside(t, serviceClient, "", far, readAuthentication(t, "none", "", "far.example p=reject", far))), "reject DMARC")
}

func TestWithoutTheDNSOurOwnDomainIsPutOff(t *testing.T) {
	w := newWorld()
	want(t, "ours", w.outcome(t, w.fromOutside(t, internetClient, "", writtenBy(t, "bob@acmecorp.com"), nil)), "tempfail unknown")
	want(t, "ours as envelope sender", w.outcome(t, w.fromOutside(t, internetClient, "bob@acmecorp.com", writtenBy(t, "x@far.example"), nil)), "tempfail unknown")
	want(t, "a stranger's", w.outcome(t, w.fromOutside(t, internetClient, "", writtenBy(t, "x@far.example"), nil)), "accept unknown")
	several := writtenBy(t, "x@far.example")
	several.Fields = 2
	want(t, "what needs no DNS", w.outcome(t, w.fromOutside(t, internetClient, "", several, nil)), "reject several From fields")
}

// Every tenant of a platform passes SPF for a domain whose record names it.
func TestSPFDoesNotProveOursForAnotherTenantOfOurPlatform(t *testing.T) {
	for _, c := range []struct{ about, spf, dkim, want string }{
		{"SPF alone", "pass acmecorp.com", "", "reject own domain"},
		{"SPF of a service that sends from there", "pass mailing.example", "", "reject own domain"},
		{"SPF's DNS failing", "temperror acmecorp.com", "", "reject own domain"},
		{"DKIM", "pass acmecorp.com", "pass acmecorp.com", "accept"},
		{"a service's DKIM", "pass acmecorp.com", "pass mailing.example", "accept"},
	} {
		w := newWorld()
		authors := writtenBy(t, "bob@acmecorp.com")
		m := w.fromOutside(t, officeClient, "bob@acmecorp.com", authors, readAuthentication(t, c.spf, c.dkim, "", authors))
		want(t, c.about, w.outcome(t, m), c.want)
	}
	w := newWorld()
	authors := writtenBy(t, "x@far.example")
	m := w.fromOutside(t, officeClient, "x@far.example", authors, readAuthentication(t, "pass far.example", "", "far.example p=reject", authors))
	want(t, "a stranger's domain there", w.outcome(t, m), "accept")
	authors = writtenBy(t, "bob@acmecorp.com")
	m = w.fromOutside(t, officeClient, "bob@acmecorp.com", authors, readAuthentication(t, "pass acmecorp.com", "", "", authors))
	m.Shared = false
	want(t, "where no tenant can prove himself", w.outcome(t, m), "accept")
}

func TestTheClientIsToldWhichProofIsMissing(t *testing.T) {
	for _, c := range []struct {
		from, spf, record string
		fields            int
		want              string
	}{
		{"bob@acmecorp.com", "none", "", 1, "550 5.7.26 Neither SPF nor DKIM proves that the message is from acmecorp.com"},
		{"x@far.example", "none", "far.example p=reject", 1, "550 5.7.26 The message fails the DMARC policy of far.example"},
		{"x@far.example", "fail far.example", "", 1, "550 5.7.23 SPF validation failed for far.example"},
		{"x@far.example", "none", "", 2, "550 5.6.0 The message has several From fields"},
	} {
		w := newWorld()
		w.SPF = verdict.Reject
		authors := writtenBy(t, c.from)
		authors.Fields = c.fields
		m := w.fromOutside(t, internetClient, "", authors, readAuthentication(t, c.spf, "", c.record, authors))
		want(t, c.from, w.reply(m), c.want)
	}
}

func TestTheReasonIsBounded(t *testing.T) {
	w := newWorld()
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4)
	authors := writtenBy(t, "x@"+long+"b", "x@"+long+"c", "x@"+long+"d", "bob@acmecorp.com")
	a := readAuthentication(t, "none "+long+"e", strings.Repeat("fail "+long+"e, ", 10)+"fail "+long+"e",
		long+"b p=reject; "+long+"c p=reject; "+long+"d p=reject", authors)
	f := w.find(w.fromOutside(t, internetClient, "x@"+long+"e", authors, a))
	if why := f.Reasons.String(); len(why) > 4096 || !strings.Contains(why, "8 signatures more") {
		t.Errorf("the reason has %d bytes: %s", len(why), why)
	}
	if reply := f.Reply(verdict.Reject); len(reply.Text) > 250 {
		t.Errorf("the reply has %d bytes", len(reply.Text))
	}
}

func TestTricksFromOutside(t *testing.T) {
	const evil = "x@evil.example"
	for _, c := range []struct {
		about  string
		edit   func(w *world, a *spoof.Authors)
		sender string
		spf    string
		want   string
	}{
		{"two From fields, the second ours", func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, evil, "ceo@acmecorp.com")
			a.Fields = 2
		}, evil, "pass evil.example", "reject several From fields, own domain"},
		{"two From fields, both a stranger's", func(w *world, a *spoof.Authors) { a.Fields = 2 }, evil, "pass evil.example", "reject several From fields"},
		{"no From field", func(w *world, a *spoof.Authors) { *a = spoof.Authors{} }, evil, "pass evil.example", "tag no author"},
		{"no From field, SPF fails", func(w *world, a *spoof.Authors) { *a = spoof.Authors{} }, evil, "fail evil.example", "tag no author, SPF"},
		{"an empty group", func(w *world, a *spoof.Authors) { a.From = nil }, evil, "pass evil.example", "tag no author"},
		{"a group with ours in it", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "Board <ceo@acmecorp.com>") }, evil, "pass evil.example", "reject own domain"},
		{"ours before a stranger's mailbox", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@acmecorp.com", evil) }, evil, "pass evil.example", "reject own domain"},
		{"a comment that names ours", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@acmecorp.com <x@evil.example>") }, evil, "pass evil.example", "tag look-alike"},
		{"the display name trick, in quotes", func(w *world, a *spoof.Authors) { *a = writtenBy(t, `'ceo@AcmeCorp.com' <x@evil.example>`) }, evil, "pass evil.example", "tag look-alike"},
		{"the display name trick, fullwidth", func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "ceo＠ａｃｍｅｃｏｒｐ．ｃｏｍ <x@evil.example>")
		}, evil, "pass evil.example", "tag look-alike"},
		{"the display name trick, with a character that is not seen", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@acme\u200bcorp.com <x@evil.example>") }, evil, "pass evil.example", "tag look-alike"},
		{"ours in a quoted local part", func(w *world, a *spoof.Authors) { *a = writtenBy(t, `"ceo@acmecorp.com"@evil.example`) }, evil, "pass evil.example", "tag look-alike"},
		{"a homoglyph of ours", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@аcmecorp.com") }, evil, "pass evil.example", "tag look-alike"},
		{"ours in front of another domain", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@acmecorp.com.evil.example") }, evil, "pass evil.example", "tag look-alike"},
		{"ours in capitals", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@ACMECORP.COM") }, evil, "pass evil.example", "reject own domain"},
		{"ours with a final dot", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@acmecorp.com.") }, evil, "pass evil.example", "reject own domain"},
		{"ours in fullwidth letters", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@ａｃｍｅｃｏｒｐ.com") }, evil, "pass evil.example", "reject own domain"},
		{"a subdomain of ours without a record", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@hr.acmecorp.com") }, evil, "pass evil.example", "reject own domain"},
		{"the null sender", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo@acmecorp.com") }, "", "pass mx.evil.example", "reject own domain"},
		{"ours as envelope sender only", func(w *world, a *spoof.Authors) {}, "ceo@acmecorp.com", "fail acmecorp.com", "reject own domain"},
		{"an envelope sender without a domain", func(w *world, a *spoof.Authors) {}, "root", "none", "reject own domain"},
		{"an author without a domain", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "ceo") }, evil, "pass evil.example", "tag author without domain"},
		{"a From field that cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: "<x@evil.example> <y@evil.example>"}
		}, evil, "pass evil.example", "tag unreadable author"},
		{"more authors than are read", func(w *world, a *spoof.Authors) { a.Broken, a.Unread = "more than is read", true }, evil, "pass evil.example", "reject many authors, unreadable author"},
		{"two addresses in brackets, one ours", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: "<ceo@acmecorp.com> <x@evil.example>"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"a source route through ours", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "a route", Text: "<@acmecorp.com:x@evil.example>"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"ours at the end of a name of more bytes than its A-labels have, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: "<ceo@" + strings.Repeat(strings.Repeat("日", 40)+".", 3) + "acmecorp.com> <x@evil.example>"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"ours behind comments that hold an @, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "a comment", Text: strings.Repeat("x@(", 2000) + ") (@) acmecorp.com"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"ours behind a comment that does not end, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "a comment", Text: "x@(acmecorp.com"}
		}, evil, "pass evil.example", "tag unreadable author"},
		{"ours behind more domains than are looked at, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: addresses(201) + "ceo@acmecorp.com"}
		}, evil, "pass evil.example", "reject unreadable author, many authors"},
		{"as many domains as are asked for their policy, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: addresses(4) + addresses(4)}
		}, evil, "pass evil.example", "tag unreadable author"},
		{"one more, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: addresses(5)}
		}, evil, "pass evil.example", "reject unreadable author, many authors"},
		{"mailboxes and text that name as many together, of a field that cannot be read", func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "x@d0.example", "x@d4.example")
			a.Broken, a.Text = "two angle brackets", addresses(4)
		}, evil, "pass evil.example", "reject unreadable author, many authors"},
		{"ours last of as many as are looked at, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: addresses(199) + "ceo@acmecorp.com"}
		}, evil, "pass evil.example", "reject unreadable author, own domain, many authors"},
		{"ours turned by an override, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: "<\u202emoc.procemca@oec\u202c> <x@evil.example>"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"more turns within each other than programs heed, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: strings.Repeat("\u202e", 64) + "x"}
		}, evil, "pass evil.example", "reject unreadable author, many authors"},
		{"a subdomain of ours with an underscore, in what cannot be read", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "two angle brackets", Text: "<ceo@a_b.acmecorp.com> <x@evil.example>"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"NUL in our domain", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "NUL", Text: "ceo@acme\x00corp.com"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"a folded field, with a comment behind the @", func(w *world, a *spoof.Authors) {
			*a = spoof.Authors{Fields: 1, Broken: "a comment", Text: "ceo@ \t(hello) (you) acmecorp.com"}
		}, evil, "pass evil.example", "reject unreadable author, own domain"},
		{"a Sender field of ours", func(w *world, a *spoof.Authors) { a.Sender = writtenBy(t, "ceo@acmecorp.com").From }, evil, "pass evil.example", "tag own domain as Sender"},
		{"a Sender field beside the display name trick", func(w *world, a *spoof.Authors) {
			a.Sender = writtenBy(t, "ceo@acmecorp.com <y@evil.example>").From
		}, evil, "pass evil.example", "tag look-alike"},
		// Resent fields are no part of the facts: they lend nothing.
		{"our Resent-From beside a stranger's From", func(w *world, a *spoof.Authors) {}, evil, "pass evil.example", "accept"},
		{"an honest stranger", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "X of Evil, Inc. <x@evil.example>") }, evil, "pass evil.example", "accept"},
		{"a bounce of the mail system, which names no domain", daemon("MAILER-DAEMON", ""), "", "pass mx.evil.example", "accept"},
		{"a bounce of the mail system in another case, with its name", daemon("Mailer-Daemon", "Mail Delivery System"), "", "pass mx.evil.example", "accept"},
		{"a bounce of the mail system that names ours", daemon("MAILER-DAEMON", "ceo@acmecorp.com"), "", "pass mx.evil.example", "tag look-alike"},
		{"a bounce of the mail system from a client that SPF refuses", daemon("MAILER-DAEMON", ""), "", "fail mx.evil.example", "tag SPF"},
		{"a bounce of the mail system and of another without a domain", func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "MAILER-DAEMON", "ceo")
		}, "", "pass mx.evil.example", "tag author without domain"},
		{"no bounce, by the mail system", daemon("MAILER-DAEMON", ""), evil, "pass evil.example", "tag author without domain"},
	} {
		t.Run(c.about, func(t *testing.T) {
			w := newWorld()
			authors := writtenBy(t, evil)
			c.edit(w, &authors)
			m := w.fromOutside(t, internetClient, c.sender, authors, readAuthentication(t, c.spf, "pass evil.example", "", authors))
			want(t, "the outcome", w.outcome(t, m), c.want)
		})
	}
}

// daemon names the mail system as the author, without a domain.
func daemon(local, display string) func(w *world, a *spoof.Authors) {
	return func(w *world, a *spoof.Authors) {
		address, _ := mail.ParseAddress(local, "")
		*a = spoof.Authors{Fields: 1, From: []spoof.Author{{Address: address, Display: display}}}
	}
}

func TestTheDomainsThatAnUnreadableFromNamesHaveTheirPolicy(t *testing.T) {
	const evil, own = "x@evil.example", "reject unreadable author, own domain"
	for _, c := range []struct{ about, text, spf, dkim, dmarc, want string }{
		{"no policy", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "", "", "tag unreadable author"},
		{"p=reject", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "", "bank.example p=reject", "reject unreadable author, DMARC"},
		{"p=quarantine", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "", "bank.example p=quarantine", "quarantine unreadable author, DMARC"},
		{"p=none", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "", "bank.example p=none", "tag unreadable author"},
		{"the organisation's", "<ceo@eu.bank.example> <x@evil.example>", "pass evil.example", "", "eu.bank.example at=bank.example sp=reject", "reject unreadable author, DMARC"},
		{"p=reject, proven", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "pass bank.example", "bank.example p=reject", "tag unreadable author"},
		{"p=reject of the one that is proven", "<x@evil.example> x", "pass evil.example", "", "evil.example p=reject", "tag unreadable author"},
		{"behind an @ with a space and a comment", "ceo@ (the bank) bank.example and more", "pass evil.example", "", "bank.example p=reject", "reject unreadable author, DMARC"},
		{"behind no @", "the CEO of bank.example, x", "pass evil.example", "", "bank.example p=reject", "tag unreadable author"},
		{"turned by an override", "<\u202eelpmaxe.knab@oec\u202c> <x@evil.example>", "pass evil.example", "", "bank.example p=reject", "reject unreadable author, DMARC"},
		{"p=reject, a key that the DNS keeps", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "temperror bank.example", "bank.example p=reject", "tempfail unknown"},
		{"the DNS keeps the policy", "<ceo@bank.example> <x@evil.example>", "pass evil.example", "", "bank.example temperror", "tag unknown"},
		{"no policy, SPF fails", "<ceo@bank.example> <x@evil.example>", "fail evil.example", "", "", "tag unreadable author, SPF"},
		{"beside ours", "<ceo@bank.example> <ceo@acmecorp.com>", "pass evil.example", "", "bank.example p=reject", "reject unreadable author, own domain, DMARC"},
		{"ours, whatever it publishes", "<ceo@acmecorp.com> x", "pass evil.example", "", "acmecorp.com p=none", own},
	} {
		w := newWorld()
		authors := spoof.Authors{Fields: 1, Broken: "it cannot be read", Text: c.text}
		m := w.fromOutside(t, internetClient, evil, authors, readAuthentication(t, c.spf, c.dkim, c.dmarc, authors))
		want(t, c.about, w.outcome(t, m), c.want)
	}
}

// addresses are so many of different domains, with spaces behind them.
func addresses(many int) string {
	var b strings.Builder
	for i := range many {
		fmt.Fprintf(&b, "x@d%d.example ", i)
	}
	return b.String()
}

func FuzzForged(f *testing.F) {
	f.Add("ceo@acmecorp.com", "evil.example", "acmecorp.com", "x@evil.example", uint8(1))
	f.Add("ceo@(", "xn--acmcorp-6pf.com", "[192.0.2.1]", "@acmecorp.com", uint8(5))
	f.Add("@@@((", "", ".", "bob", uint8(0x45))
	f.Fuzz(func(t *testing.T, text, domain, signer, from string, state uint8) {
		w := newWorld()
		address, err := mail.ParseAddress(from, w.delimiters)
		if err != nil {
			address = mail.Address{}
		}
		author := spoof.Author{Address: address, Display: text}
		authors := spoof.Authors{Fields: int(state % 3), From: []spoof.Author{author}, Sender: []spoof.Author{author}, Text: text}
		if state&4 != 0 {
			authors.Broken = text
		}
		result := spoof.AuthResult(state >> 4 % 7)
		a := &spoof.Authentication{
			SPF:   spoof.SPF{Result: result, Domain: domain},
			DKIM:  []spoof.DKIM{{Result: result, Domain: signer}},
			DMARC: []spoof.DMARC{{Domain: address.Domain, At: domain, Lookup: result, Policy: verdict.Reject, Percent: int(state)}},
		}
		m := w.fromOutside(t, internetClient, "", authors, a)
		first, again := w.find(m), w.find(m)
		if follows(first) != follows(again) || first.Reasons.String() != again.Reasons.String() {
			t.Errorf("decided twice: %q and %q", first.Reasons, again.Reasons)
		}
		if d, ok := w.routes.Domains[address.Domain]; ok && d != nil && result != spoof.AuthPass && follows(first) < verdict.Tempfail {
			t.Errorf("%q has no proof and is let in", from)
		}
	})
}

func TestTheStrictestObjectionIsNamedFirst(t *testing.T) {
	w := newWorld()
	authors := writtenBy(t, "ceo@acmecorp.com <x@evil.example>", "y@far.example", "bob@acmecorp.com")
	f := w.find(w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "far.example p=quarantine", authors)))
	want(t, "the name", f.Name, "own domain, DMARC, look-alike")
	want(t, "the reasons", f.Reasons.String(), "the From field names acmecorp.com, which is ours, without proof: SPF none for no domain, DKIM none; "+
		"it fails the policy of far.example: SPF none for no domain, DKIM none; "+
		"the text beside the address x@evil.example names acmecorp.com, which is ours")
	want(t, "the reply", f.Reply(verdict.Reject).String(), "550 5.7.26 Neither SPF nor DKIM proves that the message is from acmecorp.com")

	// Behind milder ones it is first as well.
	authors = writtenBy(t, "x@far.example")
	authors.Fields, authors.Broken = 0, "it has a bracket"
	f = w.find(w.fromOutside(t, internetClient, "bob@acmecorp.com", authors, readAuthentication(t, "none", "", "", authors)))
	want(t, "the names", f.Name, "no author, unreadable author, own domain")
	want(t, "the reasons", f.Reasons.String(), "the envelope sender names acmecorp.com, which is ours, without proof: SPF none for no domain, DKIM none; "+
		"the header has no From field; the authors cannot be read: it has a bracket")
}

func TestAPlatformsMessageWithoutAnyProofCannotBeTold(t *testing.T) {
	w := newWorld()
	ask := func(from, sender string, a *spoof.Authentication) string {
		q := w.fromOutside(t, officeClient, sender, writtenBy(t, from), a)
		q.Unproven = []string{"office365"}
		return w.outcome(t, q)
	}
	none := readAuthentication(t, "pass acmecorp.com", "", "", writtenBy(t, "x@far.example"))
	want(t, "ours", ask("bob@acmecorp.com", "", none), "tempfail unknown")
	want(t, "ours in the envelope", ask("x@far.example", "bob@acmecorp.com", none), "tempfail unknown")
	want(t, "a stranger's", ask("x@far.example", "x@far.example", none), "accept")
	want(t, "an envelope without a domain", ask("x@far.example", "root", none), "reject own domain")
	want(t, "signed", ask("bob@acmecorp.com", "", readAuthentication(t, "none", "pass acmecorp.com", "", writtenBy(t, "bob@acmecorp.com"))), "accept")
}

func TestAtAPlatformOnlyTheDomainsThatItHasNoMailboxesOfAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		sender, from, platform, dkim string
		borrows                      bool
		want                         string
	}{
		{"", "bob@acmecorp.com", "office365", "", false, "accept"},
		{"", "x@gapps.acmecorp.com", "office365", "", false, "accept"},
		{"", "x@far.example", "office365", "", false, "accept"},
		{"root", "x@far.example", "office365", "", false, "accept"},
		{"", "x@acme.net", "office365", "", false, "accept"},
		{"", "x@acme.net", "google", "", true, "reject own domain"},
		{"x@acme.net", "x@far.example", "google", "", true, "reject own domain"},
		{"", "x@acme.net", "google", "acme.net", true, "accept"},
		{"", "x@acme.net", "google", "acmecorp.com", true, "reject own domain"},
		{"", "x@acme-net.onmicrosoft.com", "google", "", true, "reject own domain"},
		{"", "x@acmecorp-com.onmicrosoft.com", "google", "", false, "accept"},
		{"", "x@acmecorp.mail.onmicrosoft.com", "office365", "", false, "accept"},
		{"", "x@acmecorp.mail.onmicrosoft.com", "google", "", true, "reject own domain"},
		{"", "x@eu.acmecorp.com", "google", "mailing.example", true, "accept"},
	} {
		w := newWorld()
		dkim := ""
		if c.dkim != "" {
			dkim = "pass " + c.dkim
		}
		authors := writtenBy(t, c.from).Read()
		q := w.fromOutside(t, officeClient, c.sender, authors, readAuthentication(t, "pass acme.net", dkim, "", authors))
		q.Platform = c.platform
		about := fmt.Sprintf("%q, From %s at %s, signed by %q", c.sender, c.from, c.platform, c.dkim)
		if got := w.Borrows(&q.Facts); got != c.borrows {
			t.Errorf("%s: borrows is %v", about, got)
		}
		want(t, about, w.outcome(t, q), c.want)
	}
}
