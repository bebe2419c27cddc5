package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// docsOfPostfix has what contrib/postfix tells an administrator whose users lie in LDAP: its
// main.cf, and what README.md's section has for main.cf, coexistd.toml and local.csv.
type docsOfPostfix struct {
	main, beside, toml, local string
}

func readDocsOfPostfix(t *testing.T) docsOfPostfix {
	t.Helper()
	main, err := os.ReadFile("../postfix/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../postfix/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## Users in LDAP")
	if !found {
		t.Fatal("README.md has no section for users in LDAP")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?ms)^```\n(.*?)^```$").FindAllStringSubmatch(section, -1)
	if len(blocks) != 3 {
		t.Fatalf("README.md's section for users in LDAP has %d blocks; coexistd.toml, local.csv and main.cf are right", len(blocks))
	}
	return docsOfPostfix{main: string(main), toml: blocks[0][1], local: blocks[1][1], beside: blocks[2][1]}
}

// settings reads lines as main.cf has them.
func settings(text string) map[string]string {
	all, last := map[string]string{}, ""
	for line := range strings.Lines(text) {
		name, value, is := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "#"):
		case line[0] == ' ':
			all[last] += " " + strings.TrimSpace(line)
		case is:
			last = strings.TrimSpace(name)
			all[last] = strings.TrimSpace(value)
		}
	}
	return all
}

