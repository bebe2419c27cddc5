package postconf

import (
	"path/filepath"
	"slices"
	"strings"

	"coexistd/policy/config"
)

// RelayService is the service of master.cf that the lookup transport names for mail which a [[route]]
// takes to a relay.
const RelayService = "smtp-route"

// LeadsTo reports that an address as Postfix writes it is one of our listeners':
// "unix:PATH" or "inet:HOST:PORT". A path may be one that Postfix sees from its
// queue directory.
func (p *Settings) LeadsTo(address string, listeners []config.Listener) bool {
	kind, rest, _ := strings.Cut(address, ":")
	return config.ListenedAt(kind, rest, listeners) || kind == "unix" && config.ListenedAt(kind, filepath.Join(p.Main["queue_directory"], rest), listeners)
}

// Asks reports that a setting names the map of that name at one of our lookups.
func (p *Settings) Asks(setting, name string, lookups []config.Listener) bool {
	// Tables may stand in braces, as in unionmap:{one, two}.
	for _, table := range strings.FieldsFunc(p.Main[setting], func(c rune) bool { return strings.ContainsRune(", \t\r\n{}", c) }) {
		if p.IsOurs(table, name, lookups) {
			return true
		}
	}
	return false
}

// IsOurs reports that a table is the map of that name at one of our lookups.
func (p *Settings) IsOurs(table, name string, lookups []config.Listener) bool {
	address, is := strings.CutPrefix(Direct(table), "socketmap:")
	address, named := strings.CutSuffix(address, ":"+name)
	return is && named && p.LeadsTo(address, lookups)
}

// IsAnyOfOurs reports that a table is a map at one of our lookups.
func (p *Settings) IsAnyOfOurs(table string, lookups []config.Listener) bool {
	name := table[strings.LastIndexByte(table, ':')+1:]
	return p.IsOurs(table, name, lookups)
}

// WithoutOurs are the tables of a list that are no maps at our lookups, and not within those that are
// asked as one (unionmap).
func (p *Settings) WithoutOurs(tables []string, lookups []config.Listener) (left []string) {
	for _, table := range tables {
		inner, is := strings.CutPrefix(Direct(table), "unionmap:{")
		if !is {
			if !p.IsAnyOfOurs(table, lookups) {
				left = append(left, table)
			}
			continue
		}
		all := List(strings.TrimSuffix(inner, "}"))
		switch others := p.WithoutOurs(all, lookups); {
		case slices.Equal(others, all):
			left = append(left, table)
		case len(others) > 1:
			proxy := strings.TrimSuffix(table, Direct(table))
			left = append(left, proxy+"unionmap:{"+strings.Join(others, ", ")+"}")
		default:
			left = append(left, others...)
		}
	}
	return left
}

// HaveOurs reports milters of which one is a listener of ours.
func (p *Settings) HaveOurs(milters string, listeners []config.Listener) bool {
	return slices.ContainsFunc(Milters(milters), func(m Milter) bool { return p.LeadsTo(m.Address, listeners) })
}
