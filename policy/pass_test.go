package policy_test

import (
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// released is a pass of a message that spam held at S0 for bob.
func released() seal.Pass {
	return seal.Pass{ID: "k3mf7qz2ab", Checks: []string{"spam"}, Point: verdict.S0, Until: 1000}
}

// passMark is the mark of a message with a pass.
const passMark = "Message-Id: <pass@example.net>"

// pass signs a pass for an owner, of a message with the mark.
func (w *world) pass(pass seal.Pass, owner string) string {
	return w.keys.SignPass(pass, owner, seal.MarksOf(header(passMark)))
}

func TestAPassLetsPastTheCheckThatHeldTheMessageAndPastNoOther(t *testing.T) {
	w := newWorld().checking()
	m := message{client: ourClient, from: stranger, to: []string{"Bob+x@acmecorp.com"}, findings: found(hit("spam", "s"))}
	m.pass = w.pass(released(), "bob@acmecorp.com")
	got := w.send(t, m)
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "point", got.Checkpoint.String(), "S0")
	want(t, "checks", strings.Join(got.Checks, " "), "loop virus malware")
	if reason := got.Recipients[0].Reasons.String(); !strings.Contains(reason, "spam is passed by: released from quarantine as k3mf7qz2ab") {
		t.Errorf("the reason is %q", reason)
	}
	if !strings.Contains(got.Reasons.String(), "released from quarantine as k3mf7qz2ab") {
		t.Errorf("the message's reason is %q", got.Reasons.String())
	}
	m.findings = found(hit("spam", "s"), hit("malware", "m"))
	got = w.send(t, m)
	want(t, "held by another check", got.Verdict.String(), "quarantine")
	want(t, "held by", strings.Join(got.Recipients[0].Held, " "), "malware")
	m.findings = found(hit("virus", "v"))
	want(t, "a virus", w.send(t, m).Verdict.String(), "reject")
	several := released()
	several.Checks = []string{"spam", "malware"}
	m.pass, m.findings = w.pass(several, "bob@acmecorp.com"), found(hit("spam", "s"), hit("malware", "m"))
	want(t, "held by both", w.send(t, m).Verdict.String(), "accept")
}

func TestAPassForAnotherRecipientCountsForNothing(t *testing.T) {
	w := newWorld().checking()
	pass := released()
	pass.Point = verdict.S2
	spam := found(hit("spam", "s"))
	for _, to := range [][]string{{"alice@eu.acmecorp.com"}, {"bob@acmecorp.com", "alice@eu.acmecorp.com"}} {
		got := w.send(t, message{client: internetClient, from: stranger, to: to, findings: spam, pass: w.pass(pass, "bob@acmecorp.com")})
		want(t, "verdict", got.Verdict.String(), "quarantine")
		want(t, "point", got.Checkpoint.String(), "S0")
		if strings.Contains(got.Reasons.String(), "released") {
			t.Errorf("the reason is %q", got.Reasons.String())
		}
	}
	// What is refused to outsiders at RCPT stays refused at the end.
	m := policy.Message{Entry: policy.Entry{Point: verdict.S0}, Sender: w.address(t, stranger), Header: header(passMark, seal.PassHeader+":"+w.pass(pass, "bob@acmecorp.com")), Needs: policy.Needs{Findings: spam},
		Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com"), w.recipient(t, "x@far.example")}}
	want(t, "relaying", w.decide(m).Verdict.String(), "reject")
}

func TestAPassGivesTheMessageThePointWhereItCameFirst(t *testing.T) {
	for _, c := range []struct {
		point             verdict.Checkpoint
		platform          string
		to                string
		wantPoint, wanted string
	}{
		{verdict.S0, "", "alice@acmecorp.com", "S0", "S0=>S4=>O1=>LD"},
		{verdict.S1, "google", "alice@acmecorp.com", "S1", "G2=>G3=>S1=>S4=>O1=>LD"},
		{verdict.S1, "office365", "carol@acmecorp.com", "S1", "O2=>O3=>S1=>LD"},
		{verdict.S1, "office365", "alice@acmecorp.com", "S1", ""}, // a loop is one still
		{verdict.S1, "gone", "bob@acmecorp.com", "S0", "S0=>LD"},
		{verdict.S2, "", "x@far.example", "S2", "S2=>S3=>ED"},
	} {
		w := newWorld().checking()
		pass := released()
		pass.Point, pass.Platform = c.point, c.platform
		got := w.send(t, message{client: ourClient, from: stranger, to: []string{c.to}, findings: found(), pass: w.pass(pass, c.to)})
		want(t, "point", got.Checkpoint.String(), c.wantPoint)
		want(t, "flow", got.Recipients[0].Ways.String(), c.wanted)
		if c.wantPoint == "S1" {
			want(t, "platform", got.Platform, c.platform)
		}
	}
}

func TestAReportPassesTheSpamCheck(t *testing.T) {
	w := newWorld().checking().at(verdict.S2, spam, virus)
	pass := seal.Pass{ID: seal.PassReport, Checks: []string{"spam"}, Point: verdict.S2, Until: 1000}
	m := message{client: internetClient, from: "<>", to: []string{"alice@acmecorp.com"}, findings: found(hit("spam", "s"))}
	m.pass = w.pass(pass, "alice@acmecorp.com")
	got := w.send(t, m)
	want(t, "added", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com")
	if !strings.Contains(got.Recipients[0].Reasons.String(), "spam is passed by: this is a mail of our own") {
		t.Errorf("the reason is %q", got.Recipients[0].Reasons.String())
	}
}
