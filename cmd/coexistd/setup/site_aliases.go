package setup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/milter/sources"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// surveyAliases fills in Refused. Tables that cannot be listed have none.
func (s *Site) surveyAliases(ctx context.Context) {
	s.Refused = make(map[string][]string)
	set, rules := sources.Open(s.Conf.Directories, nil).Set(), s.Conf.Rules
	for _, setting := range []string{"virtual_alias_maps", "alias_maps"} {
		for _, table := range postconf.Tables(s.Postfix.Main[setting]) {
			rows, _, _ := s.Postfix.Rows(ctx, table) // The doctor tells the error.
			for _, one := range rows {
				for _, address := range s.named(setting, one.Key) {
					a, err := mail.ParseAddress(address, rules.Delimiters)
					if err == nil && rules.Routes.Domains[a.Domain] != nil && rules.Routes.Place(a, set.List(a)).Refused.Code == verdict.Unlisted {
						note(s.Refused, a.Domain, a.Key)
					}
				}
			}
		}
	}
}

// named are the addresses that a row's key stands for: a name of aliases(5) is one in each domain of ours
// in mydestination.
func (s *Site) named(setting, key string) (list []string) {
	if setting == "virtual_alias_maps" {
		return []string{key}
	}
	for domain, class := range s.Classes {
		if class.Domains == "mydestination" && !strings.HasPrefix(key, "YP_") {
			list = append(list, key+"@"+domain)
		}
	}
	return list
}

// proposeHere notes the domains whose aliases would be refused, and how they go on.
func (g *postfixSide) proposeHere() {
	for _, domain := range slices.Sorted(maps.Keys(g.Refused)) {
		list, more := g.Refused[domain], ""
		if len(list) > 1 {
			more = fmt.Sprintf(" and %d more", len(list)-1)
		}
		g.notes = append(g.notes, fmt.Sprintf("Postfix has aliases that the directory of %s lacks: %s%s. coexistd refuses mail to them. Where Postfix's own tables know everybody who lives here, put unlisted = \"here\" into [domain.%q]: "+
			"they go on deciding who exists, and the directory lists those alone who live elsewhere. Then run coexistd reload, and run this again.", domain, list[0], more, domain))
	}
}
