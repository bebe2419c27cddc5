package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/wording"
)

const day = 24 * time.Hour

// hostPort reads HOST:PORT, as net.Dial takes it.
func hostPort(text, like string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "inet:"); ok {
		if addr, err := hostPort(rest, like); err == nil {
			return "", fmt.Errorf("%s begins with a kind, and this is always an inet address; write it as %s", wording.Quote(text), wording.Quote(addr))
		}
	}
	if host, _, err := net.SplitHostPort(text); err == nil && host != "" {
		if addr, err := parseInet(text, text); err == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("%s is not HOST:PORT; write it like %s", wording.Quote(text), wording.Quote(like))
}

// refuseOwn refuses the address of a server that is one of our own sockets.
func (r *reader) refuseOwn(network, addr string) error {
	for _, l := range slices.Concat(r.config.Listeners, r.config.Lookups) {
		kind, own, err := ParseListen(l.Address)
		if err == nil && kind == network && reaches(network, addr, own) {
			return fmt.Errorf("%s is where coexistd itself listens (%s); write the address of the other server", wording.Quote(addr), l.Address)
		}
	}
	return nil
}

// reaches reports that a connection to addr comes to the socket own: it has the
// same name, or it is on every address of this host.
func reaches(network, addr, own string) bool {
	if network == "unix" || addr == own {
		return addr == own
	}
	host, port, _ := net.SplitHostPort(addr)
	ownHost, ownPort, _ := net.SplitHostPort(own)
	if port != ownPort {
		return false
	}
	ip, ownIP := net.ParseIP(host), net.ParseIP(ownHost)
	local := func(name string, ip net.IP) bool { return name == "localhost" || ip.IsLoopback() || ip.IsUnspecified() }
	isName := host == "localhost" || ownHost == "localhost"
	return local(host, ip) && (ownIP.IsUnspecified() || isName && local(ownHost, ownIP))
}
