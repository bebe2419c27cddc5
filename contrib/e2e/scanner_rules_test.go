package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy"
)

const partnerClient = "127.0.3.7"

const sparingTOML = `[[allow]]
name    = "partner"
clients = ["` + partnerClient + `"]
senders = ["news@partner.example"]

[[allow]]
name    = "lists"
senders = ["@lists.example"]

[[allow]]
name       = "abuse desk"
recipients = ["carol@acmecorp.com"]
`

var toCarol = []string{"here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com"}

// sparingSite has both scanners and the allow lists above.
func sparingSite(t *testing.T, mta lab.MTA) (s *site, toml string) {
	t.Helper()
	toml = checkedTOML(startClamd(t, lab.ClamdConfig{}).Addr(), startRspamd(t, lab.RspamdConfig{}).URL(), sparingTOML)
	return startSite(t, lab.SiteConfig{MTA: mta, TOML: toml}), toml
}

func TestAllowListsSpareSpamAndNeverVirus(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, toml := sparingSite(t, mta)
		for _, c := range []struct {
			about, client, from, to string
			spared                  string // by which list; empty: by none
			want                    []string
		}{
			{"the partner", partnerClient, "news@partner.example", "bob@acmecorp.com", "partner", []string{toBob}},
			{"the partner in capitals", partnerClient, "NEWS@Partner.Example", "bob@acmecorp.com", "partner", []string{toBob}},
			{"the partner's name from elsewhere", lab.FromInternet, "news@partner.example", "bob@acmecorp.com", "", nil},
			{"another sender at the partner's", partnerClient, "sales@partner.example", "bob@acmecorp.com", "", nil},
			{"a domain", lab.FromInternet, "any@lists.example", "bob@acmecorp.com", "lists", []string{toBob}},
			{"its subdomain", lab.FromInternet, "any@sub.lists.example", "bob@acmecorp.com", "", nil},
			{"a domain that ends like it", lab.FromInternet, "any@evil-lists.example", "bob@acmecorp.com", "", nil},
			{"no sender", lab.FromInternet, "", "bob@acmecorp.com", "", nil},
			{"a recipient", lab.FromInternet, "x@example.net", "carol@acmecorp.com", "abuse desk", toCarol},
			{"a recipient's subaddress", lab.FromInternet, "x@example.net", "carol+list@acmecorp.com", "abuse desk",
				[]string{"here carol+list@acmecorp.com", "office365 carol+list@acmecorp-com.onmicrosoft.com"}},
		} {
			spam := letter("spam", "", lab.GTUBE+"\n")
			r := s.send(c.client, lab.Mail{From: c.from, To: lab.To(c.to), Data: spam})
			if !r.Accepted() {
				t.Errorf("%s: spam was answered %s", c.about, r.Data)
				continue
			}
			s.mustArrive(spam, c.want...)
			line := s.logged(r)
			if c.spared == "" && (line["verdict"] != "quarantine" || line["held"] == "") {
				t.Errorf("%s: the log says %s, held as %q; want it held", c.about, line["verdict"], line["held"])
			}
			if why := fmt.Sprintf("spam is passed by: %q allows it", c.spared); strings.Contains(line["reason"], why) != (c.spared != "") {
				t.Errorf("%s: the log gives the reason %q", c.about, line["reason"])
			}
			virus := letter("virus", "", lab.EICAR+"\n")
			r = s.send(c.client, lab.Mail{From: c.from, To: lab.To(c.to), Data: virus})
			if want := "554 5.7.1 Virus found: " + lab.EICARName; r.Data.String() != want {
				t.Errorf("%s: a virus was answered %q, want %q", c.about, r.Data, want)
			}
			s.mustArrive(virus)
		}
		if err := s.WriteTOML(toml + "[[allow]]\nname = \"all\"\nchecks = [\"virus\"]\nsenders = [\"@lists.example\"]\n"); err != nil {
			t.Fatal(err)
		}
		s.mustRefuse("virus")
	})
}

