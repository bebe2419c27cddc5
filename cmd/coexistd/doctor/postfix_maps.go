package doctor

import (
	"context"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// asked is a map of ours, and the setting of main.cf that should name it.
type asked struct{ name, setting, without string }

// lookAtMaps sees whether Postfix asks our lookups.
func lookAtMaps(ctx context.Context, x *examination) []Finding {
	if len(x.conf.Lookups) == 0 {
		return nil
	}
	findings := lookAtRecipients(ctx, x)
	for _, one := range [...]asked{
		{"aliases", "virtual_alias_maps", "bounces and forwarded mail for users who live elsewhere end in a mailbox here that nobody reads"},
		{"transport", "transport_maps", "mail that no milter sees is not put off for a mailbox that is being moved, and no platform's relay is used"},
	} {
		findings = append(findings, x.judgeAsked(one))
	}
	return findings
}

// lookAtRecipients sees whether Postfix asks us who exists, for each class that has a domain of ours; of
// those that none has, lookAtDomains tells.
func lookAtRecipients(ctx context.Context, x *examination) []Finding {
	domains := slices.DeleteFunc(x.domains(), x.isHereAlone)
	var findings []Finding
	for _, class := range postconf.Classes {
		has, _ := x.mta.Members(ctx, class.Domains, domains, x.conf.Lookups) // lookAtDomains tells the error.
		switch {
		case class.Recipients == "":
		case !slices.Contains(slices.Collect(maps.Values(has)), true) && !x.mta.Asks(class.Recipients, "recipients", x.conf.Lookups):
		case x.mta.TakesAll(class, &x.conf.Rules.Routes):
			findings = append(findings, fine("%s is empty: Postfix takes mail to anybody of %s, and coexistd refuses whom the directory lacks%s", class.Recipients, class.Domains, x.save(has)))
		case x.mta.OnlyOursKnow(class, x.conf.Lookups):
			findings = append(findings, x.lookForUnknown(ctx, class, has))
		default:
			findings = append(findings, x.judgeAsked(asked{"recipients", class.Recipients, "Postfix refuses users who live elsewhere"}))
		}
	}
	return findings
}

// isHereAlone reports a domain that has no mailboxes elsewhere, and leaves all to Postfix.
func (x *examination) isHereAlone(domain string) bool {
	d := x.conf.Rules.Routes.Domains[domain]
	return d.LeavesUnlisted() && d.SameAs == "" && !slices.ContainsFunc(x.conf.Rules.Routes.Platforms, func(p *route.Platform) bool { return p.Holds(d) })
}

// save names those of some domains that leave unlisted addresses to Postfix.
func (x *examination) save(has map[string]bool) string {
	leaving := slices.DeleteFunc(x.conf.Rules.Routes.Leaving(), func(domain string) bool { return !has[domain] })
	if len(leaving) == 0 {
		return ""
	}
	return ", save in " + some(leaving) + `, where unlisted is "here"`
}

// lookForUnknown looks at a class of which our map alone says who exists: it leaves to Postfix whom the
// directory lacks, where the domain says so. An alias for all of a domain is enough.
func (x *examination) lookForUnknown(ctx context.Context, class postconf.Class, has map[string]bool) Finding {
	var refused []string
	for _, domain := range x.conf.Rules.Routes.Leaving() {
		all := "@" + domain
		aliases, err := x.ask(ctx, "virtual_alias_maps", "aliases", []string{all})
		if _, isAlias := aliases.first([]string{all}); has[domain] && !isAlias && err == nil { // lookAtDelivery tells the error.
			refused = append(refused, domain)
		}
	}
	if len(refused) == 0 {
		return x.judgeAsked(asked{"recipients", class.Recipients, "Postfix refuses users who live elsewhere"})
	}
	return failure(`%s has no table but coexistd's, which leaves unlisted addresses of %s to Postfix (unlisted = "here"): Postfix refuses all whom the directory lacks`, class.Recipients, some(refused)).
		do("name there, before ours, the table that has the users here; without one, leave it empty, and Postfix takes mail to anybody of %s: %s =; or list all users in the directory and take unlisted out; then run: postfix reload", class.Domains, class.Recipients)
}

// judgeAsked says whether a setting names a map of ours.
func (x *examination) judgeAsked(one asked) Finding {
	if x.mta.Asks(one.setting, one.name, x.conf.Lookups) {
		return fine("%s asks coexistd for %s", one.setting, one.name)
	}
	list, ours := x.othersTables(one.setting), "socketmap:"+x.conf.Lookups[0].Address+":"+one.name
	if one.name == "transport" || one.name == "tls" {
		list = append([]string{ours}, list...) // One of theirs by address would bring the mail of who has moved to the mailbox of before, or demand less.
	} else {
		list = append(list, ours)
	}
	return failure("%s does not ask coexistd for %s: %s", one.setting, one.name, one.without).
		do("put into main.cf: %s = %s; then run: postfix reload", one.setting, strings.Join(list, ", "))
}

// othersTables are the tables of a setting that are not ours, nor seem to be: with another
// address, as after a change, or a name that is none of our maps.
func (x *examination) othersTables(setting string) []string {
	return slices.DeleteFunc(postconf.List(x.mta.Main[setting]), func(table string) bool {
		name := table[strings.LastIndexByte(table, ':')+1:]
		seems := strings.HasPrefix(postconf.Direct(table), "socketmap:") && slices.Contains([]string{"recipients", "aliases", "members", "transport", "senders", "tls"}, name)
		return seems || x.mta.IsAnyOfOurs(table, x.conf.Lookups)
	})
}

// lookAtOwnMaps looks for cleanup services with alias maps of their own that lack ours, or, with ours among them,
// some of the administrator's: these are not asked besides. One with none leaves aliases to another service.
func lookAtOwnMaps(x *examination) []Finding {
	var findings []Finding
	for _, s := range x.mta.Running("cleanup") {
		own := postconf.Tables(s.Own["virtual_alias_maps"])
		if len(own) == 0 {
			continue
		}
		if !slices.ContainsFunc(own, func(table string) bool { return x.mta.IsAnyOfOurs(table, x.conf.Lookups) }) {
			findings = append(findings, failure("cleanup (%s) has alias maps of its own without coexistd's: members of aliases who live elsewhere end in a mailbox here that nobody reads", s.Name).
				do("%s", put(s, "virtual_alias_maps", s.Own["virtual_alias_maps"]+", socketmap:"+x.lookupAddress()+":members")))
			continue
		}
		lacking := slices.DeleteFunc(postconf.Tables(x.mta.Main["virtual_alias_maps"]), func(table string) bool {
			return slices.Contains(own, table) || x.mta.IsAnyOfOurs(table, x.conf.Lookups)
		})
		if len(lacking) > 0 {
			findings = append(findings, failure("cleanup (%s) has alias maps of its own without %s: what comes by it for the aliases there goes astray or is bounced", s.Name, some(lacking)).
				do("%s", put(s, "virtual_alias_maps", strings.Join(append(lacking, own...), ","))))
		}
	}
	return findings
}
