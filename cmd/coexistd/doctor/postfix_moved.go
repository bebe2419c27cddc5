package doctor

import (
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/milter/sources"
	"coexistd/policy/route"
)

// mostMoved bounds for how many of those who live elsewhere tables are asked.
const mostMoved = 1000

// lookAtMoved looks for rows that the administrator's own tables have of users who live
// elsewhere, and that Postfix finds before it asks us: as in LDAP, where who has moved away is still a
// user. Aliases that can be listed are judged with all others, by lookAtAliases.
func lookAtMoved(ctx context.Context, x *examination) []Finding {
	a := &aliases{x: x, set: x.lists().Set()}
	moved := a.moved()
	if len(moved) == 0 {
		return nil
	}
	const effect = "what is not rewritten before, such as bounces and the mail of lists, goes by these"
	findings := x.movedIn(ctx, nil, "virtual_alias_maps", []string{"aliases"}, moved, effect, a.leadsAway)
	for _, s := range x.mta.Running("cleanup") {
		if _, own := s.Own["virtual_alias_maps"]; own {
			findings = append(findings, x.movedIn(ctx, s, "virtual_alias_maps", []string{"members", "aliases"}, moved, effect, a.leadsAway)...)
		}
	}
	return append(findings, x.movedIn(ctx, nil, "transport_maps", []string{"transport"}, moved, "their mail that is not rewritten is delivered here", x.staysHere)...)
}

// movedIn looks for such rows in the tables of a setting, of a service or, where that is nil, of main.cf, that
// stand before our map, which has one of some names.
func (x *examination) movedIn(ctx context.Context, s *postconf.Service, setting string, ours, moved []string, effect string, isWrong func(key, value string) bool) (findings []Finding) {
	value, of := x.mta.Main[setting], setting
	if s != nil {
		value, of = s.Own[setting], setting+" of "+s.Name+" in master.cf"
	}
	isUs := func(table string) bool {
		return slices.ContainsFunc(ours, func(name string) bool { return x.mta.IsOurs(table, name, x.conf.Lookups) })
	}
	tables := postconf.Tables(value)
	for _, table := range tables[:max(0, slices.IndexFunc(tables, isUs))] {
		if setting == "virtual_alias_maps" && postconf.IsListable(table) {
			continue
		}
		if astray := x.astray(ctx, table, moved, isWrong); len(astray) > 0 {
			findings = append(findings, warning("%s of %s has rows of users who live elsewhere, and Postfix asks it before coexistd: %s: %s", table, of, effect, some(astray)).
				do("%stake these rows out of it", putBefore(s, setting, postconf.List(value), table, isUs)))
		}
	}
	return findings
}

// putBefore says that our map is to stand before a table, where it is no part of another table (unionmap).
func putBefore(s *postconf.Service, setting string, list []string, table string, isUs func(string) bool) string {
	at, i := slices.Index(list, table), slices.IndexFunc(list, isUs)
	if at < 0 || i < at {
		return ""
	}
	us := list[i]
	return put(s, setting, strings.Join(slices.Insert(slices.Delete(list, i, i+1), at, us), ", ")) + "; or "
}

// moved are addresses of users who live elsewhere, by the directory that counts.
func (a *aliases) moved() (list []string) {
	all := a.x.lists()
	for _, one := range all {
		if one.Snapshot == nil {
			continue
		}
		ranking := all.Ranking(one)
		for entry := range one.Snapshot.All() {
			if len(list) == mostMoved {
				return list
			}
			if entry.Residence().Kind != route.There {
				continue
			}
			if standing, _ := ranking.Standing(entry); standing == sources.Counts {
				list = append(list, entry.Address())
			}
		}
	}
	return list
}

// astray are the keys for which a table has what is wrong. A table that cannot be asked is
// told of by lookAtDelivery.
func (x *examination) astray(ctx context.Context, table string, keys []string, isWrong func(key, value string) bool) (list []string) {
	has, err := x.mta.Values(ctx, table, keys)
	if err != nil {
		return nil
	}
	for _, key := range keys {
		if value, found := has[key]; found && isWrong(key, value) {
			list = append(list, key)
		}
	}
	return list
}

// leadsAway reports that an alias of who lives elsewhere leads to no address of that mailbox.
func (a *aliases) leadsAway(key, value string) bool {
	at, _, _ := a.place(key)
	return !slices.ContainsFunc(postconf.List(value), func(member string) bool {
		p, _, ours := a.place(member)
		same := ours && p.Residence == at.Residence && strings.EqualFold(p.Elsewhere, at.Elsewhere)
		return same || strings.EqualFold(member, at.Elsewhere) || strings.EqualFold(member, key)
	})
}

// staysHere reports that a transport does not leave this host by SMTP.
func (x *examination) staysHere(_, value string) bool {
	transport, _, _ := strings.Cut(value, ":")
	return slices.ContainsFunc(x.mta.Services, func(s *postconf.Service) bool {
		return s.Kind == "unix" && s.Name == transport && slices.Contains([]string{"lmtp", "local", "virtual", "pipe"}, s.Program)
	})
}
