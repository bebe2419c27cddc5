package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheFirstDirectoryThatListsAnAddressCounts(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const moved = "address,residence,login\nbob@acmecorp.com,office365,bob\nnew@acmecorp.com,office365,\n"
		first := filepath.Join(t.TempDir(), "first.csv")
		write := func(content string) {
			t.Helper()
			s := first + ".new"
			if err := os.WriteFile(s, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(s, first); err != nil {
				t.Fatal(err)
			}
		}
		write("address,residence,login\nbob@acmecorp.com,nowhere,bob\n")
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: strings.Replace(lab.SiteTOML, `directory = "users.csv"`, `directory = ["`+first+`", "users.csv"]`, 1)})
		// While the first cannot be read, nobody knows whom it lists.
		for _, to := range []string{"alice@acmecorp.com", "nobody@acmecorp.com"} {
			if reply := s.rcpt(lab.FromInternet, "eve@example.net", to); code(reply) != "451 4.3.0" {
				t.Errorf("while the first directory cannot be read, %s is answered with %s; 451 4.3.0 is right", to, reply)
			}
		}
		s.says(exitNo, "check", first+":2: ", "nowhere")
		write(moved)
		s.mustReload()
		s.mustFlow("bob@acmecorp.com", "office365 bob@acmecorp-com.onmicrosoft.com")
		s.mustFlow("new@acmecorp.com", "office365 new@acmecorp-com.onmicrosoft.com")
		s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")
		if reply := s.rcpt(lab.FromInternet, "eve@example.net", "nobody@acmecorp.com"); code(reply) != "550 5.1.1" {
			t.Errorf("an address that no directory lists is answered with %s; 550 5.1.1 is right", reply)
		}
		const twice = "bob@acmecorp.com lives office365 by "
		s.says(exitYes, "check", twice)
		mustSay(t, s.examined("directory"), "warn  directory      "+twice)
		s.says(exitYes, "check", "domain     acmecorp.com: mx here, 5 addresses, 1 both, 1 moving, 3 office365, unlisted reject")
	})
}
