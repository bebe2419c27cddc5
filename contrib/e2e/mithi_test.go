package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

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

// mithiWays are the ways in: each sends a message to an address, or to several.
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

func TestACatchAllBesideLDAPGoesOnAsBefore(t *testing.T) {
	t.Parallel()
	kind := mithiKinds[0]
	kind.main += "virtual_alias_maps = " + settings(kind.main)["virtual_alias_maps"] + ", inline:{{@acmecorp.com = ben@mail.acmecorp.com}}\n"
	m, slapd := startMithi(t, kind)
	list := map[string]string{"nobody@acmecorp.com": "here ben@mail.acmecorp.com", "bob@acmecorp.com": "here bob@mail.acmecorp.com", "asmith@acmecorp.com": "office365 " + aliceInCloud, "anna@acmecorp.com": "office365 " + annaInCloud}
	message := mithiWays["Internet"](m, "nobody@acmecorp.com")
	m.mustArrive(message, list["nobody@acmecorp.com"])
	m.add(slapd)
	m.change("[domain.\"acmecorp.com\"]\n", "[domain.\"acmecorp.com\"]\nunlisted = \"here\"\n")
	for to, want := range list {
		for _, way := range []string{"Internet", "user", "sendmail"} {
			message := mithiWays[way](m, to)
			m.settle()
			if got := m.whereIs(messageID(message)); !slices.Equal(got, []string{want}) {
				t.Errorf("mail to %s by %s arrived at %q; it must arrive at %s", to, way, got, want)
			}
		}
	}
	m.mustBeWell()
}

// change replaces a text of the configuration and has the daemon take it.
func (m *mithi) change(text, by string) {
	m.t.Helper()
	toml, err := os.ReadFile(m.Config())
	m.do(err)
	m.do(m.WriteTOML(instead(m.t, string(toml), text, by)))
	m.mustReload()
}

// A relay takes addresses as they are, and what LDAP has of who has moved would change them.
func TestAPlatformsRelayGetsTheMailOfWhomLDAPForwards(t *testing.T) {
	t.Parallel()
	m, slapd := startMithi(t, mithiKinds[1])
	m.add(slapd)
	relay := "deliver = \"relay\"\nrelay = \"" + strings.TrimPrefix(m.Office.NextHop(), "smtp:") + "\"\n"
	m.change("[platform.office365]\n", "[platform.office365]\n"+relay)
	for _, to := range []string{"anna@acmecorp.com", "anna+tag@acmecorp.com", "alice@acmecorp.com", "asmith@acmecorp.com", "fritz@acmecorp.com"} {
		want := strings.Replace(to, "fritz", "asmith", 1) // to whom fritz forwards
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
	if !strings.Contains(out, "domains of virtual_alias_domains cannot be told: proxy:ldap:{mta}/etc/ldap-forwards.cf: ") || !strings.Contains(out, "; proxy:ldap:{mta}/etc/ldap-aliases.cf: ") {
		t.Errorf("of tables that cannot be asked the doctor says\n%s", out)
	}
	mustSay(t, out, "warn  postfix        how Postfix delivers mail to the mailboxes here cannot be told: ldap:{mta}/etc/ldap-")
}
