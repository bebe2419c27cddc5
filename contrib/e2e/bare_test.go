package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// sameAs has the host's own name have the users of acmecorp.com, which leaves all whom the directory
// lacks to the MTA.
const sameAs = "\n[domain.\"mta.lab.test\"]\nsame_as  = \"acmecorp.com\"\nunlisted = \"here\"\n"

// startBare starts a server whose aliases name users without a domain: bob and the account of
// a .forward file live here, alice elsewhere, carol on both sides, and dave is being moved.
func startBare(t *testing.T, mta lab.MTA, origin string) (s *site, account string) {
	t.Helper()
	aliases, routes := "root: alice, bob\nloop: alice@mta.lab.test\njob: \"|/bin/cat\"\n", map[string]string{}
	account = "erin"
	if mta == lab.PostfixMTA {
		aliases, routes["acmecorp.com"], routes["mta.lab.test"] = strings.ReplaceAll(aliases, ":", ""), "local:", "local:"
		account = "daemon" // of the machine's accounts, one that is always there
	}
	s = startSite(t, lab.SiteConfig{
		MTA: mta, TOML: withHost(siteWithUnlisted(`"here"`)) + sameAs, Directory: cloudOnly + "carol@acmecorp.com,both\ndave@acmecorp.com,moving\nbob@acmecorp.com,here\n",
		MC:       append([]string{"define(`COEXISTD_DOMAINS', `acmecorp.com globex.example mta.lab.test')dnl", "LOCAL_DOMAIN(`mta.lab.test')dnl", "FEATURE(`virtusertable', `text -k0 -v1 {etc}/virtual')dnl"}, accounts...),
		Accounts: []string{"bob", "carol", account},
		Files:    map[string]string{"aliases": aliases, "virtual": "sales@acmecorp.com alice\n"},
		Routes:   routes,
		Main: with(localDomain, map[string]string{
			"mydestination": "acmecorp.com mta.lab.test", "myorigin": origin,
			"alias_maps": "texthash:$config_directory/aliases", "local_recipient_maps": "inline:{bob=x,carol=x,daemon=x} $alias_maps socketmap:unix:{dir}/lookup.sock:recipients",
			"virtual_alias_maps": "texthash:$config_directory/virtual socketmap:unix:{dir}/lookup.sock:aliases",
			"forward_path":       "{dir}/forward-$user",
		}),
	})
	if mta == lab.PostfixMTA {
		s.do(errors.Join(
			os.WriteFile(filepath.Join(s.Dir, "forward-"+account), []byte("alice\n"), 0o644),
			s.Postfix.Restart(deadline(t), map[string]string{"mailbox_transport": s.Here.NextHop()})))
	} else {
		s.do(s.Host.(*lab.Sendmail).Forward(account, "alice\n"))
	}
	return s, account
}

// A name without a domain is one of this host, or of myorigin.
func TestANameWithoutADomainReachesTheUserWhereverTheyLive(t *testing.T) {
	test := func(t *testing.T, mta lab.MTA, origin string) {
		s, account := startBare(t, mta, origin)
		here := func(name string) string {
			return map[lab.MTA]string{lab.PostfixMTA: "here " + name + "@" + origin, lab.SendmailMTA: "here " + name}[mta]
		}
		const there = "office365 alice@acmecorp-com.onmicrosoft.com"
		for to, arrives := range map[string][]string{
			"alice": {there}, "Alice+x": {"office365 Alice+x@acmecorp-com.onmicrosoft.com"}, "bob": {here("bob")}, "root": {there, here("bob")}, account: {there},
			"job": nil, "carol": {here("carol"), "office365 carol@acmecorp-com.onmicrosoft.com"},
		} {
			m := lab.Plain("bob@acmecorp.com", to+"@mta.lab.test", "by the sendmail command to "+to)
			s.sendmail("bob@acmecorp.com", m, to)
			s.mustArrive(m, arrives...)
		}
		for to, arrives := range map[string][]string{
			"alice": {there}, "root": {there, here("bob")}, "loop@mta.lab.test": {there}, "sales@acmecorp.com": {there},
			"Alice+x@mta.lab.test": {"office365 Alice+x@acmecorp-com.onmicrosoft.com"}, "root@mta.lab.test": {there, here("bob")},
		} {
			m := lab.Plain("bob@acmecorp.com", "somebody@mta.lab.test", "by SMTP to "+to)
			s.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To(to), Data: m})
			s.mustArrive(m, arrives...)
		}
		if log := s.Log(); !strings.Contains(log, "status=sent (delivered to command: /bin/cat") && !strings.Contains(log, "mailer=prog") {
			t.Errorf("the program did not get its mail:\n%s", log)
		}
	}
	t.Parallel()
	for _, origin := range []string{"mta.lab.test", "acmecorp.com"} {
		t.Run("Postfix with myorigin "+origin, func(t *testing.T) {
			t.Parallel()
			test(t, lab.PostfixMTA, origin)
		})
	}
	t.Run("Sendmail", func(t *testing.T) {
		t.Parallel()
		test(t, lab.SendmailMTA, "mta.lab.test")
	})
}

// Postfix would take the local part alone, told to remove it, for bob's address.
func TestALocalPartThatIsAnothersAddressTakesNothingFromThem(t *testing.T) {
	t.Parallel()
	const odd = `"bob@acmecorp.com"@cloud.example`
	s := startSite(t, lab.SiteConfig{TOML: lab.SiteTOML + "\n[domain.\"cloud.example\"]\nunlisted = \"office365\"\nalternate = { office365 = \"cloud-example.onmicrosoft.com\" }\n"})
	m := lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "to both")
	s.sendmail("bob@acmecorp.com", m, odd, "bob@acmecorp.com")
	s.mustArrive(m, "here bob@acmecorp.com", `Internet "bob@acmecorp.com"@cloud-example.onmicrosoft.com`)
}
