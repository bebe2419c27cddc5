package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// startSlapd starts one that ends with the test.
func startSlapd(t *testing.T, c lab.SlapdConfig) *lab.Slapd {
	t.Helper()
	slapd, err := lab.LendDirectories(t).StartSlapd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, slapd.Stop) })
	return slapd
}

// person is an entry of slapd: whoever has a routing address lives there.
func person(uid, routing string, aliases ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: uid=%[1]s,ou=people,dc=acmecorp,dc=com\nchangetype: add\nobjectClass: inetOrgPerson\nobjectClass: inetLocalMailRecipient\nobjectClass: labMailRecipient\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nmail: %[1]s@acmecorp.com\n", uid)
	for _, alias := range aliases {
		fmt.Fprintf(&b, "mailAlternateAddress: %s\n", alias)
	}
	if routing != "" {
		fmt.Fprintf(&b, "mailRoutingAddress: %s\n", routing)
	}
	return b.String() + "\n"
}

func livesAt(uid, routing string) string {
	return fmt.Sprintf("dn: uid=%s,ou=people,dc=acmecorp,dc=com\nchangetype: modify\nreplace: mailRoutingAddress\nmailRoutingAddress: %s\n\n", uid, routing)
}

func deleted(uid string) string {
	return fmt.Sprintf("dn: uid=%s,ou=people,dc=acmecorp,dc=com\nchangetype: delete\n\n", uid)
}

// ldapTOML has acmecorp.com's users in slapd. {ldap} stands for its URL.
const ldapTOML = `
[source.people]
type          = "ldap"
preset        = "mithi"
servers       = ["{ldap}"]
user          = "cn=reader,dc=acmecorp,dc=com"
password_file = "{dir}/ldap.password"
base          = "dc=acmecorp,dc=com"
interval      = "1s"
timeout       = "2s"
`

// startDirectory starts a site whose users are those of a source, which the TOML describes.
func startDirectory(t *testing.T, mta lab.MTA, source, password string) *site {
	t.Helper()
	s := startSite(t, lab.SiteConfig{MTA: mta, Directory: globexUsers})
	s.do(os.WriteFile(filepath.Join(s.Dir, "ldap.password"), []byte(password+"\n"), 0o600))
	s.configure(strings.Replace(lab.SiteTOML, `directory = "users.csv"`, `directory = "source:people"`, 1) + source)
	return s
}

func TestUsersOfLDAPArriveWhereTheyLive(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		slapd := startSlapd(t, lab.SlapdConfig{})
		const there = "@acmecorp-com.onmicrosoft.com"
		s0 := person("alice", "alice.smith"+there, "asmith@acmecorp.com", "alice@elsewhere.example") + person("bob", "", "robert@acmecorp.com")
		for i := range 40 {
			s0 += person(fmt.Sprintf("user%d", i), "")
		}
		if err := slapd.Apply(deadline(t), s0); err != nil {
			t.Fatal(err)
		}
		s := startDirectory(t, mta, strings.NewReplacer("{ldap}", slapd.URL).Replace(ldapTOML), lab.SlapdReaderPassword)
		s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=44`)
		s.mustFlow("asmith@acmecorp.com", "office365 alice.smith"+there)
		s.mustFlow("robert@acmecorp.com", "here robert@acmecorp.com")
		if reply := s.rcpt(lab.FromInternet, "eve@example.net", "nobody@acmecorp.com"); code(reply) != "550 5.1.1" {
			t.Errorf("nobody is answered with %s", reply)
		}
		s.says(exitYes, "status", "source:people for acmecorp.com: 44 addresses", "44 rows read")

		// A change counts.
		s.do(slapd.Apply(deadline(t), livesAt("bob", "bob"+there)+person("new", "")))
		s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=45`)
		s.mustFlow("robert@acmecorp.com", "office365 bob"+there)
		s.mustFlow("new@acmecorp.com", "here new@acmecorp.com")

		// One that has lost most of its users is not believed, until somebody says so.
		var gone strings.Builder
		for i := range 40 {
			gone.WriteString(deleted(fmt.Sprintf("user%d", i)))
		}
		s.do(slapd.Apply(deadline(t), person("last", "")+gone.String()))
		s.waitDaemonLog(`msg="directory refused, the old one stays" path=source:people error=.*lacks 40 of 45 addresses`)
		s.mustFlow("user7@acmecorp.com", "here user7@acmecorp.com")
		s.says(exitNo, "status", "REFUSED", "lacks 40 of 45 addresses", "coexistd directory diff source:people says how to accept it")
		diff := s.says(exitNo, "directory diff source:people", "- source:people, line ", "user7@acmecorp.com lives here", "+ source:people (refused), line ", "last@acmecorp.com lives here, login last")
		s.says(exitYes, "directory find Robert+x@acmecorp.com", "lives    office365", "goes to  bob+x@acmecorp-com.onmicrosoft.com", "entry uid=bob,ou=people,dc=acmecorp,dc=com")
		s.says(exitNo, "directory find nobody@acmecorp.com", "nobody has it", "550 5.1.1")
		s.says(exitYes, "directory list source:people", "asmith@acmecorp.com", "alice.smith@acmecorp-com.onmicrosoft.com")
		_, accept, _ := strings.Cut(strings.TrimSpace(diff), "to take that list: coexistd ")
		s.says(exitWrong, "directory accept source:people", "it needs a source and the digest that coexistd directory diff SOURCE prints")
		s.says(exitWrong, "directory accept source:people 3f9a0c1b22d4", "another list waits by now", "coexistd directory diff source:people")
		s.says(exitYes, accept, "the list of source:people is taken")
		s.says(exitNo, accept, "no list of source:people waits")
		s.says(exitYes, "directory diff source:people", "nothing differs")
		if reply := s.rcpt(lab.FromInternet, "eve@example.net", "user7@acmecorp.com"); code(reply) != "550 5.1.1" {
			t.Errorf("once the list is accepted, who is not in it is answered with %s", reply)
		}
	})
}

