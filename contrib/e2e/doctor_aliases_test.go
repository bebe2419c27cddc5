package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// A name without a domain is an address in myorigin for Postfix. What the doctor says of
// it is what becomes of the mail.
func TestTheDoctorSaysWhereMembersOfAliasesWithoutADomainGo(t *testing.T) {
	t.Parallel()
	const directory = lab.SiteDirectory + "team@acmecorp.com,here,\n"
	for _, c := range []struct {
		name     string
		myorigin string
		virtual  string // virtual_alias_maps
		says     string // what the doctor must say; "": nothing of aliases
		host     string // the section of the host's own name; "": none
		arrives  []string
	}{
		{"with domains", "mail.acmecorp.com", "team@acmecorp.com bob@acmecorp.com, alice@acmecorp.com", "", "",
			[]string{"here bob@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com"}},
		{"in our domain", "acmecorp.com", "team@acmecorp.com bob, alice", "", "",
			[]string{"here bob@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com"}},
		{"in our domain by a file", "$config_directory/mailname", "team@acmecorp.com bob, alice", "", "",
			[]string{"here bob@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com"}},
		{"unlisted in our domain by a file", "$config_directory/mailname", "team@acmecorp.com bob@acmecorp.com, root",
			"FAIL  postfix        {table} of virtual_alias_maps has members without a domain that Postfix takes for addresses in acmecorp.com (myorigin), which the directory lacks: their mail is bounced: root of team@acmecorp.com\n", "",
			[]string{"here bob@acmecorp.com"}},
		{"in the domain of the host", "mail.acmecorp.com", "team@acmecorp.com bob, alice",
			"FAIL  postfix        {table} of virtual_alias_maps has members without a domain that Postfix takes for addresses in mail.acmecorp.com (myorigin), where nobody of the directory lives: their mail does not reach them: alice of team@acmecorp.com, who is alice@acmecorp.com\n" +
				"  do: add to {dir}/coexistd.toml: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\", and run: systemctl reload coexistd; or write their addresses with the domain in {table}\n",
			"", []string{"Internet alice@mail.acmecorp.com", "Internet bob@mail.acmecorp.com"}},
		{"in the domain of the host, which has a section", "mail.acmecorp.com", "team@acmecorp.com bob@acmecorp.com, alice",
			"(myorigin), where nobody of the directory lives: their mail does not reach them: alice of team@acmecorp.com, who is alice@acmecorp.com\n" +
				"  do: add to [domain.\"mail.acmecorp.com\"] of {dir}/coexistd.toml: same_as = \"acmecorp.com\", and run: systemctl reload coexistd; or write their addresses with the domain in {table}\n",
			"unlisted = \"here\"\n", []string{"Internet alice@mail.acmecorp.com", "here bob@acmecorp.com"}},
		{"in the domain of the host, which has the same users", "mail.acmecorp.com", "team@acmecorp.com bob@acmecorp.com, alice", "",
			"unlisted = \"here\"\nsame_as = \"acmecorp.com\"\n", []string{"office365 alice@acmecorp-com.onmicrosoft.com", "here bob@acmecorp.com"}},
		{"in our domain and unlisted", "acmecorp.com", "team@acmecorp.com bob@acmecorp.com, root",
			"FAIL  postfix        {table} of virtual_alias_maps has members without a domain that Postfix takes for addresses in acmecorp.com (myorigin), which the directory lacks: their mail is bounced: root of team@acmecorp.com\n" +
				"  do: list them in the directory with the residence here, or write their addresses with a domain that is not shared", "",
			[]string{"here bob@acmecorp.com"}},
		{"in our domain and an alias itself", "acmecorp.com", "team@acmecorp.com staff\nstaff bob", "FAIL  postfix        {table} of virtual_alias_maps has aliases that the directory lacks, so that their mail is refused: staff@acmecorp.com\n", "",
			[]string{"here bob@acmecorp.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			toml := lab.SiteTOML
			if c.host != "" {
				toml += "\n[domain.\"mail.acmecorp.com\"]\n" + c.host
			}
			s := startSite(t, lab.SiteConfig{
				TOML: toml, Directory: directory, Files: map[string]string{"virtual": c.virtual + "\n", "mailname": "acmecorp.com\n"},
				Main: map[string]string{
					"myorigin": c.myorigin, "virtual_alias_maps": "texthash:$config_directory/virtual, socketmap:unix:{dir}/lookup.sock:aliases",
				},
			})
			table := "texthash:" + filepath.Join(s.Postfix.Dir, "etc", "virtual")
			out := s.ofPostfix()
			if says := strings.NewReplacer("{table}", table, "{dir}", s.Dir).Replace(c.says); !strings.Contains(out, says) || says == "" && strings.Contains(out, "virtual_alias_maps has ") {
				t.Errorf("the doctor should say %q:\n%s", says, out)
			}
			message := lab.Plain("eve@example.net", "team@acmecorp.com", "to the team")
			s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: []lab.Rcpt{{Address: "team@acmecorp.com"}}, Data: message})
			s.mustArrive(message, c.arrives...)
		})
	}
}