// What holds a message holds it for some, what refuses it refuses it for all.
func TestOfTwoRecipientsOfWhomOneIsSparedTheStricterRules(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, toml := sparingSite(t, mta)
		for _, c := range []struct {
			onHit, reply string
			want         []string
			recipients   []string // as the log has their verdicts, bob first
		}{
			{"quarantine", "250 2.0.0", toCarol, []string{"quarantine", "accept"}},
			{"discard", "250 2.0.0", toCarol, []string{"discard", "accept"}},
			{"tag", "250 2.0.0", append([]string{toBob}, toCarol...), []string{"tag", "accept"}},
			{"tempfail", "451 4.7.1", nil, nil},
			{"reject", "550 5.7.1", nil, nil},
		} {
			s.configure(toml + "\n[check.spam]\non_hit = \"" + c.onHit + "\"\n")
			from := stranger()
			spam := letter("for two", "", lab.GTUBE+"\n")
			r := s.send(lab.FromInternet, lab.Mail{From: from, To: lab.To("bob@acmecorp.com", "carol@acmecorp.com"), Data: spam})
			s.settle()
			_, arrivals := s.copies(spam)
			if slices.Sort(c.want); code(r.Data) != c.reply || !slices.Equal(arrivals, c.want) {
				t.Errorf("%s: it was answered %s and has arrived at %q; want %s and %q", c.onHit, r.Data, arrivals, c.reply, c.want)
			}
			line := s.loggedFrom(from)
			if line["verdict"] != c.onHit && r.Data.Code/100 != 2 {
				t.Errorf("%s: the log says %s", c.onHit, line["verdict"])
			}
			if c.recipients == nil {
				continue
			}
			for i, address := range []string{"bob@acmecorp.com", "carol@acmecorp.com"} {
				if got := line.recipient(t, address).Verdict; got != c.recipients[i] {
					t.Errorf("%s: the log says %s for %s, want %s", c.onHit, got, address, c.recipients[i])
				}
			}
			if !strings.Contains(line["reason"], `spam is passed by: "abuse desk" allows it`) {
				t.Errorf("%s: the log does not say why carol was spared: %q", c.onHit, line["reason"])
			}
		}
	})
}

func TestThresholdsOfOurOwnJudgeTheScore(t *testing.T) {
	t.Parallel()
	rspamd := startRspamd(t, lab.RspamdConfig{}).URL()
	s := startSite(t, lab.SiteConfig{TOML: checkedTOML("", rspamd)})
	for _, c := range []struct{ keys, word, verdict, reply string }{
		{"", lab.SpamWord, "tag", "250 2.0.0"},
		{"tag_at = 5", lab.SpamWord, "tag", "250 2.0.0"},
		{"tag_at = 7", lab.SpamWord, "tag", "250 2.0.0"},
		{"tag_at = 7.01", lab.SpamWord, "accept", "250 2.0.0"},
		{"tag_at = 3\nquarantine_at = 7\nreject_at = 7.01", lab.SpamWord, "quarantine", "250 2.0.0"},
		{"reject_at = 5", lab.SpamWord, "reject", "550 5.7.1"},
		{"tag_at = 5\nquarantine_at = 6\nreject_at = 7", lab.SpamWord, "reject", "550 5.7.1"},
		{"", lab.SoftRejectWord, "tempfail", "451 4.7.1"},
		{"tag_at = 5", lab.SoftRejectWord, "tempfail", "451 4.7.1"},
		{"reject_at = 5", "good morning", "accept", "250 2.0.0"},
	} {
		t.Run(c.keys+" "+c.word, func(t *testing.T) {
			s := s.in(t)
			s.configure(checkedTOML("", rspamd, "[check.spam]\n"+c.keys+"\n"))
			from, m := stranger(), letter("score", "", c.word+"\n")
			r := s.send(lab.FromInternet, lab.Mail{From: from, To: lab.To("bob@acmecorp.com"), Data: m})
			line := s.loggedFrom(from)
			if code(r.Data) != c.reply || line["verdict"] != c.verdict {
				t.Errorf("it was answered %s and logged as %s; want %s and %s", r.Data, line["verdict"], c.reply, c.verdict)
			}
			// What rspamd found is for the administrator alone.
			for _, secret := range []string{"LAB_", "7.0", "lab says later"} {
				if strings.Contains(r.Data.Text, secret) {
					t.Errorf("the client is told %q", r.Data)
				}
			}
			if c.word == lab.SpamWord && !strings.Contains(line["findings"], "7.00 (LAB_TAG=7.00)") {
				t.Errorf("the log says that there was found %q", line["findings"])
			}
			s.mustScore(m, c.verdict)
		})
	}
}

// mustScore checks whether a message has arrived for bob, and with which headers.
func (s *site) mustScore(message []byte, verdict string) {
	s.t.Helper()
	s.settle()
	copies, arrivals := s.copies(message)
	if arrived := slices.Equal(arrivals, []string{toBob}); arrived != (verdict == "accept" || verdict == "tag") {
		s.t.Errorf("with %s, it has arrived at %q", verdict, arrivals)
	}
	for _, copied := range copies["here"] {
		above, whole := bytes.CutSuffix(copied, message)
		head := "\r\n" + string(above)
		tags := strings.Count(head, "\r\n"+policy.TagHeader+": spam; spam 7.00\r\n") + strings.Count(head, "\r\n"+policy.SpamHeader+": YES\r\n")
		if want := map[string]int{"tag": 2}[verdict]; !whole || tags != want || strings.Count(head, policy.TagHeader)+strings.Count(head, policy.SpamHeader) != want {
			s.t.Errorf("with %s, what has arrived is %q", verdict, copied)
		}
	}
}
