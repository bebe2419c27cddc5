package doctor

import (
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// mostAccounts bounds for how many of those who live here accounts are asked for.
const mostAccounts = 1000

// accounts is the table by which Postfix asks for the accounts of this host.
const accounts = "unix:passwd.byname"

// judgeAccounts looks for mailboxes here of domains whose mail local(8) delivers, and for whose names it finds
// neither an account nor an alias. Where it hands such mail on to another program, nothing is said.
func (x *examination) judgeAccounts(ctx context.Context, domains []string, local *postconf.Service) []Finding {
	handsOn := func(setting string) bool { return x.mta.Value(local, setting) != "" }
	if slices.ContainsFunc(postconf.LocalOthers[:], handsOn) {
		return nil
	}
	lost, err := x.withoutAccount(ctx, domains, x.listedHere(domains))
	if err != nil || len(lost) == 0 {
		return nil // lookAtDelivery and lookAtAliases tell of a table that cannot be asked.
	}
	return []Finding{failure("%s live here by the directory, and this host has no account and no alias of their names: local(8) bounces their mail", some(lost)).
		do("make an account or an alias for each, or take them out of the directory")}
}

// withoutAccount are those of some mailboxes for which there is no account and no alias. An administrator's table of
// transports may have another way for one.
func (x *examination) withoutAccount(ctx context.Context, domains, mailboxes []string) (lost []string, err error) {
	if len(mailboxes) == 0 {
		return nil, nil
	}
	var names, keys []string
	for _, mailbox := range mailboxes {
		names = append(names, x.accountOf(mailbox))
	}
	for _, domain := range domains {
		keys = append(keys, "@"+domain)
	}
	keys = slices.Concat(keys, mailboxes, names)
	ways, err := x.ask(ctx, "transport_maps", "transport", keys)
	if err != nil {
		return nil, err
	}
	virtual, err := x.ask(ctx, "virtual_alias_maps", "aliases", keys)
	if err != nil {
		return nil, err
	}
	var known answers
	for _, table := range append(postconf.Tables(x.mta.Main["alias_maps"]), accounts) {
		has, err := x.mta.Values(ctx, table, names)
		if err != nil {
			return nil, err
		}
		known = append(known, has)
	}
	for i, mailbox := range mailboxes {
		_, domain, _ := strings.Cut(mailbox, "@")
		_, hasWay := ways.first([]string{mailbox})
		_, isVirtual := virtual.first([]string{mailbox, names[i], "@" + domain})
		if _, isKnown := known.first(names[i : i+1]); !hasWay && !isVirtual && !isKnown {
			lost = append(lost, mailbox)
		}
	}
	return lost, nil
}

// accountOf is the name by which local(8) asks for a mailbox's account.
func (x *examination) accountOf(mailbox string) string {
	name, _, _ := strings.Cut(mailbox, "@")
	if i := strings.IndexAny(name, x.mta.Main["recipient_delimiter"]); i > 0 {
		name = name[:i]
	}
	return name
}

// listedHere are mailboxes here of some domains that the directory lists.
func (x *examination) listedHere(domains []string) (list []string) {
	a := &aliases{x: x, set: x.lists().Set()}
	for entry := range x.lists().Entries() {
		if len(list) == mostAccounts {
			break
		}
		mailbox := strings.ToLower(entry.Address())
		p, _, _ := a.place(mailbox)
		if (p.Residence.Kind == route.Here || p.Residence.Kind == route.Both) && slices.Contains(domains, entry.Domain()) {
			list = append(list, mailbox)
		}
	}
	return list
}