// ofPostfix is what the doctor says of the site's Postfix.
func (s *site) ofPostfix() string {
	s.t.Helper()
	p := lab.Lend(s.t)
	_, out, _ := runDoctor(s.t, postconfOf(s.t, p, filepath.Join(s.Postfix.Dir, "etc")), nil, "-c", s.Config())
	return about("postfix", out)
}

// local(8) takes a member of aliases(5) in its own domain for a mailbox here, were it not for
// our lookup transport.
func TestTheDoctorSaysWhichMembersOfAliases5AreBounced(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		Directory: lab.SiteDirectory + "team@acmecorp.com,here,\n",
		Files:     map[string]string{"aliases": "team alice, root, \"|/bin/false x\"\nghost bob@acmecorp.com\n"},
		Routes:    map[string]string{"acmecorp.com": "local:"},
		Main: map[string]string{
			"myorigin": "acmecorp.com", "mydestination": "acmecorp.com", "virtual_mailbox_domains": "globex.example",
			"local_recipient_maps": "socketmap:unix:{dir}/lookup.sock:recipients", "alias_maps": "texthash:$config_directory/aliases",
		},
	})
	out := s.ofPostfix()
	table := "texthash:" + filepath.Join(s.Postfix.Dir, "etc", "aliases")
	mustSay(t, out,
		"warn  postfix        "+table+" of alias_maps has aliases that the directory lacks, so that their mail is refused: ghost@acmecorp.com\n",
		"FAIL  postfix        "+table+" of alias_maps has members without a domain that Postfix takes for addresses in acmecorp.com (myorigin), which the directory lacks: their mail is bounced: root of team\n")
	message := lab.Plain("eve@example.net", "team@acmecorp.com", "to the team")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: []lab.Rcpt{{Address: "team@acmecorp.com"}}, Data: message})
	s.mustArrive(message, "office365 alice@acmecorp-com.onmicrosoft.com")
	if log := s.Log(); !strings.Contains(log, "to=<root@acmecorp.com>, orig_to=<team@acmecorp.com>") || !strings.Contains(log, "status=bounced") {
		t.Errorf("the message to root was not bounced")
	}
	r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: []lab.Rcpt{{Address: "ghost@acmecorp.com"}}, Data: message})
	if r.Accepted() {
		t.Errorf("mail for an alias that the directory lacks was taken: %+v", r)
	}
}

func TestTheDoctorSaysWhichNamesReachWhoLivesElsewhereTwice(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		Files: map[string]string{"canonical": "al alice@acmecorp.com\nrobert bob@acmecorp.com\n"},
		Main:  map[string]string{"recipient_canonical_maps": "texthash:$config_directory/canonical"},
	})
	table := "texthash:" + filepath.Join(s.Postfix.Dir, "etc", "canonical")
	mustSay(t, s.ofPostfix(),
		"warn  postfix        recipient_canonical_maps asks "+table+": mail of the sendmail command to a name that it makes the address of who lives elsewhere arrives there twice: al (alice@acmecorp.com)\n"+
			"  do: write such rows into a table of virtual_alias_maps in its place")
	message := lab.Plain(forBob, "alice@acmecorp.com", "to a name that is rewritten")
	s.sendmail(forBob, message, "al")
	s.mustArrive(message, "office365 alice@acmecorp-com.onmicrosoft.com", "office365 alice@acmecorp-com.onmicrosoft.com")
}

