// Package networks reads lists of networks as administrators and platforms write them,
// one CIDR a line or Microsoft's list of endpoints, judges what a list may hold, and says
// which platforms and upstreams a client may come from. It does no I/O.
package networks

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// Mistake is what is wrong on one line of a list.
type Mistake struct {
	// Line counts from 1.
	Line int
	// Problem is one sentence without a full stop. It says what would be right.
	Problem string
}

// Parse reads a whole list: a network a line, with comments behind "#", or
// Microsoft's list of endpoints. It returns the networks in their order and
// all mistakes. A list that holds nothing has neither.
func Parse(text string) (found []netip.Prefix, mistakes []Mistake) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, []Mistake{{1, "holds NUL bytes; save it as UTF-8"}}
	}
	text = strings.TrimPrefix(text, "\xef\xbb\xbf")
	if start := strings.TrimSpace(text); start != "" && (start[0] == '[' || start[0] == '{') {
		found, err := endpoints(text)
		if err != nil {
			return nil, []Mistake{{1, err.Error()}}
		}
		return found, nil
	}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		prefix, err := ParsePrefix(line)
		if err != nil {
			mistakes = append(mistakes, Mistake{i + 1, err.Error()})
			continue
		}
		found = append(found, prefix)
	}
	return found, mistakes
}

// ParsePrefix reads a CIDR or a single address. The error suggests what was
// probably meant.
func ParsePrefix(text string) (netip.Prefix, error) {
	if strings.HasPrefix(text, "[") { // as Postfix writes IPv6
		bare := strings.NewReplacer("[", "", "]", "").Replace(text)
		if _, err := ParsePrefix(bare); err != nil {
			return netip.Prefix{}, err
		}
		return netip.Prefix{}, fmt.Errorf("%.100q has brackets; write it as %s", text, bare)
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if addr, e := netip.ParseAddr(text); e == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
	}
	mapped := prefix.Addr().Is4In6()
	switch {
	case err != nil || mapped && prefix.Bits() <= 96:
		if meant, ok := complete(text); ok {
			return netip.Prefix{}, fmt.Errorf("%.100q is not a CIDR; write it as %s", text, meant)
		}
		return netip.Prefix{}, fmt.Errorf(`%.100q is not a CIDR; write it like "192.0.2.0/24", "192.0.2.1" or "2001:db8::/32"`, text)
	case prefix.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%.100q is the whole Internet; list the networks that are meant", text)
	case mapped:
		meant := netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96).Masked()
		return netip.Prefix{}, fmt.Errorf("%.100q is an IPv4 network in IPv6 form, as which no client comes; write it as %s", text, meant)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%.100q has bits set beyond /%d; write it as %s", text, prefix.Bits(), prefix.Masked())
	}
	return prefix, nil
}

// complete guesses at an IPv4 network with octets missing, "40.92/15" or
// Postfix's "10.1.", or with a netmask, "10.0.0.0/255.0.0.0".
func complete(text string) (netip.Prefix, bool) {
	head, tail, hasBits := strings.Cut(strings.TrimSpace(text), "/")
	octets := strings.Split(strings.TrimSuffix(head, "."), ".")
	if len(octets) > 4 || strings.Contains(head, ":") {
		return netip.Prefix{}, false
	}
	length := 8 * len(octets)
	for len(octets) < 4 {
		octets = append(octets, "0")
	}
	addr, err := netip.ParseAddr(strings.Join(octets, "."))
	if err != nil {
		return netip.Prefix{}, false
	}
	switch mask, err := netip.ParseAddr(tail); {
	case !hasBits:
	case err == nil && mask.Is4():
		length = 0
		for _, b := range mask.As4() {
			length += bits.LeadingZeros8(^b)
		}
	default:
		p, _ := netip.ParsePrefix("0.0.0.0/" + tail)
		length = p.Bits() // -1 of what is none
	}
	return netip.PrefixFrom(addr, length).Masked(), length > 0
}

// endpoints reads the list that Microsoft publishes at
// https://endpoints.office.com: an array of services, of which those that use
// port 25 are the mail servers.
func endpoints(text string) ([]netip.Prefix, error) {
	var services []struct {
		IPs      []string `json:"ips"`
		TCPPorts string   `json:"tcpPorts"`
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(text), &services); errors.As(err, &syntax) {
		return nil, fmt.Errorf("begins like JSON but is not valid at byte %d: %v; fetch the list anew", syntax.Offset, err)
	} else if err != nil {
		return nil, errors.New(`is not Microsoft's list of endpoints, which is an array of {"ips": ["CIDR"], "tcpPorts": "25"}`)
	}
	var found []netip.Prefix
	for _, service := range services {
		ports := strings.FieldsFunc(service.TCPPorts, func(c rune) bool { return c == ',' || c == ' ' })
		if !slices.Contains(ports, "25") {
			continue
		}
		for _, ip := range service.IPs {
			prefix, err := ParsePrefix(ip)
			if err != nil {
				return nil, err
			}
			found = append(found, prefix)
		}
	}
	if len(found) == 0 {
		return nil, errors.New(`lists no "ips" whose "tcpPorts" hold 25; it should be the list of the service area Exchange`)
	}
	return found, nil
}
