package doctor

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// lookAtDomains sees whether Postfix takes mail for our domains, and delivers that for
// mailboxes here.
func lookAtDomains(ctx context.Context, x *examination) []Finding {
	domains := x.domains()
	has := make(map[string][]postconf.Class)
	var findings []Finding
	unsure := false
	for _, one := range postconf.Classes {
		found, err := x.mta.Members(ctx, one.Domains, domains, x.conf.Lookups)
		if err != nil {
			unsure = true
			findings = append(findings, warning("the domains of %s cannot be told: %s", one.Domains, strings.ReplaceAll(err.Error(), "\n", "; ")).do("see that %s can be read by %s", one.Domains, account.OwnName()))
		}
		for _, domain := range domains {
			if found[domain] {
				has[domain] = append(has[domain], one)
			}
		}
	}
	var taken, refused []string
	for _, domain := range domains {
		if len(has[domain]) > 0 {
			taken = append(taken, domain)
		} else if !unsure {
			refused = append(refused, domain)
		}
	}
	if len(refused) > 0 {
		findings = append(findings, failure("Postfix takes no mail for %s: all of it is refused, relay access denied", some(refused)).
			do("put into main.cf: virtual_mailbox_domains = %s; then run: postfix reload", x.mta.withDomains(refused)))
	}
	findings = append(findings, x.lookForForeign("Postfix", x.mta.Foreign(domains))...)
	if len(taken) > 0 {
		findings = append(findings, fine("Postfix takes mail for %s", some(taken)))
	}
	findings = append(findings, x.judgeHostname(x.strict(domains))...)
	findings = append(findings, lookAtDoubles(taken, has)...)
	findings = append(findings, lookAtDelivery(ctx, x, taken, has)...)
	isLocal := func(domain string) bool {
		return slices.ContainsFunc(has[domain], func(c postconf.Class) bool { return c.Domains == "mydestination" })
	}
	return append(findings, lookAtRoles(ctx, x, taken, isLocal)...)
}

// lookForForeign tells of domains for which the MTA takes mail, and of which our configuration does not
// know.
func (x *examination) lookForForeign(mta string, domains []string) []Finding {
	if len(domains) == 0 {
		return nil
	}
	return []Finding{failure("%s takes mail for %s, which %s lacks: coexistd refuses it when it comes from the Internet", mta, some(domains), x.conf.Path).
		do("where this host has all their users, add for each: [domain.%q] with unlisted = \"here\"; then run: systemctl reload coexistd", domains[0])}
}

// withDomains is virtual_mailbox_domains with more of them.
func (p *postfix) withDomains(more []string) string {
	list := postconf.List(p.Main["virtual_mailbox_domains"])
	if !p.IsWritten("virtual_mailbox_domains") {
		list = nil // Postfix's own are those of virtual_mailbox_maps, whose keys are addresses.
	}
	return strings.Join(append(list, more...), ", ")
}

// lookAtDoubles looks for domains of which Postfix warns that two settings have them.
// relay_domains may have those of others.
func lookAtDoubles(domains []string, has map[string][]postconf.Class) []Finding {
	found := make(map[[2]postconf.Class][]string)
	for _, domain := range domains {
		if list := has[domain]; len(list) > 1 && list[1].Domains != "relay_domains" {
			pair := [2]postconf.Class(list[:2])
			found[pair] = append(found[pair], domain)
		}
	}
	var findings []Finding
	for pair, list := range found {
		what := "bounces what no alias has"
		if pair[0].Transport != "" {
			what = "delivers by " + pair[0].Transport
		}
		findings = append(findings, failure("both %s and %s have %s: Postfix goes by %s, %s, and warns in its log", pair[0].Domains, pair[1].Domains, some(list), pair[0].Domains, what).
			do("take it out of one of the two in main.cf: out of %s where %s has the mailboxes; then run: postfix reload", pair[0].Domains, pair[1].Domains))
	}
	slices.SortFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Found, b.Found) })
	return findings
}

// strict are those of some domains in which coexistd refuses whom the directory lacks. Where there is no configuration
// yet, it may be any.
func (x *examination) strict(domains []string) []string {
	return slices.DeleteFunc(slices.Clone(domains), func(domain string) bool {
		configured := x.conf.Rules.Routes.Domains[domain]
		return configured != nil && configured.Unlisted.Kind != route.Nowhere
	})
}

// judgeHostname looks for a host that has the name of a domain of users in which coexistd refuses whom the directory lacks.
func (x *examination) judgeHostname(strict []string) []Finding {
	name := strings.ToLower(x.mta.Main["myhostname"])
	if !slices.Contains(strict, name) {
		return nil
	}
	return []Finding{sharedName("myhostname", name).
		do("give the host a name of its own, such as myhostname = mail.%s, and write %s where main.cf has meant it by $myhostname (mydestination, myorigin); then run: postfix reload", name, name)}
}
