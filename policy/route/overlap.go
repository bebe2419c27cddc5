package route

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

// TakesNothing says why a rule can take nobody, or is empty.
func (r *Rules) TakesNothing(rule *Rule) string {
	platform := rule.To.Platform
	if rule.To.Relay != "" {
		return ""
	}
	isOurs := func(named string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(r.Domains)), func(domain string) bool {
			return strings.HasSuffix(named, "@"+domain) || named[0] == '.' && strings.HasSuffix(domain, named)
		})
	}
	reaches := func(d *Domain) bool { return r.home(d).Alternates[platform] != "" }
	domains := slices.Collect(maps.Values(r.Domains))
	switch recipients := rule.For.Recipients; {
	case len(recipients) > 0 && !slices.ContainsFunc(recipients, isOurs):
		return "none of its recipients is in a domain of ours"
	case rule.To.Here && len(rule.For.Residences) > 0 && !slices.ContainsFunc(rule.For.Residences, func(word string) bool { return word == "here" || word == "both" }):
		return "it takes mail to the mailbox here, and nobody of its residences has one"
	case !rule.To.Here && !slices.ContainsFunc(domains, reaches) && !slices.Contains(rule.For.Residences, platform):
		return "no domain has an alternate domain at " + platform
	}
	return ""
}

// TakesAllOf reports that a rule takes all mail that a later one would take.
func (r *Rule) TakesAllOf(later *Rule) bool {
	// A rule to a relay takes everybody who has a domain. Another takes here only who has a mailbox here, and to a platform only what does not come from it.
	return (r.To == later.To || r.To.Relay != "" && later.To.Relay != "") && r.Except.IsZero() && r.For.holds(&later.For)
}

// holds reports that whatever meets the others meets these criteria.
func (c *Criteria) holds(others *Criteria) bool {
	return widerNames(c.Senders, others.Senders) && widerNames(c.Recipients, others.Recipients) &&
		wider(c.Logins, others.Logins) && wider(c.Points, others.Points) && wider(c.Residences, others.Residences) &&
		widerNetworks(c.Clients, others.Clients) && c.SizeOver <= others.SizeOver &&
		(c.Header.Name == "" || c.Header.equals(&others.Header))
}

// wider reports that a list names all that another does. An empty one names everything.
func wider[T comparable](list, other []T) bool {
	return len(list) == 0 || len(other) > 0 && !slices.ContainsFunc(other, func(one T) bool { return !slices.Contains(list, one) })
}

// widerNames is wider for addresses and domains.
func widerNames(list, other []string) bool {
	return len(list) == 0 || len(other) > 0 && !slices.ContainsFunc(other, func(one string) bool {
		domain := one[strings.LastIndexByte(one, '@')+1:]
		return !slices.ContainsFunc(list, func(name string) bool {
			return name == one || name == "@"+domain || name[0] == '.' && strings.HasSuffix(domain, name)
		})
	})
}

func widerNetworks(set, other networks.Set) bool {
	return set.Len() == 0 || other.Len() > 0 && !slices.ContainsFunc(other.Prefixes(), func(one netip.Prefix) bool { return !set.Holds(one) })
}

func (f *Field) equals(other *Field) bool {
	text := func(p *regexp.Regexp) string {
		if p == nil {
			return ""
		}
		return p.String()
	}
	return strings.EqualFold(f.Name, other.Name) && f.Text == other.Text && text(f.Pattern) == text(other.Pattern)
}

// MayReturn reports that a rule to a platform may take what comes from the one to which another
// takes it, for the same recipients.
func (r *Rule) MayReturn(other *Rule) bool {
	isS1 := len(r.For.Points) == 0 || slices.Contains(r.For.Points, verdict.S1)
	return r.To.Platform != "" && other.To.Platform != "" && r.To != other.To && isS1 &&
		(widerNames(r.For.Recipients, other.For.Recipients) || widerNames(other.For.Recipients, r.For.Recipients))
}
