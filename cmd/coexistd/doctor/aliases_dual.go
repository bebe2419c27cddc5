package doctor

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// halved lists those members of an alias of whose two mailboxes only the one here gets its mail, as
// "carol@acmecorp.com of office": no milter sees the members. Counts says which addresses are so.
func (a *aliases) halved(key string, members []string, counts func(address string) bool) (list []string) {
	for _, member := range members {
		address := member
		if !strings.Contains(member, "@") {
			if a.all[member] {
				continue // an alias itself
			}
			address += "@" + a.myorigin
		}
		p, _, ours := a.place(address)
		has := func(other string) bool { return strings.EqualFold(other, p.Elsewhere) }
		if ours && p.Residence.Kind == route.Both && p.Elsewhere != "" && counts(address) && !slices.ContainsFunc(members, has) {
			list = append(list, p.Elsewhere+" beside "+member+" of "+key)
		}
	}
	return list
}

// halvedMembers warns of them, in a table.
func halvedMembers(table string, list []string) []Finding {
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return []Finding{warning("%s has members whose residence is both, of whose mail by an alias only the mailbox here gets a copy", table).
		do("where that matters, name in %s their other address as well: %s", table, some(list))}
}

// judgeDual looks for such members in a table of Postfix's. What local(8) delivers by aliases(5) comes to
// no cleanup service any more; the members of virtual_alias_maps are looked up by ours, which adds the other
// address unless it is members.
func (a *aliases) judgeDual(t aliasTable) []Finding {
	if t.setting == "virtual_alias_maps" && !a.asksMembers() {
		return nil
	}
	var list []string
	for _, one := range t.rows {
		members := postconf.List(strings.ToLower(quoted.ReplaceAllString(one.Value, `"`)))
		list = append(list, a.halved(one.Key, members, func(address string) bool {
			_, domain, _ := strings.Cut(address, "@")
			return t.setting == "virtual_alias_maps" || slices.Contains(a.local, domain)
		})...)
	}
	return halvedMembers(t.String(), list)
}

// asksMembers reports that a cleanup service asks the lookup members in the place of aliases.
func (a *aliases) asksMembers() bool {
	return slices.ContainsFunc(a.x.mta.Running("cleanup"), func(s *postconf.Service) bool {
		return slices.ContainsFunc(postconf.Tables(s.Own["virtual_alias_maps"]), func(table string) bool {
			return a.x.mta.IsOurs(table, "members", a.x.conf.Lookups)
		})
	})
}

// dualMembers looks for such members in Sendmail's aliases(5).
func (a *aliases) dualMembers(list localAliases) []Finding {
	if len(list.paths) == 0 {
		return nil
	}
	var halved []string
	for name, members := range list.members {
		halved = append(halved, a.halved(name, members, func(string) bool { return true })...)
	}
	return halvedMembers(list.paths[0], halved)
}
