package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"
)

// surveySendmailDomains looks for domains that coexistd would refuse since its configuration lacks them,
// and at what the host is called.
func surveySendmailDomains(_ context.Context, s *survey) (findings []Finding) {
	own, relayed := s.sendmail.foreign(s.examination, append(slices.Clone(s.domains), s.conf.Rules.Routes.Alternates()...))
	switch {
	case !s.configured:
		findings = s.toBeListed("Sendmail")
	case len(own) == 0 && len(relayed) == 0:
		findings = append(findings, fine("%s has all domains for which Sendmail takes mail", s.conf.Path))
	default:
		findings = s.lookForForeign("Sendmail", own)
	}
	if s.configured && len(relayed) > 0 {
		findings = append(findings, s.relayedBeside(relayed)...)
	}
	if unread := slices.Concat(s.sendmail.Class("w").Unread, s.sendmail.Class("R").Unread, s.sendmail.Class("VirtHost").Unread); len(unread) > 0 {
		findings = append(findings, warning("Sendmail may take mail for more domains, which cannot be told: %s", some(unread)).
			do("see that each of its domains has a [domain] in the configuration"))
	}
	for _, f := range lookAtMasquerade(s.examination) {
		findings = append(findings, fine("%s: coexistd setup sendmail has their addresses stay as they are", f.Found))
	}
	return slices.Concat(findings, s.ownSendmailName(), s.masquerades(s.domains))
}

// ownSendmailName looks at the host's name. It is always in class w: without a configuration, there is
// nothing to say about that.
func (s *survey) ownSendmailName() []Finding {
	if name := s.sendmail.hostname(s.examination); s.configured && !slices.Contains(s.domains, name) {
		return []Finding{s.originDomain("Sendmail", name, "class w")}
	}
	return s.sharedSendmailName(s.domains)
}

// surveySendmailRecipients tells by what Sendmail knows who exists, and what coexistd adds to it.
func surveySendmailRecipients(_ context.Context, s *survey) (findings []Finding) {
	access, _ := s.sendmail.Table("access")
	var local, relayed []string
	for _, domain := range s.domains {
		switch {
		case s.sendmail.Class("w").Has(domain):
			local = append(local, domain)
		case !s.sendmail.Class("VirtHost").Has(domain) && s.sendmail.RelaysTo(domain, access):
			relayed = append(relayed, domain)
		}
	}
	if len(relayed) > 0 {
		findings = append(findings, takesAnybody("relay-domains or the access map: Sendmail takes mail to anybody of", relayed, s.strict(relayed)))
	}
	if len(local) == 0 {
		return findings
	}
	if s.sendmail.needsAccounts() {
		return append(findings, fine("accounts, aliases(5) and the virtusertable of this host say who exists in %s: coexistd's rules are asked before, for users who live elsewhere%s", some(local), s.refuses(s.strict(local))))
	}
	return append(findings, takesAnybody(s.sendmail.catcher()+": Sendmail takes mail to anybody of", local, s.strict(local)))
}

// catcher says what takes mail for names that this host does not know.
func (s *sendmail) catcher() string {
	for _, one := range [...]struct{ macro, name string }{{"L", "LUSER_RELAY"}, {"H", "MAIL_HUB"}, {"R", "LOCAL_RELAY"}} {
		if host := s.Macros[one.macro]; host != "" {
			return one.name + " is " + host
		}
	}
	return "the mailer local asks for no accounts"
}

// surveySendmailMaps tells what Sendmail's own tables still answer.
func surveySendmailMaps(_ context.Context, s *survey) []Finding {
	findings := lookAtTables(s.sendmail)
	const before = "coexistd's rules are asked before it, so that it no longer answers for users who live elsewhere"
	for _, one := range [...]struct{ name, table string }{{"virtuser", "the virtusertable"}, {"mailertable", "the mailertable"}, {"ldapmra", "LDAP routing"}} {
		m, is := s.sendmail.Maps[one.name]
		isHidden := !slices.Contains([]string{"hash", "btree", "dbm", "cdb", "text"}, m.Class)
		switch {
		case !is:
		case one.name != "mailertable" && isHidden && (!s.configured || len(s.strict(s.domains)) > 0):
			findings = append(findings, warning("%s is of the kind %s, which nobody can list: %s. coexistd will refuse the aliases that the directory lacks", one.table, m.Class, before).
				do("set unlisted = \"here\" in the sections of their domains, or list each of their aliases in the directory with the residence here"))
		default:
			findings = append(findings, fine("%s says where mail goes: %s", one.table, before))
		}
	}
	isOurs := func(rule string) bool { return strings.Contains(rule, "$={Coexistd}") }
	if rules := s.sendmail.parseLocal(); len(rules) > 0 && !slices.ContainsFunc(rules, isOurs) {
		findings = append(findings, warning("sendmail.mc has rules of its own for addresses (LOCAL_RULE_0), which are asked before those that coexistd setup sendmail adds: bounces and members of aliases for users who live elsewhere go by them").
			do("see that they leave addresses of the shared domains alone, or put the include of coexistd.mc before them"))
	}
	return findings
}

// surveySendmailNetworks looks at those who may send without a login.
func surveySendmailNetworks(_ context.Context, s *survey) []Finding {
	if s.configured {
		findings := append(lookAtRelays(s.examination), s.lookForHostMail()...)
		if len(findings) == 0 {
			findings = append(findings, fine("our_networks has all networks whose clients Sendmail lets relay"))
		}
		return findings
	}
	// The sendmail command brings mail by loopback, whatever the tables say.
	list := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	relays, unread := s.sendmail.Relays()
	for _, network := range relays {
		if !network.Addr().IsLoopback() {
			list = append(list, network)
		}
	}
	others := ""
	if unread {
		others = "what cannot be read"
	}
	return append(s.sendmail.lookForPromiscuous(), toBeOurs("Sendmail (relay-domains, the access map)", list, others)...)
}
