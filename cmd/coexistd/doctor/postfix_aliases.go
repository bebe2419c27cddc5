package doctor

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// aliasTable is a table of the administrator's own aliases: of Postfix's, one of virtual_alias_maps, or
// of alias_maps, which local(8) asks. Of Sendmail's, setting is empty, and table is a file.
type aliasTable struct {
	setting, table string
	rows           []postconf.Row
}

// String names it.
func (t aliasTable) String() string {
	if t.setting == "" {
		return t.table
	}
	return t.table + " of " + t.setting
}

// aliases are what Postfix makes of names without a domain, beside what the directory says.
type aliases struct {
	x   *examination
	set *directory.Set
	// local are our domains in mydestination, and origin those for which a name without a
	// domain stands in virtual_alias_maps.
	local, origin []string
	myorigin      string
	// virtual and all are the aliases without a domain, of virtual_alias_maps and of both.
	virtual, all map[string]bool
}

// lookAtAliases looks for aliases whose mail we refuse or send elsewhere, for users whose mail we refuse, and for members
// without a domain whom Postfix takes for others than the directory does. Tables that
// cannot be listed, such as regexp: and ldap:, are not looked at: see lookAtRefused.
func lookAtAliases(ctx context.Context, x *examination) []Finding {
	list, findings := x.aliasTables(ctx)
	users := x.userTables(ctx)
	domains := x.domains()
	local, err := x.mta.Members(ctx, "mydestination", domains, x.conf.Lookups)
	if len(list)+len(users) == 0 || err != nil {
		return findings // lookAtDomains has told the error.
	}
	myorigin, err := x.mta.Origin()
	if err != nil {
		return append(findings, warning("what Postfix makes of names without a domain cannot be told: myorigin: %v", err).
			do("see that %s can read it", account.OwnName()))
	}
	a := &aliases{x: x, set: x.lists().Set(), myorigin: myorigin, virtual: make(map[string]bool), all: make(map[string]bool)}
	for _, domain := range domains {
		if local[domain] {
			a.local = append(a.local, domain)
		}
		if local[domain] || domain == myorigin {
			a.origin = append(a.origin, domain)
		}
	}
	for _, table := range list {
		for _, one := range table.rows {
			name := strings.ToLower(one.Key)
			a.all[name] = true
			a.virtual[name] = a.virtual[name] || table.setting == "virtual_alias_maps"
		}
	}
	for _, table := range list {
		findings = append(findings, a.judgeNames(table)...)
		findings = append(findings, a.judgeMembers(table)...)
		findings = append(findings, a.judgeDual(table)...)
	}
	for _, table := range users {
		findings = append(findings, a.judgeUsers(table)...)
	}
	return findings
}

// domains are ours, sorted.
func (x *examination) domains() []string {
	return slices.Sorted(maps.Keys(x.conf.Rules.Routes.Domains))
}

// aliasTables lists the tables of the administrator's own aliases, as far as they can be,
// for the services of master.cf as well.
func (x *examination) aliasTables(ctx context.Context) (list []aliasTable, findings []Finding) {
	for _, setting := range []string{"alias_maps", "virtual_alias_maps"} {
		for _, table := range x.mta.everywhere(setting) {
			rows, listed, err := x.mta.Rows(ctx, table)
			if err != nil {
				findings = append(findings, warning("%s of %s cannot be read: %v", table, setting, err).
					do("see that it is there and that %s can read it; postmap or newaliases makes it", account.OwnName()))
			} else if listed {
				list = append(list, aliasTable{setting, table, withoutDomains(slices.DeleteFunc(rows, func(one postconf.Row) bool { return setting == "alias_maps" && ofMakers(one.Key) }))})
			}
		}
	}
	return list, findings
}

// withoutDomains leaves out the rows of virtual_alias_maps by which virtual(5) has a domain whose addresses are all
// aliases: its name alone, beside addresses in it.
func withoutDomains(rows []postconf.Row) []postconf.Row {
	domains := make(map[string]bool)
	for _, one := range rows {
		if _, domain, has := strings.Cut(strings.ToLower(one.Key), "@"); has {
			domains[domain] = true
		}
	}
	return slices.DeleteFunc(rows, func(one postconf.Row) bool { return domains[strings.ToLower(one.Key)] })
}

// ofMakers reports the name of a row that postalias(1) or newaliases puts into each table
// beside the aliases, for NIS.
func ofMakers(key string) bool { return key == "@" || strings.HasPrefix(key, "YP_") }

