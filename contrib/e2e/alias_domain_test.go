package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// Postfix has the transport "error" for the addresses of virtual_alias_domains, also
// for those that it takes. What it says of them to a milter looks much like what it
// says of those that it refuses. Sendmail has its virtusertable.
func TestARecipientOfAnAliasDomainOfTheMTAIsCheckedLikeAnyOther(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{
			MTA:  mta,
			TOML: lab.SiteTOML + "\n[domain.\"va.example\"]\nunlisted = \"here\"\n\n[check.malware]\non_hit = \"reject\"\n",
			MC: []string{
				"FEATURE(`virtusertable', `text -k0 -v1 {etc}/virtusers')dnl",
				"VIRTUSER_DOMAIN(`va.example')dnl",
				"RELAY_DOMAIN(`va.example')dnl",
			},
			Files: map[string]string{"virtusers": "info@va.example bob@acmecorp.com\n"},
			Main: map[string]string{
				"virtual_alias_domains": "va.example",
				"virtual_alias_maps":    "inline:{{info@va.example=bob@acmecorp.com}}",
			},
		})
		program := letter("a program", "MIME-Version: 1.0\nContent-Type: application/octet-stream; name=\"setup.exe\"\n", "MZ\n")
		for _, to := range [][]string{{"info@va.example"}, {"bob@acmecorp.com", "info@va.example"}} {
			r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to...), Data: program})
			if !strings.HasPrefix(r.Data.String(), "554 5.7.1 Attachment refused") {
				t.Errorf("to %q: the message was answered %+v", to, r)
			}
		}
		forged := lab.Plain("ceo@acmecorp.com", "info@va.example", "forged")
		r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("info@va.example"), Data: forged})
		if !strings.HasPrefix(r.Data.String(), "550 5.7.26 ") {
			t.Errorf("mail in our name was answered %+v", r)
		}
		clean := lab.Plain("eve@example.net", "info@va.example", "clean")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("info@va.example"), Data: clean})
		s.mustArrive(clean, "here bob@acmecorp.com")
	})
}
