package postconf

import (
	"slices"
	"strings"

	"coexistd/policy/config"
	"coexistd/policy/route"
)

// Class is a setting of Postfix that lists domains which it takes mail for (ADDRESS_CLASS_README).
type Class struct {
	// Domains is its name; Transport that of the setting which says how the mail is
	// delivered, and Recipients that of the one which says who exists. They are empty for
	// alias domains, whose mail is delivered to others.
	Domains, Transport, Recipients string
}

// Classes are in the order in which Postfix asks for them: the first that has a domain counts.
var Classes = [...]Class{
	{"mydestination", "local_transport", "local_recipient_maps"},
	{"virtual_alias_domains", "", ""},
	VirtualMailboxes(),
	{"relay_domains", "relay_transport", "relay_recipient_maps"},
}

// VirtualMailboxes is the class of domains whose users are no accounts of the host.
func VirtualMailboxes() Class {
	return Class{"virtual_mailbox_domains", "virtual_transport", "virtual_mailbox_maps"}
}

// TakesAll reports a class for which Postfix takes mail to anybody, since its maps of recipients are
// empty, and which may have domains beside ours, or has one of ours that leaves unlisted addresses to Postfix. Were our
// map the only one there, the mail for those would be refused.
func (p *Settings) TakesAll(c Class, routes *route.Rules) bool {
	if c.Recipients == "" || p.Main[c.Recipients] != "" {
		return false
	}
	below := slices.Contains(List(p.Main["parent_domain_matches_subdomains"]), c.Domains)
	return slices.ContainsFunc(List(p.Main[c.Domains]), func(name string) bool {
		domain := routes.Domains[strings.ToLower(name)]
		return below || domain == nil || domain.LeavesUnlisted()
	})
}

// OnlyOursKnow reports a class of which no table but ours says who exists.
func (p *Settings) OnlyOursKnow(c Class, lookups []config.Listener) bool {
	tables := List(p.Main[c.Recipients])
	return len(tables) > 0 && len(p.WithoutOurs(tables, lookups)) == 0
}

// Foreign are the domains beside ours for which Postfix takes mail, as far as they are named in main.cf or in files
// of names, sorted: not in tables. The names of this host are not among them.
func (p *Settings) Foreign(ours []string) (domains []string) {
	for _, class := range Classes {
		names, _ := withFiles(List(p.Main[class.Domains])) // Members tells the error.
		for _, name := range names {
			name = strings.ToLower(name)
			isOfHost := name == strings.ToLower(p.Main["myhostname"]) || name == "localhost" || strings.HasPrefix(name, "localhost.")
			if !isOfHost && !strings.ContainsAny(name, ":!/[{") && !strings.HasPrefix(name, ".") && !slices.Contains(ours, name) {
				domains = append(domains, name)
			}
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}
