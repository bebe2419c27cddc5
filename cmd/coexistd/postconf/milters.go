package postconf

import (
	"slices"
	"strings"
)

// Milter is one milter of a list in main.cf.
type Milter struct {
	// Entry is how it stands in the list, with its own settings.
	Entry   string
	Address string
	// DefaultAction is its own; empty: milter_default_action.
	DefaultAction string
}

// Milters reads smtpd_milters: addresses, each with settings of its own when
// it stands between braces.
func Milters(text string) []Milter {
	var list []Milter
	for _, one := range List(text) {
		inner, braced := strings.CutPrefix(one, "{")
		if !braced {
			list = append(list, Milter{Entry: one, Address: one})
			continue
		}
		entry := Milter{Entry: one}
		for i, part := range List(strings.TrimSuffix(inner, "}")) {
			name, value, _ := strings.Cut(strings.Trim(part, "{}"), "=")
			if i == 0 {
				entry.Address = part
			} else if strings.TrimSpace(name) == "default_action" {
				entry.DefaultAction = strings.TrimSpace(value)
			}
		}
		list = append(list, entry)
	}
	return list
}

// Passing is an entry of smtpd_milters with its other settings as they are, such that mail goes on while the
// milter is away. Postfix knows that form from 3.0 on.
func Passing(entry string) string { return withAction(entry, "accept") }

// WaitingFor is that for mail that waits while the milter is away.
func WaitingFor(entry string) string { return withAction(entry, "tempfail") }

func withAction(entry, action string) string {
	parts := []string{entry}
	if inner, braced := strings.CutPrefix(entry, "{"); braced {
		parts = slices.DeleteFunc(List(strings.TrimSuffix(inner, "}")), func(part string) bool {
			return strings.HasPrefix(strings.TrimLeft(part, "{ "), "default_action")
		})
	}
	return "{ " + strings.Join(append(parts, "default_action="+action), ", ") + " }"
}
