package e2e

import (
	"bytes"
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

// docsOfPostfix has what contrib/postfix tells an administrator whose users lie in LDAP.
type docsOfPostfix struct {
	main   string            // main.cf
	blocks map[string]string // those of README.md's section, by the file that each is for
}

func readDocsOfPostfix(t *testing.T) (d docsOfPostfix) {
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
	d = docsOfPostfix{main: string(main), blocks: map[string]string{}}
	for _, m := range regexp.MustCompile("(?ms)^```\n# ([a-z.]+)[^\n]*\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		d.blocks[m[1]] = m[2]
	}
	return d
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

// mithiRow is an address with where its mail for users there must arrive.
type mithiRow struct {
	to    string   // several are of one message
	there []string // addresses at Office 365
	moved bool     // it is itself one of those
}

const (
	aliceInCloud = "alice.smith@acmecorp-com.onmicrosoft.com"
	annaInCloud  = "anna@acmecorp-com.onmicrosoft.com"
)

var mithiRows = []mithiRow{
	{to: "bob@acmecorp.com"}, {to: "Robert@acmecorp.com"}, {to: "bob+tag@acmecorp.com"}, {to: "ben@acmecorp.com"}, {to: "b.adams@acmecorp.com"},
	{to: "bob@mail.acmecorp.com"}, {to: "postmaster@acmecorp.com"}, {to: "abuse@acmecorp.com"},
	{to: "faye@acmecorp.com"}, {to: "fred@acmecorp.com"}, {to: "fiona@acmecorp.com"}, {to: "info@acmecorp.com"},
	{to: "fritz@acmecorp.com", there: []string{aliceInCloud}},
	{to: "staff@acmecorp.com", there: []string{aliceInCloud}},
	{to: "board@acmecorp.com", there: []string{aliceInCloud, annaInCloud}},
	{to: "alice@acmecorp.com", there: []string{aliceInCloud}, moved: true},
	{to: "ASmith@acmecorp.com", there: []string{aliceInCloud}, moved: true},
	{to: "alice+tag@acmecorp.com", there: []string{"alice.smith+tag@acmecorp-com.onmicrosoft.com"}, moved: true},
	{to: "anna@acmecorp.com", there: []string{annaInCloud}, moved: true},
	// Who is named and is a member besides gets two copies, as of Postfix alone.
	{to: "bob@acmecorp.com staff@acmecorp.com asmith@acmecorp.com partner@partner.example anna@acmecorp.com", there: []string{aliceInCloud, aliceInCloud, annaInCloud}, moved: true},
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

// startMithi starts one without coexistd.
func startMithi(t *testing.T, kind mithiKind) (*mithi, *lab.Slapd) {
	t.Helper()
	slapd := startSlapd(t, lab.SlapdConfig{LDIF: mithiLDIF()})
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	m := &mithi{site: &site{Site: &lab.Site{Dir: dir}, ways: waysOf[lab.PostfixMTA], t: t}, kind: kind, users: filepath.Join(dir, "mail")}
	t.Cleanup(func() {
		if t.Failed() && m.Host != nil {
			t.Log(tail(m.Log()))
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	sink := func(c lab.SinkConfig) *lab.Sink {
		s, err := lab.StartSink(c)
		m.do(err)
		return s
	}
	m.Here, m.Office, m.Google = sink(lab.SinkConfig{LMTP: true}), sink(lab.SinkConfig{}), sink(lab.SinkConfig{})
	m.Outside = sink(lab.SinkConfig{Refuse: func(to string) *lab.Reply {
		if strings.HasPrefix(to, "gone@") {
			return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "gone"}
		}
		return nil
	}})
	m.DNS, err = lab.StartDNS()
	m.do(err)
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
	maps.Copy(lines, settings(docs.blocks["main.cf"]))
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
	m.do(os.WriteFile(filepath.Join(m.Dir, "local.csv"), []byte(docs.blocks["local.csv"]), 0o644))
	m.do(os.WriteFile(filepath.Join(m.Dir, "ldap.password"), []byte(lab.SlapdReaderPassword+"\n"), 0o600))
	m.do(os.Mkdir(filepath.Join(m.Dir, "state"), 0o700))
	m.do(m.WriteTOML("hostname = \"mail.acmecorp.com\"\nresolver = \"{dns}\"\nstate_dir = \"{dir}/state\"\n" +
		instead(m.t, docs.blocks["coexistd.toml"],
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

// ways in, by which each address is tried. The message is From the first.
var mithiWays = map[string]func(m *mithi, to string) (message []byte){
	"Internet": func(m *mithi, to string) []byte {
		message := lab.Plain("eve@example.net", "you@acmecorp.com", "from the Internet")
		m.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(strings.Fields(to)...), Data: message})
		return message
	},
	"own network": func(m *mithi, to string) []byte {
		message := lab.Plain("bob@acmecorp.com", "you@acmecorp.com", "from our network")
		m.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To(strings.Fields(to)...), Data: message})
		return message
	},
	"user": func(m *mithi, to string) []byte {
		message := lab.Plain("robert@acmecorp.com", "you@acmecorp.com", "from a user")
		client := lab.Client{Server: m.Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "secret"}
		r, err := client.Send(deadline(m.t), lab.Mail{From: "robert@acmecorp.com", To: lab.To(strings.Fields(to)...), Data: message})
		if m.do(err); !r.Accepted() {
			m.t.Errorf("from a user to %s: %+v", to, r)
		}
		return message
	},
	"platform": func(m *mithi, to string) []byte {
		message := fromTenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "you@acmecorp.com", "from a user there"))
		m.deliver(lab.FromOffice365, lab.Mail{From: "alice@acmecorp.com", To: lab.To(strings.Fields(to)...), Data: message})
		return message
	},
	"sendmail": func(m *mithi, to string) []byte {
		message := lab.Plain("bob@acmecorp.com", "you@acmecorp.com", "from this host")
		m.sendmail("bob@acmecorp.com", message, strings.Fields(to)...)
		return message
	},
	"bounce": func(m *mithi, to string) []byte {
		message := lab.Plain(to, "gone@example.net", "it comes back")
		m.sendmail(to, message, "gone@example.net")
		return message
	},
}

// drive sends a message to each address in each way, and returns where each has arrived.
func (m *mithi) drive() map[string][]string {
	m.t.Helper()
	messages := map[string][]byte{}
	for _, row := range slices.Concat(mithiRows, m.kind.listed) {
		for way, send := range mithiWays {
			several := strings.Contains(row.to, " ")
			if (way != "platform" || !row.moved) && (way != "bounce" || !several) {
				messages[row.to+" by "+way] = send(m, row.to)
			}
		}
	}
	m.settle()
	all := map[string][]string{}
	for about, message := range messages {
		all[about] = m.whereIs(messageID(message))
	}
	return all
}

// whereIs lists where a message, or its bounce, has arrived.
func (m *mithi) whereIs(id string) (list []string) {
	m.t.Helper()
	for place, sink := range m.sinks() {
		for _, d := range sink.All() {
			if bytes.Contains(d.Data, []byte(id)) {
				for _, to := range d.To() {
					list = append(list, place+" "+to)
				}
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(m.users, "*/new/*"))
	m.do(err)
	for _, path := range files {
		content, err := os.ReadFile(path)
		m.do(err)
		if bytes.Contains(content, []byte(id)) {
			list = append(list, "here "+filepath.Base(filepath.Dir(filepath.Dir(path)))+"/")
		}
	}
	slices.Sort(list)
	return list
}

var ofMoved = regexp.MustCompile(` (alice|asmith|alice\.smith|anna)(\+tag)?[@/]`)

func TestAServerWithItsUsersInLDAPGoesOnAsBeforeAndMailOfTheCloudsUsersGoesThere(t *testing.T) {
	for _, kind := range mithiKinds {
		t.Run(kind.about, func(t *testing.T) {
			t.Parallel()
			m, slapd := startMithi(t, kind)
			before := m.drive()
			m.add(slapd)
			after := m.drive()
			for _, row := range slices.Concat(mithiRows, kind.listed) {
				for way := range mithiWays {
					about := row.to + " by " + way
					had, sent := before[about]
					if !sent {
						continue
					}
					if len(had) == 0 {
						t.Errorf("%s arrived nowhere before", about)
					}
					want := slices.DeleteFunc(slices.Clone(had), ofMoved.MatchString)
					for _, to := range row.there {
						want = append(want, "office365 "+to)
					}
					slices.Sort(want)
					if !slices.Equal(after[about], want) {
						t.Errorf("%s arrived at %q before, and arrives at %q; it must arrive at %q", about, had, after[about], want)
					}
				}
			}
			m.mustBeWell()
		})
	}
}

// examine has the doctor look at the server, and returns what it says of directories, the
// daemon and Postfix, and all that fails.
func (m *mithi) examine() (status int, out string) {
	m.t.Helper()
	bin := postconfOf(m.t, lab.Lend(m.t), filepath.Join(m.Postfix.Dir, "etc"))
	status, all, complaint := runDoctor(m.t, bin, nil, "-c", m.Config())
	if complaint != "" {
		m.t.Errorf("the doctor complains: %s", complaint)
	}
	all = strings.NewReplacer(m.Dir, "{dir}", m.Postfix.Dir, "{mta}").Replace(all)
	for line := range strings.Lines(regexp.MustCompile(`changed [a-z0-9 ]+ ago`).ReplaceAllString(all, "changed {age}")) {
		subject := strings.Fields(line)[1]
		if slices.Contains([]string{"directory", "postfix", "daemon"}, subject) || strings.HasPrefix(line, "FAIL") {
			out += line
		}
	}
	return status, out
}

// mustBeWell has the doctor find nothing wrong.
func (m *mithi) mustBeWell() {
	m.t.Helper()
	recipients := "virtual_mailbox_maps"
	if m.kind.adapt != nil {
		recipients = "local_recipient_maps"
	}
	want := strings.NewReplacer("{recipients}", recipients, "{public}", m.Addr("public"), "{submission}", m.Addr("submission")).Replace(
		`ok    directory      {dir}/local.csv has 1 addresses, 0 of them moving; it was changed {age}
ok    directory      source:people has 16 addresses, 0 of them moving; it was changed {age}
ok    daemon         the milter answers at unix:{dir}/milter.sock
ok    daemon         the lookup answers at unix:{dir}/lookup.sock
ok    daemon         the daemon has the configuration and the directories as the files hold them
ok    postfix        smtpd ({public}, {submission}) hands its mail to coexistd by unix:{dir}/milter.sock
ok    postfix        cleanup (cleanup) hands its mail to coexistd by unix:{dir}/milter.sock
ok    postfix        {recipients} asks coexistd for recipients
ok    postfix        virtual_alias_maps asks coexistd for aliases
ok    postfix        transport_maps asks coexistd for transport
ok    postfix        Postfix takes mail for acmecorp.com, mail.acmecorp.com
`)
	if status, out := m.examine(); status != exitYes || out != want {
		m.t.Errorf("the doctor ended with %d and\n%s\nright is\n%s", status, out, want)
	}
}

// A relay takes addresses as they are, and what LDAP has of who has moved would change them.
func TestAPlatformsRelayGetsTheMailOfWhomLDAPForwards(t *testing.T) {
	t.Parallel()
	m, slapd := startMithi(t, mithiKinds[1])
	m.add(slapd)
	toml, err := os.ReadFile(m.Config())
	m.do(err)
	relay := "deliver = \"relay\"\nrelay = \"" + strings.TrimPrefix(m.Office.NextHop(), "smtp:") + "\"\n"
	m.do(m.WriteTOML(strings.Replace(string(toml), "[platform.office365]\n", "[platform.office365]\n"+relay, 1)))
	m.mustReload()
	for to, want := range map[string]string{"anna@acmecorp.com": "anna@acmecorp.com", "anna+tag@acmecorp.com": "anna+tag@acmecorp.com", "alice@acmecorp.com": "alice@acmecorp.com", "asmith@acmecorp.com": "asmith@acmecorp.com", "fritz@acmecorp.com": "asmith@acmecorp.com"} {
		for way, send := range mithiWays {
			if way == "platform" {
				continue // It would go back to where it came from.
			}
			message := send(m, to)
			m.settle()
			if got := m.whereIs(messageID(message)); !slices.Equal(got, []string{"office365 " + want}) {
				t.Errorf("mail to %s by %s arrived at %q; it must arrive at office365 %s", to, way, got, want)
			}
		}
	}
	m.mustBeWell()
}

func TestTheDoctorTellsOfLDAPTablesThatWinOverTheDirectory(t *testing.T) {
	t.Parallel()
	m, slapd := startMithi(t, mithiKinds[0])
	m.add(slapd)
	m.mustBeWell()
	lookup := "socketmap:unix:" + filepath.Join(m.Dir, "lookup.sock")
	m.main["virtual_alias_maps"] += ", " + lookup + ":aliases"
	m.main["virtual_mailbox_maps"] += ", " + lookup + ":recipients"
	m.main["transport_maps"] = "ldap:/etc/postfix/ldap-hosts.cf, " + lookup + ":transport, " + m.main["transport_maps"]
	m.files["ldap-hosts.cf"] = strings.Replace(m.files["ldap-users.cf"], "result_attribute = uid\nresult_format = %s/", "result_attribute = mailHost\nresult_format = "+m.Here.NextHop(), 1)
	m.start(m.main, nil)
	_, out := m.examine()
	mustSay(t, out,
		"warn  postfix        ldap:{mta}/etc/ldap-forwards.cf of virtual_alias_maps has rows of users who live elsewhere, and Postfix asks it before coexistd: what is not rewritten before, such as bounces and the mail of lists, goes by these: anna@acmecorp.com\n",
		"warn  postfix        ldap:{mta}/etc/ldap-hosts.cf of transport_maps has rows of users who live elsewhere, and Postfix asks it before coexistd: their mail that is not rewritten is delivered here: alice@acmecorp.com\n")
	if strings.Contains(out, "ldap-aliases.cf of") || strings.Contains(out, "ldap-routes.cf of") {
		t.Errorf("rows that lead to where their user lives are told of:\n%s", out)
	}
	m.do(slapd.Kill())
	_, out = m.examine()
	mustSay(t, out, "warn  postfix        how Postfix delivers mail to the mailboxes here cannot be told: ldap:{mta}/etc/ldap-")
}
