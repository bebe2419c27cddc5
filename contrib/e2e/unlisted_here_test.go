package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// cloudOnly lists those alone who live elsewhere.
const cloudOnly = "address,residence\nalice@acmecorp.com,office365\ngail@globex.example,google\n"

// startExisting starts a server that had users, aliases and programs of its own before: bob is a
// user, sales is in a table of virtual aliases, staff and job in aliases(5). The directory has those
// alone who live elsewhere.
func startExisting(t *testing.T, mta lab.MTA) *site {
	t.Helper()
	aliases := "staff: bob@acmecorp.com, alice@acmecorp.com\njob: \"|/bin/cat\"\n"
	routes := map[string]string{}
	if mta == lab.PostfixMTA {
		aliases = strings.ReplaceAll(aliases, ":", "")
		routes["acmecorp.com"] = "local:"
	}
	s := startSite(t, lab.SiteConfig{
		MTA: mta, TOML: siteWithUnlisted(`"here"`), Directory: cloudOnly,
		MC:       append([]string{"FEATURE(`virtusertable', `text -k0 -v1 {etc}/virtual')dnl"}, accounts...),
		Accounts: []string{"bob"},
		Files:    map[string]string{"aliases": aliases, "virtual": "sales@acmecorp.com staff@acmecorp.com\n"},
		Routes:   routes,
		Main: with(localDomain, map[string]string{
			"alias_maps": "texthash:$config_directory/aliases", "local_recipient_maps": "inline:{bob=x} $alias_maps socketmap:unix:{dir}/lookup.sock:recipients",
			"virtual_alias_maps": "texthash:$config_directory/virtual socketmap:unix:{dir}/lookup.sock:aliases",
		}),
	})
	if mta == lab.PostfixMTA {
		s.do(s.Postfix.Restart(deadline(t), map[string]string{"mailbox_transport": s.Here.NextHop()}))
	}
	return s
}

func TestAnExistingServersTablesSayWhoExistsBesideThoseWhoLiveElsewhere(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startExisting(t, mta)
		const there = "office365 alice@acmecorp-com.onmicrosoft.com"
		here := map[lab.MTA]string{lab.PostfixMTA: "here bob@acmecorp.com", lab.SendmailMTA: "here bob"}[mta] // the account
		for to, arrives := range map[string][]string{"bob": {here}, "alice": {there}, "Alice+x": {"office365 Alice+x@acmecorp-com.onmicrosoft.com"}, "staff": {here, there}, "sales": {here, there}} {
			for client, from := range map[string]string{lab.FromInternet: "eve@example.net", lab.FromUser: "bob@acmecorp.com"} {
				m := lab.Plain(from, to+"@acmecorp.com", "to "+to)
				s.deliver(client, lab.Mail{From: from, To: lab.To(to + "@acmecorp.com"), Data: m})
				s.mustArrive(m, arrives...)
			}
		}
		job := lab.Plain("eve@example.net", "job@acmecorp.com", "to a program")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("job@acmecorp.com"), Data: job})
		s.settle()
		if log := s.Log(); !strings.Contains(log, "status=sent (delivered to command: /bin/cat") && !strings.Contains(log, "mailer=prog") {
			t.Errorf("the program did not get its mail:\n%s", log)
		}
		s.mustArrive(job)
		// The MTA says so, before any milter is asked.
		for _, unknown := range []string{"ghost@acmecorp.com", "abuse@acmecorp.com"} {
			if reply := s.rcpt(lab.FromInternet, "eve@example.net", unknown); reply.Code != 550 || !strings.Contains(reply.String(), "User unknown") {
				t.Errorf("mail to %s is answered with %s", unknown, reply)
			}
		}
	})
}
