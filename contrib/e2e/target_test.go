package e2e

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// oneAddressEach is an Office 365 at which each mailbox has one address.
func oneAddressEach(recipient string) *lab.Reply {
	if slices.Contains([]string{"alice.smith@acmecorp-com.onmicrosoft.com", "carol@acmecorp-com.onmicrosoft.com", "alice.smith+news@acmecorp-com.onmicrosoft.com"}, strings.ToLower(recipient)) {
		return nil
	}
	return &lab.Reply{Code: 550, Enhanced: "5.1.10", Text: "Recipient not found"}
}

const targets = `address,residence,login,target
alice@acmecorp.com,office365,alice,Alice.Smith@acmecorp-com.onmicrosoft.com
asmith@acmecorp.com,office365,alice,Alice.Smith@acmecorp-com.onmicrosoft.com
carol@acmecorp.com,office365,carol,
c.jones@acmecorp.com,both,carol,carol@acmecorp-com.onmicrosoft.com
bob@acmecorp.com,here,bob,
hugo@globex.example,here,hugo,
`

func TestAliasesOfAMailboxWithOneAddressArriveByTheirTarget(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, Directory: targets, RefuseOffice: oneAddressEach})
		const toAlice = "office365 Alice.Smith@acmecorp-com.onmicrosoft.com"
		for _, client := range []string{lab.FromInternet, lab.FromUser} {
			from := map[string]string{lab.FromInternet: "eve@example.net", lab.FromUser: "bob@acmecorp.com"}[client]
			for to, want := range map[string][]string{
				"alice@acmecorp.com":       {toAlice},
				"ASmith@acmecorp.com":      {toAlice},
				"asmith+News@acmecorp.com": {"office365 Alice.Smith+News@acmecorp-com.onmicrosoft.com"},
				"carol@acmecorp.com":       {"office365 carol@acmecorp-com.onmicrosoft.com"},
				"c.jones@acmecorp.com":     {"here c.jones@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com"},
			} {
				m := lab.Plain(from, to, "to a target")
				s.deliver(client, lab.Mail{From: from, To: lab.To(to), Data: m})
				s.mustArrive(m, want...)
			}
			// Two names of one mailbox are one copy.
			m := lab.Plain(from, "alice@acmecorp.com", "to both names")
			s.deliver(client, lab.Mail{From: from, To: lab.To("alice@acmecorp.com", "asmith@acmecorp.com"), Data: m})
			s.mustArrive(m, toAlice)
		}
		s.writeTOML("[platform.office365]", "[platform.office365]\ntarget_tag = false")
		s.mustReload()
		m := lab.Plain("eve@example.net", "asmith+x@acmecorp.com", "without the tag")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("asmith+x@acmecorp.com"), Data: m})
		s.mustArrive(m, toAlice)
		s.says(exitYes, "explain --from eve@example.net --client 192.0.2.1 --to asmith@acmecorp.com", "Alice.Smith@acmecorp-com.onmicrosoft.com")
		// What comes back from there for the mailbox is refused, whatever its name.
		back := fromTenant(lab.OfficeTenant, lab.Plain("eve@example.net", "asmith@acmecorp.com", "back"))
		if r := s.send(lab.FromOffice365, lab.Mail{From: "eve@example.net", To: lab.To("asmith@acmecorp.com"), Data: back}); code(r.Data) != "554 5.4.6" {
			t.Errorf("mail that comes back for a target's address is answered %+v", r)
		}
	})
}

// startRelayed starts a site on which a platform's relay takes mail for its mailboxes as it
// is addressed. No alternate domain leads there.
func startRelayed(t *testing.T, mta lab.MTA, d shared, c lab.SiteConfig) *site {
	t.Helper()
	c.MTA, c.TOML = mta, cmp.Or(c.TOML, lab.SiteTOML)
	c.Routes = map[string]string{d.alternate: "smtp:[127.0.0.1]:1"}
	c.MC = append(c.MC, "define(`ESMTP_MAILER_ARGS', `TCP $h {"+strings.TrimSuffix(d.platform, "365")+"}')dnl")
	s := startSite(t, c)
	hop := strings.TrimPrefix(s.sinks()[d.platform].NextHop(), "smtp:")
	table := "[platform." + d.platform + "]\n"
	s.configure(strings.Replace(c.TOML, table, table+"deliver = \"relay\"\nrelay = \""+hop+"\"\n", 1))
	return s
}

func TestEveryFlowArrivesByAPlatformsRelay(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		for _, d := range []shared{withOffice, withGoogle} {
			for about, mx := range map[string][]shared{"MX here": nil, "MX there": {d}} {
				t.Run(d.platform+", "+about, func(t *testing.T) {
					t.Parallel()
					s := startRelayed(t, mta, d, lab.SiteConfig{TOML: withMX(lab.SiteTOML, mx...)})
					list := d.passages(mx != nil)
					for _, p := range list {
						p.arrival = strings.Replace(p.arrival, "@"+d.alternate, "@"+d.domain, 1)
					}
					s.pass(list)
				})
			}
		}
	})
}

func TestMailThatARelayReturnsEnds(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startRelayed(t, mta, withOffice, lab.SiteConfig{})
		m := lab.Plain("eve@example.net", "alice@acmecorp.com", "round and round")
		for pass := range 4 {
			r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
			if pass == 3 {
				s.mustReply(r, 554, "5.4.6", "")
				break
			}
			if !r.Accepted() {
				t.Fatalf("pass %d: %+v", pass, r)
			}
			s.settle()
			all := s.Office.All()
			if len(all) != pass+1 {
				t.Fatalf("%d copies have arrived after pass %d", len(all), pass)
			}
			m = all[pass].Data
		}
	})
}
