package policy_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
)

// released is a pass of a message that spam held at S0 for bob.
func released() policy.Pass {
	return policy.Pass{ID: "k3mf7qz2ab", Checks: []string{"spam"}, Point: policy.S0, Until: 1000}
}

var itsMarks = policy.Marks(func(name string) []string { return []string{"the message's " + name} })

func TestAPassHoldsForItsMessageUntilItsTime(t *testing.T) {
	w := newWorld()
	pass := released()
	value := w.SignPass(pass, "bob@acmecorp.com", itsMarks)
	others := policy.Marks(func(name string) []string { return []string{"another's " + name} })
	foreign := newWorld()
	foreign.TraceKey = []byte("the key of somebody else")
	trace := w.send(t, mail{client: ourClient, from: stranger, to: []string{"alice@acmecorp.com"}}).Trace
	forged := strings.Replace(value, value[strings.Index(value, "sig=")+4:], strings.Repeat("A", 22), 1)
	for _, c := range []struct {
		about  string
		w      *world
		values []string
		marks  []string
		now    int64
		want   bool
	}{
		{"genuine", w, []string{value}, itsMarks, 999, true},
		{"in its last second", w, []string{value}, itsMarks, 1000, true},
		{"expired", w, []string{value}, itsMarks, 1001, false},
		{"none", w, nil, itsMarks, 0, false},
		{"folded otherwise", w, []string{strings.ReplaceAll(strings.ReplaceAll(value, "\n\t", "\r\n  "), "; ", ";\t")}, itsMarks, 0, true},
		{"behind others", w, []string{"", "v=1; sig=", forged, value}, itsMarks, 0, true},
		{"behind too many others", w, append(slices.Repeat([]string{forged}, 4), value), itsMarks, 0, false},
		{"of a message that has got further marks", w, []string{value}, append([]string{"a new one"}, itsMarks...), 0, true},
		{"another message's", w, []string{value}, others, 0, false},
		{"of a message without marks", w, []string{value}, nil, 0, false},
		{"another system's", foreign, []string{value}, itsMarks, 0, false},
		{"forged", w, []string{forged}, itsMarks, 0, false},
		{"unsigned", w, []string{value[:strings.Index(value, "sig=")]}, itsMarks, 0, false},
		{"with more checks", w, []string{strings.Replace(value, "checks=spam", "checks=spam,virus", 1)}, itsMarks, 0, false},
		{"with a later end", w, []string{strings.Replace(value, "until=1000", "until=9000", 1)}, itsMarks, 0, false},
		{"for another point", w, []string{strings.Replace(value, "point=S0", "point=S2", 1)}, itsMarks, 0, false},
		{"a trace", w, []string{trace}, nil, 0, false},
	} {
		got, ok := c.w.OpenPass(c.values, c.marks, c.now)
		if ok != c.want {
			t.Errorf("%s: the pass holds: %v", c.about, ok)
		}
		if ok && (got.ID != pass.ID || !slices.Equal(got.Checks, pass.Checks) || got.Point != pass.Point || got.Until != pass.Until) {
			t.Errorf("%s: the pass is %+v", c.about, got)
		}
	}
}

// open signs a pass for an owner and opens it.
func (w *world) open(t *testing.T, pass policy.Pass, owner string) *policy.Pass {
	t.Helper()
	opened, ok := w.OpenPass([]string{w.SignPass(pass, owner, itsMarks)}, itsMarks, pass.Until)
	if !ok {
		t.Fatalf("the pass %+v does not hold", pass)
	}
	return &opened
}

func TestAPassLetsPastTheCheckThatHeldTheMessageAndPastNoOther(t *testing.T) {
	w := newWorld().checking()
	m := mail{client: ourClient, from: stranger, to: []string{"Bob+x@acmecorp.com"}, findings: found(hit("spam", "s"))}
	m.pass = w.open(t, released(), "bob@acmecorp.com")
	got := w.send(t, m)
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "point", got.Checkpoint.String(), "S0")
	want(t, "checks", strings.Join(got.Checks, " "), "loop virus malware")
	if reason := got.Recipients[0].Reason; !strings.Contains(reason, "spam is passed by: released from quarantine as k3mf7qz2ab") {
		t.Errorf("the reason is %q", reason)
	}
	if !strings.Contains(got.Reason, "released from quarantine as k3mf7qz2ab") {
		t.Errorf("the message's reason is %q", got.Reason)
	}
	m.findings = found(hit("spam", "s"), hit("malware", "m"))
	got = w.send(t, m)
	want(t, "held by another check", got.Verdict.String(), "quarantine")
	want(t, "held by", strings.Join(got.Recipients[0].Held, " "), "malware")
	m.findings = found(hit("virus", "v"))
	want(t, "a virus", w.send(t, m).Verdict.String(), "reject")
	several := released()
	several.Checks = []string{"spam", "malware"}
	m.pass, m.findings = w.open(t, several, "bob@acmecorp.com"), found(hit("spam", "s"), hit("malware", "m"))
	want(t, "held by both", w.send(t, m).Verdict.String(), "accept")
}

