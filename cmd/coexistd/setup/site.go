package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/route"
	"coexistd/scanners/sender"
)

// Site is all that guides are made of: the configuration, and what was asked for it.
type Site struct {
	Conf *config.Config
	// User is who runs the daemon; empty: root, or nobody can tell.
	User string
	// Both says that a mailbox lives both here and at a platform.
	Both bool
	// Postfix is what the Postfix of this host says; nil: there is none, or it cannot be asked.
	Postfix *postconf.Settings
	// Classes tells of each domain of ours by which of Postfix's classes it takes its mail, the
	// first that has it. A domain that it lacks is taken by none, as far as can be told.
	Classes map[string]postconf.Class
	// CertificateNames are the DNS names in the certificate that the MTA shows to clients,
	// sorted. Empty: it is not known.
	CertificateNames []string
	// DNS holds what the DNS says of each domain of ours, of each alternate domain, and of
	// the hosts that these and the configuration name.
	DNS map[string]Records
}

// Records are what the DNS says of a name.
type Records struct {
	// MX are the hosts, the most preferred first, in lower case and without the dot at the
	// end. TXT are the texts, and Addresses those of A and AAAA.
	MX, TXT, Addresses []string
	// Err says why these are not known. A name that does not exist has no records.
	Err error
}

// Survey asks what guides are made of. What cannot be asked is left empty.
func Survey(ctx context.Context, conf *config.Config) *Site {
	s := &Site{Conf: conf, DNS: make(map[string]Records)}
	for _, list := range sources.Open(conf.Directories, nil) {
		if list.Snapshot == nil {
			continue
		}
		for entry := range list.Snapshot.All() {
			s.Both = s.Both || entry.Residence().Kind == route.Both
		}
	}
	if daemon, err := account.Daemon(conf); err == nil && daemon != nil && !daemon.IsRoot() {
		s.User = daemon.Name
	}
	if settings, err := postconf.Read(ctx); err == nil {
		s.Postfix = settings
		s.CertificateNames = certificateNames(settings)
		s.classify(ctx)
	}
	s.ask(ctx, sender.NewResolver(conf.Resolver))
	return s
}

// classify fills in Classes.
func (s *Site) classify(ctx context.Context) {
	s.Classes = make(map[string]postconf.Class)
	domains := slices.Collect(maps.Keys(s.Conf.Rules.Routes.Domains))
	for _, class := range slices.Backward(postconf.Classes[:]) {
		found, _ := s.Postfix.Members(ctx, class.Domains, domains, s.Conf.Lookups)
		for domain, is := range found {
			if is {
				s.Classes[domain] = class
			}
		}
	}
}

// ask fills in DNS: first the domains, then the hosts that they name.
func (s *Site) ask(ctx context.Context, resolver *sender.Resolver) {
	routes := &s.Conf.Rules.Routes
	s.lookup(ctx, resolver, slices.Concat(slices.Collect(maps.Keys(routes.Domains)), routes.Alternates(), []string{s.Conf.Rules.Hostname}))
	var hosts []string
	for _, records := range s.DNS {
		hosts = append(hosts, records.MX...)
	}
	s.lookup(ctx, resolver, hosts)
}

// lookup asks about names of which nothing is known, ten at once.
func (s *Site) lookup(ctx context.Context, resolver *sender.Resolver, names []string) {
	slices.Sort(names)
	var mu sync.Mutex
	var done sync.WaitGroup
	slots := make(chan struct{}, 10)
	for _, name := range slices.Compact(names) {
		mu.Lock()
		_, known := s.DNS[name]
		mu.Unlock()
		if known || name == "" {
			continue
		}
		slots <- struct{}{}
		done.Go(func() {
			records := recordsOf(ctx, resolver, name)
			mu.Lock()
			s.DNS[name] = records
			mu.Unlock()
			<-slots
		})
	}
	done.Wait()
}

func recordsOf(ctx context.Context, resolver *sender.Resolver, name string) (r Records) {
	mx, mxErr := resolver.LookupMX(ctx, name)
	slices.SortStableFunc(mx, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	for _, one := range mx {
		r.MX = append(r.MX, strings.ToLower(strings.TrimSuffix(one.Host, ".")))
	}
	txt, txtErr := resolver.LookupTXT(ctx, name)
	r.TXT = txt
	addresses, addrErr := resolver.LookupIPAddr(ctx, name)
	for _, one := range addresses {
		r.Addresses = append(r.Addresses, one.String())
	}
	slices.Sort(r.Addresses)
	for _, err := range []error{mxErr, txtErr, addrErr} {
		if dns, is := errors.AsType[*net.DNSError](err); err != nil && (!is || !dns.IsNotFound) {
			r.Err = fmt.Errorf("the DNS does not tell of %s: %w", name, err)
		}
	}
	return r
}

// SPF are the records for SPF among the TXT records (RFC 7208 section 4.5). More than one is a
// mistake of the domain's.
func (r Records) SPF() []string {
	return slices.DeleteFunc(slices.Clone(r.TXT), func(text string) bool {
		version, _, _ := strings.Cut(text, " ")
		return !strings.EqualFold(version, "v=spf1")
	})
}

// Pair is a domain of ours and a platform that has mailboxes of it.
type Pair struct {
	Domain   *route.Domain
	Platform *route.Platform
	// Alternate is the domain that reaches the mailboxes there; empty: there is none.
	Alternate string
}

// Pairs are the pairs of a kind of platform, sorted by the platform's name and the domain.
func (s *Site) Pairs(is func(*Site, *route.Platform) bool) (all []Pair) {
	routes := &s.Conf.Rules.Routes
	for _, platform := range routes.Platforms {
		if !is(s, platform) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(routes.Domains)) {
			domain := routes.Domains[name]
			if platform.Holds(domain) || domain.MX == platform.Name {
				all = append(all, Pair{domain, platform, domain.Alternates[platform.Name]})
			}
		}
	}
	return all
}

// Office365 and Google report a platform of that kind: by its name, by the list that its networks
// come from, or by its alternate domains.
func Office365(s *Site, p *route.Platform) bool {
	return p.Name == "office365" || s.Conf.Rules.Tenants[p.Name].Tenant != "" || s.isKnownBy(p, "spf.protection.outlook.com", ".onmicrosoft.com")
}

// Google reports a platform that is Google Workspace. See Office365.
func Google(s *Site, p *route.Platform) bool {
	return p.Name == "google" || s.isKnownBy(p, "_spf.google.com", ".test-google-a.com")
}

func (s *Site) isKnownBy(p *route.Platform, list, suffix string) bool {
	if slices.Contains(s.Conf.Sources, config.Source{Platform: p.Name, Kind: "spf", Name: list}) {
		return true
	}
	for _, domain := range s.Conf.Rules.Routes.Domains {
		if strings.HasSuffix(domain.Alternates[p.Name], suffix) {
			return true
		}
	}
	return false
}
