package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// way is how Postfix delivers mail: TRANSPORT:NEXTHOP as a setting says.
type way struct {
	setting, transport, nexthop string
	class                       postconf.Class
}

// lookAtDelivery sees whether Postfix has a way for mail to the mailboxes here. Domains that
// have the same are told together.
func lookAtDelivery(ctx context.Context, x *examination, domains []string, has map[string][]postconf.Class) []Finding {
	here := x.mailboxesHere()
	var transportKeys, aliasKeys []string
	for _, domain := range domains {
		if mailbox, needed := here[domain]; needed {
			transportKeys = append(transportKeys, keysOfTransport(mailbox, domain)...)
			aliasKeys = append(aliasKeys, keysOfAlias(mailbox, domain)...)
		}
	}
	if len(aliasKeys) == 0 {
		return nil
	}
	transports, err := x.ask(ctx, "transport_maps", "transport", transportKeys)
	if err != nil {
		return []Finding{unreadable("transport_maps", err)}
	}
	aliases, err := x.ask(ctx, "virtual_alias_maps", "aliases", aliasKeys)
	if err != nil {
		return []Finding{unreadable("virtual_alias_maps", err)}
	}
	var ways []way
	by := make(map[way][]string)
	for _, domain := range domains {
		at := has[domain][0]
		mailbox, needed := here[domain]
		// Where an alias leads elsewhere, the domain's own way is not gone.
		if to, is := aliases.first(keysOfAlias(mailbox, domain)); !needed || at.Transport == "" || is && to != mailbox {
			continue
		}
		w := x.wayOf(at, transports, keysOfTransport(mailbox, domain))
		if by[w] == nil {
			ways = append(ways, w)
		}
		by[w] = append(by[w], domain)
	}
	var findings []Finding
	for _, w := range ways {
		findings = append(findings, x.judgeWay(ctx, by[w], w)...)
	}
	return findings
}

func unreadable(setting string, err error) Finding {
	return warning("how Postfix delivers mail to the mailboxes here cannot be told: %v", err).do("see that %s can be read by %s", setting, account.OwnName())
}

// mailboxesHere are the domains that have mailboxes here, each with one of those that the
// directory lists, or "".
func (x *examination) mailboxesHere() map[string]string {
	here := make(map[string]string)
	isHere := func(r route.Residence) bool { return r.Kind == route.Here || r.Kind == route.Both }
	for name, domain := range x.conf.Rules.Routes.Domains {
		if isHere(domain.Unlisted) {
			here[name] = ""
		}
	}
	for entry := range x.lists().Entries() {
		if !entry.Unclear() && isHere(entry.Residence()) && here[entry.Domain()] == "" {
			here[entry.Domain()] = entry.Address()
		}
	}
	return here
}

// keysOfTransport are those by which Postfix asks for a mailbox's transport, in their order
// (transport(5)).
func keysOfTransport(mailbox, domain string) []string {
	keys := []string{domain}
	if mailbox != "" {
		keys = []string{mailbox, domain}
	}
	for _, parent := range postconf.WithParents([]string{domain}, true)[1:] {
		keys = append(keys, "."+parent)
	}
	return append(keys, "*")
}

// keysOfAlias are those by which Postfix asks for a mailbox's aliases (virtual(5)).
func keysOfAlias(mailbox, domain string) []string {
	if mailbox == "" {
		return []string{"@" + domain}
	}
	return []string{mailbox, "@" + domain}
}

// answers are what the tables of a setting have, in their order.
type answers []map[string]string

// ask asks the tables of a setting for keys. Our own table, of that name, is left out.
func (x *examination) ask(ctx context.Context, setting, ours string, keys []string) (all answers, err error) {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, table := range postconf.Tables(x.mta.Main[setting]) {
		if x.mta.IsOurs(table, ours, x.conf.Lookups) {
			continue
		}
		has, err := x.mta.Values(ctx, table, keys)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		all = append(all, has)
	}
	return all, nil
}

// first looks for keys as Postfix does: for each in all tables before the next.
func (a answers) first(keys []string) (value string, found bool) {
	for _, key := range keys {
		for _, table := range a {
			if value, found := table[key]; found {
				return value, true
			}
		}
	}
	return "", false
}

// wayOf is the way of mail in a class of domains: what transport_maps has, or the class.
func (x *examination) wayOf(at postconf.Class, transports answers, keys []string) way {
	w := way{setting: at.Transport, class: at}
	w.transport, w.nexthop, _ = strings.Cut(x.mta.Main[at.Transport], ":")
	text, _ := transports.first(keys)
	if transport, nexthop, _ := strings.Cut(text, ":"); transport != "" || nexthop != "" {
		w.setting, w.transport, w.nexthop = "transport_maps", cmp.Or(transport, w.transport), nexthop
	}
	w.transport = strings.TrimPrefix(w.transport, "./")
	return w
}

// judgeWay says what is wrong with the way of mail for mailboxes here.
func (x *examination) judgeWay(ctx context.Context, list []string, w way) []Finding {
	domains := some(list)
	i := slices.IndexFunc(x.mta.Services, func(s *postconf.Service) bool { return s.Name == w.transport && s.Kind == "unix" })
	if i < 0 {
		return []Finding{failure("mail for the mailboxes of %s here goes to %q (%s), which master.cf lacks: all of it is put off", domains, w.transport, w.setting).
			do("correct %s in main.cf, or add the service to master.cf; then run: postfix reload", w.setting)}
	}
	const remedy = "put into main.cf how the mailboxes are reached, such as virtual_transport = lmtp:unix:private/dovecot-lmtp with the domain in virtual_mailbox_domains; then run: postfix reload"
	s := x.mta.Services[i]
	switch {
	case s.Program == "error" && s.Name == "retry":
		return []Finding{failure("mail for the mailboxes of %s here is put off: %s is %s", domains, w.setting, w.transport).do(remedy)}
	case s.Program == "error":
		return []Finding{failure("mail for the mailboxes of %s here is bounced: %s is %s", domains, w.setting, w.transport).do(remedy)}
	case s.Program == "discard":
		return []Finding{failure("mail for the mailboxes of %s here is thrown away: %s is %s", domains, w.setting, w.transport).do(remedy)}
	case s.Program == "smtp" && w.nexthop == "" && (w.class.Domains != "relay_domains" || x.mta.Main["relayhost"] == ""):
		return []Finding{failure("mail for the mailboxes of %s here goes to where its MX points (%s is %s), and comes back", domains, w.setting, w.transport).do(remedy)}
	case s.Program == "virtual":
		return x.judgeVirtual(domains, s, remedy)
	case s.Program == "local":
		return x.judgeAccounts(ctx, list, s)
	case s.Program == "lmtp":
		return x.judgeSocket(ctx, domains, s, w)
	}
	return nil
}

// judgeVirtual looks at virtual(8), which delivers to files by tables of its own.
func (x *examination) judgeVirtual(domains string, s *postconf.Service, remedy string) []Finding {
	maps := x.mta.Value(s, "virtual_mailbox_maps")
	switch {
	case maps == "":
		return []Finding{failure("mail for the mailboxes of %s here goes to virtual(8), which knows no mailbox: virtual_mailbox_maps is empty", domains).do("%s", remedy)}
	case strings.Contains(maps, "socketmap:"):
		return []Finding{failure("mail for the mailboxes of %s here goes to virtual(8), which takes no socketmap for security-sensitive data: all of it is put off", domains).
			do("%s; or give virtual(8) a map of its own in master.cf, as contrib/postfix describes", remedy)}
	}
	return nil
}