// userTables lists the tables that say who exists in the classes of our domains, as far as they can be; one that
// cannot be read is told of as one of aliases, or refuses mail.
func (x *examination) userTables(ctx context.Context) (list []aliasTable) {
	aliases := x.mta.everywhere("alias_maps")
	for _, class := range postconf.Classes {
		has, _ := x.mta.Members(ctx, class.Domains, x.domains(), x.conf.Lookups) // lookAtDomains tells the error.
		if class.Recipients == "" || !slices.Contains(slices.Collect(maps.Values(has)), true) {
			continue
		}
		for _, table := range x.mta.everywhere(class.Recipients) {
			if slices.Contains(aliases, table) {
				continue
			}
			if rows, listed, err := x.mta.Rows(ctx, table); listed && err == nil {
				list = append(list, aliasTable{class.Recipients, table, rows})
			}
		}
	}
	return list
}

// place is where an address lives, when it is one of ours. Listed says that the directory
// has it.
func (a *aliases) place(address string) (p route.Place, listed, ours bool) {
	rules := a.x.conf.Rules
	parsed, err := mail.ParseAddress(address, rules.Delimiters)
	if err != nil || rules.Routes.Domains[parsed.Domain] == nil {
		return p, false, false
	}
	l := a.set.List(parsed)
	return rules.Routes.Place(parsed, l), l.Found, true
}

// names are the addresses of ours that a row of a table is for.
func (a *aliases) names(t aliasTable, key string) (list []string) {
	domains := a.origin
	switch {
	case t.setting == "alias_maps":
		domains = a.local
	case t.setting == "local_recipient_maps" && !strings.Contains(key, "@"):
		domains = a.local
	case strings.HasPrefix(key, "@"):
		// It is for all addresses, of which no directory has this one.
		return []string{"coexistd-doctor-asks-for-any" + key}
	case strings.Contains(key, "@"):
		return []string{key}
	}
	for _, domain := range domains {
		list = append(list, key+"@"+domain)
	}
	return list
}

// judgeNames looks for aliases that no mail can reach.
func (a *aliases) judgeNames(t aliasTable) (findings []Finding) {
	refused, unused := a.unreached(t)
	if len(refused) > 0 {
		f := failure
		if t.setting == "alias_maps" {
			f = warning // It has names that nobody outside writes to.
		}
		findings = append(findings, f("%s has aliases that the directory lacks, so that their mail is refused: %s", t, some(refused)).
			do("%s", a.x.listHere()))
	}
	if len(unused) > 0 {
		findings = append(findings, warning("%s has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: %s", t, some(unused)).
			do("list each in the directory with the residence here, or take it out of %s", t.table))
	}
	return findings
}

// unreached are the names of a table whose mail we refuse, and those who live elsewhere than it says.
func (a *aliases) unreached(t aliasTable) (refused, unused []string) {
	for _, one := range t.rows {
		for _, name := range a.names(t, one.Key) {
			p, _, ours := a.place(name)
			name = strings.TrimPrefix(name, "coexistd-doctor-asks-for-any")
			switch {
			case !ours:
			case isRefused(p):
				refused = append(refused, name)
			case p.Residence.Kind == route.There && !strings.EqualFold(one.Value, p.Elsewhere):
				unused = append(unused, name)
			}
		}
	}
	return refused, unused
}

// judgeUsers looks for users whose mail we refuse. Those who have moved away may still be there.
func (a *aliases) judgeUsers(t aliasTable) []Finding {
	refused, _ := a.unreached(t)
	if len(refused) == 0 {
		return nil
	}
	return []Finding{failure("%s has users that the directory lacks, so that their mail is refused: %s", t, some(refused)).do("%s", a.x.listHere())}
}

// listHere says what to do about addresses here that the directory lacks.
func (x *examination) listHere() string {
	return `list each in the directory with the residence here, or set unlisted = "here" in the domain's section of ` + x.conf.Path
}

// failed reports that the directory could not tell where an address lives.
func (a *aliases) failed(p route.Place) bool { return p.Refused.Code == verdict.DirectoryFailed }