func TestAPassForAnotherRecipientCountsForNothing(t *testing.T) {
	w := newWorld().checking()
	pass := released()
	pass.Point = policy.S2
	spam := found(hit("spam", "s"))
	for _, to := range [][]string{{"alice@eu.acmecorp.com"}, {"bob@acmecorp.com", "alice@eu.acmecorp.com"}} {
		got := w.send(t, mail{client: internetClient, from: stranger, to: to, findings: spam, pass: w.open(t, pass, "bob@acmecorp.com")})
		want(t, "verdict", got.Verdict.String(), "quarantine")
		want(t, "point", got.Checkpoint.String(), "S0")
		if strings.Contains(got.Reason, "released") {
			t.Errorf("the reason is %q", got.Reason)
		}
	}
	// What is refused to outsiders at RCPT stays refused at the end.
	m := policy.Message{Entry: policy.Entry{Point: policy.S0}, Sender: w.address(t, stranger), Findings: spam, Pass: w.open(t, pass, "bob@acmecorp.com"),
		Recipients: []policy.Recipient{w.recipient(t, "bob@acmecorp.com"), w.recipient(t, "x@far.example")}}
	want(t, "relaying", w.Decide(m).Verdict.String(), "reject")
}

func TestAPassGivesTheMessageThePointWhereItCameFirst(t *testing.T) {
	for _, c := range []struct {
		point             policy.Checkpoint
		platform          string
		to                string
		wantPoint, wanted string
	}{
		{policy.S0, "", "alice@acmecorp.com", "S0", "S0=>S4=>O1=>LD"},
		{policy.S1, "google", "alice@acmecorp.com", "S1", "G2=>G3=>S1=>S4=>O1=>LD"},
		{policy.S1, "office365", "carol@acmecorp.com", "S1", "O2=>O3=>S1=>LD"},
		{policy.S1, "office365", "alice@acmecorp.com", "S1", ""}, // a loop is one still
		{policy.S1, "gone", "bob@acmecorp.com", "S0", "S0=>LD"},
		{policy.S2, "", "x@far.example", "S2", "S2=>S3=>ED"},
	} {
		w := newWorld().checking()
		pass := released()
		pass.Point, pass.Platform = c.point, c.platform
		got := w.send(t, mail{client: ourClient, from: stranger, to: []string{c.to}, findings: found(), pass: w.open(t, pass, c.to)})
		want(t, "point", got.Checkpoint.String(), c.wantPoint)
		want(t, "flow", got.Recipients[0].Flow, c.wanted)
		if c.wantPoint == "S1" {
			want(t, "platform", got.Platform, c.platform)
		}
	}
}

func TestAReportPassesTheSpamCheck(t *testing.T) {
	w := newWorld().checking().at(policy.S2, spam, virus)
	pass := policy.Pass{ID: policy.PassReport, Checks: []string{"spam"}, Point: policy.S2, Until: 1000}
	m := mail{client: internetClient, from: "<>", to: []string{"alice@acmecorp.com"}, findings: found(hit("spam", "s"))}
	m.pass = w.open(t, pass, "alice@acmecorp.com")
	got := w.send(t, m)
	want(t, "added", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com")
	if !strings.Contains(got.Recipients[0].Reason, "spam is passed by: this is a mail of our own") {
		t.Errorf("the reason is %q", got.Recipients[0].Reason)
	}
}

func TestAPassIsNoTrace(t *testing.T) {
	w := newWorld()
	fields := map[string]string{"Message-Id": "<1@example.net>"}
	marks := policy.Marks(func(name string) []string {
		if value, ok := fields[name]; ok {
			return []string{value}
		}
		return nil
	})
	var values []string
	for _, id := range []string{"a", "b", "c"} {
		values = append(values, w.SignPass(policy.Pass{ID: id, Point: policy.S0}, "alice@acmecorp.com", marks))
	}
	got := w.send(t, mail{client: internetClient, from: stranger, to: []string{"alice@acmecorp.com"}, fields: fields, traces: values})
	want(t, "verdict", got.Verdict.String(), "accept")
}

func FuzzOpenPass(f *testing.F) {
	w := newWorld()
	value := w.SignPass(released(), "bob@acmecorp.com", itsMarks)
	f.Add(value)
	f.Add("v=1; id=; checks=; point=S9; until=x; sig=")
	f.Add("sig=sig=;;;===")
	f.Fuzz(func(t *testing.T, text string) {
		// Only what was signed is ever opened.
		if _, ok := w.OpenPass([]string{text}, itsMarks, 0); ok && squeeze(text) != squeeze(value) {
			t.Fatalf("%q is opened", text)
		}
	})
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }
