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
	// Its signature is genuine, and it has all that a pass needs.
	trace := keys.SignTrace(seal.Traces{}, "x; point=S0; until=9000", [8]byte{1}, itsMarks, []string{"bob@acmecorp.com"})
	for _, c := range append(sealedFields(func(k seal.Keys, m seal.Marks) string { return k.SignPass(pass, "bob@acmecorp.com", m) }), []sealedField{
		{"signed when the message had no marks", keys, []string{keys.SignPass(pass, "bob@acmecorp.com", seal.Marks{})}, itsMarks, 0, false},
		{"of no marks, signed for none", keys, []string{keys.SignPass(pass, "bob@acmecorp.com", seal.Marks{})}, seal.Marks{}, 0, false},
		{"with more checks", keys, []string{strings.Replace(value, "checks=spam", "checks=spam,virus", 1)}, itsMarks, 0, false},
		{"for another point", keys, []string{strings.Replace(value, "point=S0", "point=S2", 1)}, itsMarks, 0, false},
		{"a trace", keys, []string{trace}, itsMarks, 0, false},
		{"without a point", keys, []string{keys.SignPass(seal.Pass{ID: "x", Until: 1000}, "bob@acmecorp.com", itsMarks)}, itsMarks, 0, false},
	}...) {
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
