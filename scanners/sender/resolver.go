package sender

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Resolver asks name servers and remembers what they say for some minutes. Its
// methods are those of net.Resolver by name, and any number of goroutines may
// call them.
//
// They differ from net.Resolver's in this. Each takes 5 seconds at most. A name
// is absolute, with the dot at its end or without: no search list is gone through.
// Each error is a *net.DNSError, of which exactly one of two is true: IsNotFound,
// when the name does not exist or has no such records, which are not told apart;
// or IsTemporary, whatever kept the servers from an answer. What is returned is
// shared with others and must not be changed.
type Resolver struct {
	servers []string // none: those of resolv.conf
	cache   *cache
	now     func() time.Time
	// patience is how long the servers together get to answer, and once more when
	// one of them was silent: a lost packet costs the first of them only.
	patience [2]time.Duration

	mu    sync.Mutex
	first string // the server that is asked first, or empty
}

// maxName is the longest name in the DNS as it is written, without the dot at
// its end (RFC 1035 section 3.1).
const maxName = 253

// NewResolver returns a resolver that asks the servers at these addresses,
// "IP:PORT", or without any those of the system's resolv.conf. They are tried in
// this order; one that was silent while another answered comes after that one.
func NewResolver(addresses []string) *Resolver {
	return &Resolver{
		servers:  slices.Clone(addresses),
		cache:    newCache(),
		now:      time.Now,
		patience: [2]time.Duration{2 * time.Second, 3 * time.Second},
	}
}

// LookupTXT returns the TXT records of a name, the strings of each joined.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return lookup(ctx, r, "TXT", name, func(text string) int { return len(text) + 16 },
		func(ctx context.Context, server *net.Resolver) ([]string, error) {
			return server.LookupTXT(ctx, absolute(name))
		})
}

// LookupMX returns the MX records of a name, save those that name no host.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return lookup(ctx, r, "MX", name, func(mx *net.MX) int { return len(mx.Host) + 32 },
		func(ctx context.Context, server *net.Resolver) ([]*net.MX, error) {
			return server.LookupMX(ctx, absolute(name))
		})
}

// LookupIPAddr returns the addresses of a name, of both versions of IP. It fails
// when one of them cannot be told, whatever the other is.
func (r *Resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	var found [2][]netip.Addr
	var failed [2]error
	ask := func(i int, network string) {
		found[i], failed[i] = lookup(ctx, r, network, host, func(netip.Addr) int { return 24 },
			func(ctx context.Context, server *net.Resolver) ([]netip.Addr, error) {
				addrs, err := server.LookupNetIP(ctx, network, absolute(host))
				if _, other := errors.AsType[*net.AddrError](err); other {
					err = nil // the system's hosts file has an address of the other version
				}
				return addrs, err
			})
	}
	together(func() { ask(0, "ip4") }, func() { ask(1, "ip6") })
	for _, err := range failed {
		if err != nil && !isNotFound(err) {
			return nil, err
		}
	}
	if failed[0] != nil && failed[1] != nil {
		return nil, failed[0]
	}
	var addrs []net.IPAddr
	for _, addr := range slices.Concat(found[0], found[1]) {
		addrs = append(addrs, net.IPAddr{IP: addr.Unmap().AsSlice()})
	}
	return addrs, nil
}

// LookupAddr returns the names of an address, save those that are none.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return lookup(ctx, r, "PTR", addr, func(name string) int { return len(name) + 16 },
		func(ctx context.Context, server *net.Resolver) ([]string, error) {
			return server.LookupAddr(ctx, addr)
		})
}

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

// lookup answers from the cache or asks the servers. size is about what a record
// takes in memory.
func lookup[T any](ctx context.Context, r *Resolver, kind, name string, size func(T) int,
	ask func(context.Context, *net.Resolver) ([]T, error),
) ([]T, error) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, notFound(name) // no name of the DNS, where all of them are ASCII
	}
	q := question{kind, strings.ToLower(name)}
	if kept, ok := r.cache.get(q, r.now()); ok {
		if kept.records == nil {
			return nil, notFound(name)
		}
		return kept.records.([]T), nil
	}
	records, err := askAll(ctx, r, name, ask)
	switch {
	case err == nil && len(records) > 0:
		total := 0
		for _, record := range records {
			total += size(record)
		}
		r.cache.put(q, records, total, r.now())
		return records, nil
	case err == nil || isNotFound(err):
		r.cache.put(q, nil, 0, r.now())
		return nil, notFound(name)
	}
	return nil, err
}

// askAll asks one server after the other, and all of them once more when one was
// silent.
func askAll[T any](ctx context.Context, r *Resolver, name string, ask func(context.Context, *net.Resolver) ([]T, error)) (records []T, err error) {
	servers := r.order()
	for _, patience := range r.patience {
		silent := false
		for i, server := range servers {
			records, err = askOne(ctx, server, patience/time.Duration(len(servers)), ask)
			if err == nil || isNotFound(err) {
				if i > 0 && silent {
					r.prefer(server)
				}
				return records, err
			}
			err = failure(name, server, err)
			silent = silent || err.(*net.DNSError).IsTimeout
			if ctx.Err() != nil {
				return nil, err
			}
		}
		if !silent {
			break
		}
	}
	return nil, err
}

func askOne[T any](ctx context.Context, server string, patience time.Duration, ask func(context.Context, *net.Resolver) ([]T, error)) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	records, err := ask(ctx, &net.Resolver{
		PreferGo:     true,
		StrictErrors: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		},
	})
	if len(records) > 0 {
		err = nil // that some of the MX or PTR records are broken; of others, all would be missing
	}
	return records, err
}

// order returns the servers in the order in which they are asked.
func (r *Resolver) order() []string {
	servers := r.servers
	if len(servers) == 0 {
		servers = systemServers()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(servers, r.first)
	if i <= 0 {
		return servers
	}
	return slices.Concat(servers[i:], servers[:i])
}

func (r *Resolver) prefer(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = server
}

// systemServers reads resolv.conf(5) each time, for a system may change it.
func systemServers() []string {
	const most = 3 // as many as the system's own resolver heeds
	var servers []string
	if file, err := os.Open("/etc/resolv.conf"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan() && len(servers) < most; {
			words := strings.Fields(lines.Text())
			if len(words) < 2 || words[0] != "nameserver" {
				continue
			}
			if _, err := netip.ParseAddr(words[1]); err == nil {
				servers = append(servers, net.JoinHostPort(words[1], "53"))
			}
		}
	}
	if len(servers) == 0 {
		return []string{"127.0.0.1:53"}
	}
	return servers
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such name or record", Name: name, IsNotFound: true}
}

// failure is an error of a server that gave no answer. The server's own refusal
// is one: it says nothing of the name.
func failure(name, server string, err error) error {
	failed := net.DNSError{Err: err.Error()}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		failed = *dns
	}
	failed.Name, failed.Server = name, server
	failed.IsTimeout = failed.IsTimeout || errors.Is(err, context.DeadlineExceeded)
	failed.IsTemporary = true
	return &failed
}

func isNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}
