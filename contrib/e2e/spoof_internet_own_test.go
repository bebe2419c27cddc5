package e2e

import (
	"testing"

	"coexistd/contrib/lab"
)

// Two domains of ours beside those of the usual site.
const (
	ownDomains = `
[domain."initech.example"]
directory = "users.csv"
[domain."umbrella.example"]
directory = "users.csv"
`
	ownDirectory = lab.SiteDirectory + "zoe@initech.example,here,zoe\numa@umbrella.example,here,uma\n"
)

func TestOurDomainsAreTakenFromOutsideWithProofOnlyWhateverTheyPublish(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, Directory: ownDirectory, TOML: checkedTOML("", "", ownDomains, `[check.spoof]
services = ["127.0.8.0/24", "mailer.example"]
`)})
		s.tellDNS(map[string]string{
			"acmecorp.com": usualSPF, "globex.example": usualSPF, "initech.example": usualSPF, "news.initech.example": usualSPF,
			"_dmarc.globex.example": "v=DMARC1; p=none", "_dmarc.initech.example": "v=DMARC1; p=reject; adkim=s; aspf=s",
			"mailer.example": usualSPF, "eu.mailer.example": usualSPF, "notmailer.example": usualSPF,
			"acmecorp-com.onmicrosoft.com": usualSPF, "evil.onmicrosoft.com": usualSPF,
		})
		s.publishKeys("acmecorp.com", "news.acmecorp.com", "globex.example", "initech.example", "news.initech.example", "mailer.example",
			"eu.mailer.example", "notmailer.example", "acmecorp-com.onmicrosoft.com", "evil.onmicrosoft.com", "onmicrosoft.com")
		const (
			service = "127.0.8.1"
			own     = "reject own domain"
			esp     = "x@esp.example"
			quiet   = "bob@acmecorp.com" // no record
			none    = "hugo@globex.example"
			strict  = "zoe@initech.example"
			bare    = "uma@umbrella.example"
		)
		s.judgeAll([]senderCase{
			{"no record, SPF fails", spfFail, quiet, quiet, "", own, ""},
			{"no record, softfail", spfSoftFail, quiet, quiet, "", own, ""},
			{"no record, neutral", spfNeutral, quiet, quiet, "", own, ""},
			{"no record, a stranger's envelope and signature", spfPass, esp, quiet, "esp.example", own, ""},
			{"no record, the null sender", spfPass, "", quiet, "", own, ""},
			{"no record, a signature that is broken", spfFail, quiet, quiet, "!acmecorp.com", own, ""},
			{"no record, a signature of another domain of ours", spfFail, quiet, quiet, "globex.example", own, ""},
			{"no record, SPF passes", spfPass, quiet, quiet, "", "accept", "pass/none/none"},
			{"no record, signed", spfFail, esp, quiet, "acmecorp.com", "accept", "fail/none/pass"},
			{"no record, signed by a subdomain", spfFail, esp, quiet, "news.acmecorp.com", "accept", "fail/none/pass"},
			{"p=none, SPF fails", spfFail, none, none, "", own, ""},
			{"p=none, a stranger's envelope", spfPass, esp, none, "", own, ""},
			{"p=none, SPF passes", spfPass, none, none, "", "accept", "pass/pass/none"},
			{"p=none, signed", spfFail, esp, none, "globex.example/ed", "accept", "fail/pass/pass"},
			{"p=reject, SPF fails", spfFail, strict, strict, "", own, ""},
			{"p=reject, strict, signed by a subdomain", spfFail, esp, strict, "news.initech.example", own, ""},
			{"p=reject, strict, SPF of a subdomain", spfPass, "x@news.initech.example", strict, "", own, ""},
			{"p=reject, strict, signed", spfFail, esp, strict, "initech.example", "accept", "fail/pass/pass"},
			{"nothing published, nothing proves it", spfPass, bare, bare, "", own, ""},
			{"the envelope alone is ours", spfFail, quiet, "x@none.example", "", own, ""},
			{"the envelope alone is ours, SPF passes", spfPass, quiet, "x@none.example", "", "accept", "pass/fail/none"},
			{"the envelope alone is ours, forwarded with our signature", spfFail, quiet, "x@none.example", "none.example, acmecorp.com", "accept", "fail/pass/pass,pass"},
			// Subdomains, and alternate domains as authors.
			{"a subdomain without a record", spfPass, esp, "x@hr.acmecorp.com", "", own, ""},
			{"a subdomain without a record as the envelope sender", spfPass, "x@hr.acmecorp.com", "x@none.example", "", own, ""},
			{"a subdomain without a record, signed by ours", spfPass, esp, "x@hr.acmecorp.com", "acmecorp.com", "accept", "pass/none/pass"},
			{"an alternate domain", spfFail, esp, "x@acmecorp-com.onmicrosoft.com", "", own, ""},
			{"an alternate domain, from another tenant", spfPass, "x@evil.onmicrosoft.com", "x@acmecorp-com.onmicrosoft.com", "evil.onmicrosoft.com, onmicrosoft.com", own, ""},
			{"an alternate domain, signed", spfFail, esp, "x@acmecorp-com.onmicrosoft.com", "acmecorp-com.onmicrosoft.com", "accept", "fail/none/pass"},
			// Listed services.
			{"a service's network", service, esp, quiet, "", "accept", "fail/none/none"},
			{"a service's network, in all of our names", service, strict, none, "", "accept", "fail/fail/none"},
			{"a service's network, in a stranger's name", service, esp, "x@reject.example", "", "reject DMARC", ""},
			{"a service's signature", spfFail, esp, quiet, "mailer.example", "accept", "fail/none/pass"},
			{"a service's signature, p=reject and strict", spfFail, esp, strict, "mailer.example", "accept", "fail/fail/pass"},
			{"a service's signature, of a subdomain", spfFail, esp, quiet, "eu.mailer.example", "accept", "fail/none/pass"},
			{"a service's signature that is broken", spfFail, esp, quiet, "!mailer.example", own, ""},
			{"what ends like a service", spfPass, "x@notmailer.example", quiet, "notmailer.example", own, ""},
			{"a service by SPF", spfPass, "b@mailer.example", quiet, "", "accept", "pass/none/none"},
			{"a service by SPF, another client", spfFail, "b@mailer.example", quiet, "", own, ""},
			{"a service by SPF of a subdomain", spfPass, "b@eu.mailer.example", none, "", "accept", "pass/fail/none"},
			{"a service by SPF, in a stranger's name", spfPass, "b@mailer.example", "x@reject.example", "mailer.example", "reject DMARC", ""},
		})
	})
}

