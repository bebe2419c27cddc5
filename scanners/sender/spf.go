package sender

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"

	"coexistd/policy"
)

var spfResults = map[spf.Result]policy.AuthResult{
	spf.None: policy.AuthNone, spf.Neutral: policy.AuthNeutral, spf.Pass: policy.AuthPass, spf.Fail: policy.AuthFail,
	spf.SoftFail: policy.AuthSoftFail, spf.TempError: policy.AuthTempError, spf.PermError: policy.AuthPermError,
}

// spf checks the client against the record of the envelope sender's domain, or
// for the null sender of HELO's (RFC 7208 section 2.4).
func (v *Verifier) spf(ctx context.Context, q Question) policy.SPF {
	helo := heloDomain(q.Helo)
	found := policy.SPF{Domain: q.Sender.Domain}
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
		found.Why = "there is no client to ask for"
		return found
	}
	// The library takes all behind the first @ for the domain. No name in the DNS
	// can have an @, nor what stands for it here, so a macro that holds the local
	// part finds as much as it would.
	local = strings.ReplaceAll(local, "@", "?")
	witness := &witness{Resolver: v.Resolver}
	result, err := spf.CheckHostWithSender(q.Client.Unmap().AsSlice(), helo, local+"@"+found.Domain,
		spf.WithContext(ctx), spf.WithResolver(witness))
	found.Result = spfResults[result]
	found.Why = fmt.Sprintf("SPF of %s says %s for %s", found.Domain, result, q.Client)
	if err != nil {
		found.Why += ": " + printable(err.Error())
	}
	if witness.failed != nil && found.Result != policy.AuthPass && found.Result != policy.AuthPermError {
		found.Result = policy.AuthTempError
		found.Why = fmt.Sprintf("SPF of %s cannot be told for %s: %s", found.Domain, q.Client, printable(witness.failed.Error()))
	}
	return found
}

// heloDomain returns the normal form of the domain that a client calls itself, or
// "" when it gives an address, a literal or a word.
func heloDomain(helo string) string {
	domain := normalDomain(helo)
	if !strings.Contains(domain, ".") {
		return ""
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return ""
	}
	return domain
}

// witness notes a failure of the DNS. To SPF, one under the mechanism "ptr" means
// that it does not match (RFC 7208 section 5.5), and the record's end may then say
// fail; here, that is not known.
type witness struct {
	*Resolver
	failed error
}

func (w *witness) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	names, err := w.Resolver.LookupAddr(ctx, addr)
	return names, w.note(err)
}

func (w *witness) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	addrs, err := w.Resolver.LookupIPAddr(ctx, host)
	return addrs, w.note(err)
}

func (w *witness) note(err error) error {
	if err != nil && !isNotFound(err) {
		w.failed = err
	}
	return err
}
