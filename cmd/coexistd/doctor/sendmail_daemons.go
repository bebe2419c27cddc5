package doctor

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// listening are Sendmail's listeners; it has one when sendmail.cf names none.
func (s *sendmail) listening() []sendmailDaemon {
	if len(s.daemons) == 0 {
		return []sendmailDaemon{{name: "Daemon0", port: "smtp"}}
	}
	return s.daemons
}

// isPublic reports a listener to which other MTAs bring mail.
func (d sendmailDaemon) isPublic() bool { return portNumber(d.port) == 25 && !d.asksLogin() }

// isForUsers reports a listener to which our users alone bring mail.
func (d sendmailDaemon) isForUsers() bool {
	return d.asksLogin() || slices.Contains([]string{"587", "465", "submission", "submissions", "smtps"}, strings.ToLower(d.port))
}

// asksLogin reports a listener where nobody gets in without a login.
func (d sendmailDaemon) asksLogin() bool { return strings.Contains(d.modifiers, "a") }

func (d sendmailDaemon) isLoopback() bool { return isLoopback(net.JoinHostPort(d.address(), "0")) }

// address is where it listens, or "" for all addresses.
func (d sendmailDaemon) address() string {
	host := strings.TrimPrefix(strings.Trim(d.host, "[]"), "IPv6:")
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return ""
	}
	return strings.ToLower(host)
}

// lookAtDaemons looks for listeners that Sendmail cannot open side by side.
func lookAtDaemons(s *sendmail) (findings []Finding) {
	daemons := s.listening()
	for i, one := range daemons {
		for _, other := range daemons[:i] {
			if one.meets(other) && !one.mayLack() && !other.mayLack() {
				findings = append(findings, failure("the daemons %s and %s listen at one port, %d, of the same address: Sendmail cannot open it twice, and ends within a minute", other.name, one.name, portNumber(one.port)).
					do("take the DAEMON_OPTIONS of one of them out of sendmail.mc (Debian's own are MTA-v4 and MSP-v4)%s", remade))
			}
		}
	}
	return findings[:min(len(findings), mostNamed)]
}

// meets reports two listeners that cannot be open at the same time. On Linux, an IPv6 socket for
// all addresses is one for those of IPv4, too.
func (d sendmailDaemon) meets(other sendmailDaemon) bool {
	port, here, there := portNumber(d.port), d.address(), other.address()
	switch {
	case port == 0 || port != portNumber(other.port):
		return false
	case d.isIPv6 == other.isIPv6:
		return here == "" || there == "" || here == there
	case d.isIPv6:
		return here == ""
	}
	return there == ""
}

// mayLack reports a listener without which Sendmail goes on (M=O).
func (d sendmailDaemon) mayLack() bool { return strings.Contains(d.modifiers, "O") }
