package doctor

import (
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// lookAtRoles looks for postmasters and the like whose mail is taken here although
// nobody may read it: neither the directory nor an alias of Postfix has them. The domains are
// ours; aliases(5) are for those that are local.
func lookAtRoles(ctx context.Context, x *examination, domains []string, isLocal func(domain string) bool) []Finding {
	unknown := make(map[string][]string) // by domain
	a := &aliases{x: x, set: x.lists().Set()}
	for _, domain := range domains {
		for _, role := range route.Roles {
			p, listed, _ := a.place(role + "@" + domain)
			if !listed && p.Residence.Kind == route.Here && x.conf.Rules.Routes.Domains[domain].Unlisted.Kind == route.Nowhere {
				unknown[domain] = append(unknown[domain], role)
			}
		}
	}
	if len(unknown) == 0 {
		return nil // and no table need be asked
	}
	isVirtual, isAlias := x.aliasesOf(ctx, "virtual_alias_maps", domains), x.aliasesOf(ctx, "alias_maps", domains)
	origin, _ := x.mta.Origin() // lookAtAliases tells the error.
	var lost []string
	for _, domain := range domains {
		for _, role := range unknown[domain] {
			bare := isLocal(domain) || domain == origin
			if !isVirtual(role+"@"+domain) && !isVirtual("@"+domain) && !(bare && isVirtual(role)) && !(isLocal(domain) && isAlias(role)) {
				lost = append(lost, role+"@"+domain)
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return []Finding{warning("mail to %s is taken, as each domain must, but neither the directory nor an alias of Postfix says who reads it", some(lost)).
		do("write an alias for each into virtual_alias_maps, before our map, or list those that have a mailbox here in the directory")}
}

// aliasesOf asks the administrator's own tables of a setting for the roles of domains. What the
// answer says of a key is true, too, when a table cannot be asked.
func (x *examination) aliasesOf(ctx context.Context, setting string, domains []string) func(key string) bool {
	keys := slices.Clone(route.Roles[:])
	for _, domain := range domains {
		keys = append(keys, "@"+domain)
		for _, role := range route.Roles {
			keys = append(keys, role+"@"+domain)
		}
	}
	found, unsure := make(map[string]bool), false
	for _, table := range x.mta.everywhere(setting) {
		if x.mta.IsAnyOfOurs(table, x.conf.Lookups) {
			continue
		}
		has, err := x.mta.Values(ctx, table, keys)
		unsure = unsure || err != nil
		for key := range has {
			found[strings.ToLower(key)] = true
		}
	}
	return func(key string) bool { return unsure || found[key] }
}

// everywhere are the tables that a setting of main.cf or of a service of master.cf names, each
// once.
func (p *postfix) everywhere(setting string) (list []string) {
	values := []string{p.Main[setting]}
	for _, s := range p.Services {
		if own, is := s.Own[setting]; is {
			values = append(values, own)
		}
	}
	for _, table := range postconf.Tables(strings.Join(values, " ")) {
		if !slices.Contains(list, table) {
			list = append(list, table)
		}
	}
	return list
}