// judgeMembers looks for members without a domain, which Postfix takes for addresses in
// myorigin (append_at_myorigin).
func (a *aliases) judgeMembers(t aliasTable) (findings []Finding) {
	if a.x.mta.Main["append_at_myorigin"] == "no" {
		return nil
	}
	refused, away, lost := a.strayMembers(t)
	if len(refused) > 0 {
		findings = append(findings, failure("%s has members without a domain that Postfix takes for addresses in %s (myorigin), which the directory lacks: their mail is bounced: %s", t, a.myorigin, some(refused)).
			do("list them in the directory with the residence here, or write their addresses with a domain that is not shared, such as that of this host"))
	}
	if len(away) > 0 {
		findings = append(findings, warning("%s has members without a domain that Postfix takes for addresses in %s (myorigin), which live elsewhere by unlisted: their mail leaves this host: %s", t, a.myorigin, some(away)).
			do("list them in the directory with the residence here, or write their addresses with a domain that is not shared, such as that of this host"))
	}
	if len(lost) > 0 {
		findings = append(findings, failure("%s has members without a domain that Postfix takes for addresses in %s (myorigin), where nobody of the directory lives: their mail does not reach them: %s", t, a.myorigin, some(textsOf(lost))).
			do("%s", a.reached(lost, t.table)))
	}
	return findings
}

// lostMember is a member without a domain whose mail does not reach them.
type lostMember struct {
	text   string // "alice of root, who is alice@acmecorp.com"
	domain string // where they are a user
}

func textsOf(lost []lostMember) (list []string) {
	for _, one := range lost {
		list = append(list, one.text)
	}
	slices.Sort(list)
	return list
}

// reached says how mail for lost members of a table reaches them: the domain of names without a domain
// has the users of theirs, or they are written with it.
func (a *aliases) reached(lost []lostMember, table string) string {
	origin, write := a.x.conf.Rules.Routes.Domains[a.myorigin], "write their addresses with the domain in "+table
	switch {
	case origin == nil:
		return fmt.Sprintf("add to %s: [domain.%q] with same_as = %q and unlisted = \"here\", and run: systemctl reload coexistd; or %s", a.x.conf.Path, a.myorigin, lost[0].domain, write)
	case origin.SameAs == "" && !a.x.conf.HasDirectory(origin.Name):
		return fmt.Sprintf("add to [domain.%q] of %s: same_as = %q, and run: systemctl reload coexistd; or %s", origin.Name, a.x.conf.Path, lost[0].domain, write)
	}
	return write
}

// strayMembers lists the members without a domain whose mail is refused, leaves this host,
// or is lost.
func (a *aliases) strayMembers(t aliasTable) (refused, away []string, lost []lostMember) {
	for _, one := range t.rows {
		for _, member := range bareMembers(one.Value) {
			p, listed, ours := a.place(member + "@" + a.myorigin)
			switch {
			case a.failed(p):
			case ours && !a.virtual[member] && p.Residence.Kind == route.Nowhere:
				refused = append(refused, member+" of "+one.Key)
			case ours && !a.virtual[member] && p.Residence.Kind == route.There && !listed:
				away = append(away, member+" of "+one.Key)
			case !listed:
				lost = append(lost, a.lost(one.Key, member)...)
			}
		}
	}
	return refused, away, lost
}

// lost returns the member of an alias when it is no alias itself, and no user by the domain of names without a
// domain, but one who lives elsewhere by another.
func (a *aliases) lost(key, member string) []lostMember {
	if a.all[member] || a.x.conf.HasDirectory(a.myorigin) {
		return nil
	}
	domain := a.elsewhere(key, member)
	if domain == "" {
		return nil
	}
	return []lostMember{{member + " of " + key + ", who is " + member + "@" + domain, domain}}
}

// elsewhere is the domain of ours in which the directory has the member's name as living
// elsewhere: the alias's domain, or where it has none any. It is empty when there is
// none, or one where it lives here.
func (a *aliases) elsewhere(key, member string) (found string) {
	domains := a.x.domains()
	if _, domain, is := strings.Cut(key, "@"); is && a.x.conf.Rules.Routes.Domains[strings.ToLower(domain)] != nil {
		domains = []string{strings.ToLower(domain)}
	}
	for _, domain := range domains {
		p, listed, _ := a.place(member + "@" + domain)
		switch {
		case listed && p.Residence.Kind == route.There && found == "":
			found = domain
		case listed && p.Residence.Kind == route.Here:
			return ""
		}
	}
	return found
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// bareMembers are the members of an alias that are names alone: no addresses, files,
// commands or lists (aliases(5)).
func bareMembers(value string) (list []string) {
	// What stands between quotes is no such name, nor is what they touch.
	for _, one := range postconf.List(quoted.ReplaceAllString(value, `"`)) {
		if one = strings.ToLower(one); !strings.ContainsAny(one, "@!%|/:\"\\<>()'=") {
			list = append(list, one)
		}
	}
	return list
}