func TestThePlatformMaySendInOurNameOnceItsTenantIsProven(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "")})
		// As an administrator publishes it who has mail sent by the platform: SPF passes
		// for all of its tenants.
		s.tellDNS(map[string]string{"acmecorp.com": "v=spf1 ip4:127.0.1.0/24 -all"})
		s.publishKeys("acmecorp.com")
		const alice = "alice@acmecorp.com"
		strange := "11111111-2222-3333-4444-555555555555"
		plain := func(from string) []byte { return lab.Plain(from, "bob@acmecorp.com", "from the platform") }
		var done []judgedCase
		for _, c := range []struct {
			senderCase
			message []byte
			point   string
		}{
			{senderCase{about: "our tenant", from: alice, want: "accept not checked"}, fromTenant(lab.OfficeTenant, plain(alice)), "S1"},
			{senderCase{about: "our tenant passes a stranger's on", from: "x@reject.example", want: "accept not checked"}, fromTenant(lab.OfficeTenant, plain("x@reject.example")), "S1"},
			{senderCase{about: "another tenant in our name, SPF passes", from: alice, want: "reject own domain"}, fromTenant(strange, plain(alice)), "S0"},
			{senderCase{about: "no tenant in our name, SPF passes", from: alice, want: "tempfail tenant not proven"}, plain(alice), "S0"},
			{senderCase{about: "another tenant with our signature", from: alice, want: "accept", results: "pass/none/pass"}, dkimSigned(t, fromTenant(strange, plain(alice)), "acmecorp.com"), "S0"},
			{senderCase{about: "another tenant in a stranger's name", from: "x@reject.example", want: "reject DMARC"}, fromTenant(strange, plain("x@reject.example")), "S0"},
		} {
			c.client, c.sender = lab.FromOffice365, c.from
			j := s.judge(c.senderCase, c.message)
			if line := s.lineTo(j.to); line["point"] != c.point {
				t.Errorf("%s: it came at %s; it must be %s: %v", c.about, line["point"], c.point, line)
			}
			done = append(done, j)
		}
		s.mustEnd(done)
	})
}
