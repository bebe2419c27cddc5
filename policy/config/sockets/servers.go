package sockets

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
)

// NextHop reads a next hop as Postfix's transport(5) has it: HOST, HOST:PORT,
// [HOST] or [HOST]:PORT. Brackets mean that the MX of HOST is not asked for.
func NextHop(text string) (string, error) {
	bad := fmt.Errorf(`%s is not a next hop; write it like "[mail.example.com]:25", or without brackets to go to the host's MX`, wording.Quote(text))
	host, port, hasPort := strings.Cut(text, ":")
	inner, bracketed := strings.CutPrefix(text, "[")
	if bracketed {
		before, after, closed := strings.Cut(inner, "]")
		host = strings.TrimPrefix(before, "ipv6:")
		if port, hasPort = strings.CutPrefix(after, ":"); !closed || after != "" && !hasPort {
			return "", bad
		}
	}
	if !hasPort {
		port = "25"
	}
	addr, err := netip.ParseAddr(host)
	isIP := err == nil && addr.Zone() == ""
	_, isName := hostName(host)
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case !isIP && !isName, errors.Is(err, strconv.ErrSyntax):
		return "", bad
	case err != nil || number == 0:
		return "", fmt.Errorf("the port %s is out of range; it must be a number from 1 to 65535", wording.Quote(port))
	case isIP && !bracketed:
		return "", fmt.Errorf("%s is an IP address, which has no MX; write it as %s", wording.Quote(text), wording.Quote("["+host+"]:"+port))
	}
	return text, nil
}

// SplitNextHop takes a next hop apart that NextHop has read. IsHost is set where the host itself
// is meant, and not its MX.
func SplitNextHop(hop string) (host, port string, isHost bool) {
	host, port, _ = strings.Cut(hop, ":")
	if inner, bracketed := strings.CutPrefix(hop, "["); bracketed {
		host, port, _ = strings.Cut(inner, "]")
		host, port, isHost = strings.TrimPrefix(host, "ipv6:"), strings.TrimPrefix(port, ":"), true
	}
	return host, cmp.Or(port, "25"), isHost
}

// Resolver reads a DNS server: IP or IP:PORT.
func Resolver(text string) (string, error) {
	addr, err := netip.ParseAddrPort(text)
	if bare, noPort := netip.ParseAddr(text); noPort == nil {
		addr, err = netip.AddrPortFrom(bare, 53), nil
	}
	if err != nil || addr.Port() == 0 {
		return "", fmt.Errorf(`%s is not the IP address of a DNS server, with or without a port; write it like "127.0.0.1" or "[::1]:53"`, wording.Quote(text))
	}
	return addr.String(), nil
}

// hostName returns the normal form of a host's name.
func hostName(text string) (normal string, ok bool) {
	normal, err := mail.NormalDomain(text)
	return normal, err == nil && !mail.IsLiteral(normal) && mail.CheckVisible(text) == nil
}
