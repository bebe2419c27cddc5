package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// network is one range of clients with what an error about it needs.
type network struct {
	prefix netip.Prefix
	owner  string // the key of its list
	place  place
}

// readNetworks reads a list of networks. Sources allows "file:PATH" in it.
func (r *reader) readNetworks(t *table, name string, sources bool) []netip.Prefix {
	owner := t.at(name).key
	var all []netip.Prefix
	seen := make(map[netip.Prefix]bool)
	add := func(prefix netip.Prefix, at place) {
		if !seen[prefix] {
			seen[prefix] = true
			all = append(all, prefix)
			r.networks = append(r.networks, network{prefix, owner, at})
		}
	}
	for _, one := range t.texts(name) {
		path, isFile := strings.CutPrefix(one.text, "file:")
		_, isSPF := strings.CutPrefix(one.text, "spf:")
		switch {
		case !sources && (isFile || isSPF):
			r.fail(one.place, "%s can stand only in a platform's networks; list CIDRs and addresses here", quote(one.text))
		case isSPF:
			r.fail(one.place, `this version does not have "spf:" networks yet; list CIDRs or use "file:PATH"`)
		case isFile:
			for _, prefix := range r.networkFile(path, one.place) {
				add(prefix, one.place)
			}
		default:
			if prefix, err := parseNetwork(one.text); err != nil {
				r.fail(one.place, "%v", err)
			} else {
				add(prefix, one.place)
			}
		}
	}
	return all
}

// parseNetwork reads a CIDR or a single address. The error suggests what was
// probably meant.
func parseNetwork(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if addr, e := netip.ParseAddr(text); e == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
	}
	mapped := prefix.Addr().Is4In6()
	switch {
	case err != nil || mapped && prefix.Bits() <= 96:
		if meant, ok := completeNetwork(text); ok {
			return netip.Prefix{}, fmt.Errorf("%s is not a CIDR; write it as %s", quote(text), meant)
		}
		return netip.Prefix{}, fmt.Errorf(`%s is not a CIDR; write it like "192.0.2.0/24", "192.0.2.1" or "2001:db8::/32"`, quote(text))
	case prefix.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%s is the whole Internet; list the networks that are meant", quote(text))
	case mapped:
		meant := netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96).Masked()
		return netip.Prefix{}, fmt.Errorf("%s is an IPv4 network in IPv6 form, as which no client comes; write it as %s", quote(text), meant)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits set beyond /%d; write it as %s", quote(text), prefix.Bits(), prefix.Masked())
	}
	return prefix, nil
}

// completeNetwork guesses at an IPv4 network with octets missing, "40.92/15"
// or Postfix's "10.1.", or with a netmask, "10.0.0.0/255.0.0.0".
func completeNetwork(text string) (netip.Prefix, bool) {
	head, tail, hasBits := strings.Cut(strings.TrimSpace(text), "/")
	octets := strings.Split(strings.TrimSuffix(head, "."), ".")
	if len(octets) > 4 || strings.Contains(head, ":") {
		return netip.Prefix{}, false
	}
	bits := 8 * len(octets)
	for len(octets) < 4 {
		octets = append(octets, "0")
	}
	addr, err := netip.ParseAddr(strings.Join(octets, "."))
	if err != nil {
		return netip.Prefix{}, false
	}
	if mask, e := netip.ParseAddr(tail); hasBits && e == nil && mask.Is4() {
		bits = 0
		for _, b := range mask.As4() {
			for ; b&0x80 != 0; b <<= 1 {
				bits++
			}
		}
		prefix := netip.PrefixFrom(addr, bits).Masked()
		return prefix, bits > 0
	}
	if hasBits {
		if p, e := netip.ParsePrefix("0.0.0.0/" + tail); e != nil || p.Bits() == 0 {
			return netip.Prefix{}, false
		} else {
			bits = p.Bits()
		}
	}
	return netip.PrefixFrom(addr, bits).Masked(), true
}

// networkFile reads the networks of a file: one a line, or Microsoft's list.
// Mistakes in the file are shown at its own lines.
func (r *reader) networkFile(name string, at place) []netip.Prefix {
	path := r.path(name)
	_, err := regularFile(path)
	var text string
	if err == nil {
		text, err = readFile(path)
	}
	if err != nil {
		r.fail(at, "%s %v; write the path of a file with one CIDR a line, or of Microsoft's list of endpoints", quote(path), err)
		return nil
	}
	if strings.IndexByte(text, 0) >= 0 {
		r.fail(at, "%s holds NUL bytes; save it as UTF-8", quote(path))
		return nil
	}
	text = strings.TrimPrefix(text, "\xef\xbb\xbf")
	inFile := place{file: name, key: at.key}
	if !filepath.IsAbs(name) {
		inFile.file = filepath.Join(filepath.Dir(r.file), name)
	}
	var found []netip.Prefix
	before := len(r.errs)
	if start := strings.TrimSpace(text); start != "" && (start[0] == '[' || start[0] == '{') {
		inFile.line = 1
		if found, err = endpoints(text); err != nil {
			r.fail(inFile, "%v", err)
		}
	} else {
		for i, line := range strings.Split(text, "\n") {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			prefix, err := parseNetwork(line)
			if err != nil {
				inFile.line = i + 1
				r.fail(inFile, "%v", err)
				continue
			}
			found = append(found, prefix)
		}
	}
	if len(found) == 0 && len(r.errs) == before {
		r.fail(at, "%s holds no network; it needs one CIDR a line", quote(path))
	}
	return found
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
			prefix, err := parseNetwork(ip)
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

// refuseOverlaps refuses networks of two owners that share an address. CIDRs
// that overlap lie within each other, so sorting brings each one behind those
// that it lies in.
func (r *reader) refuseOverlaps() {
	slices.SortStableFunc(r.networks, func(a, b network) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()), cmp.Compare(a.place.line, b.place.line))
	})
	var around []network
	for _, n := range r.networks {
		around = slices.DeleteFunc(around, func(outer network) bool { return !outer.prefix.Overlaps(n.prefix) })
		for _, outer := range around {
			if outer.owner == n.owner {
				continue
			}
			here, there := n, outer
			if at, _ := later(n.place, outer.place); at != n.place {
				here, there = outer, n
			}
			r.fail(here.place, "%s overlaps %s of %s on line %d; a client cannot be both, so take the addresses out of one of them",
				here.prefix, there.prefix, there.owner, there.place.line)
			break
		}
		around = append(around, n)
	}
}
