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

// withoutLookups leaves every answer at RCPT to the milter: Postfix's own tables
// know nobody and refuse nobody, and it relays for every client.
var withoutLookups = map[string]string{
	"virtual_mailbox_maps": "",
	"virtual_alias_maps":   "",
	"transport_maps":       "texthash:$config_directory/transport",
	"mynetworks":           "127.0.0.0/8",
}

// withoutLookupsMC is the same for Sendmail: the rules of coexistd.m4 are for a domain
// that nobody writes to.
var withoutLookupsMC = []string{
	"define(`COEXISTD_DOMAINS', `none.invalid')dnl",
	"FEATURE(`promiscuous_relay')dnl",
}

// twoDirectories is the usual configuration with a directory of its own for
// acmecorp.com, and a Google whose users may not relay. The site's users.csv is
// globex.example's.
func twoDirectories(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acme.csv")
	if err := os.WriteFile(path, []byte(acmeUsers), 0o644); err != nil {
		t.Fatal(err)
	}
	toml := strings.Replace(lab.SiteTOML, "users.csv", path, 1)
	relay := "tenant   = \"" + lab.GoogleTenant + "\"\n"
	return strings.Replace(toml, relay+"may_relay = true\n", relay, 1)
}

const acmeUsers = `address,residence,login
alice@acmecorp.com,office365,
bob@acmecorp.com,here,bob
carol@acmecorp.com,both,carol
dave@acmecorp.com,moving,dave
`

const globexUsers = `address,residence,login
gail@globex.example,google,
hugo@globex.example,here,hugo
`

// badUsers has a mistake in its third line.
const badUsers = `address,residence,login
gail@globex.example,google,
hugo@globex.example,nowhere,hugo
`

// asked is a recipient with the client who names it, and the answer.
type asked struct {
	client, to, want string // want: code and enhanced code
}

// code is a reply's code with its enhanced code.
func code(r lab.Reply) string { return strings.TrimSpace(fmt.Sprintf("%d %s", r.Code, r.Enhanced)) }

// rcpt asks for the answer to one recipient at RCPT.
func (s *site) rcpt(client, from, to string) lab.Reply {
	s.t.Helper()
	return s.send(client, lab.Mail{From: from, To: lab.To(to)}).To[0]
}

// everyWay runs a test on each MTA, on a site with the lookups and on one without.
func everyWay(t *testing.T, c func(t *testing.T) lab.SiteConfig, test func(t *testing.T, s *site, milter bool)) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		t.Run("with lookups", func(t *testing.T) {
			t.Parallel()
			config := c(t)
			config.MTA = mta
			test(t, startSite(t, config), false)
		})
		t.Run("without lookups", func(t *testing.T) {
			t.Parallel()
			config := c(t)
			config.MTA, config.Main, config.MC = mta, maps.Clone(withoutLookups), withoutLookupsMC
			test(t, startSite(t, config), true)
		})
	})
}

