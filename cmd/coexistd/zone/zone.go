// Package zone reads what the DNS says of the domains of a site, and of what their records
// name. What was read answers again without asking: guides and the doctor reckon with it.
package zone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"coexistd/cmd/coexistd/sidebyside"
	"coexistd/scanners/networks"
)

const (
	// atOnce is how many names are asked about side by side.
	atOnce = 10
	// maxNames bounds the names that are asked about: who writes records that we read chooses
	// the names.
	maxNames = 5000
)

// Answers are what the DNS says, by names in normal form without the dot at the end.
type Answers map[string]Records

// Records are what the DNS says of a name.
type Records struct {
	// MX are the hosts, the most preferred first, in lower case and without the dot at the
	// end. TXT are the texts, and Addresses those of A and AAAA, sorted.
	MX        []string `json:"mx,omitempty"`
	TXT       []string `json:"txt,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// Err says why these are not known. A name that does not exist has no records.
	Err error `json:"-"`
}

// SPF are the records for SPF among the TXT records (RFC 7208 section 4.5). More than one is a
// mistake of the domain's.
func (r Records) SPF() []string {
	return slices.DeleteFunc(slices.Clone(r.TXT), func(text string) bool { return !networks.IsSPF(text) })
}

// DMARC are the records for DMARC among the TXT records of a name that begins with _dmarc
// (RFC 7489 section 6.6.3). More than one is as good as none.
func (r Records) DMARC() []string {
	return slices.DeleteFunc(slices.Clone(r.TXT), func(text string) bool {
		version, _, _ := strings.Cut(text, ";")
		return strings.TrimSpace(version) != "v=DMARC1"
	})
}

// Ask asks about names, and about all that the records for SPF among the answers name.
func Ask(ctx context.Context, resolver networks.Resolver, names []string) Answers {
	r := &reader{resolver: resolver, known: make(map[string]Records)}
	r.ask(ctx, names)
	var follow []string
	for name, records := range r.known {
		if len(records.SPF()) > 0 {
			follow = append(follow, name)
		}
	}
	sidebyside.Ask(follow, atOnce, func(name string) (reckoned []*networks.Reckoning) {
		for _, text := range r.records(ctx, name).SPF() {
			reckoned = append(reckoned, networks.Reckon(ctx, answering(r.records), name, text))
		}
		return reckoned
	})
	return r.known
}

// AskHosts asks about the hosts that the MX records among the answers name.
func (a Answers) AskHosts(ctx context.Context, resolver networks.Resolver) {
	r := &reader{resolver: resolver, known: a}
	var hosts []string
	for _, records := range a {
		hosts = append(hosts, records.MX...)
	}
	r.ask(ctx, hosts)
}

// reader asks, and keeps the answers.
type reader struct {
	resolver networks.Resolver
	mu       sync.Mutex
	known    Answers
}

func (r *reader) ask(ctx context.Context, names []string) {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
	sidebyside.Ask(names, atOnce, func(name string) Records { return r.records(ctx, name) })
}

// records asks about a name of which nothing is known.
func (r *reader) records(ctx context.Context, name string) Records {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	r.mu.Lock()
	records, known := r.known[name]
	full := len(r.known) >= maxNames
	r.mu.Unlock()
	switch {
	case known:
		return records
	case full:
		return Records{Err: fmt.Errorf("%.100q is not asked about: the records name more than %d names", name, maxNames)}
	}
	records = recordsOf(ctx, r.resolver, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = records
	return records
}

func recordsOf(ctx context.Context, resolver networks.Resolver, name string) (r Records) {
	var mx []*net.MX
	var addresses []net.IPAddr
	var errs [3]error
	var done sync.WaitGroup
	done.Go(func() { mx, errs[0] = resolver.LookupMX(ctx, name+".") })
	done.Go(func() { r.TXT, errs[1] = resolver.LookupTXT(ctx, name+".") })
	done.Go(func() { addresses, errs[2] = resolver.LookupIPAddr(ctx, name+".") })
	done.Wait()
	mx = slices.SortedStableFunc(slices.Values(mx), func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	for _, one := range mx {
		if host := strings.TrimSuffix(one.Host, "."); host != "" { // "." says that there is none (RFC 7505)
			r.MX = append(r.MX, strings.ToLower(host))
		}
	}
	for _, one := range addresses {
		r.Addresses = append(r.Addresses, one.String())
	}
	slices.Sort(r.Addresses)
	for _, err := range errs {
		switch dns, is := errors.AsType[*net.DNSError](err); {
		case is && !dns.IsNotFound:
			r.Err = fmt.Errorf("the DNS does not tell of %s: %s", name, dns.Err)
		case err != nil && !is:
			r.Err = fmt.Errorf("the DNS does not tell of %s: %w", name, err)
		}
	}
	return r
}

// Reckon tells what a text for SPF would cost as a record of a domain, by what is known of the
// names in it. See networks.Reckon.
func (a Answers) Reckon(domain, text string) *networks.Reckoning {
	return networks.Reckon(context.Background(), answering(a.records), domain, text)
}

// records are what is known of a name.
func (a Answers) records(_ context.Context, name string) Records {
	records, asked := a[strings.ToLower(strings.TrimSuffix(name, "."))]
	if !asked {
		records.Err = fmt.Errorf("nobody has asked the DNS about %s", name)
	}
	return records
}

// answering is a resolver of what a function says of a name.
type answering func(ctx context.Context, name string) Records

// LookupTXT returns the TXT records of a name (networks.Resolver).
func (a answering) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return told(name, a(ctx, name), func(r Records) []string { return r.TXT })
}

// LookupMX returns the MX records of a name (networks.Resolver).
func (a answering) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return told(name, a(ctx, name), Records.exchanges)
}

// LookupIPAddr returns the addresses of a name (networks.Resolver).
func (a answering) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	return told(name, a(ctx, name), Records.addresses)
}

// told answers of one kind as a resolver does.
func told[T any](name string, r Records, kind func(Records) []T) ([]T, error) {
	list := kind(r)
	switch {
	case r.Err != nil:
		return nil, &net.DNSError{Err: r.Err.Error(), Name: name, IsTemporary: true}
	case len(list) == 0:
		return nil, &net.DNSError{Err: "no such name or record", Name: name, IsNotFound: true}
	}
	return list, nil
}

func (r Records) exchanges() (list []*net.MX) {
	for _, host := range r.MX {
		list = append(list, &net.MX{Host: host + "."})
	}
	return list
}

func (r Records) addresses() (list []net.IPAddr) {
	for _, text := range r.Addresses {
		if address, err := netip.ParseAddr(text); err == nil {
			list = append(list, net.IPAddr{IP: address.AsSlice()})
		}
	}
	return list
}

// IsUnknown reports a mistake that is none of the record's: the DNS did not tell.
func IsUnknown(err error) bool {
	dns, is := errors.AsType[*net.DNSError](err)
	return is && !dns.IsNotFound
}
