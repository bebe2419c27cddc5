package spoof

import (
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// dmarcResult returns what DMARC says of one author domain, by its name in
// Authentication-Results (RFC 7489 section 11.2).
func (o Names) dmarcResult(a *Authentication, d DMARC) AuthResult {
	if d.Lookup != AuthPass {
		return d.Lookup
	}
	if result := o.aligned(a, d); result == AuthPass || !d.Unsure {
		return result
	}
	return AuthTempError
}

// aligned tells whether SPF or DKIM proves that a message is from an author
// domain, by the modes of its record (RFC 7489 section 3.1). See proof. Where
// there is no record, the modes are relaxed, as is the default of both tags.
func (o Names) aligned(a *Authentication, d DMARC) AuthResult {
	mode := func(strict bool) func(string) bool {
		return func(domain string) bool {
			return domain == d.Domain || !strict && o.organisation(domain) == o.organisation(d.Domain)
		}
	}
	return a.proof(mode(d.StrictSPF), mode(d.StrictDKIM))
}

// proof is AuthPass when SPF or a signature passes for a domain that counts,
// AuthTempError when the DNS failed for one and none passes, else AuthFail.
func (a *Authentication) proof(bySPF, byDKIM func(domain string) bool) AuthResult {
	result := AuthFail
	weigh := func(r AuthResult, domain string, counts func(string) bool) {
		isProof := r == AuthPass || r == AuthTempError && result == AuthFail
		if isProof && domain != "" && counts(domain) {
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
	if mail.IsLiteral(domain) {
		d.Lookup = AuthNone
	}
	return d
}

// asks is the verdict that a domain's owner asks for what fails (RFC 7489 section
// 6.3, RFC 9091 section 3.2). The nonce decides whether the message is one of those
// for which the owner asks it: one that is not gets the next milder verdict (RFC 7489
// section 6.6.4).
func (d DMARC) asks(nonce [8]byte) verdict.Verdict {
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
	case asked == verdict.Reject:
		return verdict.Quarantine
	}
	return verdict.Accept
}