func TestRCPTIsAnsweredByTheDirectory(t *testing.T) {
	config := func(t *testing.T) lab.SiteConfig {
		return lab.SiteConfig{TOML: twoDirectories(t), Directory: globexUsers}
	}
	everyWay(t, config, func(t *testing.T, s *site, milter bool) {
		const ok, noRelay = "250 2.1.5", "the MTA does not relay"
		for _, a := range []asked{
			{lab.FromInternet, "alice@acmecorp.com", ok},
			{lab.FromInternet, "ALICE+tag@AcmeCorp.COM", ok},
			{lab.FromInternet, "bob@acmecorp.com", ok},
			{lab.FromInternet, "carol@acmecorp.com", ok},
			{lab.FromInternet, "gail@globex.example", ok},
			{lab.FromInternet, "postmaster@acmecorp.com", ok},
			{lab.FromInternet, "Abuse@globex.example", ok},
			{lab.FromInternet, "nobody@acmecorp.com", "550 5.1.1"},
			{lab.FromInternet, "nobody+tag@globex.example", "550 5.1.1"},
			{lab.FromInternet, "alice@globex.example", "550 5.1.1"},
			{lab.FromInternet, "dave@acmecorp.com", "450 4.2.1"},
			{lab.FromInternet, "Dave+tag@acmecorp.com", "450 4.2.1"},
			{lab.FromInternet, "eve@example.net", noRelay},
			{lab.FromInternet, "alice@acmecorp-com.onmicrosoft.com", noRelay},
			{lab.FromInternet, "alice@sub.acmecorp.com", "554 5.7.1"},
			{lab.FromUser, "alice@acmecorp.com", ok},
			{lab.FromUser, "nobody@acmecorp.com", "550 5.1.1"},
			{lab.FromUser, "dave@acmecorp.com", "450 4.2.1"},
			{lab.FromUser, "eve@example.net", ok},
			{lab.FromUser, "alice@acmecorp-com.onmicrosoft.com", ok},
			{lab.FromOffice365, "alice@acmecorp.com", ok}, // another tenant's, maybe
			{lab.FromOffice365, "nobody@acmecorp.com", "550 5.1.1"},
			{lab.FromOffice365, "dave@acmecorp.com", "450 4.2.1"},
			{lab.FromOffice365, "eve@example.net", ok}, // our tenant's, maybe
			{lab.FromGoogle, "gail@globex.example", ok},
			{lab.FromGoogle, "eve@example.net", "554 5.7.1"}, // may_relay is not set
		} {
			reply := s.rcpt(a.client, "someone@example.org", a.to)
			if a.want == noRelay {
				a.want = "554 5.7.1"
				if !milter {
					a.want = s.noRelay
				}
			}
			if got := code(reply); got != a.want {
				t.Errorf("from %s to %s: the answer is %s; it must be %s", a.client, a.to, reply, a.want)
			}
			// Postfix's own answer would name the table or the rule.
			if ours := !strings.Contains(reply.Text, "Recipient address rejected"); milter && reply.Code != 250 && !ours {
				t.Errorf("from %s to %s: the answer %s is not coexistd's", a.client, a.to, reply)
			}
		}
	})
}

// What names its tenant wrongly is S0, and S0 does not relay. That is known at
// the end of the message only, when the recipient has been taken. Mail of our own
// users that names none waits for its proof.
func TestRelayingFromAPlatformWhoseTenantIsNotProvenIsRefused(t *testing.T) {
	config := func(*testing.T) lab.SiteConfig { return lab.SiteConfig{} }
	everyWay(t, config, func(t *testing.T, s *site, _ bool) {
		const from, to = "alice@acmecorp.com", "eve@example.net"
		for about, headers := range map[string][]string{
			"no header":            nil,
			"another tenant":       {"00000000-1111-2222-3333-444444444444"},
			"the other platform's": {lab.GoogleTenant},
			"twice":                {lab.OfficeTenant, lab.OfficeTenant},
			"ours and another":     {"00000000-1111-2222-3333-444444444444", lab.OfficeTenant},
		} {
			m := lab.Plain(from, to, about)
			for _, h := range headers {
				m = fromTenant(h, m)
			}
			want := "554 5.7.1"
			if headers == nil {
				want = "451 4.7.0"
			}
			r := s.send(lab.FromOffice365, lab.Mail{From: from, To: lab.To(to), Data: m})
			if got := code(r.Data); got != want {
				t.Errorf("%s: the message got %+v; it must be refused with %s", about, r, want)
			}
			s.mustArrive(m)
			// Nor does it pass together with one that may.
			r = s.send(lab.FromOffice365, lab.Mail{From: from, To: lab.To("bob@acmecorp.com", to), Data: m})
			if got := code(r.Data); got != want {
				t.Errorf("%s, with a recipient here: the message got %+v; it must be refused with %s", about, r, want)
			}
			s.mustArrive(m)
		}
		m := fromTenant(lab.OfficeTenant, lab.Plain(from, to, "proven"))
		s.deliver(lab.FromOffice365, lab.Mail{From: from, To: lab.To(to), Data: m})
		s.mustArrive(m, "Internet "+to)
	})
}