// sqlTOML has them in a database. {driver}, {server} and {user} are the server's.
const sqlTOML = `
[source.people]
type          = "sql"
driver        = "{driver}"
servers       = ["{server}"]
database      = "{database}"
user          = "{user}"
password_file = "{dir}/ldap.password"
query         = "SELECT address, CASE WHEN cloud THEN 'office365' ELSE 'here' END AS residence, address AS login, target FROM users"
mark_query    = "SELECT count(*), max(changed) FROM users"
interval      = "1s"
timeout       = "2s"
`

func TestUsersOfSQLArriveWhereTheyLive(t *testing.T) {
	t.Parallel()
	type database interface {
		Exec(ctx context.Context, sql string) (string, error)
		Stop() error
	}
	for driver, start := range map[string]func(*testing.T) (d database, server, user, password string){
		"postgres": func(t *testing.T) (database, string, string, string) {
			p, err := lab.LendDirectories(t).StartPostgres(deadline(t), lab.PostgresConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return p, p.Addr, lab.SQLReader, lab.SQLReaderPassword
		},
		"mysql": func(t *testing.T) (database, string, string, string) {
			m, err := lab.LendDirectories(t).StartMariaDB(deadline(t), lab.MariaDBConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return m, m.Addr, lab.SQLReader, lab.SQLReaderPassword
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			d, server, user, password := start(t)
			t.Cleanup(func() { stopFilter(t, d.Stop) })
			exec := func(sql string) {
				t.Helper()
				if _, err := d.Exec(deadline(t), sql); err != nil {
					t.Fatal(err)
				}
			}
			exec("CREATE TABLE users (address varchar(200), cloud boolean, target varchar(200), changed integer);" +
				"INSERT INTO users VALUES ('alice@acmecorp.com', true, 'alice.smith@acmecorp-com.onmicrosoft.com', 1), ('bob@acmecorp.com', false, NULL, 1), ('x@elsewhere.example', false, NULL, 1)")
			s := startDirectory(t, lab.PostfixMTA, strings.NewReplacer("{driver}", driver, "{server}", server, "{user}", user, "{database}", lab.SQLDatabase).Replace(sqlTOML), password)
			s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=2`)
			s.mustFlow("alice@acmecorp.com", "office365 alice.smith@acmecorp-com.onmicrosoft.com")
			s.mustFlow("bob@acmecorp.com", "here bob@acmecorp.com")
			exec("INSERT INTO users VALUES ('carl@acmecorp.com', true, NULL, 2)")
			s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=3`)
			s.mustFlow("carl@acmecorp.com", "office365 carl@acmecorp-com.onmicrosoft.com")
		})
	}
}

