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
	var findings []Finding
	for _, table := range x.beforeOurs("virtual_alias_maps", "aliases") {
		if postconf.IsListable(table) {
			continue
		}
		if astray := x.astray(ctx, table, moved, a.leadsAway); len(astray) > 0 {
			findings = append(findings, warning("%s of virtual_alias_maps has rows of users who live elsewhere, and Postfix asks it before coexistd: what is not rewritten before, such as bounces and the mail of lists, goes by these: %s", table, some(astray)).
				do("put our map before it in virtual_alias_maps, as contrib/postfix describes; then run: postfix reload"))
		}
	}
	for _, table := range x.beforeOurs("transport_maps", "transport") {
		if astray := x.astray(ctx, table, moved, x.staysHere); len(astray) > 0 {
			findings = append(findings, warning("%s of transport_maps has rows of users who live elsewhere, and Postfix asks it before coexistd: their mail that is not rewritten is delivered here: %s", table, some(astray)).
				do("put our map before it in transport_maps, or take these rows out of it; then run: postfix reload"))
		}
	}
	return findings
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

// beforeOurs are the tables of a setting of main.cf that Postfix asks before the map of that name
// of ours, when that is there.
func (x *examination) beforeOurs(setting, ours string) []string {
	list := postconf.Tables(x.mta.Main[setting])
	return list[:max(0, slices.IndexFunc(list, func(table string) bool { return x.mta.IsOurs(table, ours, x.conf.Lookups) }))]
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
