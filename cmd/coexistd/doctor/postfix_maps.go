package doctor

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
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
		if i := slices.IndexFunc(one.settings, func(setting string) bool { return x.mta.Asks(setting, one.name, x.conf.Lookups) }); i >= 0 {
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
	return slices.DeleteFunc(postconf.List(x.mta.Main[setting]), func(table string) bool {
		name := table[strings.LastIndexByte(table, ':')+1:]
		seems := strings.HasPrefix(postconf.Direct(table), "socketmap:") && slices.Contains([]string{"recipients", "aliases", "members", "transport", "senders"}, name)
		return seems || x.mta.IsAnyOfOurs(table, x.conf.Lookups)
	})
}

// lookAtOwnMaps looks for cleanup services with alias maps of their own, ours among them, that
// lack some of the administrator's: these are not asked besides.
func lookAtOwnMaps(x *examination) []Finding {
	var findings []Finding
	for _, s := range x.mta.Running("cleanup") {
		own := postconf.Tables(s.Own["virtual_alias_maps"])
		if !slices.ContainsFunc(own, func(table string) bool { return x.mta.IsAnyOfOurs(table, x.conf.Lookups) }) {
			continue
		}
		lacking := slices.DeleteFunc(postconf.Tables(x.mta.Main["virtual_alias_maps"]), func(table string) bool {
			return slices.Contains(own, table) || x.mta.IsAnyOfOurs(table, x.conf.Lookups)
		})
		if len(lacking) > 0 {
			findings = append(findings, failure("cleanup (%s) has alias maps of its own without %s: what comes by it for the aliases there goes astray or is bounced", s.Name, some(lacking)).
				do("put into its lines in master.cf: -o virtual_alias_maps=%s; then run: postfix reload", strings.Join(append(lacking, own...), ",")))
		}
	}
	return findings
}
