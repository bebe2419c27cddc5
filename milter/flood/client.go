package flood

import (
	"encoding/binary"
	"net/netip"
)

// everybody is who is over Total.
const everybody = "everybody together"

// The lengths of the prefixes that are one client and one network.
const (
	client4, network4 = 32, 24
	client6, network6 = 64, 48
)

// clientOf returns the addresses that are one client with addr, which is valid,
// without a zone, and no IPv4 address in IPv6's clothes.
func clientOf(addr netip.Addr) netip.Prefix {
	return mask(addr, client4, client6)
}

// networkOf returns the network that addr, which is as for clientOf, is in.
func networkOf(addr netip.Addr) netip.Prefix {
	return mask(addr, network4, network6)
}

// mask cannot fail: the address is valid and has as many bits.
func mask(addr netip.Addr, bits4, bits6 int) netip.Prefix {
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	p, _ := addr.Prefix(bits)
	return p
}

// keyOf returns what a prefix is counted by. The keys of IPv4 addresses are those
// of clients in 0:ffff::/32, which there are none of: 0000::/8 is reserved (RFC
// 4291 section 4 and IANA's registry of the IPv6 address space).
func keyOf(p netip.Prefix) uint64 {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		return 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := p.Addr().As16()
	return binary.BigEndian.Uint64(b[:8])
}

// prefixOf returns the prefix whose key that is, with so many bits.
func prefixOf(key uint64, bits4, bits6 int) netip.Prefix {
	if key>>32 == 0xffff {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(key))
		return netip.PrefixFrom(netip.AddrFrom4(b), bits4)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], key)
	return netip.PrefixFrom(netip.AddrFrom16(b), bits6)
}

// name is how the log names a client or a network. The zero Prefix is a client
// without an address.
func name(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "a client without an address"
	case p.IsSingleIP():
		return "client " + p.Addr().String()
	case p.Bits() == client6:
		return "client " + p.String()
	}
	return "network " + p.String()
}
