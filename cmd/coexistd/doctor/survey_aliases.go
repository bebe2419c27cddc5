package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
)

// surveyAliases looks for aliases of which the directory has to know, and for names without a
// domain, which are somebody's in myorigin. With a configuration, they are judged by its directory.
func surveyAliases(ctx context.Context, s *survey) []Finding {
	if s.configured {
		findings := lookAtAliases(ctx, s.examination)
		if len(findings) == 0 {
			findings = append(findings, fine("coexistd refuses none of the aliases that can be listed, nor sends it elsewhere"))
		}
		tables, _ := s.aliasTables(ctx) // lookAtAliases has told the errors.
		for _, t := range tables {
			findings = append(findings, t.programs()...)
		}
		return findings
	}
	tables, findings := s.aliasTables(ctx)
	origin, err := s.mta.Origin()
	if err != nil {
		findings = append(findings, warning("what Postfix makes of names without a domain cannot be told: myorigin: %v", err).do("see that %s can read it", account.OwnName()))
	}
	local, _ := s.takes(ctx, "mydestination", s.domains) // surveyRecipients tells the error.
	for _, t := range tables {
		findings = append(findings, s.judgeListed(t, local, origin)...)
		if s.mta.Main["append_at_myorigin"] != "no" && origin != "" {
			findings = append(findings, s.judgeBare(t, origin)...)
		}
		findings = append(findings, t.programs()...)
	}
	return findings
}

// judgeListed looks for aliases in domains of users. Names without a domain are aliases in those
// that are local, and in virtual_alias_maps in myorigin as well.
func (s *survey) judgeListed(t aliasTable, local []string, origin string) []Finding {
	bareCounts := len(local) > 0 || t.setting == "virtual_alias_maps" && slices.Contains(s.domains, origin)
	var names []string
	for _, one := range t.rows {
		_, domain, has := strings.Cut(strings.ToLower(one.Key), "@")
		if has && slices.Contains(s.domains, domain) || !has && bareCounts {
			names = append(names, one.Key)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []Finding{warning("%s has aliases: %s. coexistd will refuse their mail, unless the configuration says that they are here", t, some(names)).
		do("set unlisted = \"here\" in the section of their domain, or list each in the directory with the residence here")}
}

// judgeBare looks for members without a domain that are no aliases themselves.
func (s *survey) judgeBare(t aliasTable, origin string) []Finding {
	if !slices.Contains(s.domains, origin) {
		if stray := t.strayMembers(); len(stray) > 0 {
			return []Finding{s.staying(t, fmt.Sprintf("Postfix takes for addresses in %s (myorigin)", origin), origin, stray)}
		}
		return nil
	}
	stray := t.strayMembers("root")
	if len(stray) == 0 {
		return nil
	}
	return []Finding{warning("%s has members without a domain, which Postfix takes for addresses in %s (myorigin): %s. coexistd will bounce the mail of those that the directory lacks", t, origin, some(stray)).
		do("list accounts of this host, such as root, in the directory with the residence here, or set unlisted = \"here\" for %s", origin)}
}

// strayMembers are the members without a domain that are no aliases of the table, sorted, with the alias
// that each is of; those of some accounts of the host as well.
func (t aliasTable) strayMembers(accounts ...string) (stray []string) {
	for _, one := range t.rows {
		for _, member := range bareMembers(one.Value) {
			isAlias := slices.ContainsFunc(t.rows, func(other postconf.Row) bool { return strings.EqualFold(other.Key, member) })
			if !isAlias && (member != "root" || slices.Contains(accounts, member)) {
				stray = append(stray, member+" of "+one.Key)
			}
		}
	}
	slices.Sort(stray)
	return stray
}

// programs tells of aliases that lead to what is no address.
func (t aliasTable) programs() []Finding {
	var names []string
	for _, one := range t.rows {
		if slices.ContainsFunc(postconf.List(quoted.ReplaceAllString(one.Value, `"`)), func(member string) bool { return strings.ContainsAny(member[:1], `|/":`) }) {
			names = append(names, one.Key)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil
	}
	return []Finding{fine("%s has aliases that lead to programs, files or lists of their own (:include:): %s. While their names live here, coexistd leaves them as they are. What stands in such a list is not looked at: members there without a domain are as those of aliases", t, some(names))}
}

// staying tells of members without a domain, which the MTA takes for addresses in a domain that is none
// of users.
func (s *survey) staying(t aliasTable, takes, domain string, stray []string) Finding {
	return warning("%s has members without a domain, which %s: %s. Their mail will stay here when these users live elsewhere", t, takes, some(stray)).
		do("have the configuration say: %s; or write users with their domain, such as alice@%s", s.ofHost(domain), s.usersOf(domain))
}

// surveyMaps tells in which order Postfix will ask its own tables and ours.
func surveyMaps(_ context.Context, s *survey) (findings []Finding) {
	others := func(setting string) (list []string, text string) {
		list = s.mta.WithoutOurs(postconf.Tables(s.mta.Main[setting]), s.conf.Lookups)
		return list, strings.Join(list, ", ")
	}
	virtual, text := others("virtual_alias_maps")
	hidden := slices.DeleteFunc(slices.Clone(virtual), postconf.IsListable)
	switch {
	case len(hidden) > 0 && s.configured && len(s.strict(s.domains)) == 0:
		findings = append(findings, fine("virtual_alias_maps asks %s: coexistd setup postfix puts the map aliases before, so that they no longer answer for users who live elsewhere", text))
	case len(hidden) > 0:
		findings = append(findings, warning("virtual_alias_maps asks %s, of which nobody can list %s: coexistd setup postfix puts the map aliases before them, so that they no longer answer for users who live elsewhere. coexistd will refuse the aliases that the directory lacks", text, some(hidden)).
			do("set unlisted = \"here\" in the sections of their domains, or list each of their aliases in the directory with the residence here"))
	case len(virtual) > 0:
		findings = append(findings, fine("virtual_alias_maps asks %s: coexistd setup postfix puts the map aliases behind, so that your own aliases answer first", text))
	}
	if transports, text := others("transport_maps"); len(transports) > 0 {
		findings = append(findings, fine("transport_maps asks %s: coexistd setup postfix puts the map transport before, so that it no longer answers for users who live elsewhere", text))
	}
	return findings
}