func TestWhatIsWrongWithASourceIsToldBeforeItIsAsked(t *testing.T) {
	t.Parallel()
	s := startDirectory(t, lab.PostfixMTA, strings.NewReplacer("{ldap}", "ldap://127.0.0.1:1").Replace(ldapTOML), "secret")
	s.says(exitYes, "check", "source:people has not been read yet")
	mustSay(t, s.examined("directory"), "FAIL  directory      source:people has not been read yet, and no copy of its list is left from before: its domains are answered 451")
	s.waitDaemonLog(`msg="a source cannot be read, and there is no list of it from before" source=source:people error=.*ldap://127.0.0.1:1`)
	mustSay(t, s.examined("daemon"), "FAIL  daemon         the daemon cannot read source:people since ", "  do: see that the server answers who asks it by [source.people] of {dir}/coexistd.toml")
	if reply := s.rcpt(lab.FromInternet, "eve@example.net", "alice@acmecorp.com"); code(reply) != "451 4.3.0" {
		t.Errorf("before the source was read once, the answer is %s", reply)
	}
	s.do(s.WriteTOML(strings.Replace(lab.SiteTOML, `directory = "users.csv"`, `directory = "source:people"`, 1) +
		strings.NewReplacer("{ldap}", "http://127.0.0.1:1", `"mithi"`, `"mithril"`).Replace(ldapTOML)))
	s.says(exitNo, "check", `source:people: the preset "mithril" is none of LDAP`)
	s.says(exitNo, "reload", `source:people: the preset "mithril" is none of LDAP`)
	mustSay(t, s.examined("directory"), `FAIL  directory      source:people: the preset "mithril" is none of LDAP`, "  do: correct it, and see that coexistd check -c {dir}/coexistd.toml says ok")

	// A start is not kept by it.
	s.do(s.Daemon.Stop())
	s.do(s.StartDaemon(deadline(t)))
	s.waitDaemonLog(`msg="a source cannot be read, and there is no list of it from before" source=source:people error=.*mithril`)
	s.says(exitNo, "status", "CANNOT BE READ since", `the preset "mithril" is none of LDAP`)
	mustSay(t, s.examined("daemon"), "FAIL  daemon         the daemon cannot read source:people since ")
}

func TestAListThatExchangeExportedIsReadWhenItIsReplaced(t *testing.T) {
	t.Parallel()
	const header = "\ufeff\"PrimarySmtpAddress\",\"EmailAddresses\",\"RecipientTypeDetails\",\"ExternalEmailAddress\"\r\n"
	export := func(rows ...string) string { return header + strings.Join(rows, "\r\n") + "\r\n" }
	const alice = `"alice@acmecorp.com","SMTP:alice@acmecorp.com smtp:asmith@acmecorp.com smtp:alice.smith@acmecorp-com.onmicrosoft.com","UserMailbox",`
	s := startSite(t, lab.SiteConfig{})
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(s.Dir, name)
		s.do(os.WriteFile(path+".new", []byte(content), 0o644))
		s.do(os.Rename(path+".new", path))
	}
	write("office365.csv", export(alice))
	write("here.csv", "address,residence,login\nbob@acmecorp.com,here,bob\nalice@acmecorp.com,here,\n")
	s.do(s.WriteDirectory(globexUsers))
	s.configure(strings.Replace(lab.SiteTOML, `directory = "users.csv"`, `directory = ["source:there", "here.csv"]`, 1) +
		"[source.there]\ntype = \"csv\"\nplatform = \"office365\"\nfile = \"office365.csv\"\ninterval = \"1s\"\n")
	s.waitDaemonLog(`msg="directory loaded" path=source:there addresses=2`)
	s.mustFlow("asmith@acmecorp.com", "office365 alice.smith@acmecorp-com.onmicrosoft.com")
	s.mustFlow("alice@acmecorp.com", "office365 alice.smith@acmecorp-com.onmicrosoft.com")
	s.mustFlow("bob@acmecorp.com", "here bob@acmecorp.com")
	write("office365.csv", export(alice, `"bob@acmecorp.com","SMTP:bob@acmecorp.com","UserMailbox",`))
	s.waitDaemonLog(`msg="directory loaded" path=source:there addresses=3`)
	s.mustFlow("bob@acmecorp.com", "office365 bob@acmecorp-com.onmicrosoft.com")
	write("office365.csv", "address,residence\n")
	s.waitDaemonLog(`msg="a source cannot be read: its last list stays" source=source:there`)
	s.mustFlow("bob@acmecorp.com", "office365 bob@acmecorp-com.onmicrosoft.com")
}
