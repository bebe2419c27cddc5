package sendmailcf

import (
	"slices"
	"strings"

	"coexistd/policy/route"
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

// MasqueradeOf is the domain that Sendmail writes in the place of one of ours, in the senders of what it
// sends and in header fields (MASQUERADE_AS), or "" where who answers reaches the same user. Own says that
// ours is one of this host's, as those of class w are. A domain below one of MASQUERADE_EXCEPTION stays as it
// is, too.
func (s *Settings) MasqueradeOf(ours *route.Domain, own bool) string {
	domain, as := ours.Name, strings.ToLower(s.Macros["M"])
	if as == domain || as == ours.SameAs || isIn(s.Class("N").Has, domain, true) {
		return ""
	}
	for _, rule := range s.Rules["MasqHdr"] {
		switch {
		case strings.HasPrefix(rule, "$* < @ $=w .") && own, // which FEATURE(limited_masquerade) leaves out
			strings.HasPrefix(rule, "$* < @ $=M .") && s.Class("M").Has(domain),
			strings.HasPrefix(rule, "$* < @ $* $=M .") && isIn(s.Class("M").Has, domain, true): // FEATURE(masquerade_entire_domain)
			return as
		}
	}
	return ""
}

// Unmasked is the line of sendmail.mc that has a domain stay as it is. Its quotes are double, as m4 reads the
// name twice, and may know a part of it.
func Unmasked(domain string) string { return "MASQUERADE_EXCEPTION(``" + domain + "'')dnl" }
