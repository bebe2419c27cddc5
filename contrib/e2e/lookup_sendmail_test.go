package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// accounts has acmecorp.com's mailboxes here be accounts of the host.
var accounts = []string{
	"LOCAL_DOMAIN(`acmecorp.com')dnl",
	"FEATURE(`local_lmtp', `[IPC]', `TCP 127.0.0.1 {here}')dnl",
}

// Of a user at both, a member or a .forward file reaches the mailbox here alone.
func TestSendmailsForwardFilesAndAliasesReachMembersOnBothSides(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		MTA:       lab.SendmailMTA,
		Directory: lab.SiteDirectory + "erin@acmecorp.com,here,erin\nteam@acmecorp.com,here,\n",
		MC:        accounts,
		Accounts:  []string{"erin"},
		Files:     map[string]string{"aliases": "team: alice@acmecorp.com, gail@globex.example, hugo@globex.example, iris@globex.example\n"},
	})
	s.do(s.Host.(*lab.Sendmail).Forward("erin", "alice@acmecorp.com\nhugo@globex.example\niris@globex.example\n"))

	for client, from := range map[string]string{lab.FromInternet: "eve@example.net", lab.FromUser: "bob@acmecorp.com"} {
		m := lab.Plain(from, "erin@acmecorp.com", "forwarded")
		s.deliver(client, lab.Mail{From: from, To: lab.To("erin@acmecorp.com"), Data: m})
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "here hugo@globex.example", "here iris@globex.example")

		m = lab.Plain(from, "team@acmecorp.com", "to an alias")
		s.deliver(client, lab.Mail{From: from, To: lab.To("team@acmecorp.com", "alice@acmecorp.com"), Data: m})
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "google gail@gapps.globex.example", "here hugo@globex.example", "here iris@globex.example")
	}
}

func TestSendmailsVirtusertableReachesAUserElsewhere(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		MTA:       lab.SendmailMTA,
		Directory: lab.SiteDirectory + "sales@acmecorp.com,here,\n",
		MC:        []string{"FEATURE(`virtusertable', `text -k0 -v1 {etc}/virtusertable')dnl", "VIRTUSER_DOMAIN(`acmecorp.com')dnl"},
		Files:     map[string]string{"virtusertable": "sales@acmecorp.com alice@acmecorp.com\n"},
	})
	m := lab.Plain("eve@example.net", "sales@acmecorp.com", "to a virtual user")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("sales@acmecorp.com", "bob@acmecorp.com"), Data: m})
	s.mustArrive(m, "office365 alice@"+s.noMilter, "here bob@acmecorp.com")
}

// Members of an alias pass no milter.
func TestMembersInSendmailsQueueGoByTheDirectoryAsItIs(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		MTA:       lab.SendmailMTA,
		Directory: lab.SiteDirectory + "team@acmecorp.com,here,\n",
		MC:        accounts,
		Files:     map[string]string{"aliases": "team: dave@acmecorp.com, hugo@globex.example, nobody@globex.example\n"},
	})
	m := lab.Plain("eve@example.net", "team@acmecorp.com", "to an alias")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("team@acmecorp.com"), Data: m})
	// The queue has one reason for a message, here the worse one, nobody's.
	s.do(s.WaitDeferred(deadline(t), "dave@acmecorp.com", "being moved|not known here"))
	if err := s.WriteDirectory(strings.Replace(lab.SiteDirectory, "dave@acmecorp.com,moving", "dave@acmecorp.com,office365", 1) + "team@acmecorp.com,here,\n"); err != nil {
		t.Fatal(err)
	}
	s.mustReload()
	s.settle()
	s.mustBounce(m, s.Outside, "eve@example.net", "nobody@globex.example")
	s.mustArrive(m, "office365 dave@acmecorp-com.onmicrosoft.com", "here hugo@globex.example")
}

func TestMailForAPlatformTakesItsRelayThroughSendmail(t *testing.T) {
	t.Parallel()
	// By no other way than the relay does mail reach the platform: the mailer "esmtp" leads
	// there, and to the alternate domain the route of the mailertable, to nobody.
	s := startSite(t, lab.SiteConfig{
		MTA:    lab.SendmailMTA,
		MC:     []string{"define(`COEXISTD_DOMAINS', `acmecorp.com acmecorp-com.onmicrosoft.com')dnl", "define(`ESMTP_MAILER_ARGS', `TCP $h {office}')dnl"},
		Routes: map[string]string{"acmecorp-com.onmicrosoft.com": "smtp:[127.0.0.1]:1"},
	})
	s.relayToOffice()
	m := lab.Plain("eve@example.net", "alice@acmecorp.com", "by the relay")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
	s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
}

// Of what Sendmail does not offer itself, it would lose a recipient whom the milter adds with it.
func TestASendmailWithoutDeliveryReportsLosesNobody(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"define(`confMIME_FORMAT_ERRORS', `False')dnl",
		"define(`confMIME_FORMAT_ERRORS', `no')dnl",
		"define(`confPRIVACY_FLAGS', `authwarnings,noreceipts')dnl",
		"define(`confPRIVACY_FLAGS', `authwarnings,NoReceipts')dnl",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			s := startSite(t, lab.SiteConfig{MTA: lab.SendmailMTA, MC: []string{line}})
			m := lab.Plain("eve@example.net", "alice@acmecorp.com", "without reports")
			s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
			s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
		})
	}
}

// Sendmail loses a recipient that a milter adds with a longer address than it takes itself.
func TestAnAddressThatSendmailCannotSendOnToIsRefused(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{MTA: lab.SendmailMTA})
	const there = "@acmecorp-com.onmicrosoft.com"
	for _, owner := range []string{"alice+", "carol+"} {
		longest := owner + strings.Repeat("x", 253-len(owner+there))
		m := lab.Plain("eve@example.net", longest+"@acmecorp.com", "a long address")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(longest + "@acmecorp.com"), Data: m})
		arrive := []string{"office365 " + longest + there}
		if owner == "carol+" {
			arrive = append(arrive, "here "+longest+"@acmecorp.com")
		}
		s.mustArrive(m, arrive...)
		r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(longest + "x@acmecorp.com"), Data: m})
		if r.To[0].Code != 550 || r.To[0].Enhanced != "5.1.3" {
			t.Errorf("too long an address was answered %s", r.To[0])
		}
	}
}

// Whether it goes at once or from the queue, and whether or not an account here has the name.
func TestAMemberWhomTheDirectoryLacksGetsNothingThroughSendmail(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		MTA:       lab.SendmailMTA,
		Directory: lab.SiteDirectory + "erin@acmecorp.com,here,erin\nteam@acmecorp.com,here,\n",
		MC:        accounts,
		Accounts:  []string{"erin", "ghost"},
		Files:     map[string]string{"aliases": "team: ghost@acmecorp.com, hugo@globex.example\n"},
	})
	s.do(s.Host.(*lab.Sendmail).Forward("erin", "ghost@acmecorp.com\nhugo@globex.example\n"))
	for _, to := range []string{"team@acmecorp.com", "erin@acmecorp.com"} {
		m := lab.Plain("eve@example.net", to, "to a ghost, too")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
		s.settle()
		s.mustBounce(m, s.Outside, "eve@example.net", "ghost@acmecorp.com")
		s.mustArrive(m, "here hugo@globex.example")
	}
}
