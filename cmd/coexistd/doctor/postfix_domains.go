package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/policy/route"
)

// class is a setting of Postfix that lists domains which it takes mail for, and the setting
// that says how the mail is delivered.
type class struct{ domains, transport string }

// classes are in the order in which Postfix asks for them: the first that has a domain
// counts (ADDRESS_CLASS_README). Mail for an alias domain is delivered to others.
var classes = [...]class{
	{"mydestination", "local_transport"},
	{"virtual_alias_domains", ""},
	{"virtual_mailbox_domains", "virtual_transport"},
	{"relay_domains", "relay_transport"},
}

// lookAtDomains sees whether Postfix takes mail for our domains, and delivers that for
// mailboxes here.
func lookAtDomains(ctx context.Context, x *examination) []Finding {
	domains := slices.Sorted(maps.Keys(x.conf.Rules.Routes.Domains))
	has := make(map[string][]class)
	var findings []Finding
	unsure := false
	for _, one := range classes {
		found, err := x.members(ctx, one.domains, domains)
		if err != nil {
			unsure = true
			findings = append(findings, warning("the domains of %s cannot be told: %v", one.domains, err).do("see that %s can be read by %s", one.domains, account.OwnName()))
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
	if len(taken) > 0 {
		findings = append(findings, fine("Postfix takes mail for %s", some(taken)))
	}
	findings = append(findings, lookAtDoubles(taken, has)...)
	return append(findings, lookAtDelivery(ctx, x, taken, has)...)
}

// withDomains is virtual_mailbox_domains with more of them.
func (p *postfix) withDomains(more []string) string {
	list := postfixList(p.main["virtual_mailbox_domains"])
	if !p.explicit["virtual_mailbox_domains"] {
		list = nil // Postfix's own are those of virtual_mailbox_maps, whose keys are addresses.
	}
	return strings.Join(append(list, more...), ", ")
}

// lookAtDoubles looks for domains of which Postfix warns that two settings have them.
// relay_domains may have those of others.
func lookAtDoubles(domains []string, has map[string][]class) []Finding {
	found := make(map[[2]class][]string)
	for _, domain := range domains {
		if list := has[domain]; len(list) > 1 && list[1].domains != "relay_domains" {
			pair := [2]class(list[:2])
			found[pair] = append(found[pair], domain)
		}
	}
	var findings []Finding
	for pair, list := range found {
		what := "bounces what no alias has"
		if pair[0].transport != "" {
			what = "delivers by " + pair[0].transport
		}
		findings = append(findings, failure("both %s and %s have %s: Postfix goes by %s, %s, and warns in its log", pair[0].domains, pair[1].domains, some(list), pair[0].domains, what).
			do("take it out of one of the two in main.cf: out of %s where %s has the mailboxes; then run: postfix reload", pair[0].domains, pair[1].domains))
	}
	slices.SortFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Found, b.Found) })
	return findings
}

// lookAtDelivery sees whether Postfix has a way for mail to the mailboxes here. Domains that
// have the same are told together.
func lookAtDelivery(ctx context.Context, x *examination, domains []string, has map[string][]class) []Finding {
	here := x.mailboxesHere()
	var findings []Finding
	var ways []way
	by := make(map[way][]string)
	for _, domain := range domains {
		at := has[domain][0]
		mailbox, needed := here[domain]
		if !needed || at.transport == "" {
			continue
		}
		alias, err := x.isAlias(ctx, mailbox, domain)
		if alias {
			continue
		}
		w, failed := x.wayTo(ctx, domain, mailbox, at)
		if err = errors.Join(err, failed); err != nil {
			findings = append(findings, warning("how Postfix delivers mail for %s cannot be told: %v", domain, err).do("see that transport_maps and virtual_alias_maps can be read by %s", account.OwnName()))
			continue
		}
		if by[w] == nil {
			ways = append(ways, w)
		}
		by[w] = append(by[w], domain)
	}
	for _, w := range ways {
		findings = append(findings, x.judgeWay(some(by[w]), w)...)
	}
	return findings
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
	for _, one := range x.lists() {
		if one.Snapshot == nil {
			continue
		}
		for entry := range one.Snapshot.All() {
			if isHere(entry.Residence()) && here[entry.Domain()] == "" {
				here[entry.Domain()] = entry.Address()
			}
		}
	}
	return here
}

// way is how Postfix delivers mail: TRANSPORT:NEXTHOP as a setting says.
type way struct {
	setting, transport, nexthop string
	class                       class
}