func TestTheDoctorSaysOfWhichMembersOnlyTheMailboxHereGetsMail(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		Directory: lab.SiteDirectory + "team@acmecorp.com,here,\nwhole@acmecorp.com,here,\n",
		Files:     map[string]string{"aliases": "team bob, carol\nwhole bob, carol, carol@acmecorp-com.onmicrosoft.com\n"},
		Routes:    map[string]string{"acmecorp.com": "local:"},
		Main: map[string]string{
			"myorigin": "acmecorp.com", "mydestination": "acmecorp.com", "virtual_mailbox_domains": "globex.example",
			"local_recipient_maps": "socketmap:unix:{dir}/lookup.sock:recipients", "alias_maps": "texthash:$config_directory/aliases",
		},
	})
	s.do(s.Postfix.Restart(deadline(t), map[string]string{"mailbox_transport": s.Here.NextHop()}))
	table := "texthash:" + filepath.Join(s.Postfix.Dir, "etc", "aliases")
	mustSay(t, s.ofPostfix(),
		"warn  postfix        "+table+" of alias_maps has members whose residence is both, of whose mail by an alias only the mailbox here gets a copy\n"+
			"  do: where that matters, name in "+table+" of alias_maps their other address as well: carol@acmecorp-com.onmicrosoft.com beside carol of team\n")
	for to, other := range map[string][]string{"team": nil, "whole": {"office365 carol@acmecorp-com.onmicrosoft.com"}} {
		message := lab.Plain("eve@example.net", to+"@acmecorp.com", "to an alias")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to + "@acmecorp.com"), Data: message})
		s.mustArrive(message, append([]string{"here bob@acmecorp.com", "here carol@acmecorp.com"}, other...)...)
	}
}

func TestTheDoctorSaysWhichAliasesWeRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rows, unlisted string
		says                 string // "": nothing of aliases
	}{
		{"listed, or of others", "bob@acmecorp.com bob@localhost\nBOB+x@acmecorp.com carol@acmecorp.com\nsales@other.example bob@acmecorp.com\npostmaster@acmecorp.com bob@acmecorp.com\n@other.example bob@acmecorp.com\ninfo bob@acmecorp.com", "", ""},
		{"unlisted", "sales@acmecorp.com bob@acmecorp.com\nb@acmecorp.com bob@acmecorp.com\nc@acmecorp.com bob@acmecorp.com\nd@acmecorp.com bob@acmecorp.com\ne@globex.example bob@acmecorp.com\nf@acmecorp.com bob@acmecorp.com\n", "",
			"FAIL  postfix        {table} of virtual_alias_maps has aliases that the directory lacks, so that their mail is refused: "},
		{"for all of a domain", "@acmecorp.com bob@acmecorp.com", "",
			"FAIL  postfix        {table} of virtual_alias_maps has aliases that the directory lacks, so that their mail is refused: @acmecorp.com\n" +
				"  do: list each in the directory with the residence here, or set unlisted = \"here\" in the domain's section of {dir}/coexistd.toml\n"},
		{"unlisted ones live here", "sales@acmecorp.com bob@acmecorp.com\n@acmecorp.com bob@acmecorp.com", `"here"`, ""},
		{"unlisted ones live elsewhere", "sales@acmecorp.com bob@acmecorp.com", `"office365"`,
			"warn  postfix        {table} of virtual_alias_maps has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: sales@acmecorp.com\n"},
		{"elsewhere as the directory has it", "alice@acmecorp.com alice@acmecorp-com.onmicrosoft.com", "", ""},
		{"elsewhere than the directory has it", "alice@acmecorp.com bob@acmecorp.com", "",
			"warn  postfix        {table} of virtual_alias_maps has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: alice@acmecorp.com\n"},
	} {
		t.Run(strings.ReplaceAll(c.name, ",", ""), func(t *testing.T) {
			t.Parallel()
			table := aliasTable(t, "postmap", c.rows)
			out := ofPostfix(t, siteWithUnlisted(c.unlisted), map[string]string{"virtual_alias_maps": "proxy:" + table + " socketmap:unix:{dir}/lookup.sock:aliases"}, nil)
			if says := strings.ReplaceAll(c.says, "{table}", table); !strings.Contains(out, says) || says == "" && strings.Contains(out, " has aliases") {
				t.Errorf("the doctor should say %q:\n%s", says, out)
			}
		})
	}
	out := ofPostfix(t, lab.SiteTOML, map[string]string{"virtual_alias_maps": "hash:{dir}/none socketmap:unix:{dir}/lookup.sock:aliases"}, nil)
	mustSay(t, out, "warn  postfix        hash:{dir}/none of virtual_alias_maps cannot be read: ", "  do: see that it is there and that root can read it")
}

