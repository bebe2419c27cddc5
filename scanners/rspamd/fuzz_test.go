package rspamd

import (
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

func FuzzRspamdReply(f *testing.F) {
	for _, seed := range []string{
		`{"is_skipped":false,"score":7.0,"required_score":15.0,"action":"add header","symbols":{"LAB_TAG":{"name":"LAB_TAG","score":7.0,"options":["x"]}},"messages":{}}`,
		`{"is_skipped":true,"score":15.0,"required_score":15.0,"action":"reject","symbols":{"GTUBE":{"score":0.0}}}`,
		`{"error":"x"}`, `{"score":1e308,"required_score":-1e308,"action":"no action"}`, `null`, `[]`, ``, `{"symbols":{"\u0000\ud800":{"score":-1}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		finding := judge(reply)
		if finding.Check != verdict.CheckSpam || finding.Down || finding.State > verdict.Hit {
			t.Errorf("got %+v", finding)
		}
		if finding.Scored != (finding.State != verdict.Unknown) || (finding.Name != "") != (finding.State == verdict.Hit) ||
			(finding.Reasons.String() == "") != (finding.State == verdict.Clean) {
			t.Errorf("got %+v", finding)
		}
		if len(finding.Reasons.String()) > 1000 || len(finding.Detail) > 800 {
			t.Errorf("%d bytes of reason, %d of detail", len(finding.Reasons.String()), len(finding.Detail))
		}
		for _, text := range []string{finding.Reasons.String(), finding.Detail} {
			if mail.Excerpt(text, len(text)) != text {
				t.Errorf("not printable: %q", text)
			}
		}
	})
}
