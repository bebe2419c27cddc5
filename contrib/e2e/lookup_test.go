package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// localDomain has local(8) deliver for acmecorp.com.
var localDomain = map[string]string{
	"mydestination":           "acmecorp.com",
	"virtual_mailbox_domains": "globex.example",
	"local_recipient_maps":    "socketmap:unix:{dir}/lookup.sock:recipients",
}

// with adds settings to others.
func with(settings, more map[string]string) map[string]string {
	all := maps.Clone(settings)
	maps.Copy(all, more)
	return all
}

func TestForwardFilesAndLocalAliasesReachMembersOnBothSides(t *testing.T) {
	t.Parallel()
	// Of the machine's accounts, daemon is one that is always there.
	s := startSite(t, lab.SiteConfig{
		Directory: lab.SiteDirectory + "daemon@acmecorp.com,here,daemon\nteam@acmecorp.com,here,\n",
		Main: with(localDomain, map[string]string{
			"alias_maps":   "texthash:$config_directory/aliases",
			"forward_path": "{dir}/forward-$user",
		}),
		Routes: map[string]string{"acmecorp.com": "local:"},
		Files:  map[string]string{"aliases": "team alice@acmecorp.com, gail@globex.example, hugo@globex.example, iris@globex.example\n"},
	})
	forward := "alice@acmecorp.com\nhugo@globex.example\niris@globex.example\n"
	if err := os.WriteFile(filepath.Join(s.Dir, "forward-daemon"), []byte(forward), 0o644); err != nil {
		t.Fatal(err)
	}

	m := lab.Plain("eve@example.net", "daemon@acmecorp.com", "forwarded")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("daemon@acmecorp.com"), Data: m})
	s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "here hugo@globex.example", "here iris@globex.example", "google iris@gapps.globex.example")

	m = lab.Plain("eve@example.net", "team@acmecorp.com", "to an alias")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("team@acmecorp.com"), Data: m})
	s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "google gail@gapps.globex.example", "here hugo@globex.example", "here iris@globex.example", "google iris@gapps.globex.example")
}

func TestVirtualAliasReachesMembersOnBothSides(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		Directory: lab.SiteDirectory + "team@acmecorp.com,here,\n",
		Main:      map[string]string{"virtual_alias_maps": "texthash:$config_directory/virtual, socketmap:unix:{dir}/lookup.sock:aliases"},
		Files:     map[string]string{"virtual": "team@acmecorp.com alice@acmecorp.com, bob@acmecorp.com, gail@globex.example, eve@example.net\n"},
	})
	for client, from := range map[string]string{lab.FromInternet: "eve@example.net", lab.FromUser: "bob@acmecorp.com"} {
		m := lab.Plain(from, "team@acmecorp.com", "to a virtual alias")
		s.deliver(client, lab.Mail{From: from, To: lab.To("team@acmecorp.com"), Data: m})
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "google gail@gapps.globex.example", "here bob@acmecorp.com", "Internet eve@example.net")
	}
	m := lab.Plain("bob@acmecorp.com", "team@acmecorp.com", "to a virtual alias")
	s.sendmail("bob@acmecorp.com", m, "team@acmecorp.com")
	s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "google gail@gapps.globex.example", "here bob@acmecorp.com", "Internet eve@example.net")
}

func TestBounceReachesASenderWhoLivesElsewhere(t *testing.T) {
	full := func(recipient string) *lab.Reply {
		if strings.HasPrefix(recipient, "bob@") {
			return &lab.Reply{Code: 552, Enhanced: "5.2.2", Text: "The mailbox is full"}
		}
		return nil
	}
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, RefuseHere: full})
		m := fromTenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "bob@acmecorp.com", "too much"))
		s.deliver(lab.FromOffice365, lab.Mail{From: "alice@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
		s.mustBounce(m, s.Office, "alice@"+s.noMilter, "bob@acmecorp.com", "The mailbox is full")
		s.mustArrive(m)
	})
}

// postmap asks a map as Postfix would. It returns the data, empty when there is
// none, and the complaints.
func (s *site) postmap(name, key string) (data, complaint string) {
	s.t.Helper()
	p := lab.Lend(s.t)
	cmd := p.Command(deadline(s.t), "postmap", "-c", filepath.Join(s.Postfix.Dir, "etc"), "-q", key, "socketmap:unix:"+filepath.Join(s.Dir, "lookup.sock")+":"+name)
	var out, wrong strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &wrong
	cmd.Run() // 1 is "not found"
	return strings.TrimSpace(out.String()), wrong.String()
}