func TestARefusedRecipientLeavesTheOthersOfItsMessageAlone(t *testing.T) {
	config := func(*testing.T) lab.SiteConfig { return lab.SiteConfig{} }
	everyWay(t, config, func(t *testing.T, s *site, milter bool) {
		const from = "eve@example.net"
		m := lab.Plain(from, "alice@acmecorp.com", "some refused")
		r := s.send(lab.FromInternet, lab.Mail{From: from, Data: m, To: lab.To(
			"nobody@acmecorp.com", "alice@acmecorp.com", "dave@acmecorp.com", "carol@acmecorp.com",
			"someone@example.org", "hugo@globex.example", "nobody@globex.example")})
		var got []string
		for _, reply := range r.To {
			got = append(got, code(reply))
		}
		noRelay := s.noRelay
		if milter {
			noRelay = "554 5.7.1"
		}
		want := []string{"550 5.1.1", "250 2.1.5", "450 4.2.1", "250 2.1.5", noRelay, "250 2.1.5", "550 5.1.1"}
		if !slices.Equal(got, want) || !r.Accepted() {
			t.Errorf("the answers are %q, then %s; they must be %q and the message must be taken", got, r.Data, want)
		}
		s.mustArrive(m,
			"office365 alice@acmecorp-com.onmicrosoft.com",
			"here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com",
			"here hugo@globex.example")

		// The next message of the same connection knows nothing of the first.
		session, err := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}.Dial(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		for i, to := range [][]string{{"nobody@acmecorp.com"}, {"alice@acmecorp.com", "nobody@acmecorp.com"}, {"bob@acmecorp.com"}} {
			m := lab.Plain(from, to[0], fmt.Sprint("message ", i))
			r, err := session.Send(deadline(t), lab.Mail{From: from, To: lab.To(to...), Data: m})
			if err != nil {
				t.Fatal(err)
			}
			if refused := i == 0; r.Accepted() == refused {
				t.Errorf("to %q: %+v", to, r)
			}
			places := [][]string{nil, {"office365 alice@acmecorp-com.onmicrosoft.com"}, {"here bob@acmecorp.com"}}
			s.mustArrive(m, places[i]...)
		}
	})
}

func TestADirectoryThatCannotBeReadPutsItsOwnDomainsOff(t *testing.T) {
	config := func(t *testing.T) lab.SiteConfig {
		return lab.SiteConfig{TOML: twoDirectories(t), Directory: badUsers}
	}
	everyWay(t, config, func(t *testing.T, s *site, _ bool) {
		session := s.enter(lab.FromInternet)
		s.mustHear(session, []string{"gail@globex.example"}, "451 4.3.0")
		for _, to := range []string{"gail@globex.example", "hugo@globex.example", "nobody@globex.example", "postmaster@globex.example"} {
			for _, client := range []string{lab.FromInternet, lab.FromUser, lab.FromGoogle} {
				if reply := s.rcpt(client, "eve@example.net", to); code(reply) != "451 4.3.0" {
					t.Errorf("from %s to %s: the answer is %s; it must be 451 4.3.0", client, to, reply)
				}
			}
		}
		m := lab.Plain("eve@example.net", "alice@acmecorp.com", "the other domain")
		r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("gail@globex.example", "alice@acmecorp.com"), Data: m})
		if code(r.To[0]) != "451 4.3.0" || !r.Accepted() {
			t.Errorf("the other domain's mail must go on: %+v", r)
		}
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
		if !regexp.MustCompile(`level=ERROR .*users\.csv:3: `).MatchString(s.Daemon.Log()) {
			t.Errorf("the log does not name the file and the line:\n%s", s.Daemon.Log())
		}

		// Once it can be read, its mail goes on, in sessions under way too.
		if err := s.WriteDirectory(globexUsers); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Daemon.WaitLog(deadline(t), regexp.MustCompile(`msg="directory loaded"`)); err != nil {
			t.Fatal(err)
		}
		s.mustHear(session, []string{"gail@globex.example"}, "250 2.1.5")
		m = lab.Plain("eve@example.net", "gail@globex.example", "readable again")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("gail@globex.example"), Data: m})
		s.mustArrive(m, "google gail@gapps.globex.example")
	})
}
