package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// One wrong entry of a directory outside this host puts off the mail for itself, and for
// nobody else. Every tool tells it, with what is right.
func TestAWrongEntryOfLDAPStopsNobodyElsesMail(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		slapd := startSlapd(t, lab.SlapdConfig{})
		const there = "@acmecorp-com.onmicrosoft.com"
		s0 := person("alice", "alice"+there, "asmith@acmecorp.com") + person("bob", "", "sales@acmecorp.com") + person("carl", "carl"+there, "sales@acmecorp.com")
		if err := slapd.Apply(deadline(t), s0); err != nil {
			t.Fatal(err)
		}
		s := startDirectory(t, mta, strings.NewReplacer("{ldap}", slapd.URL).Replace(ldapTOML), lab.SlapdReaderPassword)
		s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=5`)
		s.waitDaemonLog(`msg="a row of a source is wrong" path=source:people error="source:people:[0-9]+: sales@acmecorp.com is the address of two entries, .* put_off=true`)
		s.mustFlow("asmith@acmecorp.com", "office365 alice"+there)
		s.mustFlow("bob@acmecorp.com", "here bob@acmecorp.com")
		if reply := s.rcpt(lab.FromInternet, "eve@example.net", "sales+news@acmecorp.com"); code(reply) != "451 4.3.0" {
			t.Errorf("an address of two entries is answered with %s; 451 4.3.0 is right", reply)
		}
		const twice = "sales@acmecorp.com is the address of two entries, uid=bob,ou=people,dc=acmecorp,dc=com and uid=carl,ou=people,dc=acmecorp,dc=com, of which one lives here and the other office365 as carl" + there + "; mail for it is put off; take it from the one that does not own it"
		s.says(exitYes, "check", twice)
		s.says(exitNo, "status", "  WRONG        source:people:", "sales@acmecorp.com is the address of two entries, ", "; mail for it is put off")
		mustSay(t, s.examined("directory"), "FAIL  directory      source:people:7: "+twice)
		s.says(exitWrong, "directory find sales@acmecorp.com", "lives    nobody can tell", "which does not count: it does not say where the mailbox lives, or two entries contradict each other")
		s.says(exitWrong, "explain --from eve@example.net --client 192.0.2.1 --to sales@acmecorp.com", "451 4.3.0")

		// It is over as soon as it is corrected over there.
		s.do(slapd.Apply(deadline(t), "dn: uid=carl,ou=people,dc=acmecorp,dc=com\nchangetype: modify\ndelete: mailAlternateAddress\n\n"+person("last", "")))
		s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=6`)
		s.mustFlow("sales@acmecorp.com", "here sales@acmecorp.com")
		s.says(exitYes, "status", "source:people for acmecorp.com: 6 addresses")
	})
}

func TestDirectoryFindTellsWhatTheDaemonGoesBy(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	users := filepath.Join(s.Dir, "users.csv")
	s.says(exitYes, "directory find alice@acmecorp.com", "lives    office365", "source   "+users+", line 2: alice@acmecorp.com lives office365", "  since  20")
	// A file that lacks nearly all is refused; the daemon goes by the old one.
	s.do(os.WriteFile(users+".new", []byte("address,residence,login\nalice@acmecorp.com,here,\n"), 0o644))
	s.do(os.Rename(users+".new", users))
	s.waitDaemonLog(`msg="directory refused, the old one stays"`)
	s.says(exitYes, "directory find alice@acmecorp.com", "lives    office365", "line 2: alice@acmecorp.com lives office365")
	s.says(exitYes, "directory find hugo@globex.example", "lives    here")
	s.says(exitYes, "directory list", "alice@acmecorp.com  here", "the running daemon does not go by "+users+" as it is: ", "it has the 7 addresses of 20")
	s.do(s.Daemon.Stop())
	s.says(exitYes, "directory find alice@acmecorp.com", "by the files: no daemon runs", "lives    here")
	s.do(s.StartDaemon(deadline(t)))
	s.says(exitYes, "directory find alice@acmecorp.com", "lives    here")
}