// wayTo finds the way to a mailbox here: transport_maps, ours aside, or that of the
// domain's class.
func (x *examination) wayTo(ctx context.Context, domain, mailbox string, at class) (way, error) {
	// The order in which transport(5) asks.
	keys := []string{domain}
	if mailbox != "" {
		keys = []string{mailbox, domain}
	}
	for _, parent := range withParents([]string{domain}, true)[1:] {
		keys = append(keys, "."+parent)
	}
	text, found, err := x.first(ctx, "transport_maps", "transport", append(keys, "*"))
	w := way{setting: at.transport, class: at}
	w.transport, w.nexthop, _ = strings.Cut(x.mta.main[at.transport], ":")
	if transport, nexthop, _ := strings.Cut(text, ":"); found && (transport != "" || nexthop != "") {
		w.setting, w.transport, w.nexthop = "transport_maps", cmp.Or(transport, w.transport), nexthop
	}
	w.transport = strings.TrimPrefix(w.transport, "./")
	return w, err
}

// isAlias reports that the administrator's own aliases lead from an address, or from all of
// its domain, to others.
func (x *examination) isAlias(ctx context.Context, address, domain string) (bool, error) {
	keys := []string{"@" + domain}
	if address != "" {
		keys = []string{address, "@" + domain}
	}
	value, found, err := x.first(ctx, "virtual_alias_maps", "aliases", keys)
	return found && value != address, err
}

// first asks the tables of a setting for keys, as Postfix does: each key in all of them
// before the next. Our own table, of that name, is left out.
func (x *examination) first(ctx context.Context, setting, ours string, keys []string) (value string, found bool, err error) {
	at := len(keys)
	for _, table := range tables(x.mta.main[setting]) {
		if x.mta.isOurs(table, ours, x.conf.Lookups) {
			continue
		}
		values, err := x.mta.values(ctx, table, keys)
		if err != nil {
			return "", false, fmt.Errorf("%s: %w", table, err)
		}
		for i, key := range keys[:at] {
			if one, is := values[key]; is {
				at, value, found = i, one, true
				break
			}
		}
	}
	return value, found, nil
}

// judgeWay says what is wrong with the way of mail for mailboxes here.
func (x *examination) judgeWay(domains string, w way) []Finding {
	i := slices.IndexFunc(x.mta.services, func(s *postfixService) bool { return s.name == w.transport && s.kind == "unix" })
	if i < 0 {
		return []Finding{failure("mail for the mailboxes of %s here goes to %q (%s), which master.cf lacks: all of it is put off", domains, w.transport, w.setting).
			do("correct %s in main.cf, or add the service to master.cf; then run: postfix reload", w.setting)}
	}
	const remedy = "put into main.cf how the mailboxes are reached, such as virtual_transport = lmtp:unix:private/dovecot-lmtp with the domain in virtual_mailbox_domains; then run: postfix reload"
	s := x.mta.services[i]
	switch {
	case s.program == "error" && s.name == "retry":
		return []Finding{failure("mail for the mailboxes of %s here is put off: %s is %s", domains, w.setting, w.transport).do(remedy)}
	case s.program == "error":
		return []Finding{failure("mail for the mailboxes of %s here is bounced: %s is %s", domains, w.setting, w.transport).do(remedy)}
	case s.program == "discard":
		return []Finding{failure("mail for the mailboxes of %s here is thrown away: %s is %s", domains, w.setting, w.transport).do(remedy)}
	case s.program == "smtp" && w.nexthop == "" && (w.class.domains != "relay_domains" || x.mta.main["relayhost"] == ""):
		return []Finding{failure("mail for the mailboxes of %s here goes to where its MX points (%s is %s), and comes back", domains, w.setting, w.transport).do(remedy)}
	case s.program == "virtual":
		return x.judgeVirtual(domains, s, remedy)
	}
	return nil
}

// judgeVirtual looks at virtual(8), which delivers to files by tables of its own.
func (x *examination) judgeVirtual(domains string, s *postfixService, remedy string) []Finding {
	maps := x.mta.value(s, "virtual_mailbox_maps")
	switch {
	case maps == "":
		return []Finding{failure("mail for the mailboxes of %s here goes to virtual(8), which knows no mailbox: virtual_mailbox_maps is empty", domains).do("%s", remedy)}
	case strings.Contains(maps, "socketmap:"):
		return []Finding{failure("mail for the mailboxes of %s here goes to virtual(8), which takes no socketmap for security-sensitive data: all of it is put off", domains).
			do("%s; or give virtual(8) a map of its own in master.cf, as contrib/postfix describes", remedy)}
	}
	return nil
}
