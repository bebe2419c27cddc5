package seal_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

const probeTo = "coexist-probe@acmecorp.com"

// probing is a probe of Office 365.
func probing() seal.Probe {
	return seal.Probe{ID: "k3mf7qz2ab", Platform: "office365", Sent: 900, Until: 1000}
}

func TestAProbeHoldsForItsMessageUntilItsTime(t *testing.T) {
	probe := probing()
	value := keys.SignProbe(probe, probeTo, itsMarks)
	forged := strings.Replace(value, value[strings.Index(value, "sig=")+4:], strings.Repeat("A", 22), 1)
	pass := keys.SignPass(seal.Pass{ID: "x; id=y; flow=; sent=1", Point: verdict.S2, Until: 1000}, probeTo, itsMarks)
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
		{"copied into another message", keys, []string{value}, seal.MarksOf(header("Message-Id", "another's", "Date", "the message's Date", "From", "the message's From")), 0, false},
		{"of a message that has lost its Message-Id", keys, []string{value}, seal.MarksOf(header("Date", "the message's Date", "From", "the message's From")), 0, false},
		{"another system's", foreign, []string{value}, itsMarks, 0, false},
		{"without a secret", unkeyed, []string{unkeyed.SignProbe(probe, probeTo, itsMarks)}, itsMarks, 0, false},
		{"forged", keys, []string{forged}, itsMarks, 0, false},
		{"unsigned", keys, []string{value[:strings.Index(value, "sig=")]}, itsMarks, 0, false},
		{"of another platform", keys, []string{strings.Replace(value, "flow=office365", "flow=google", 1)}, itsMarks, 0, false},
		{"with a later end", keys, []string{strings.Replace(value, "until=1000", "until=9000", 1)}, itsMarks, 0, false},
		{"a pass", keys, []string{pass}, itsMarks, 0, false},
		{"without an id", keys, []string{keys.SignProbe(seal.Probe{Until: 1000}, probeTo, itsMarks)}, itsMarks, 0, false},
	} {
		got, ok := c.keys.OpenProbe(c.values, c.marks, c.now)
		if ok != c.want {
			t.Errorf("%s: the probe holds: %v", c.about, ok)
		}
		if ok && (got.ID != probe.ID || got.Platform != probe.Platform || got.Sent != probe.Sent || got.Until != probe.Until) {
			t.Errorf("%s: the probe is %+v", c.about, got)
		}
	}
}

func TestAProbeTellsWhomItWasSentTo(t *testing.T) {
	probe, ok := keys.OpenProbe([]string{keys.SignProbe(probing(), probeTo, itsMarks)}, itsMarks, 0)
	want(t, "it holds", ok, true)
	want(t, "to its recipient", keys.IsTo(&probe, probeTo), true)
	for _, owner := range []string{"probe@acmecorp.com", "coexist-probe@acme.net", ""} {
		want(t, "to "+owner, keys.IsTo(&probe, owner), false)
	}
	want(t, "to its recipient at another system", foreign.IsTo(&probe, probeTo), false)
}

func TestAProbeIsNoPass(t *testing.T) {
	value := keys.SignProbe(seal.Probe{ID: "x; checks=spam; point=S2", Sent: 1, Until: 1000}, probeTo, itsMarks)
	_, ok := keys.OpenPass([]string{value}, itsMarks, 0)
	want(t, "it lets pass", ok, false)
}

func FuzzOpenProbe(f *testing.F) {
	value := keys.SignProbe(probing(), probeTo, itsMarks)
	f.Add(value)
	f.Add("v=1; id=; flow=; to=; sent=x; until=x; sig=")
	f.Add("sig=sig=;;;===")
	f.Fuzz(func(t *testing.T, text string) {
		// Only what was signed is ever opened.
		if _, ok := keys.OpenProbe([]string{text}, itsMarks, 0); ok && squeeze(text) != squeeze(value) {
			t.Fatalf("%q is opened", text)
		}
	})
}