func TestPostmapGetsTheAnswersOfAllMaps(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	for _, c := range [][3]string{
		{"recipients", "alice@acmecorp.com", "office365"},
		{"recipients", "BOB+news@AcmeCorp.com", "here"},
		{"recipients", "nobody@acmecorp.com", ""},
		{"aliases", "Alice+x@acmecorp.com", "Alice+x@acmecorp-com.onmicrosoft.com"},
		{"aliases", "carol@acmecorp.com", "carol@acmecorp.com, carol@acmecorp-com.onmicrosoft.com"},
		{"aliases", "bob@acmecorp.com", ""},
		{"members", "alice@acmecorp.com", "alice@acmecorp-com.onmicrosoft.com"},
		{"members", "carol@acmecorp.com", ""},
		{"transport", "alice@acmecorp.com", "smtp:acmecorp-com.onmicrosoft.com"},
		{"transport", "dave@acmecorp.com", "./retry:4.2.1 The mailbox is being moved, try again later"},
		{"transport", "nobody@acmecorp.com", "./error:5.1.1 The address is not known here"},
		{"transport", "bob@acmecorp.com", ""},
		{"senders", "bob+news@acmecorp.com", "bob"},
		{"senders", "alice@acmecorp.com", ""},
	} {
		if data, complaint := s.postmap(c[0], c[1]); data != c[2] || complaint != "" {
			t.Errorf("%s %s: postmap got %q (%s); right is %q", c[0], c[1], data, complaint, c[2])
		}
	}
	if data, complaint := s.postmap("alises", "alice@acmecorp.com"); data != "" || !strings.Contains(complaint, "there are recipients, aliases, members, transport, senders") {
		t.Errorf("a map that there is not: postmap got %q (%s)", data, complaint)
	}
}

// relayToOffice names the sink of Office 365 as that platform's relay.
func (s *site) relayToOffice() {
	s.t.Helper()
	s.writeTOML("[platform.office365]", "[platform.office365]\nrelay = \""+strings.TrimPrefix(s.Office.NextHop(), "smtp:")+"\"")
	s.mustReload()
}

func TestMailForAPlatformTakesItsRelay(t *testing.T) {
	t.Parallel()
	full := func(recipient string) *lab.Reply {
		return &lab.Reply{Code: 552, Enhanced: "5.2.2", Text: "The mailbox is full"}
	}
	// By no other way than the relay does mail reach the platform.
	s := startSite(t, lab.SiteConfig{RefuseHere: full, Routes: map[string]string{"acmecorp-com.onmicrosoft.com": "error:not by the relay"}})
	s.relayToOffice()
	m := lab.Plain("eve@example.net", "alice@acmecorp.com", "by the relay")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
	s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")

	// A bounce passes no milter. The one to dave waits in the queue while he
	// moves, and is not delivered to the mailbox that he has left.
	m = lab.Plain("dave@acmecorp.com", "bob@acmecorp.com", "to a full mailbox")
	s.deliver(lab.FromUser, lab.Mail{From: "dave@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
	s.do(s.WaitDeferred(deadline(t), "dave@acmecorp.com", "being moved"))
	if err := s.WriteDirectory(strings.Replace(lab.SiteDirectory, "dave@acmecorp.com,moving", "dave@acmecorp.com,office365", 1)); err != nil {
		t.Fatal(err)
	}
	s.reload()
	// Postfix remembers for 30 s where the last address went, unless it is
	// asked for another one meanwhile.
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: lab.Plain("eve@example.net", "alice@acmecorp.com", "again")})
	if _, err := s.Office.WaitCount(deadline(t), 2); err != nil {
		t.Fatal(err)
	}
	s.flush()
	s.mustBounce(m, s.Office, "dave@acmecorp.com", "The mailbox is full")
}

func TestLoggedInUserSendsOnlyAsHimself(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{Main: map[string]string{
		"smtpd_sender_login_maps":   "socketmap:unix:{dir}/lookup.sock:senders",
		"smtpd_sender_restrictions": "reject_authenticated_sender_login_mismatch",
	}})
	bob := lab.Client{Server: s.Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "secret"}
	for from, want := range map[string]int{
		"bob@acmecorp.com": 250, "Bob+news@acmecorp.com": 250,
		"carol@acmecorp.com": 553, "alice@acmecorp.com": 553, "nobody@acmecorp.com": 553,
	} {
		r, err := bob.Send(deadline(t), lab.Mail{From: from, To: lab.To("eve@example.net")})
		if err != nil {
			t.Fatal(err)
		}
		if r.To[0].Code != want {
			t.Errorf("bob as %s gets %s; %d is right", from, r.To[0], want)
		}
	}
	// Carol's mail from the other platform bears her address, and no login.
	m := fromTenant(lab.OfficeTenant, lab.Plain("carol@acmecorp.com", "bob@acmecorp.com", "from there"))
	s.deliver(lab.FromOffice365, lab.Mail{From: "carol@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
	s.mustArrive(m, "here bob@acmecorp.com")
}
