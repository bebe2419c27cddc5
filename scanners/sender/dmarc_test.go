package sender

import (
	"testing"

	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

func TestDMARCRecordsAreReadAsForgivinglyAsTheirRFCAsks(t *testing.T) {
	record := func(p, sp, np verdict.Verdict) spoof.DMARC {
		return spoof.DMARC{Policy: p, Subdomains: sp, Nonexistent: np, Percent: 100}
	}
	percent := func(n int) spoof.DMARC {
		d := record(verdict.Reject, verdict.Reject, verdict.Reject)
		d.Percent = n
		return d
	}
	const none, accept, quarantine, reject = verdict.None, verdict.Accept, verdict.Quarantine, verdict.Reject
	for _, c := range []struct {
		text string
		want spoof.DMARC
		ok   bool
	}{
		{"v=DMARC1;p=reject", record(reject, reject, reject), true},
		{"v=DMARC1 ;\tp = Reject ; sp=NONE;", record(reject, accept, accept), true},
		{"v=DMARC1; p=none; np=quarantine", record(accept, accept, quarantine), true},
		{"v=DMARC1; p=quarantine; sp=none; np=reject", record(quarantine, accept, reject), true},
		{"v=DMARC1; p=reject; np=odd", record(reject, reject, reject), true},
		{"v=DMARC1; p=reject; odd=1; fo=x; rf=y; ri=-1; rua=nowhere", record(reject, reject, reject), true},
		{"v=DMARC1; p=reject; garbage; ;;", record(reject, reject, reject), true},
		{"v=DMARC1; p=reject; pct=0", percent(0), true},
		{"v=DMARC1; p=reject; pct=007", percent(7), true},
		{"v=DMARC1; p=reject; pct=101", percent(100), true},
		{"v=DMARC1; p=reject; pct=-5", percent(100), true},
		{"v=DMARC1; p=reject; pct=99999999999999999999", percent(100), true},
		{"v=DMARC1; p=reject; adkim=r; aspf=x", record(reject, reject, reject), true},
		{"v=DMARC1; p=reject; sp=odd", record(none, none, none), false},
		{"v=DMARC1; p=reject; sp=odd; rua=mailto:a@b.example", record(accept, accept, accept), true},
		{"v=DMARC1; rua=mailto:a@b.example", record(accept, accept, accept), true},
		{"v=DMARC1", record(none, none, none), false},
		{"v=DMARC1; p=", record(none, none, none), false},
		{"v=DMARC1; P=reject", record(none, none, none), false},
		{"v=DMARC1; p=none; p=reject", record(none, none, none), false},
	} {
		if got, err := parseDMARC(c.text); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v, %v", c.text, got, err, c.want, c.ok)
		}
	}
}

func FuzzDMARCRecord(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=s; pct=30; rua=mailto:a@b.example")
	f.Add("v=DMARC1;;p=;=;pct=999")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDMARC(text)
		for _, v := range []verdict.Verdict{d.Policy, d.Subdomains, d.Nonexistent} {
			if (v == verdict.None) != (err != nil) || v == verdict.Tag || v == verdict.Discard || v == verdict.Tempfail {
				t.Errorf("got %+v, %v", d, err)
			}
		}
		if d.Percent < 0 || d.Percent > 100 {
			t.Errorf("got %d%%", d.Percent)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
