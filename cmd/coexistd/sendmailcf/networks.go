package sendmailcf

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/networks"
)

// Network reads the beginning of an address, as class R and the access map have networks:
// 192.0.2, 10 or IPv6:2001:db8.
func Network(text string) (network netip.Prefix, ok bool) {
	text = strings.Trim(text, "[]")
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	separator, base, bits := ".", 10, 8
	bytes := make([]byte, 4)
	if rest, is := strings.CutPrefix(strings.ToLower(text), "ipv6:"); is {
		if address, err := netip.ParseAddr(rest); err == nil {
			return netip.PrefixFrom(address, address.BitLen()), true
		}
		text, separator, base, bits, bytes = rest, ":", 16, 16, make([]byte, 16)
	}
	parts := strings.Split(strings.TrimSuffix(text, separator), separator)
	if len(parts) > len(bytes)*8/bits {
		return network, false
	}
	for i, part := range parts {
		number, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return network, false
		}
		if bits == 8 {
			bytes[i] = byte(number)
		} else {
			bytes[2*i], bytes[2*i+1] = byte(number>>8), byte(number)
		}
	}
	address, _ := netip.AddrFromSlice(bytes)
	return netip.PrefixFrom(address, len(parts)*bits), true
}

// Relays are the networks whose clients may relay. Others says that there may be more, in what
// cannot be read.
func (s *Settings) Relays() (list []netip.Prefix, others bool) {
	list, others = s.clients("RELAY")
	for word := range s.Class("R").words {
		if network, is := Network(word); is {
			list = append(list, network)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list), others || len(s.Class("R").Unread) > 0
}

// Accepted are the networks whose clients the access map takes whatever blocklists say. Others is as for
// Relays.
func (s *Settings) Accepted() (list []netip.Prefix, others bool) { return s.clients("RELAY", "OK") }

// clients are the networks for whose clients the access map has one of some values.
func (s *Settings) clients(values ...string) (list []netip.Prefix, unread bool) {
	access, err := s.Table("access")
	for key, value := range access {
		if tag, rest, is := strings.Cut(key, ":"); is && tag == "connect" {
			key = rest
		}
		if network, is := Network(key); is && slices.Contains(values, strings.ToUpper(value)) {
			list = append(list, network)
		}
	}
	return list, err != nil
}

// IsThisHost reports a network that Sendmail lets relay by itself, as far as it is used: the addresses of
// loopback, by which programs of this host call it.
func IsThisHost(network netip.Prefix) bool {
	return network.Addr().IsLoopback() && network.IsSingleIP() || network == netip.MustParsePrefix("127.0.0.0/8")
}

// Unrelayed are those of some networks from which clients may not relay, in pieces as Sendmail knows
// them. It is not sure when there is something that cannot be read.
func (s *Settings) Unrelayed(list []netip.Prefix) (pieces []netip.Prefix, sure bool) {
	relays, others := s.Relays()
	has := networks.SetOf(relays...)
	for _, network := range list {
		if IsThisHost(network) || has.Holds(network) {
			continue
		}
		for one := range Whole(network) {
			if !has.Holds(one) {
				pieces = append(pieces, one)
			}
		}
	}
	return pieces, !others
}

// ClientBound is a bound of FEATURE(ratecontrol) or FEATURE(conncontrol), by the lines of the access map.
type ClientBound struct {
	// Tag is that of its lines.
	Tag string

	usual   string                  // for clients of whom no line says something else
	values  map[netip.Prefix]string // by network
	network networks.Set
}

// ClientBounds are those that Sendmail keeps to.
func (s *Settings) ClientBounds(access map[string]string) (list []ClientBound) {
	for _, one := range [...]struct{ tag, ruleset string }{{"ClientRate", "RateControl"}, {"ClientConn", "ConnControl"}} {
		if len(s.Rules[one.ruleset]) == 0 {
			continue
		}
		b := ClientBound{Tag: one.tag, values: make(map[netip.Prefix]string)}
		for key, value := range access {
			text, is := strings.CutPrefix(key, strings.ToLower(one.tag)+":")
			network, isNetwork := Network(text)
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

// IsLow reports a bound that the hosts of a platform reach.
func (b ClientBound) IsLow(client netip.Addr) bool {
	const enough = 100
	value := b.usual
	if network, is := b.network.Smallest(client); is {
		value = b.values[network]
	}
	most, err := strconv.Atoi(value)
	return err == nil && most > 0 && most < enough
}

// Parts are a network as the access map may have it: one of IPv4 that is wider than 256 × 256 addresses
// in such pieces.
func Parts(network netip.Prefix) (list []netip.Prefix) {
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

// Whole are the networks of which one consists as Sendmail knows them, which cuts an address at its
// dots and colons alone. There are no more than 128 in one of IPv4, and 32768 in one of IPv6.
func Whole(network netip.Prefix) iter.Seq[netip.Prefix] {
	group := 8
	if network.Addr().Is6() {
		group = 16
	}
	whole := (network.Bits() + group - 1) / group * group
	return func(yield func(netip.Prefix) bool) {
		one := netip.PrefixFrom(network.Masked().Addr(), whole)
		for range CountWhole(network) {
			if !yield(one) {
				return
			}
			one = netip.PrefixFrom(after(one), whole)
		}
	}
}

// CountWhole is how many Whole has.
func CountWhole(network netip.Prefix) int {
	group := 8
	if network.Addr().Is6() {
		group = 16
	}
	return 1 << ((group - network.Bits()%group) % group)
}

// after is the first address behind a network that ends at a whole byte.
func after(network netip.Prefix) netip.Addr {
	bytes := network.Addr().AsSlice()
	for i := network.Bits()/8 - 1; i >= 0; i-- {
		if bytes[i]++; bytes[i] != 0 {
			break
		}
	}
	next, _ := netip.AddrFromSlice(bytes)
	return next
}

// AccessKey is a network as the access map has it, or the next wider one that it can have.
func AccessKey(network netip.Prefix) string {
	if network.Addr().Is4() {
		return strings.Join(strings.Split(network.Addr().String(), ".")[:max(1, network.Bits()/8)], ".")
	}
	groups := strings.Split(network.Addr().StringExpanded(), ":")[:max(1, network.Bits()/16)]
	for i, group := range groups {
		groups[i] = cmp.Or(strings.TrimLeft(group, "0"), "0")
	}
	return "IPv6:" + strings.Join(groups, ":")
}