// postalias(1) puts rows of its own beside the aliases, whose values are no members.
func TestTheDoctorTakesWhatPostaliasAddsForNoAlias(t *testing.T) {
	t.Parallel()
	table := aliasTable(t, "postalias", "team: bob@acmecorp.com\npostmaster: bob@acmecorp.com\nalice: bob@acmecorp.com\n")
	out := ofPostfix(t, lab.SiteTOML, map[string]string{
		"alias_maps": table, "mydestination": "acmecorp.com", "myorigin": "acmecorp.com", "virtual_mailbox_domains": "globex.example",
	}, nil)
	mustSay(t, out, "warn  postfix        "+table+" of alias_maps has aliases that the directory lacks, so that their mail is refused: team@acmecorp.com\n",
		"warn  postfix        "+table+" of alias_maps has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: alice@acmecorp.com\n")
	if strings.Contains(out, "members") || strings.Contains(strings.ToLower(out), "yp_") {
		t.Errorf("the doctor takes rows of postalias for aliases:\n%s", out)
	}
}

func TestTheDoctorSaysWhosePostmastersNobodyReads(t *testing.T) {
	t.Parallel()
	const taken = "warn  postfix        mail to %s is taken, as each domain must, but neither the directory nor an alias of Postfix says who reads it\n" +
		"  do: write an alias for each into virtual_alias_maps, before our map, or list those that have a mailbox here in the directory\n"
	for name, c := range map[string]struct {
		rows, unlisted, main, lost string // lost: "": nothing of them is said
	}{
		"none has one":             {"x@other.example bob@acmecorp.com", "", "", "postmaster@acmecorp.com, abuse@acmecorp.com, postmaster@globex.example, abuse@globex.example"},
		"one has":                  {"postmaster@acmecorp.com bob@acmecorp.com\nABUSE@acmecorp.com bob@acmecorp.com", "", "", "postmaster@globex.example, abuse@globex.example"},
		"one for all of a domain":  {"@acmecorp.com bob@acmecorp.com\n@globex.example hugo@globex.example", "", "", ""},
		"without a domain, origin": {"postmaster bob@acmecorp.com\nabuse bob@acmecorp.com", "", "globex.example", "postmaster@acmecorp.com, abuse@acmecorp.com"},
		"unlisted ones live here":  {"@globex.example hugo@globex.example", `"here"`, "", ""},
		"unlisted ones live there": {"@globex.example hugo@globex.example", `"office365"`, "", ""},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			main := map[string]string{"virtual_alias_maps": aliasTable(t, "postmap", c.rows) + " socketmap:unix:{dir}/lookup.sock:aliases"}
			if c.main != "" {
				main["myorigin"] = c.main
			}
			out := ofPostfix(t, siteWithUnlisted(c.unlisted), main, nil)
			says := "is taken, as each domain must"
			if c.lost != "" {
				says = fmt.Sprintf(taken, c.lost)
			}
			if strings.Contains(out, says) != (c.lost != "") {
				t.Errorf("the doctor should say %q:\n%s", c.lost, out)
			}
		})
	}
}

// aliasTable makes a table of rows, by postmap or postalias.
func aliasTable(t *testing.T, maker, rows string) string {
	t.Helper()
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	table := "hash:" + filepath.Join(dir, "table")
	main := "compatibility_level = 3.6\nmail_owner = daemon\nsetgid_group = mail\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "table"), []byte(rows), 0o644), os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := lab.Lend(t).Command(deadline(t), maker, "-c", dir, table).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", maker, err, out)
	}
	return table
}

// siteWithUnlisted is the usual configuration in which the addresses of acmecorp.com that the
// directory lacks live somewhere; "": nowhere.
func siteWithUnlisted(somewhere string) string {
	if somewhere == "" {
		return lab.SiteTOML
	}
	return strings.Replace(lab.SiteTOML, "[domain.\"acmecorp.com\"]\n", "[domain.\"acmecorp.com\"]\nunlisted = "+somewhere+"\n", 1)
}