// instead puts values in the place of those of a text, each of which must be in it.
func instead(t *testing.T, text string, values ...string) string {
	t.Helper()
	for pair := range slices.Chunk(values, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("the documentation lacks %q:\n%s", pair[0], text)
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text
}

// mithiTables are Postfix's own tables.
var mithiTables = map[string]string{
	"ldap-users.cf":    "query_filter = (|(mail=%s)(mailRoutingAddress=%s))\nresult_attribute = uid\nresult_format = %s/\n",
	"ldap-forwards.cf": "query_filter = (&(objectClass=inetOrgPerson)(mail=%s))\nresult_attribute = mailForwardingAddress\n",
	"ldap-aliases.cf":  "query_filter = (mailAlternateAddress=%s)\nresult_attribute = mail\n",
	"ldap-routes.cf":   "query_filter = (mail=%s)\nresult_attribute = mailRoutingAddress\n",
	"ldap-lists.cf":    "query_filter = (&(objectClass=groupOfNames)(mail=%s))\nleaf_result_attribute = mail\nspecial_result_attribute = member\nresult_attribute = rfc822MailMember\n",
	"ldap-logins.cf":   "query_filter = (|(mail=%s)(mailAlternateAddress=%s))\nresult_attribute = uid\n",
}

const mithiEntries = `
uid=bob mailHost=mail.acmecorp.com mailRoutingAddress=bob@mail.acmecorp.com mailAlternateAddress=robert@acmecorp.com mailAlternateAddress=postmaster@acmecorp.com mailAlternateAddress=abuse@acmecorp.com
uid=ben mailAlternateAddress=b.adams@acmecorp.com
uid=faye mailRoutingAddress=faye@mail.acmecorp.com mailForwardingAddress=faye@home.example
uid=fred mailForwardingAddress=robert@acmecorp.com
uid=fiona mailForwardingAddress=fiona@acmecorp.com mailForwardingAddress=fiona@home.example
uid=fritz mailForwardingAddress=asmith@acmecorp.com
uid=alice mailHost=mail.acmecorp.com mailRoutingAddress=alice.smith@acmecorp-com.onmicrosoft.com mailAlternateAddress=asmith@acmecorp.com
uid=anna mailRoutingAddress=anna@acmecorp-com.onmicrosoft.com mailForwardingAddress=anna@home.example
cn=staff member=uid=bob member=uid=ben member=uid=fiona member=uid=alice rfc822MailMember=partner@partner.example
cn=board member=cn=staff member=uid=anna member=uid=faye
cn=info member=uid=ben
`

// mithiLDIF has the entries, a line each, as LDIF.
func mithiLDIF() string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(mithiEntries, "\n")) {
		fields := strings.Fields(line)
		kind, name, _ := strings.Cut(fields[0], "=")
		place, class := "people", "inetOrgPerson\ncn: "+name+"\nsn: "+name
		if kind == "cn" {
			place, class = "groups", "groupOfNames\nobjectClass: extensibleObject"
		}
		fmt.Fprintf(&b, "dn: %s,ou=%s,dc=acmecorp,dc=com\nobjectClass: labMailRecipient\nobjectClass: %s\n%s: %s\nmail: %s@acmecorp.com\n", fields[0], place, class, kind, name, name)
		for _, field := range fields[1:] {
			attribute, value, _ := strings.Cut(field, "=")
			if attribute == "member" {
				value += map[bool]string{true: ",ou=people", false: ",ou=groups"}[strings.HasPrefix(value, "uid=")] + ",dc=acmecorp,dc=com"
			}
			fmt.Fprintf(&b, "%s: %s\n", attribute, value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// mithiMain is main.cf of such a server, alike in all its kinds.
const mithiMain = `
recipient_delimiter = +
mynetworks = 127.0.0.1/32, 127.0.4.0/24
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_sender_login_maps = ldap:/etc/postfix/ldap-logins.cf
smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch
virtual_alias_maps = ldap:/etc/postfix/ldap-forwards.cf, ldap:/etc/postfix/ldap-aliases.cf, ldap:/etc/postfix/ldap-lists.cf
transport_maps = texthash:/etc/postfix/transport
default_transport = {outside}
`

// mithiKind is one kind of such a server.
type mithiKind struct {
	about string
	main  string // what it has besides
	// listed are further aliases of it alone.
	listed []mithiRow
	// adapt changes the documented lines as the documentation says for this kind.
	adapt func(lines map[string]string)
	// master are lines of master.cf that the documentation has for it.
	master func(t *testing.T) []string
}

var mithiKinds = []mithiKind{{
	about: "virtual mailboxes by LMTP",
	main: `
virtual_mailbox_domains = acmecorp.com, mail.acmecorp.com
virtual_mailbox_maps = ldap:/etc/postfix/ldap-users.cf
virtual_transport = {here}
virtual_alias_maps = proxy:ldap:/etc/postfix/ldap-forwards.cf, proxy:ldap:/etc/postfix/ldap-aliases.cf, proxy:ldap:/etc/postfix/ldap-lists.cf, proxy:ldap:/etc/postfix/ldap-routes.cf
`,
}, {
	about: "virtual(8)",
	main: `
virtual_mailbox_domains = acmecorp.com, mail.acmecorp.com
virtual_mailbox_maps = ldap:/etc/postfix/ldap-users.cf
virtual_mailbox_base = {mail}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
`,
	master: func(t *testing.T) []string {
		readme, err := os.ReadFile("../postfix/README.md")
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(readme), "give virtual(8) your own map of all users here in master.cf:\n\n```\n")
		line, _, _ = strings.Cut(line, "```")
		line = instead(t, line, "hash:/etc/postfix/vmailbox", "ldap:$config_directory/ldap-users.cf", "\n", " ")
		return []string{line}
	},
}, {
	about: "local(8), which passes mail on to LMTP",
	main: `
mydestination = acmecorp.com, mail.acmecorp.com
myorigin = acmecorp.com
alias_maps = texthash:/etc/postfix/aliases
local_recipient_maps = ldap:/etc/postfix/ldap-users.cf, $alias_maps
mailbox_transport = {here}
`,
	listed: []mithiRow{{to: "root@acmecorp.com", there: []string{annaInCloud}}},
	adapt: func(lines map[string]string) {
		lines["local_recipient_maps"] = lines["virtual_mailbox_maps"]
		delete(lines, "virtual_mailbox_maps")
	},
}}

// mithi is a server of a kind, with or without coexistd.
type mithi struct {
	*site
	kind  mithiKind
	main  map[string]string // its own
	users string            // the folder with virtual(8)'s mailboxes
	files map[string]string
}

// startPlaces starts the places of arrival of a site whose MTA is still to be started, and which has no coexistd
// yet. Nobody here and outside is called gone.
func startPlaces(t *testing.T, startDNS func() (*lab.DNS, error)) *site {
	t.Helper()
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Site: &lab.Site{Dir: dir}, ways: waysOf[lab.PostfixMTA], t: t}
	t.Cleanup(func() {
		if t.Failed() && s.Host != nil {
			t.Log(tail(s.Log()))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	sink := func(c lab.SinkConfig) *lab.Sink {
		sink, err := lab.StartSink(c)
		s.do(err)
		return sink
	}
	refuse := func(to string) *lab.Reply {
		if strings.HasPrefix(to, "gone@") {
			return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "gone"}
		}
		return nil
	}
	s.Here, s.Office, s.Google = sink(lab.SinkConfig{LMTP: true, Refuse: refuse}), sink(lab.SinkConfig{}), sink(lab.SinkConfig{})
	s.Outside = sink(lab.SinkConfig{Refuse: refuse})
	s.DNS, err = startDNS()
	s.do(err)
	return s
}

// startMithi starts one without coexistd.
func startMithi(t *testing.T, kind mithiKind) (*mithi, *lab.Slapd) {
	t.Helper()
	slapd := startSlapd(t, lab.SlapdConfig{LDIF: mithiLDIF()})
	m := &mithi{site: startPlaces(t, lab.StartDNS), kind: kind}
	m.users = filepath.Join(m.Dir, "mail")
	m.DNS.Set("acmecorp-com.onmicrosoft.com", "MX", "0 acmecorp-com.mail.protection.outlook.com")
	m.do(os.Mkdir(m.users, 0o700))
	m.do(os.Chown(m.users, 65534, 65534))
	m.files = map[string]string{"aliases": "root bob, anna\n"}
	for name, table := range mithiTables {
		m.files[name] = "server_host = " + slapd.URL + "\nversion = 3\nbind_dn = " + lab.SlapdReader + "\nbind_pw = " + lab.SlapdReaderPassword +
			"\nsearch_base = " + lab.SlapdSuffix + "\n" + table
	}
	m.main = settings(mithiMain)
	maps.Copy(m.main, settings(kind.main))
	m.start(m.main, nil)
	return m, slapd
}

// start starts Postfix with settings as main.cf has them, in the place of the one before.
func (m *mithi) start(main map[string]string, master []string) {
	m.t.Helper()
	if m.Host != nil {
		m.do(m.Host.Stop())
	}
	known := strings.NewReplacer("/etc/postfix/", "$config_directory/", "{mail}", m.users, "{here}", m.Here.NextHop(), "{outside}", m.Outside.NextHop())
	c := lab.Config{
		Services: []lab.Service{{Name: "public"}, {Name: "submission", Settings: map[string]string{"smtpd_sasl_auth_enable": "yes"}}},
		Users:    map[string]string{"bob": "secret"},
		Routes:   map[string]string{"acmecorp-com.onmicrosoft.com": m.Office.NextHop()},
		Main:     map[string]string{}, Files: m.files, Master: master,
	}
	for name, value := range main {
		c.Main[name] = known.Replace(value)
	}
	host, err := lab.Lend(m.t).Start(deadline(m.t), c)
	m.do(err)
	m.Postfix, m.Host = host, host
}

// add adds coexistd by the documentation's lines alone.
func (m *mithi) add(slapd *lab.Slapd) {
	m.t.Helper()
	docs := readDocsOfPostfix(m.t)
	milter, lookup := "unix:"+filepath.Join(m.Dir, "milter.sock"), "unix:"+filepath.Join(m.Dir, "lookup.sock")
	lines := settings(docs.main)
	for _, own := range []string{"virtual_mailbox_domains", "virtual_transport", "smtpd_relay_restrictions", "recipient_delimiter"} {
		delete(lines, own)
	}
	maps.Copy(lines, settings(docs.beside))
	if m.kind.adapt != nil {
		m.kind.adapt(lines)
	}
	main := maps.Clone(m.main)
	for name, line := range lines {
		line = strings.NewReplacer("inet:127.0.0.1:8701", milter, "inet:127.0.0.1:8702", lookup).Replace(line)
		main[name] = beside(line, m.main[name])
	}
	var master []string
	if m.kind.master != nil {
		master = m.kind.master(m.t)
	}
	m.start(main, master)
	m.do(os.WriteFile(filepath.Join(m.Dir, "local.csv"), []byte(docs.local), 0o644))
	m.do(os.WriteFile(filepath.Join(m.Dir, "ldap.password"), []byte(lab.SlapdReaderPassword+"\n"), 0o600))
	m.do(os.Mkdir(filepath.Join(m.Dir, "state"), 0o700))
	m.do(m.WriteTOML("hostname = \"mail.acmecorp.com\"\nresolver = \"{dns}\"\nstate_dir = \"{dir}/state\"\n" +
		instead(m.t, docs.toml,
			`"inet:127.0.0.1:8701"`, `"`+milter+"\"\nmode = \"0666\"", `"inet:127.0.0.1:8702"`, `"`+lookup+"\"\nmode = \"0666\"",
			`["127.0.0.0/8", "::1"]`, `["127.0.0.1", "127.0.4.0/24"]`, `"spf:spf.protection.outlook.com"`, `"127.0.1.0/24"`,
			"ldap://127.0.0.1", slapd.URL) +
		"\n[quarantine]\nsmtp = \"{mta}\"\n[check.ddos]\nexempt = [\"127.0.0.0/8\"]\n"))
	path, err := program()
	m.do(err)
	m.Daemon, err = lab.StartDaemon(deadline(m.t), path, m.Config())
	m.do(err)
	m.waitDaemonLog(`msg="directory loaded" path=source:people`)
}

// beside is a documented line with the server's own tables in the place of those that the
// documentation has for them.
func beside(line, own string) string {
	ours := regexp.MustCompile(`socketmap:[^ ,]+`).FindString(line)
	switch {
	case ours == "":
		return line
	case own == "":
		return ours
	case strings.HasPrefix(line, ours):
		return ours + ", " + own
	}
	return own + ", " + ours
}
