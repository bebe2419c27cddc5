// Package sender finds who sent a message: whom its header names as authors,
// and what SPF, DKIM and DMARC tell of them.
package sender

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coexistd/policy"
)

// Timeout bounds each part of the work on one message: SPF, the DMARC records, the
// keys of its signatures, and verifying them. RFC 7208 section 4.6.4 asks for 20
// seconds at least.
const Timeout = 20 * time.Second

// maxAuthorDomains is how many author domains of a message DMARC is asked for.
// More than one is hardly ever seen.
const maxAuthorDomains = 5

// Verifier asks the DNS and signatures who sent a message. Any number of
// goroutines may use it.
type Verifier struct {
	Resolver *Resolver
	// Broken, unless nil, is told of each panic that has ended a check, an error in
	// this program that a stranger's message or record has brought to light. Several
	// goroutines may call it at once. The check's result is AuthTempError: the message
	// is put off where that matters, for nobody to gain by it or lose his mail.
	Broken func(panicked any, stack []byte)
}

// Question is what is known of a message whose sender is to be found.
type Question struct {
	// Client is the address that SPF is asked of; invalid when there is none.
	Client netip.Addr
	// Helo is what the client called itself.
	Helo string
	// Sender is MAIL FROM, parsed.
	Sender  policy.Address
	Authors policy.Authors
}

// Authenticate asks the DNS for SPF and for the DMARC records of the authors'
// domains, of the first five, all at once. It never fails: what the DNS does not
// answer, or not before ctx or Timeout ends, is policy.AuthTempError. It leaves the
// signatures to DKIM, which is to be called beside it, since it takes its time.
func (v *Verifier) Authenticate(ctx context.Context, q Question) policy.Authentication {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	domains := q.domains()
	found := policy.Authentication{DMARC: make([]policy.DMARC, len(domains))}
	work := []func(){func() {
		if why := v.try(func() { found.SPF = v.spf(ctx, q) }); why != "" {
			found.SPF = policy.SPF{Result: policy.AuthTempError, Domain: q.Sender.Domain, Why: why}
		}
	}}
	for i, domain := range domains {
		work = append(work, func() {
			if why := v.try(func() { found.DMARC[i] = v.dmarc(ctx, domain) }); why != "" {
				found.DMARC[i] = policy.DMARC{Domain: domain, Lookup: policy.AuthTempError}
			}
		})
	}
	together(work...)
	return found
}

// domains are the authors' domains, each once. A bare local part has none, and an
// address literal has no record.
func (q Question) domains() []string {
	var domains []string
	for _, author := range q.Authors.From {
		domain := author.Address.Domain
		if isDomain(domain) && !slices.Contains(domains, domain) && len(domains) < maxAuthorDomains {
			domains = append(domains, domain)
		}
	}
	return domains
}

// isDomain tells a domain in normal form from an address literal, and from none.
func isDomain(normal string) bool { return normal != "" && normal[0] != '[' }

// normalDomain returns the normal form of what a stranger gives as a domain, or ""
// when it is none, or an address literal. What is far too long is not looked at:
// the work for a name in UTF-8 grows with the square of its length.
func normalDomain(text string) string {
	if len(text) > policy.MaxAddress {
		return ""
	}
	normal, err := policy.NormalDomain(text)
	if err != nil || !isDomain(normal) {
		return ""
	}
	return normal
}

// printable makes a stranger's text fit for a log: short, and ASCII.
func printable(s string) string {
	const longest = 200
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s[:min(len(s), longest)])
	if len(s) > longest {
		clean += "..."
	}
	return clean
}
