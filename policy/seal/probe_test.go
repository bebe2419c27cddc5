package seal_test

import (
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
	pass := keys.SignPass(seal.Pass{ID: "x; id=y; flow=; sent=1", Point: verdict.S2, Until: 1000}, probeTo, itsMarks)
	for _, c := range append(sealedFields(func(k seal.Keys, m seal.Marks) string { return k.SignProbe(probe, probeTo, m) }), []sealedField{
		{"signed when the message had no marks", keys, []string{keys.SignProbe(probe, probeTo, seal.Marks{})}, itsMarks, 0, true},
		{"of another platform", keys, []string{strings.Replace(value, "flow=office365", "flow=google", 1)}, itsMarks, 0, false},
		{"a pass", keys, []string{pass}, itsMarks, 0, false},
		{"without an id", keys, []string{keys.SignProbe(seal.Probe{Until: 1000}, probeTo, itsMarks)}, itsMarks, 0, false},
	}...) {
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
