package sender

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
)

var spfResults = map[spf.Result]spoof.AuthResult{
	spf.None: spoof.AuthNone, spf.Neutral: spoof.AuthNeutral, spf.Pass: spoof.AuthPass, spf.Fail: spoof.AuthFail,
	spf.SoftFail: spoof.AuthSoftFail, spf.TempError: spoof.AuthTempError, spf.PermError: spoof.AuthPermError,
}

// spf checks the client against the record of the envelope sender's domain, or
// for the null sender of HELO's (RFC 7208 section 2.4).
func (v *Verifier) spf(ctx context.Context, q Question) spoof.SPF {
	helo := heloDomain(q.Helo)
	found := spoof.SPF{Domain: q.Sender.Domain}
	local := q.Sender.Local
	if q.Sender.IsNull() {
		found.Domain, found.Helo, local = helo, true, "postmaster"
	}
	switch {
	case !isDomain(found.Domain) || !strings.Contains(found.Domain, "."):
		// RFC 7208 section 4.3: what is no domain of several labels has no record.
		found.Domain, found.Why = "", "there is no domain to ask"
		return found
	case !q.Client.IsValid():
		// Whoever it was may have been one that the record lets send.
		found.Result, found.Why = spoof.AuthTempError, "the client is not known"
		return found
	}
	// The library takes all behind the first @ for the domain. No name in the DNS
	// can have an @, nor what stands for it here, so a macro that holds the local
	// part finds as much as it would.
	local = strings.ReplaceAll(local, "@", "?")
	result, err := spf.CheckHostWithSender(q.Client.Unmap().AsSlice(), helo, local+"@"+found.Domain,
		spf.WithContext(ctx), spf.WithResolver(&spfResolver{Resolver: v.Resolver}))
	found.Result = spfResults[result]
	found.Why = fmt.Sprintf("SPF of %s says %s for %s", found.Domain, result, q.Client)
	if err != nil {
		found.Why += ": " + mail.Printable(err.Error())
	}
	return found
}

// heloDomain returns the normal form of the domain that a client calls itself, or
// "" when it gives an address, a literal or a word.
func heloDomain(helo string) string {
	domain := mail.DomainOf(helo)
	if !strings.Contains(domain, ".") {
		return ""
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return ""
	}
	return domain
}

// spfResolver looks the names of a client's address up all at once, which the
// library does one after the other. The client's owner chooses them, and would have
// the time run out with names whose servers are silent, and with it a fail. To SPF,
// a failure there means that "ptr" does not match (RFC 7208 section 5.5).
type spfResolver struct {
	*Resolver
	named map[string]*hosts
}

// hosts are the addresses of a name.
type hosts struct {
	addrs []net.IPAddr
	err   error
}

// maxNames is how many names of an address are looked at (RFC 7208 section 4.6.4).
const maxNames = 10

// LookupAddr returns the first names of an address, and asks for the addresses of all of
// them side by side.
func (r *spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	names, err := r.Resolver.LookupAddr(ctx, addr)
	names = names[:min(len(names), maxNames)]
	r.named = map[string]*hosts{}
	var lookups []func()
	for _, name := range names {
		found := &hosts{}
		r.named[name] = found
		lookups = append(lookups, func() { found.addrs, found.err = r.Resolver.LookupIPAddr(ctx, name) })
	}
	together(lookups...)
	return names, err
}

// LookupIPAddr returns the addresses of a name, which LookupAddr may have asked for before.
func (r *spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	if known, ok := r.named[host]; ok {
		return known.addrs, known.err
	}
	return r.Resolver.LookupIPAddr(ctx, host)
}
