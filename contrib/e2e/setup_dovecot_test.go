package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/contrib/lab"
	"coexistd/policy/config"
)

// A Dovecot of the host is at a place that its package has set; of the lab it is a server of LMTP at another.
func TestSetupSendmailGivesMailForMailboxesHereToDovecot(t *testing.T) {
	t.Parallel()
	b := startBareSendmail(t)
	socket := filepath.Join(b.Dir, "lmtp")
	dovecot, err := lab.StartSink(lab.SinkConfig{LMTP: true, Address: "unix:" + socket, Refuse: func(recipient string) *lab.Reply {
		if recipient == "hugo@globex.example" {
			return &lab.Reply{Code: 552, Enhanced: "5.2.2", Text: "5.2.2 Quota exceeded"}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	// So far the mailertable has a way of another kind to the mailboxes here.
	table := filepath.Join(b.etc(), "mailertable")
	rows, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(strings.SplitAfter(string(rows), "\n"), func(row string) bool {
		return strings.HasPrefix(row, "acmecorp.com ") || strings.HasPrefix(row, "globex.example ")
	})
	b.do(os.WriteFile(table, []byte(strings.Join(kept, "")), 0o644))

	reading := config.Load(b.Config())
	if reading.Config == nil {
		t.Fatal(reading.Problems)
	}
	survey := setup.Site{Conf: reading.Config}
	survey.SurveySendmail(filepath.Join(b.etc(), "sendmail.cf"))
	survey.Sendmail.HasDovecot = true
	guide, err := setup.Make("sendmail", &survey, false)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	guide.Write(&script)
	b.apply(strings.ReplaceAll(script.String(), "/run/dovecot/lmtp", socket))
	if err := b.Host.(*lab.Sendmail).Again(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if bad := b.complaints("sendmail"); len(bad) > 0 {
		t.Errorf("the doctor says\n%s", strings.Join(bad, "\n"))
	}
	b.do(b.Here.Close())
	b.Here = dovecot // which ends with the site
	m := lab.Plain("eve@example.net", "Bob@acmecorp.com", "to a mailbox here")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("Bob@acmecorp.com"), Data: m})
	b.mustArrive(m, "here Bob@acmecorp.com")
	m = lab.Plain("eve@example.net", "carol@acmecorp.com", "to both")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("carol@acmecorp.com", "bob@acmecorp.com"), Data: m})
	b.mustArrive(m, "here bob@acmecorp.com", "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")
	m = lab.Plain("eve@example.net", "hugo@globex.example", "to a mailbox that is full")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("hugo@globex.example", "bob@acmecorp.com"), Data: m})
	b.mustArrive(m, "here bob@acmecorp.com")
	b.mustBounce(m, b.Outside, "eve@example.net", "hugo@globex.example", "Quota exceeded")
	m = lab.Plain("bob@acmecorp.com", "postmaster@acmecorp.com", "by the sendmail command")
	b.sendmail("bob@acmecorp.com", m, "postmaster@acmecorp.com")
	b.mustArrive(m, "here postmaster@acmecorp.com")
}
