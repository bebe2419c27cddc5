package policy

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// DMARCResult returns what DMARC says of one author domain, by its name in
// Authentication-Results (RFC 7489 section 11.2).
func (p *Policy) DMARCResult(a *Authentication, d DMARC) AuthResult {
	if d.Lookup != AuthPass {
		return d.Lookup
	}
	if result := p.own().aligned(a, d); result == AuthPass || !d.Unsure {
		return result
	}
	return AuthTempError
}

// aligned tells whether SPF or DKIM proves that a message is from an author
// domain, by the modes of its record (RFC 7489 section 3.1). See proof. Where
// there is no record, the modes are relaxed, as is the default of both tags.
func (o own) aligned(a *Authentication, d DMARC) AuthResult {
	organisation := o.organisation(d.Domain)
	mode := func(strict bool) func(string) bool {
		return func(domain string) bool {
			return domain == d.Domain || !strict && o.organisation(domain) == organisation
		}
	}
	return a.proof(mode(d.StrictSPF), mode(d.StrictDKIM))
}

// proof is AuthPass when SPF or a signature passes for a domain that counts,
// AuthTempError when the DNS failed for one and none passes, else AuthFail.
func (a *Authentication) proof(bySPF, byDKIM func(domain string) bool) AuthResult {
	result := AuthFail
	weigh := func(r AuthResult, domain string, counts func(string) bool) {
		if result == AuthPass || r != AuthPass && r != AuthTempError || domain == "" {
			return
		}
		if counts(domain) {
			result = r
		}
	}
	weigh(a.SPF.Result, a.SPF.Domain, bySPF)
	for _, signature := range a.DKIM {
		weigh(signature.Result, signature.Domain, byDKIM)
	}
	return result
}

// dmarc returns what is known of an author domain. What is not there could not
// be had, but for an address literal, which has no DNS.
func (a *Authentication) dmarc(domain string) DMARC {
	for _, d := range a.DMARC {
		if d.Domain == domain {
			return d
		}
	}
	d := DMARC{Domain: domain, Lookup: AuthTempError}
	if isLiteral(domain) {
		d.Lookup = AuthNone
	}
	return d
}

// asks is the verdict that a domain's owner asks for what fails (RFC 7489 section
// 6.3, RFC 9091 section 3.2). The nonce decides whether the message is one of those
// for which he asks it: one that is not gets the next milder verdict (RFC 7489
// section 6.6.4).
func (d DMARC) asks(nonce [8]byte) Verdict {
	asked := d.Subdomains
	switch {
	case d.At == d.Domain:
		asked = d.Policy
	case d.Missing:
		asked = d.Nonexistent
	}
	sample := (int(nonce[0])<<8 | int(nonce[1])) % 100
	switch {
	case sample < d.Percent:
		return asked
	case asked == Reject:
		return Quarantine
	}
	return Accept
}

// own are our names: our domains, true, and their alternate domains, false.
type own map[string]bool

func (p *Policy) own() own {
	names := make(own, len(p.Domains))
	for name, d := range p.Domains {
		names[name] = true
		for _, alternate := range d.Alternates {
			names[alternate] = names[alternate] || p.Domains[alternate] != nil
		}
	}
	return names
}

// above returns the domain of ours, or else the alternate domain, that a domain is
// or is below; "" when it is neither.
func (o own) above(domain string) string {
	alternate := ""
	for name, more := domain, true; more; _, name, more = strings.Cut(name, ".") {
		switch isDomain, found := o[name]; {
		case isDomain:
			return name
		case found && alternate == "":
			alternate = name
		}
	}
	return alternate
}

// has reports a domain that is ours, or below one that is.
func (o own) has(domain string) bool { return o.above(domain) != "" }

// organisation returns the domain that those of one organisation have in common
// (RFC 7489 section 3.2). The one above an alternate domain may be its
// platform's, whose other domains are strangers', as those of onmicrosoft.com:
// an alternate domain is an organisation of its own, unless a domain of ours is
// above it.
func (o own) organisation(domain string) string {
	if name := o.above(domain); name != "" && !o[name] {
		return name
	}
	return organisational(domain)
}

// organisational returns the domain one label below the public suffix. A public
// suffix, a domain of one label and an address literal are their own.
func organisational(domain string) string {
	if isLiteral(domain) {
		return domain
	}
	if organisation, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return organisation
	}
	return domain
}

func isLiteral(domain string) bool { return strings.HasPrefix(domain, "[") }

// isWithin reports a domain that is another one or below it.
func isWithin(domain, of string) bool {
	return domain == of || strings.HasSuffix(domain, "."+of)
}
