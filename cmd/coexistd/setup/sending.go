package setup

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"coexistd/cmd/coexistd/zone"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	scanned "coexistd/scanners/networks"
)

// mostListed is how many networks of a platform an SPF record can name one by one.
const mostListed = 16

// Sender is a side that sends mail of a domain, and what its SPF record must have for it.
type Sender struct {
	// Name is the platform's; empty: this host.
	Name string
	// Terms are those of an SPF record that let it send, without asking for what it needs not.
	Terms []string
	// Err says why these are not known.
	Err error
}

// Senders are the sides that send mail of a domain: this host, and each platform that has
// mailboxes of it or its MX.
func (s *Site) Senders(d *route.Domain) []Sender {
	senders := []Sender{s.thisHost()}
	for _, platform := range s.platformsOf(d) {
		senders = append(senders, s.sender(platform))
	}
	return senders
}

// thisHost is the side here: its addresses are those that the DNS has for its name.
func (s *Site) thisHost() Sender {
	host := s.Conf.Rules.Hostname
	records := s.DNS[host]
	var here Sender
	for _, text := range records.Addresses {
		if address, err := netip.ParseAddr(text); err == nil && isPublic(address) {
			here.Terms = append(here.Terms, term(netip.PrefixFrom(address, address.BitLen())))
		}
	}
	switch {
	case records.Err != nil:
		here.Err = records.Err
	case len(here.Terms) == 0:
		here.Err = fmt.Errorf("the DNS knows no public address of %s (hostname), so that it is not known from where this host sends; give it an A or AAAA record, or set hostname to a name that has one", host)
	}
	slices.Sort(here.Terms)
	return here
}

// isPublic reports an address that the Internet sees. Those that are kept for documentation count.
func isPublic(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() }

// term is the one of an SPF record for a network.
func term(network netip.Prefix) string {
	text := network.String()
	if network.IsSingleIP() {
		text = network.Addr().String()
	}
	if network.Addr().Is4() {
		return "ip4:" + text
	}
	return "ip6:" + text
}

// sender is a platform as a side that sends.
func (s *Site) sender(p *route.Platform) Sender {
	sender := Sender{Name: p.Name}
	for _, name := range s.includes(p) {
		sender.Terms = append(sender.Terms, "include:"+name)
	}
	if len(sender.Terms) > 0 {
		return sender
	}
	// What the Internet does not see, it does not ask about.
	all := s.Conf.Listed[p.Name]
	listed := slices.DeleteFunc(slices.Clone(all), func(n netip.Prefix) bool { return !isPublic(n.Addr()) })
	for _, network := range listed {
		sender.Terms = append(sender.Terms, term(network))
	}
	switch {
	case len(all) == 0:
		sender.Err = fmt.Errorf(`it is not known from where %s sends: platform.%s has no networks; add "spf:DOMAIN" or its networks in %s`, p.Name, p.Name, s.Conf.Path)
	case len(listed) > mostListed:
		sender.Err = fmt.Errorf(`platform.%s lists %d networks, too many for an SPF record; add "spf:DOMAIN" with the domain that %s tells its customers to include`, p.Name, len(listed), p.Name)
	}
	return sender
}

// The names that Microsoft and Google tell their customers to include.
const (
	office365Include = "spf.protection.outlook.com"
	googleInclude    = "_spf.google.com"
)

// includes are the domains whose SPF records name the networks of a platform: those that its
// networks come from; else, where it is known, the one that its customers are told.
func (s *Site) includes(p *route.Platform) []string {
	var names []string
	for _, source := range s.Conf.Sources {
		if source.Platform == p.Name && source.Kind == "spf" {
			names = append(names, source.Name)
		}
	}
	switch {
	case len(names) > 0:
	case Office365(s, p):
		names = []string{office365Include}
	case Google(s, p):
		names = []string{googleInclude}
	}
	return names
}

// selectors are those by which a platform signs by DKIM, where they are the same for all.
func (s *Site) selectors(p *route.Platform) []string {
	switch {
	case Office365(s, p):
		return []string{"selector1", "selector2"}
	case Google(s, p):
		return []string{"google"}
	}
	return nil
}

// Takes says whose host an MX record names: the platforms that it may be, by what their kind's
// hosts are called, or since it is their relay. None: it is none of theirs.
func (s *Site) Takes(host string) (platforms []*route.Platform) {
	for _, p := range s.Conf.Rules.Routes.Platforms {
		if Office365(s, p) && isOffice365MX(host) || Google(s, p) && isGoogleMX(host) || host != "" && host == RelayHost(p) {
			platforms = append(platforms, p)
		}
	}
	return platforms
}

// isOffice365MX reports a name as Exchange Online's MX records have it: below
// mail.protection.outlook.com, mx.microsoft, or the like of a national cloud.
func isOffice365MX(host string) bool {
	for _, above := range []string{".mail.protection.outlook.com", ".mx.microsoft", ".mail.protection.office365.us", ".mail.protection.partner.outlook.cn"} {
		if strings.HasSuffix(host, above) {
			return true
		}
	}
	return false
}

func isGoogleMX(host string) bool {
	return host == googleMX || strings.HasSuffix(host, ".google.com") || strings.HasSuffix(host, ".googlemail.com")
}

// googleMX is the one host that Google names for all domains.
const googleMX = "smtp.google.com"

// RelayHost is the name of the host that takes a platform's mail, as the configuration has it;
// empty: by MX.
func RelayHost(p *route.Platform) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(p.Relay, "["), "]")
	if host == strings.TrimPrefix(p.Relay, "[") {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(host)
}

// IsVendors reports a domain in whose zone the platform's maker alone can write.
func IsVendors(domain string) bool {
	return strings.HasSuffix(domain, ".onmicrosoft.com") || strings.HasSuffix(domain, ".test-google-a.com")
}

// organisation is the domain whose DMARC record holds for one without (RFC 7489 section 3.2).
func organisation(domain string) string {
	above, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return above
}

// Lacking are the senders of a domain whom a record for SPF does not let send. Of those of whom that
// cannot be told, Err says why.
func (s *Site) Lacking(d *route.Domain, reckoned *scanned.Reckoning) []Sender {
	passes := reckoned.Passes()
	senders := slices.DeleteFunc(s.Senders(d), func(sender Sender) bool {
		return sender.Err == nil && (len(sender.Terms) == 0 || lets(s.DNS, d.Name, passes, sender.Terms))
	})
	for i, sender := range senders {
		if err := s.DNS.Reckon(d.Name, "v=spf1 "+strings.Join(sender.Terms, " ")).Err(); zone.IsUnknown(err) {
			senders[i].Err = err
		}
	}
	return senders
}

// IsOurs reports a host that has this host's name, or an address of its.
func (s *Site) IsOurs(host string) bool {
	return s.AreSame(host, s.Conf.Rules.Hostname)
}

// AreSame reports two names of one host: they are equal, or have an address in common.
func (s *Site) AreSame(a, b string) bool {
	has := s.DNS[b].Addresses
	return a == b || slices.ContainsFunc(s.DNS[a].Addresses, func(address string) bool { return slices.Contains(has, address) })
}

// lets reports that from all that terms stand for may be sent.
func lets(dns zone.Answers, domain string, passes networks.Set, terms []string) bool {
	reckoned := dns.Reckon(domain, "v=spf1 "+strings.Join(terms, " "))
	for _, t := range reckoned.Terms {
		if t.Err != nil || len(t.Networks) == 0 {
			return false
		}
		for _, network := range t.Networks {
			if !passes.Holds(network) {
				return false
			}
		}
	}
	return true
}
