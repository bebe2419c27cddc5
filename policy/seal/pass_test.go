package seal_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// released is a pass of a message that spam held at S0 for bob.
func released() seal.Pass {
	return seal.Pass{ID: "k3mf7qz2ab", Checks: []string{"spam"}, Point: verdict.S0, Until: 1000}
}

func TestAPassHoldsForItsMessageUntilItsTime(t *testing.T) {
	pass := released()
	value := keys.SignPass(pass, "bob@acmecorp.com", itsMarks)
	fewer := seal.MarksOf(header("From", "the message's From", "Date", "the message's Date"))
	others := seal.MarksOf(header("Message-Id", "another's", "Date", "another's", "From", "another's"))
	// Its signature is genuine, and it has all that a pass needs.
	trace := keys.SignTrace(seal.Traces{}, "x; point=S0; until=9000", [8]byte{1}, itsMarks, []string{"bob@acmecorp.com"})
	forged := strings.Replace(value, value[strings.Index(value, "sig=")+4:], strings.Repeat("A", 22), 1)
	for _, c := range []struct {
		about  string
		keys   seal.Keys
		values []string
		marks  seal.Marks
		now    int64
		want   bool
	}{
		{"genuine", keys, []string{value}, itsMarks, 999, true},
		{"in its last second", keys, []string{value}, itsMarks, 1000, true},
		{"expired", keys, []string{value}, itsMarks, 1001, false},
		{"none", keys, nil, itsMarks, 0, false},
		{"folded otherwise", keys, []string{strings.ReplaceAll(strings.ReplaceAll(value, "\n\t", "\r\n  "), "; ", ";\t")}, itsMarks, 0, true},
		{"behind others", keys, []string{"", "v=1; sig=", forged, value}, itsMarks, 0, true},
		{"behind too many others", keys, append(slices.Repeat([]string{forged}, 4), value), itsMarks, 0, false},
		{"of a message that has got further marks", keys, []string{keys.SignPass(pass, "bob@acmecorp.com", fewer)}, itsMarks, 0, true},
		{"another message's", keys, []string{value}, others, 0, false},
		{"of a message without marks", keys, []string{value}, seal.Marks{}, 0, false},
		{"signed when the message had no marks", keys, []string{keys.SignPass(pass, "bob@acmecorp.com", seal.Marks{})}, itsMarks, 0, true},
		{"another system's", foreign, []string{value}, itsMarks, 0, false},
		{"without a secret", unkeyed, []string{unkeyed.SignPass(pass, "bob@acmecorp.com", itsMarks)}, itsMarks, 0, false},
		{"forged", keys, []string{forged}, itsMarks, 0, false},
		{"unsigned", keys, []string{value[:strings.Index(value, "sig=")]}, itsMarks, 0, false},
		{"with more checks", keys, []string{strings.Replace(value, "checks=spam", "checks=spam,virus", 1)}, itsMarks, 0, false},
		{"with a later end", keys, []string{strings.Replace(value, "until=1000", "until=9000", 1)}, itsMarks, 0, false},
		{"for another point", keys, []string{strings.Replace(value, "point=S0", "point=S2", 1)}, itsMarks, 0, false},
		{"a trace", keys, []string{trace}, itsMarks, 0, false},
		{"without a point", keys, []string{keys.SignPass(seal.Pass{ID: "x", Until: 1000}, "bob@acmecorp.com", itsMarks)}, itsMarks, 0, false},
	} {
		got, ok := c.keys.OpenPass(c.values, c.marks, c.now)
		if ok != c.want {
			t.Errorf("%s: the pass holds: %v", c.about, ok)
		}
		if ok && (got.ID != pass.ID || !slices.Equal(got.Checks, pass.Checks) || got.Point != pass.Point || got.Until != pass.Until) {
			t.Errorf("%s: the pass is %+v", c.about, got)
		}
	}
}

// open signs a pass for an owner and opens it.
func open(t *testing.T, pass seal.Pass, owner string) *seal.Pass {
	t.Helper()
	opened, ok := keys.OpenPass([]string{keys.SignPass(pass, owner, itsMarks)}, itsMarks, pass.Until)
	if !ok {
		t.Fatalf("the pass %+v does not hold", pass)
	}
	return &opened
}

func TestAPassGivesBackWhatItWasMadeOf(t *testing.T) {
	pass := seal.Pass{ID: "k3mf7qz2ab", Checks: []string{"spam", "malware"}, Point: verdict.S1, Platform: "office365", Until: 1795426800}
	got := open(t, pass, "bob@acmecorp.com")
	want(t, "id", got.ID, pass.ID)
	want(t, "checks", strings.Join(got.Checks, " "), "spam malware")
	want(t, "point", got.Point, verdict.S1)
	want(t, "platform", got.Platform, "office365")
	want(t, "until", got.Until, pass.Until)
}

func TestAPassIsForItsRecipientOnly(t *testing.T) {
	pass := open(t, released(), "bob@acmecorp.com")
	want(t, "for bob", keys.IsFor(pass, "bob@acmecorp.com"), true)
	for _, owner := range []string{"alice@acmecorp.com", "bob@acme.net", "Bob@acmecorp.com", "bob+x@acmecorp.com", ""} {
		want(t, "for "+owner, keys.IsFor(pass, owner), false)
	}
	want(t, "for bob of another system", foreign.IsFor(pass, "bob@acmecorp.com"), false)
	want(t, "for bob, not signed", keys.IsFor(&seal.Pass{ID: pass.ID}, "bob@acmecorp.com"), false)
	renamed := *pass
	renamed.ID = "another"
	want(t, "for bob of another entry", keys.IsFor(&renamed, "bob@acmecorp.com"), false)
}

func TestAPassSaysWhyItSpares(t *testing.T) {
	want(t, "released", open(t, released(), "bob@acmecorp.com").Why().String(), "released from quarantine as k3mf7qz2ab")
	report := seal.Pass{ID: seal.PassReport, Checks: []string{"spam"}, Point: verdict.S2, Until: 1000}
	want(t, "a report", open(t, report, "alice@acmecorp.com").Why().String(), "this is a mail of our own")
}

func TestAPassIsNoTrace(t *testing.T) {
	marks := seal.MarksOf(header("Message-Id", "<1@example.net>"))
	var values []string
	for _, id := range []string{"a", "b", "c"} {
		values = append(values, keys.SignPass(seal.Pass{ID: id, Point: verdict.S0}, "alice@acmecorp.com", marks))
	}
	traces := keys.OpenTraces(values, marks)
	want(t, "passes", traces.Passes("alice@acmecorp.com"), 0)
	want(t, "genuine traces", len(traces.Genuine()), 0)
}

func FuzzOpenPass(f *testing.F) {
	value := keys.SignPass(released(), "bob@acmecorp.com", itsMarks)
	f.Add(value)
	f.Add("v=1; id=; checks=; point=S9; until=x; sig=")
	f.Add("sig=sig=;;;===")
	f.Fuzz(func(t *testing.T, text string) {
		// Only what was signed is ever opened.
		if _, ok := keys.OpenPass([]string{text}, itsMarks, 0); ok && squeeze(text) != squeeze(value) {
			t.Fatalf("%q is opened", text)
		}
	})
}
