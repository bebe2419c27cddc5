package sendmailcf

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Daemon is a listener of Sendmail's.
type Daemon struct {
	// Name, Host and Port are as they stand there, or as Sendmail takes them where they do not.
	Name, Host, Port string
	// IsIPv6 says that it is one of IPv6.
	IsIPv6 bool
	// Modifiers are what stands behind M=.
	Modifiers string
	// Own says that it has a list of filters of its own, which is Filters.
	Own     bool
	Filters []string
}

// Listening are Sendmail's listeners; it has one when sendmail.cf names none.
func (s *Settings) Listening() []Daemon {
	if len(s.Daemons) == 0 {
		return []Daemon{{Name: "Daemon0", Port: "smtp"}}
	}
	return s.Daemons
}

// FiltersOf are the names of the filters by which a listener's mail goes, in their order.
func (s *Settings) FiltersOf(d Daemon) []string {
	if d.Own {
		return d.Filters
	}
	return s.CommonFilters()
}

// CommonFilters are the names of those for each listener that has no list of its own.
func (s *Settings) CommonFilters() []string { return filterNames(s.Option("InputMailFilters", "")) }

// IsPublic reports a listener to which other MTAs bring mail.
func (d Daemon) IsPublic() bool { return PortNumber(d.Port) == 25 && !d.AsksLogin() }

// IsForUsers reports a listener to which our users alone bring mail.
func (d Daemon) IsForUsers() bool {
	return d.AsksLogin() || slices.Contains([]string{"587", "465", "submission", "submissions", "smtps"}, strings.ToLower(d.Port))
}

// IsSubmission reports a listener at a port where users elsewhere look for one.
func (d Daemon) IsSubmission() bool {
	port := PortNumber(d.Port)
	return port == 587 || port == 465
}

// AsksLogin reports a listener where nobody gets in without a login.
func (d Daemon) AsksLogin() bool { return strings.Contains(d.Modifiers, "a") }

// WantsUsers reports a listener that may have a filter of its own for the mail of our users. The
// common list is for all listeners.
func (d Daemon) WantsUsers() bool { return d.Own && d.IsForUsers() }

// MayLack reports a listener without which Sendmail goes on (M=O).
func (d Daemon) MayLack() bool { return strings.Contains(d.Modifiers, "O") }

// IsLoopback reports a listener that only this host reaches.
func (d Daemon) IsLoopback() bool {
	host := d.Address()
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// Address is where it listens, or "" for all addresses.
func (d Daemon) Address() string {
	host := strings.TrimPrefix(strings.Trim(d.Host, "[]"), "IPv6:")
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return ""
	}
	return strings.ToLower(host)
}

// Meets reports two listeners that cannot be open at the same time. On Linux, an IPv6 socket for
// all addresses is one for those of IPv4, too.
func (d Daemon) Meets(other Daemon) bool {
	port, here, there := PortNumber(d.Port), d.Address(), other.Address()
	switch {
	case port == 0 || port != PortNumber(other.Port):
		return false
	case d.IsIPv6 == other.IsIPv6:
		return here == "" || there == "" || here == there
	case d.IsIPv6:
		return here == ""
	}
	return there == ""
}

// PortNumber reads a port or the name of one; 0 is none that is known.
func PortNumber(text string) int {
	number, err := net.LookupPort("tcp", text)
	if err != nil {
		return 0
	}
	return number
}
