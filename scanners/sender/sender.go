// Package sender asks the DNS who sent a message: what SPF, DKIM and DMARC tell of its
// client, its envelope and its authors.
package sender

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
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
	// is put off where that matters, so that nobody gains by it or loses mail.
	Broken func(panicked any, stack []byte)
}

// Question is what is known of a message whose sender is to be found.
type Question struct {
	// Client is the address that SPF is asked of; invalid when there is none.
	Client netip.Addr
	// Helo is what the client called itself.
	Helo string
	// Sender is MAIL FROM, parsed.
	Sender mail.Address
	// Domains are those of the authors (see spoof.Authors).
	Domains []string
}

// Authenticate asks the DNS for SPF and for the DMARC records of the authors'
// domains, of the first five, all at once. It never fails: what the DNS does not answer, or not before ctx or Timeout ends, is spoof.AuthTempError. It leaves the
// signatures to DKIM, which is to be called beside it, since it takes its time.
func (v *Verifier) Authenticate(ctx context.Context, q Question) spoof.Authentication {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	domains := q.domains()
	found := spoof.Authentication{DMARC: make([]spoof.DMARC, len(domains))}
	work := []func(){func() {
		if why := v.try(func() { found.SPF = v.spf(ctx, q) }); why != "" {
			found.SPF = spoof.SPF{Result: spoof.AuthTempError, Domain: q.Sender.Domain, Why: why}
		}
	}}
	for i, domain := range domains {
		work = append(work, func() {
			if why := v.try(func() { found.DMARC[i] = v.dmarc(ctx, domain) }); why != "" {
				found.DMARC[i] = spoof.DMARC{Domain: domain, Lookup: spoof.AuthTempError}
			}
		})
	}
	together(work...)
	return found
}

// domains are those that DMARC is asked for. An address literal has no record.
func (q Question) domains() []string {
	domains := slices.DeleteFunc(slices.Clone(q.Domains), func(domain string) bool { return !isDomain(domain) })
	return domains[:min(len(domains), maxAuthorDomains)]
}

// isDomain tells a domain in normal form from an address literal, and from none.
func isDomain(normal string) bool { return normal != "" && normal[0] != '[' }
