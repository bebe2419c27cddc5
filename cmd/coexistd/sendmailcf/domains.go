package sendmailcf

import (
	"slices"
	"strings"
)

// isIn reports that a class or table has a domain or, where subdomains count, a parent of it.
func isIn(has func(word string) bool, domain string, subdomains bool) bool {
	for {
		if has(domain) {
			return true
		}
		_, parent, is := strings.Cut(domain, ".")
		if !subdomains || !is {
			return false
		}
		domain = parent
	}
}

// RelaysTo reports that anybody may send mail to a domain by class R or by the access map.
func (s *Settings) RelaysTo(domain string, access map[string]string) bool {
	// FEATURE(relay_hosts_only) takes the domains alone.
	subdomains := slices.ContainsFunc(s.Rules["Rcpt_ok"], func(rule string) bool { return strings.Contains(rule, "$* $=R") })
	return isIn(s.Class("R").Has, domain, subdomains) || isIn(func(word string) bool {
		return strings.EqualFold(access["to:"+word], "RELAY") || strings.EqualFold(access[word], "RELAY")
	}, domain, true)
}

// RouteIn is what the mailertable has for a domain: its own line, or that of the nearest parent
// with a dot before it, or ".".
func RouteIn(table map[string]string, domain string) string {
	if value := table[domain]; value != "" {
		return value
	}
	for {
		_, parent, is := strings.Cut(domain, ".")
		if !is {
			return table["."]
		}
		if value := table["."+parent]; value != "" {
			return value
		}
		domain = parent
	}
}
