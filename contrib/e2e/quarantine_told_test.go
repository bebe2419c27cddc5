package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// toldUsers have a group, a shared mailbox, and one who is told of what is held for it.
const toldUsers = `address,residence,login,kind,report_to
alice@acmecorp.com,office365,,,
bob@acmecorp.com,here,bob,user,
sales@acmecorp.com,here,,group,
info@acmecorp.com,here,,shared,bob@acmecorp.com; alice@acmecorp.com
hugo@globex.example,here,hugo,,-
`

// mustTell sends the reports, and compares whom of the recipients' they go to.
func (s *site) mustTell(to ...string) {
	s.t.Helper()
	out, status := s.quarantine("report")
	var told []string
	for line := range strings.Lines(out) {
		if address, _, is := strings.Cut(strings.TrimPrefix(line, "sent to "), ": "); is && address != "postmaster@acmecorp.com" {
			told = append(told, address)
		}
	}
	if status != exitYes || strings.Join(told, " ") != strings.Join(to, " ") {
		s.t.Errorf("the reports ended with %d, and went to %q, not to %q:\n%s", status, told, to, out)
	}
}

func TestTheDirectorySaysWhoIsToldOfWhatIsHeld(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport), Directory: toldUsers})
		m := programFor("bob@acmecorp.com", "told", 0)
		held := s.hold(m, "bob@acmecorp.com", "sales@acmecorp.com", "info+x@acmecorp.com", "hugo@globex.example")
		for i, want := range []string{
			"they are told of it in the next report", "they are not told of it", "bob@acmecorp.com, alice@acmecorp.com are told of it in the next report", "they are not told of it",
		} {
			if shown, _ := s.quarantine("show", held[i].ID); !strings.Contains(shown, want) {
				t.Errorf("of %s show does not say %q:\n%s", held[i].Address, want, shown)
			}
		}
		s.mustTell("bob@acmecorp.com", "alice@acmecorp.com", "bob@acmecorp.com")
		if text := s.reportTo(s.Office, aliceThere, 0); !strings.Contains(text, "info@acmecorp.com") || !strings.Contains(text, held[2].ID) {
			t.Errorf("alice is not told of what is held for info:\n%s", text)
		}
		s.mustTell()
	})
}

func TestLDAPSaysWhoIsToldOfWhatIsHeld(t *testing.T) {
	t.Parallel()
	slapd := startSlapd(t, lab.SlapdConfig{})
	entry := func(uid, told string) string {
		return strings.TrimSuffix(person(uid, ""), "\n") + "employeeNumber: " + told + "\n\n"
	}
	if err := slapd.Apply(deadline(t), entry("bob", "carol@acmecorp.com")+entry("carol", "-")+entry("dave", "nobody")); err != nil {
		t.Fatal(err)
	}
	source := strings.NewReplacer("{ldap}", slapd.URL).Replace(ldapTOML) + "\n[source.people.columns]\nreport_to = \"employeeNumber\"\n[quarantine]\nsmtp = \"{mta}\"\n" + neverReport
	s := startDirectory(t, lab.PostfixMTA, source, lab.SlapdReaderPassword)
	s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=3`)
	s.says(exitYes, "check", `of dave@acmecorp.com the column "report_to"`, "it is not used (uid=dave,ou=people,dc=acmecorp,dc=com)")
	s.hold(programFor("bob@acmecorp.com", "told", 0), "bob@acmecorp.com", "carol@acmecorp.com", "dave@acmecorp.com")
	s.mustTell("carol@acmecorp.com", "dave@acmecorp.com")
}

// A server that got no answer sends what it has in its queue again, with the Received fields that
// stood there before. The one that our MTA adds is another each time.
func TestAMessageThatAServerSendsAgainIsHeldOnce(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		m := withHeader("Received: from client.example.net (client.example.net [192.0.2.1])\r\n\tby mx.example.net with ESMTP id 4Zc5Qp3bF1; Sun, 22 Nov 2026 16:02:11 +0000", programFor("bob@acmecorp.com", "again", 0))
		first := s.hold(m, "bob@acmecorp.com", "alice@acmecorp.com")
		for _, to := range [][]string{{"bob@acmecorp.com", "alice@acmecorp.com"}, {"alice@acmecorp.com"}} {
			r := s.fromEve(m, to...)
			if line := s.logged(r); line["verdict"] != "quarantine" || !strings.Contains(line["held"], first[1].ID) {
				t.Errorf("sent again, it is held as %q, %+v", line["held"], r)
			}
		}
		if list := s.entries(); len(list) != len(first) {
			t.Errorf("held are %+v", list)
		}
	})
}
