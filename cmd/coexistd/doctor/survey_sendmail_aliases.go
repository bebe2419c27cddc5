package doctor

import (
	"context"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
)

// surveySendmailAliases looks for aliases of which the directory has to know, and for names without a
// domain, which are those of this host. With a configuration, they are judged by its directory.
func surveySendmailAliases(_ context.Context, s *survey) (findings []Finding) {
	list, err := s.sendmail.aliases()
	if err != nil {
		findings = append(findings, warning("aliases(5) cannot be listed: %v. coexistd will refuse the aliases that the directory lacks", err).
			do("see that %s can read it; or set unlisted = \"here\" in the sections of their domains", account.OwnName()))
	}
	if s.configured {
		findings = append(findings, lookAtSendmailAliases(s.examination)...)
		if len(findings) == 0 {
			findings = append(findings, fine("coexistd refuses none of the aliases that can be listed, nor sends it elsewhere"))
		}
		return append(findings, list.table().programs()...)
	}
	var local []string
	for _, domain := range s.domains {
		if s.sendmail.Class("w").Has(domain) {
			local = append(local, domain)
		}
	}
	if virtual, err := s.sendmail.Table("virtuser"); err == nil { // surveySendmailMaps tells of what cannot be listed.
		findings = append(findings, s.judgeListed(aliasTable{table: "the virtusertable", rows: rowsOf(virtual)}, nil, "")...)
	}
	if len(list.members) == 0 {
		return findings
	}
	t := list.table()
	findings = append(findings, s.judgeListed(t, local, "")...)
	if stray := t.strayMembers(); len(stray) > 0 {
		findings = append(findings, s.staying(t, "Sendmail takes for names of this host ("+s.sendmail.hostname(s.examination)+")", s.sendmail.hostname(s.examination), stray))
	}
	return append(findings, t.programs()...)
}

// rowsOf are the rows of a table's text, sorted.
func rowsOf(table map[string]string) (rows []postconf.Row) {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		rows = append(rows, postconf.Row{Key: key, Value: table[key]})
	}
	return rows
}

// table is what aliases(5) have as one table.
func (a localAliases) table() aliasTable {
	joined := make(map[string]string)
	for name, members := range a.members {
		joined[name] = strings.Join(members, ", ")
	}
	return aliasTable{table: strings.Join(a.paths, ", "), rows: rowsOf(joined)}
}
