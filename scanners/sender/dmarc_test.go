package sender

import (
	"testing"

	"coexistd/policy"
)

func TestDMARCRecordsAreReadAsForgivinglyAsTheirRFCAsks(t *testing.T) {
	record := func(p, sp, np policy.Verdict) policy.DMARC {
		return policy.DMARC{Policy: p, Subdomains: sp, Nonexistent: np, Percent: 100}
	}
	percent := func(n int) policy.DMARC {
		d := record(policy.Reject, policy.Reject, policy.Reject)
		d.Percent = n
		return d
	}
	const accept, quarantine, reject = policy.Accept, policy.Quarantine, policy.Reject
	for _, c := range []struct {
		text string
		want policy.DMARC
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
		{"v=DMARC1; p=reject; sp=odd", record(accept, accept, accept), false},
		{"v=DMARC1; p=reject; sp=odd; rua=mailto:a@b.example", record(accept, accept, accept), true},
		{"v=DMARC1; rua=mailto:a@b.example", record(accept, accept, accept), true},
		{"v=DMARC1", record(accept, accept, accept), false},
		{"v=DMARC1; p=", record(accept, accept, accept), false},
		{"v=DMARC1; P=reject", record(accept, accept, accept), false},
		{"v=DMARC1; p=none; p=reject", record(accept, accept, accept), false},
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
		for _, verdict := range []policy.Verdict{d.Policy, d.Subdomains, d.Nonexistent} {
			if verdict != policy.Accept && (verdict != policy.Quarantine && verdict != policy.Reject || err != nil) {
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
