package doctor

import (
	"slices"
	"strings"

	"coexistd/policy/config"
)

// lookAtMaps sees whether Postfix asks our lookups.
func lookAtMaps(x *examination) []Finding {
	if len(x.conf.Lookups) == 0 {
		return nil
	}
	var findings []Finding
	for _, one := range [...]struct {
		name     string
		settings []string
		without  string
	}{
		{"recipients", []string{"virtual_mailbox_maps", "local_recipient_maps", "relay_recipient_maps"}, "Postfix refuses users who live elsewhere"},
		{"aliases", []string{"virtual_alias_maps"}, "bounces and forwarded mail for users who live elsewhere end in a mailbox here that nobody reads"},
		{"transport", []string{"transport_maps"}, "mail that no milter sees is not put off for a mailbox that is being moved, and no platform's relay is used"},
	} {
		if i := slices.IndexFunc(one.settings, func(setting string) bool { return x.mta.asks(setting, one.name, x.conf.Lookups) }); i >= 0 {
			findings = append(findings, fine("%s asks coexistd for %s", one.settings[i], one.name))
			continue
		}
		list, ours := x.othersTables(one.settings[0]), "socketmap:"+x.conf.Lookups[0].Address+":"+one.name
		if one.name == "transport" {
			list = append([]string{ours}, list...) // One of theirs by address would bring the mail of who has moved to the mailbox of before.
		} else {
			list = append(list, ours)
		}
		value := strings.Join(list, ", ")
		findings = append(findings, failure("%s does not ask coexistd for %s: %s", strings.Join(one.settings, " or "), one.name, one.without).
			do("put into main.cf: %s = %s; then run: postfix reload", one.settings[0], value))
	}
	return findings
}

// othersTables are the tables of a setting that are not ours, nor seem to be: with another
// address, as after a change, or a name that is none of our maps.
func (x *examination) othersTables(setting string) []string {
	return slices.DeleteFunc(postfixList(x.mta.main[setting]), func(table string) bool {
		name := table[strings.LastIndexByte(table, ':')+1:]
		seems := strings.HasPrefix(direct(table), "socketmap:") && slices.Contains([]string{"recipients", "aliases", "members", "transport", "senders"}, name)
		return seems || x.mta.isAnyOfOurs(table, x.conf.Lookups)
	})
}

// lookAtOwnMaps looks for cleanup services with alias maps of their own, ours among them, that
// lack some of the administrator's: these are not asked besides.
func lookAtOwnMaps(x *examination) []Finding {
	var findings []Finding
	for _, s := range x.mta.running("cleanup") {
		own := tables(s.own["virtual_alias_maps"])
		if !slices.ContainsFunc(own, func(table string) bool { return x.mta.isAnyOfOurs(table, x.conf.Lookups) }) {
			continue
		}
		lacking := slices.DeleteFunc(tables(x.mta.main["virtual_alias_maps"]), func(table string) bool {
			return slices.Contains(own, table) || x.mta.isAnyOfOurs(table, x.conf.Lookups)
		})
		if len(lacking) > 0 {
			findings = append(findings, failure("cleanup (%s) has alias maps of its own without %s: what comes by it for the aliases there goes astray or is bounced", s.name, some(lacking)).
				do("put into its lines in master.cf: -o virtual_alias_maps=%s; then run: postfix reload", strings.Join(append(lacking, own...), ",")))
		}
	}
	return findings
}

// asks reports that a setting names the map of that name at one of our lookups.
func (p *postfix) asks(setting, name string, lookups []config.Listener) bool {
	// Tables may stand in braces, as in unionmap:{one, two}.
	for _, table := range strings.FieldsFunc(p.main[setting], func(c rune) bool { return strings.ContainsRune(", \t\r\n{}", c) }) {
		if p.isOurs(table, name, lookups) {
			return true
		}
	}
	return false
}

// isOurs reports that a table is the map of that name at one of our lookups.
func (p *postfix) isOurs(table, name string, lookups []config.Listener) bool {
	address, is := strings.CutPrefix(direct(table), "socketmap:")
	address, named := strings.CutSuffix(address, ":"+name)
	return is && named && p.leadsTo(address, lookups)
}

// isAnyOfOurs reports that a table is a map at one of our lookups.
func (p *postfix) isAnyOfOurs(table string, lookups []config.Listener) bool {
	name := table[strings.LastIndexByte(table, ':')+1:]
	return p.isOurs(table, name, lookups)
}
