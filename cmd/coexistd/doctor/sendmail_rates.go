package doctor

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/networks"
)

// clientBound is a bound of FEATURE(ratecontrol) or FEATURE(conncontrol), by the lines of the access map.
type clientBound struct {
	tag     string
	usual   string                  // for clients of whom no line says something else
	values  map[netip.Prefix]string // by network
	network networks.Set
}

// clientBounds are those that Sendmail keeps to.
func (s *sendmail) clientBounds(access map[string]string) (list []clientBound) {
	for _, one := range [...]struct{ tag, ruleset string }{{"ClientRate", "RateControl"}, {"ClientConn", "ConnControl"}} {
		if len(s.rules[one.ruleset]) == 0 {
			continue
		}
		b := clientBound{tag: one.tag, values: make(map[netip.Prefix]string)}
		for key, value := range access {
			text, is := strings.CutPrefix(key, strings.ToLower(one.tag)+":")
			network, isNetwork := sendmailNetwork(text)
			switch {
			case is && text == "":
				b.usual = value
			case is && isNetwork:
				b.values[network] = value
			}
		}
		b.network = networks.SetOf(slices.Collect(maps.Keys(b.values))...)
		list = append(list, b)
	}
	return list
}

// isLow reports a bound that the hosts of a platform reach.
func (b clientBound) isLow(client netip.Addr) bool {
	const enough = 100
	value := b.usual
	if network, is := b.network.Smallest(client); is {
		value = b.values[network]
	}
	most, err := strconv.Atoi(value)
	return err == nil && most > 0 && most < enough
}

// parts are a network as the access map may have it: one of IPv4 that is wider than 256 × 256 addresses
// in such pieces.
func parts(network netip.Prefix) (list []netip.Prefix) {
	const bits, fewest = 16, 8
	if !network.Addr().Is4() || network.Bits() >= bits || network.Bits() < fewest {
		return []netip.Prefix{network}
	}
	bytes := network.Masked().Addr().As4()
	for range 1 << (bits - network.Bits()) {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4(bytes), bits))
		bytes[1]++
	}
	return list
}

// inAccess is a network as the access map has it, or the next wider one that it can have.
func inAccess(network netip.Prefix) string {
	if network.Addr().Is4() {
		return strings.Join(strings.Split(network.Addr().String(), ".")[:max(1, network.Bits()/8)], ".")
	}
	groups := strings.Split(network.Addr().StringExpanded(), ":")[:max(1, network.Bits()/16)]
	for i, group := range groups {
		groups[i] = cmp.Or(strings.TrimLeft(group, "0"), "0")
	}
	return "IPv6:" + strings.Join(groups, ":")
}

// lookAtClientBounds looks for bounds of connections that the hosts of platforms reach.
func lookAtClientBounds(x *examination) (findings []Finding) {
	access, err := x.sendmail.table("access")
	if err != nil {
		return nil // It cannot be told.
	}
	bounds := x.sendmail.clientBounds(access)
	for _, name := range slices.Sorted(maps.Keys(x.networks)) {
		var low, lines []string
		for _, network := range x.networks[name].Networks.Prefixes() {
			for _, part := range parts(network) {
				for _, b := range bounds {
					if b.isLow(part.Addr()) {
						low = append(low, part.String())
						lines = append(lines, b.tag+":"+inAccess(part)+" 0")
					}
				}
			}
		}
		if low, lines = slices.Compact(low), slices.Compact(lines); len(low) > 0 {
			findings = append(findings, warning("a host of %s may make few connections only (ClientRate, ClientConn), and more get 421, so that mail comes late: %s", name, some(low)).
				do("write into /etc/mail/access a line for each: %s; then run: make -C /etc/mail", some(lines)))
		}
	}
	return findings
}
