package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sidebyside"
	"coexistd/policy/config/sockets"
	"coexistd/policy/mail"
	"coexistd/scanners/sender"
)

// destination is where mail for mailboxes at a platform goes. By is a domain whose MX is asked
// for, or a host.
type destination struct {
	platform, by string
	isHost       bool
	key          string // of [platform.NAME] or [domain.NAME]
}

// destinations are those of all platforms, each once.
func (x *examination) destinations() (all []destination) {
	routes := &x.conf.Rules.Routes
	for _, domain := range routes.Alternates() {
		platform := routes.AlternateOf(domain)
		d := destination{platform: platform.Name, by: domain, key: "alternate"}
		if slices.Contains(platform.TargetDomains, domain) {
			d.key = "target_domains"
		}
		if platform.Relay == "" {
			all = append(all, d)
		}
	}
	for _, platform := range routes.Platforms {
		host, port, isHost := sockets.SplitNextHop(platform.Relay)
		if host != "" && port == "25" { // another port is another service
			all = append(all, destination{platform.Name, host, isHost, "relay"})
		}
	}
	return all
}

// lookAtReturns sees whether mail for other platforms would come back to this host, as far as
// the DNS says where it goes.
func lookAtReturns(ctx context.Context, x *examination, own []netip.Addr) (findings []Finding) {
	all := x.destinations()
	asked := all[:min(len(all), mostDomains)]
	resolver := sender.NewResolver(x.conf.Resolver)
	for i, host := range sidebyside.Ask(asked, domainsAtOnce, func(d destination) string { return x.returns(ctx, resolver, d, own) }) {
		d := asked[i]
		what := "the MX of " + d.by
		if d.isHost {
			what = "its relay"
		}
		if host != "" {
			findings = append(findings, warning("mail for mailboxes at %s comes back: %s is this host, %s", d.platform, what, host).
				do("name in %s what takes mail for %s alone; an MTA with a route of its own to there (transport_maps, mailertable) does not ask the DNS", d.key, d.platform))
		}
	}
	return findings
}

// returns says which host of a destination is this one, or "".
func (x *examination) returns(ctx context.Context, resolver *sender.Resolver, d destination, own []netip.Addr) string {
	hosts := []string{d.by}
	if !d.isHost {
		hosts = bestMX(ctx, resolver, d.by)
	}
	for _, host := range hosts {
		if strings.EqualFold(host, x.conf.Rules.Hostname) {
			return mail.Printable(host)
		}
		for _, address := range addressesOf(ctx, resolver, host) {
			if slices.Contains(own, address) {
				return fmt.Sprintf("%s (%s)", mail.Printable(host), address)
			}
		}
	}
	return ""
}

// bestMX are the hosts that a sender asks first. A domain without any MX is its own host.
func bestMX(ctx context.Context, resolver *sender.Resolver, domain string) (hosts []string) {
	records, err := resolver.LookupMX(ctx, domain)
	if err != nil || len(records) == 0 {
		return []string{domain}
	}
	best := slices.MinFunc(records, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) }).Pref
	for _, one := range records {
		if host := strings.TrimSuffix(one.Host, "."); one.Pref == best && host != "" && len(hosts) < mostHosts {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// mostHosts bounds the hosts of a domain that are looked at.
const mostHosts = 10

func addressesOf(ctx context.Context, resolver *sender.Resolver, host string) (all []netip.Addr) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address.Unmap()}
	}
	found, err := resolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil // Whether the DNS answers is told elsewhere.
	}
	for _, one := range found {
		if address, ok := netip.AddrFromSlice(one.IP); ok {
			all = append(all, address.Unmap())
		}
	}
	return all
}

// ownAddresses are those of this host by which others reach it.
func ownAddresses() (all []netip.Addr) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, one := range found {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr().IsGlobalUnicast() {
			all = append(all, prefix.Addr().Unmap())
		}
	}
	return all
}
