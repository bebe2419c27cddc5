package doctor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"

	"coexistd/cmd/coexistd/sidebyside"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners/networks"
	"coexistd/scanners/sender"
)

const (
	// mostDomains is how many domains of ours the DNS is asked about, and
	// domainsAtOnce how many of them side by side.
	mostDomains   = 200
	domainsAtOnce = 10
)

// lookAtDNS sees whether the DNS servers answer, and what the DNS says of our own
// domains.
func lookAtDNS(ctx context.Context, x *examination) []Finding {
	isShared := len(x.conf.Rules.Routes.Platforms) > 0
	if !asksDNS(x.conf) && !isShared {
		return []Finding{fine("no contact point needs it")}
	}
	domains := slices.Sorted(maps.Keys(x.conf.Rules.Routes.Domains))
	findings, answers := lookAtResolvers(ctx, x, domains[0])
	if !answers {
		return findings
	}
	published := make(chan []Finding, 1)
	go func() {
		if isShared {
			published <- lookAtPublished(ctx, x, domains[:min(len(domains), mostDomains)])
		}
		close(published)
	}()
	findings = append(findings, lookAtRecords(ctx, x, domains)...)
	findings = append(findings, lookAtReturns(ctx, x, ownAddresses())...)
	return append(findings, <-published...)
}

// asksDNS reports a configuration by which the daemon asks the DNS.
func asksDNS(conf *config.Config) bool {
	p := conf.Rules
	return p.Points[verdict.S0].Makes(verdict.CheckSpoof) || p.PastMX.Makes(verdict.CheckSpoof) ||
		slices.ContainsFunc(conf.Sources, func(s config.Source) bool { return s.Kind == networks.SPF }) ||
		slices.ContainsFunc(p.Routes.Platforms, func(one *route.Platform) bool { return len(p.Tenants[one.Name].Domains) > 0 })
}

// lookAtResolvers asks each server of resolver, or the system's, about a domain.
// That it does not exist is an answer, too.
func lookAtResolvers(ctx context.Context, x *examination, domain string) (findings []Finding, answers bool) {
	servers := x.conf.Resolver
	if len(servers) == 0 {
		servers = []string{""}
	}
	failed := sidebyside.Ask(servers, len(servers), func(server string) error {
		var only []string // none: the system's
		if server != "" {
			only = []string{server}
		}
		_, err := sender.NewResolver(only).LookupTXT(ctx, domain)
		if dns, is := errors.AsType[*net.DNSError](err); is && dns.IsNotFound {
			return nil
		}
		return err
	})
	answers = slices.Contains(failed, nil)
	for i, server := range servers {
		name := cmp.Or(server, "the system's resolver")
		switch {
		case failed[i] == nil:
			findings = append(findings, fine("%s answers", name))
		case answers:
			findings = append(findings, warning("%s does not answer: %v; the others are asked", name, plainDNS(failed[i])).do("start that server, or take it out of resolver in %s", x.conf.Path))
		default:
			findings = append(findings, failure("%s does not answer: %v; nothing is known of senders", name, plainDNS(failed[i])).
				do("see that the server runs and lets this host ask, or name another: resolver in %s", x.conf.Path))
		}
	}
	return findings, answers
}

// plainDNS says what a failure of the DNS is, without the name and the server.
func plainDNS(err error) error {
	if dns, is := errors.AsType[*net.DNSError](err); is {
		return errors.New(dns.Err)
	}
	return err
}

// lookAtRecords tells which of our domains others can tell from forgeries.
func lookAtRecords(ctx context.Context, x *examination, domains []string) []Finding {
	verifier := &sender.Verifier{Resolver: sender.NewResolver(x.conf.Resolver)}
	asked := domains[:min(len(domains), mostDomains)]
	found := sidebyside.Ask(asked, domainsAtOnce, func(domain string) spoof.Authentication {
		author := mail.Address{Path: "postmaster@" + domain, Local: "postmaster", Domain: domain}
		return verifier.Authenticate(ctx, sender.Question{
			// An address that nobody has (RFC 5737).
			Client: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Sender: author,
			Domains: []string{domain},
		})
	})
	spf, dmarc := make(records), make(records)
	for i, domain := range asked {
		spf.add(domain, found[i].SPF.Result)
		dmarc.add(domain, found[i].DMARC[0].Lookup)
	}
	findings := append(
		spf.findings("SPF", `a TXT record, such as "v=spf1 include:spf.protection.outlook.com ip4:OUR-ADDRESS -all", that names each host which sends its mail`),
		dmarc.findings("DMARC", `a TXT record at _dmarc.DOMAIN, such as "v=DMARC1; p=none; rua=mailto:postmaster@DOMAIN"`)...)
	if more := len(domains) - len(asked); more > 0 {
		findings = append(findings, fine("%d more domains were not asked about", more))
	}
	return findings
}

// records are our domains by what was found of their records of a kind: AuthNone,
// AuthPermError, AuthTempError, or AuthPass for any that can be used.
type records map[spoof.AuthResult][]string

func (r records) add(domain string, result spoof.AuthResult) {
	switch result {
	case spoof.AuthNone, spoof.AuthPermError, spoof.AuthTempError:
	default:
		result = spoof.AuthPass
	}
	r[result] = append(r[result], domain)
}

// findings tell of records of a kind, which look like that.
func (r records) findings(kind, like string) (findings []Finding) {
	if there := r[spoof.AuthPass]; len(there) > 0 {
		findings = append(findings, fine("domains of ours with a record for %s: %d", kind, len(there)))
	}
	if missing := r[spoof.AuthNone]; len(missing) > 0 {
		findings = append(findings, warning("no record for %s, so that others cannot tell our mail from forged mail: %s", kind, some(missing)).do("publish %s", like))
	}
	if broken := r[spoof.AuthPermError]; len(broken) > 0 {
		findings = append(findings, warning("a record for %s that cannot be used: %s", kind, some(broken)).do("correct it: it is %s", like))
	}
	if unknown := r[spoof.AuthTempError]; len(unknown) > 0 {
		findings = append(findings, warning("whether there is a record for %s cannot be told, since the DNS fails: %s", kind, some(unknown)).do("see that the domain's name servers answer"))
	}
	return findings
}
