package e2e

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// The directory before and after a change. The users are named after what
// happens to them.
const (
	beforeChange = lab.SiteDirectory + `removed@acmecorp.com,here,
dropped@acmecorp.com,moving,
stayed@acmecorp.com,moving,
left@acmecorp.com,moving,
begun@acmecorp.com,here,
`
	afterChange = lab.SiteDirectory + `added@acmecorp.com,here,
arrived@acmecorp.com,office365,
stayed@acmecorp.com,here,
left@acmecorp.com,office365,
begun@acmecorp.com,moving,
`
)

// Postfix has a table of recipients for each of the ways in which it can take
// mail for a domain. Sendmail has one, and lets the milter say who is not known.
func TestASessionUnderWayGoesByTheDirectoryAsItIs(t *testing.T) {
	t.Parallel()
	for class, c := range map[string]lab.SiteConfig{
		"a virtual mailbox domain": {},
		"a local domain":           {Main: localDomain},
		"a relay domain": {Main: map[string]string{
			"relay_domains":           "acmecorp.com",
			"virtual_mailbox_domains": "globex.example",
			"relay_recipient_maps":    "socketmap:unix:{dir}/lookup.sock:recipients",
		}},
		"a domain of Sendmail": {MTA: lab.SendmailMTA},
	} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			toml := strings.Replace(lab.SiteTOML, "[domain.\"acmecorp.com\"]\n", "[domain.\"acmecorp.com\"]\nmax_loss = \"50%\"\n", 1)
			c.TOML, c.Directory = toml, beforeChange
			s := startSite(t, c)
			// One session is one process of the MTA.
			session := s.enter(lab.FromInternet)
			const ok, nobody, moving = "250 2.1.5", "550 5.1.1", "450 4.2.1"
			changes := []struct{ to, before, after string }{
				{"added@acmecorp.com", nobody, ok},
				{"arrived@acmecorp.com", nobody, ok},
				{"removed@acmecorp.com", ok, nobody},
				{"dropped@acmecorp.com", moving, nobody},
				{"stayed@acmecorp.com", moving, ok},
				{"left@acmecorp.com", moving, ok},
				{"begun@acmecorp.com", ok, moving},
			}
			m := lab.Mail{From: "eve@example.net"}
			for _, c := range changes {
				m.To = append(m.To, lab.Rcpt{Address: c.to})
			}
			r, err := session.Send(deadline(t), m)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range changes {
				if got := code(r.To[i]); got != c.before {
					t.Errorf("before the change, %s is answered with %s; %s is right", c.to, r.To[i], c.before)
				}
			}
			if err := s.WriteDirectory(afterChange); err != nil {
				t.Fatal(err)
			}
			s.mustReload()
			m.Data = lab.Plain("eve@example.net", "users@acmecorp.com", "to all of them")
			if r, err = session.Send(deadline(t), m); err != nil {
				t.Fatal(err)
			}
			for i, c := range changes {
				if got := code(r.To[i]); got != c.after {
					t.Errorf("after the change, %s is answered with %s; %s is right", c.to, r.To[i], c.after)
				}
			}
			s.mustArrive(m.Data, "here added@acmecorp.com", "here stayed@acmecorp.com",
				"office365 arrived@acmecorp-com.onmicrosoft.com", "office365 left@acmecorp-com.onmicrosoft.com")
		})
	}
}

// mustHaveBounced waits until Eve was told of a message that these addresses are
// not known, and checks that she was told of no others.
func (s *site) mustHaveBounced(message []byte, addresses ...string) {
	s.t.Helper()
	told := func() (list []string) {
		for _, d := range s.Outside.All() {
			if d.From != "" || !bytes.Contains(d.Data, []byte(messageID(message))) {
				continue
			}
			for _, found := range bouncedAddress.FindAllSubmatch(d.Data, -1) {
				list = append(list, string(found[1]))
			}
		}
		return list
	}
	all := func(lab.Delivery) bool { return len(told()) >= len(addresses) }
	if _, err := s.Outside.Wait(deadline(s.t), all); err != nil {
		s.t.Fatal(err)
	}
	if got := told(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(addresses))) {
		s.t.Errorf("Eve was told that %q are not known; right is %q", got, addresses)
	}
}

// bouncedAddress is what a bounce says of one recipient (RFC 3464 section 2.3).
var bouncedAddress = regexp.MustCompile(`Final-Recipient: rfc822; (\S+)\r\n(?:\S.*\r\n)*Status: 5\.1\.1\r\nDiagnostic-Code: X-Postfix; The address is not known here`)

// Members of an alias pass no milter.
func TestMailInTheQueueGoesByTheDirectoryAsItIs(t *testing.T) {
	t.Parallel()
	const members = "dropped@acmecorp.com, stayed@acmecorp.com, left@acmecorp.com, added@acmecorp.com"
	for kind, c := range map[string]lab.SiteConfig{
		"an alias of Postfix": {
			Main:  map[string]string{"virtual_alias_maps": "texthash:$config_directory/virtual, socketmap:unix:{dir}/lookup.sock:aliases"},
			Files: map[string]string{"virtual": "team@acmecorp.com " + members + "\n"},
		},
		"an alias of local": {
			Main:   with(localDomain, map[string]string{"alias_maps": "texthash:$config_directory/aliases"}),
			Routes: map[string]string{"acmecorp.com": "local:"},
			Files:  map[string]string{"aliases": "team " + members + "\n"},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const team = "team@acmecorp.com,here,\n"
			c.Directory = beforeChange + team
			s := startSite(t, c)
			s.relayToOffice()
			// What local(8) keeps comes to the same mailboxes as the rest.
			if err := s.Postfix.Restart(deadline(t), map[string]string{"mailbox_transport": s.Here.NextHop()}); err != nil {
				t.Fatal(err)
			}
			m := lab.Plain("eve@example.net", "team@acmecorp.com", "to an alias")
			s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("team@acmecorp.com"), Data: m})
			mustWait := func(why string) {
				t.Helper()
				for _, user := range []string{"dropped", "stayed", "left"} {
					s.do(s.WaitDeferred(deadline(t), user+"@acmecorp.com", why))
				}
			}
			mustWait("The mailbox is being moved")
			s.mustHaveBounced(m, "added@acmecorp.com")

			if err := errors.Join(s.Daemon.Stop(), s.WriteDirectory(badUsers), s.StartDaemon(deadline(t))); err != nil {
				t.Fatal(err)
			}
			s.flush()
			mustWait("The directory cannot be read at the moment")

			if err := s.WriteDirectory(afterChange + team); err != nil {
				t.Fatal(err)
			}
			s.mustReload()
			s.mustArrive(m, "here stayed@acmecorp.com", "office365 left@acmecorp.com")
			s.mustHaveBounced(m, "added@acmecorp.com", "dropped@acmecorp.com")
		})
	}
}
