package spoof

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// Names are the names that are ours: our domains, and the domains by which they are reached
// at other platforms.
type Names struct {
	is   map[string]bool // true for our domains, false for alternate domains
	like likenesses
}

// NamesOf returns the names of our domains.
func NamesOf(routes *route.Rules) Names {
	n := Names{is: make(map[string]bool, len(routes.Domains))}
	for name := range routes.Domains {
		n.is[name] = true
	}
	for _, alternate := range routes.Alternates() {
		if !n.is[alternate] {
			n.is[alternate] = false
		}
	}
	n.like = n.likenesses()
	return n
}

// above returns the domain of ours, or else the alternate domain, that a domain is
// or is below; "" when it is neither.
func (o Names) above(domain string) string {
	alternate := ""
	for name, more := domain, true; more; _, name, more = strings.Cut(name, ".") {
		switch isDomain, found := o.is[name]; {
		case isDomain:
			return name
		case found && alternate == "":
			alternate = name
		}
	}
	return alternate
}

// has reports a domain that is ours, or below one that is.
func (o Names) has(domain string) bool { return o.above(domain) != "" }

// organisation returns the domain that those of one organisation have in common
// (RFC 7489 section 3.2). The one above an alternate domain may be its
// platform's, whose other domains are strangers', as those of onmicrosoft.com:
// an alternate domain is an organisation of its own, unless a domain of ours is
// above it.
func (o Names) organisation(domain string) string {
	if name := o.above(domain); name != "" && !o.is[name] {
		return name
	}
	return organisational(domain)
}

// organisational returns the domain one label below the public suffix. A public
// suffix, a domain of one label and an address literal are their own.
func organisational(domain string) string {
	organisation, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil || mail.IsLiteral(domain) {
		return domain
	}
	return organisation
}
