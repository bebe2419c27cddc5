package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/policy/seal"
)

// unmarked are messages with neither Message-Id nor Date nor From, and with what servers
// may change on the way: dots, empty lines at the end, long lines, bytes beyond ASCII.
var unmarked = map[string]string{
	"dots":        "Subject: dots\r\n\r\n.\r\n..\r\n.dot\r\n",
	"empty lines": "Subject: empty lines\r\n\r\n\r\n \r\ntext\r\n\r\n\r\n",
	"a long line": "Subject: a long line\r\n\r\n" + strings.Repeat("long line ", 300) + "\r\n",
	"8 bit":       "Subject: 8 bit\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u00fc\u00dfe\r\n",
	"no body":     "Subject: no body\r\n\r\n",
	"a long body": "Subject: a long body\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 8000),
	"no line end": "Subject: no line end\r\n\r\nbody",
}

func TestAMessageWithoutAnyMarkIsReleasedPastItsChecks(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rspamd := startRspamd(t, lab.RspamdConfig{Settings: "actions { reject = 7; }\n"})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", rspamd.URL(), neverReport)})
		for name, message := range unmarked {
			_, body, _ := strings.Cut(message, "\r\n\r\n")
			message = "X-Word: " + lab.SpamWord + "\r\n" + message
			before := len(s.entries("--all"))
			if r := s.fromEve([]byte(message), "bob@acmecorp.com"); r.Data.Code != 250 {
				t.Fatalf("%s: the message was answered with %s", name, r.Data)
			}
			held := s.entries()
			if len(held) != 1 || held[0].State != quarantine.Held {
				t.Fatalf("%s: there is held %+v", name, held)
			}
			s.release(held[0].ID, "released", "")
			s.waitDaemonLog("msg=message .*released from quarantine as " + held[0].ID)
			if left := s.entries("--all"); len(left) != before+1 {
				t.Errorf("%s: it is held again: %+v", name, left)
			}
			all, err := s.Here.WaitCount(deadline(t), before+1)
			if err != nil {
				t.Fatal(err)
			}
			arrived := string(all[before].Data)
			// On its way out, Postfix breaks lines that are too long for SMTP.
			words := func(text string) string { return strings.Join(strings.Fields(text), "") }
			if _, got, _ := strings.Cut(arrived, "\r\n\r\n"); words(got) != words(body) || strings.Contains(arrived, seal.PassHeader) {
				t.Errorf("%s: it arrived as\n%.2000q", name, arrived)
			}
		}
	})
}
