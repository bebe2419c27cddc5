package postconf

import (
	"path/filepath"
	"strings"

	"coexistd/policy/config"
)

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
