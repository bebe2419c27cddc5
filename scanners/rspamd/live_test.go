package rspamd_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/contrib/lab/scantest"
	"coexistd/policy/verdict"
)

func TestRspamdJudgesMail(t *testing.T) {
	server := scantest.StartRspamd(t, "options { max_message = 1000000; }\n")
	rspamd := newRspamd(server.URL())
	if version, err := rspamd.Ping(t.Context()); err != nil || !strings.HasPrefix(version, "rspamd/") {
		t.Errorf("ping: %q, %v", version, err)
	}
	for _, c := range []struct {
		about, body, name string
		state             verdict.State
		proposed          verdict.Verdict
		score             float64
		reason, detail    string
	}{
		{"plain mail", "hello", "", verdict.Clean, verdict.None, 0, "", ""},
		{"GTUBE", lab.GTUBE, "GTUBE", verdict.Hit, verdict.None, 15, "of 15.00: reject", "GTUBE"},
		{"a score to mark it for", lab.SpamWord, "spam", verdict.Hit, verdict.Tag, 7, "scores it 7.00 of 15.00: add header", "LAB_TAG=7.00"},
		{"a soft reject", lab.SoftRejectWord, "spam", verdict.Hit, verdict.Tempfail, 0, "soft reject", ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			m := scantest.Message(scantest.CleanMail + c.body + "\r\n")
			m.Sender, m.Recipients, m.Client = "a@acmecorp.com", []string{"b@acmecorp.com"}, netip.MustParseAddr("2001:db8::1")
			m.QueueID, m.Login = "4QID", "carol"
			f := rspamd.Scan(t.Context(), m)
			if f.State != c.state || f.Name != c.name || f.Proposed != c.proposed || !f.Scored || f.Score != c.score ||
				!strings.Contains(f.Reasons.String(), c.reason) || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("got %+v", f)
			}
		})
	}
	t.Run("what it takes from the envelope", func(t *testing.T) {
		for _, want := range []string{"qid: <4QID>", "ip: 2001:db8::1", "user: carol", "from: <a@acmecorp.com>", "rcpts: <b@acmecorp.com>"} {
			if log := server.Log(); !strings.Contains(log, want) {
				t.Errorf("its log lacks %q: %s", want, log)
			}
		}
	})
	t.Run("more than it takes does not make it down", func(t *testing.T) {
		f := rspamd.Scan(t.Context(), scantest.Message(scantest.CleanMail+strings.Repeat("x\r\n", 1_000_000)))
		if f.State != verdict.Unknown || f.Down || !strings.Contains(f.Reasons.String(), "max_message") {
			t.Errorf("got %+v", f)
		}
	})
}
