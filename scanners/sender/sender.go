// Package sender finds who sent a message: whom its header names as authors,
// and what SPF, DKIM and DMARC tell of them.
package sender

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/policy"
)

// Timeout bounds the work on one message: that of DKIM, and that of Authenticate.
// RFC 7208 section 4.6.4 asks for 20 seconds at least.
const Timeout = 20 * time.Second

// maxAuthorDomains is how many author domains of a message DMARC is asked for.
// More than one is hardly ever seen.
const maxAuthorDomains = 5

// Verifier asks the DNS and signatures who sent a message. Any number of
// goroutines may use it.
type Verifier struct {
	Resolver *Resolver
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
	// DKIM is what Verifier.DKIM has found.
	DKIM []policy.DKIM
}

// Authenticate asks the DNS for SPF and for the DMARC records of the authors'
// domains, of the first five. It never fails: what the DNS does not answer, or
// not before ctx or Timeout ends, is policy.AuthTempError.
func (v *Verifier) Authenticate(ctx context.Context, q Question) policy.Authentication {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	domains := q.domains()
	found := policy.Authentication{DKIM: q.DKIM, DMARC: make([]policy.DMARC, len(domains))}
	var done sync.WaitGroup
	done.Go(func() { found.SPF = v.spf(ctx, q) })
	for i, domain := range domains {
		done.Go(func() { found.DMARC[i] = v.dmarc(ctx, domain) })
	}
	done.Wait()
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
