// Package networks knows the addresses from which platforms send: it makes
// lists of SPF records and files, keeps them fresh, and saves them, so that a
// name server that cannot answer does not cost a platform its networks.
package networks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coexistd/policy/networks"
)

// Resolver asks the DNS. A name that does not exist, or has no such records, is
// a *net.DNSError with IsNotFound, and an answer in part is an error: a
// net.Resolver needs StrictErrors.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error)
}

const (
	// flattenTime bounds the questions for one list together. RFC 7208 section
	// 4.6.4 grants a check at least 20 seconds.
	flattenTime = 20 * time.Second
	// MaxLookups is how many terms of an SPF record, with those of the records that it
	// includes, may ask the DNS (RFC 7208 section 4.6.4). A record that goes beyond this
	// limit or the next two is an error to every receiver.
	MaxLookups = 10
	// MaxVoid is how many of these terms may find nothing.
	MaxVoid = 2
	// maxMX is how many hosts an mx may have.
	maxMX = 10
)

// Flatten returns the networks that may send mail of a domain by its SPF record
// (RFC 7208), sorted, none within another. They are the addresses for which the
// record says pass: what "-", "~" or "?" takes out first is not among them.
//
// Terms that stand for no list of addresses (exists, ptr, macros) are left out,
// and skipped names them. There is no list in part: whatever else is wrong, be
// it the DNS or a record, is an error, as is a list that is empty, has more than
// 10,000 networks, or is wider than an IPv4 /8 or an IPv6 /24.
func Flatten(ctx context.Context, resolver Resolver, domain string) (list []netip.Prefix, skipped []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, flattenTime)
	defer cancel()
	f := flattening{resolver: resolver, maxLookups: MaxLookups, maxVoid: MaxVoid}
	list, err = f.domain(ctx, domain)
	if err == nil {
		err = networks.Bounded(list)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the SPF record of %s gives no list of networks: %w", domain, err)
	}
	return list, f.skipped, nil
}

// flattening is one call of Flatten, or a term of Reckon's.
type flattening struct {
	resolver Resolver
	// maxLookups and maxVoid bound what was done so far: lookups and void.
	maxLookups, maxVoid int
	lookups, void       int
	mayBeVoid           int      // terms that find something for some clients only
	within              []string // the domains whose records are being read
	skipped             []string
}

// domain returns the networks for which the record of a domain says pass.
func (f *flattening) domain(ctx context.Context, domain string) ([]netip.Prefix, error) {
	if slices.Contains(f.within, domain) {
		return nil, fmt.Errorf("%s leads back to itself", strings.Join(append(f.within, domain), " → "))
	}
	f.within = append(f.within, domain)
	defer func() { f.within = f.within[:len(f.within)-1] }()
	texts, err := f.resolver.LookupTXT(ctx, domain+".")
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	texts = slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return !isSPF(text) })
	if len(texts) != 1 { // RFC 7208 section 4.5
		return nil, fmt.Errorf("%s has %d TXT records that begin with v=spf1; it needs one", domain, len(texts))
	}
	terms, err := parseRecord(texts[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", domain, err)
	}
	return f.record(ctx, domain, terms)
}

// record evaluates a record. Its terms are matched in their order and the first
// that matches decides (RFC 7208 section 4.6.2), so what one takes out stays
// out.
func (f *flattening) record(ctx context.Context, domain string, terms []term) ([]netip.Prefix, error) {
	var list []netip.Prefix
	var out networks.Set
	for _, t := range terms {
		if t.kind == "all" && !t.pass {
			break
		}
		found, err := f.term(ctx, domain, t)
		if err != nil {
			return nil, err
		}
		if !t.pass {
			out = out.With(found...)
			continue
		}
		for _, prefix := range found {
			list = append(list, without(prefix, out)...)
		}
		if len(list) > networks.Max {
			return nil, networks.ErrTooMany
		}
	}
	return networks.Normal(list), nil
}

// term returns the networks that a term matches.
func (f *flattening) term(ctx context.Context, domain string, t term) ([]netip.Prefix, error) {
	switch t.kind {
	case "all":
		return nil, fmt.Errorf("%s: %q names the whole Internet", domain, t.text)
	case "ip4", "ip6":
		if t.prefix.Addr().Is4In6() {
			return nil, nil // no client comes with such an address
		}
		return []netip.Prefix{t.prefix}, nil
	}
	if f.lookups++; f.lookups > f.maxLookups {
		return nil, fmt.Errorf("%s: %.100q would be more than %d lookups (RFC 7208 section 4.6.4)", domain, t.text, f.maxLookups)
	}
	if t.unlisted() {
		f.skipped = append(f.skipped, fmt.Sprintf("%s: %.100q", domain, t.text))
		if t.kind != "include" && t.kind != "redirect" {
			f.mayBeVoid++
		}
		return nil, nil
	}
	if t.domain == "" {
		t.domain = domain
	}
	switch t.kind {
	case "include", "redirect":
		return f.domain(ctx, t.domain)
	}
	found, err := f.hosts(ctx, t)
	if err != nil || len(found) > 0 {
		return found, err
	}
	if f.void++; f.void > f.maxVoid {
		return nil, fmt.Errorf("%s: %.100q finds nothing, and more than %d terms that do make a record wrong (RFC 7208 section 4.6.4)", domain, t.text, f.maxVoid)
	}
	return nil, nil
}

// hosts returns the networks of the hosts that a term names: a or mx.
func (f *flattening) hosts(ctx context.Context, t term) (found []netip.Prefix, err error) {
	hosts := []string{t.domain}
	if t.kind == "mx" {
		if hosts, err = f.mx(ctx, t.domain); err != nil {
			return nil, err
		}
	}
	for _, host := range hosts {
		records, err := f.resolver.LookupIPAddr(ctx, host+".")
		if err != nil && !isNotFound(err) {
			return nil, err
		}
		for _, one := range records {
			if addr, ok := netip.AddrFromSlice(one.IP); ok {
				bits := t.bits6
				if addr = addr.Unmap(); addr.Is4() {
					bits = t.bits4
				}
				found = append(found, netip.PrefixFrom(addr, bits).Masked())
			}
		}
	}
	return found, nil
}

// mx returns the hosts to which mail for a domain goes.
func (f *flattening) mx(ctx context.Context, domain string) ([]string, error) {
	records, err := f.resolver.LookupMX(ctx, domain+".")
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	if len(records) > maxMX {
		return nil, fmt.Errorf("%s has %d MX records, and %d are the most (RFC 7208 section 4.6.4)", domain, len(records), maxMX)
	}
	var hosts []string
	for _, record := range records {
		if host := strings.TrimSuffix(record.Host, "."); host != "" { // RFC 7505: no mail at all
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

func isNotFound(err error) bool {
	var failed *net.DNSError
	return errors.As(err, &failed) && failed.IsNotFound
}
