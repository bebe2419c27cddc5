package e2e

import (
	"testing"

	"coexistd/contrib/lab"
)

// TestNobodyRelaysByTheLocalPart uses an MTA that itself would let every
// client relay, so that only coexistd stands in the way.
func TestNobodyRelaysByTheLocalPart(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{
			MTA:  mta,
			TOML: lab.SiteTOML + "[domain.\"mta.lab.test\"]\nunlisted = \"here\"\n",
			MC:   []string{"FEATURE(`promiscuous_relay')dnl", "LOCAL_DOMAIN(`acmecorp.com')dnl"},
			Main: map[string]string{
				"mynetworks": "127.0.0.0/8", "mydestination": "mta.lab.test acmecorp.com", "virtual_mailbox_domains": "globex.example",
				"local_recipient_maps": "socketmap:unix:{dir}/lookup.sock:recipients",
			},
		})
		for _, client := range []string{lab.FromInternet, lab.FromOffice365} {
			for _, to := range []string{
				"victim@example.org", "victim%example.org", "example.org!victim", "victim%example.org@mta.lab.test",
				"example.org!victim@mta.lab.test", `"victim@example.org"@mta.lab.test`, "victim@example.org@mta.lab.test",
				"@mta.lab.test:victim@example.org", "bob+x%example.org@acmecorp.com", "postmaster+x%example.org@acmecorp.com",
				"carol+x%example.org@acmecorp.com",
			} {
				m := lab.Plain("mallory@example.net", "victim@example.org", "relay")
				r := s.send(client, lab.Mail{From: "mallory@example.net", To: lab.To(to), Data: fromTenant("00000000-0000-0000-0000-000000000001", m)})
				if r.Accepted() {
					t.Errorf("from %s to %s: taken with %s", client, to, r.Data)
				}
				s.mustArrive(m)
			}
		}
	})
}

func TestASourceRoutedRecipientGetsOneCopy(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		for _, c := range []lab.SiteConfig{{MTA: mta}, {MTA: mta, Main: map[string]string{"virtual_alias_maps": ""}}} {
			s := startSite(t, c)
			for _, to := range []string{"@relay.example:alice@acmecorp.com", "@a.example,@b.example:alice@acmecorp.com"} {
				m := lab.Plain("eve@example.net", "alice@acmecorp.com", "source route")
				s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
				s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
			}
		}
	})
}
