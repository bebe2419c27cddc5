package networks

import (
	"fmt"
	"net/netip"
	"slices"
)

// The functions of this file work on lists that are sorted as normal sorts
// them, in which no network lies within another.

// normal returns the networks with nothing set beyond their lengths, sorted by
// address, IPv4 first. Those that others hold are left out.
func normal(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	for i, prefix := range list {
		list[i] = prefix.Masked()
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	kept := list[:0]
	for _, prefix := range list {
		if len(kept) == 0 || !kept[len(kept)-1].Overlaps(prefix) {
			kept = append(kept, prefix)
		}
	}
	return kept
}

// overlapping returns the part of the list that shares addresses with the
// prefix: one network that holds it, or those that it holds.
func overlapping(list []netip.Prefix, prefix netip.Prefix) []netip.Prefix {
	start, _ := slices.BinarySearchFunc(list, prefix, func(p, with netip.Prefix) int { return p.Addr().Compare(with.Addr()) })
	if start > 0 && list[start-1].Overlaps(prefix) {
		return list[start-1 : start]
	}
	end := start
	for end < len(list) && list[end].Overlaps(prefix) {
		end++
	}
	return list[start:end]
}

// without returns what is left of a prefix when the addresses of the list are
// taken out of it. The list is one that overlapping returned for it.
func without(prefix netip.Prefix, list []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return []netip.Prefix{prefix}
	}
	if list[0].Bits() <= prefix.Bits() {
		return nil
	}
	low, high := halves(prefix)
	border := slices.IndexFunc(list, high.Overlaps)
	if border < 0 {
		border = len(list)
	}
	return append(without(low, list[:border]), without(high, list[border:])...)
}

// halves returns the two networks of which one is made.
func halves(prefix netip.Prefix) (low, high netip.Prefix) {
	bits := prefix.Bits()
	upper := prefix.Addr().AsSlice()
	upper[bits/8] |= 0x80 >> (bits % 8)
	addr, _ := netip.AddrFromSlice(upper)
	return netip.PrefixFrom(prefix.Addr(), bits+1), netip.PrefixFrom(addr, bits+1)
}

// The size of a list is bounded, so that a record that is forged or wrong does
// not make the Internet a platform. No cloud holds more than an IPv4 /8 or an
// IPv6 /24, and a platform's mail servers are a small part of one. The lists of
// the large platforms have some 60 networks.
const (
	maxNetworks = 10_000
	widest4     = 8
	widest6     = 24
)

// bounded returns an error for a list that is empty or too large.
func bounded(list []netip.Prefix) error {
	if len(list) == 0 {
		return fmt.Errorf("it names no network")
	}
	if len(list) > maxNetworks {
		return errTooMany
	}
	// IPv4 is counted in addresses, IPv6 in networks of /64.
	var sum4, sum6 uint64
	for _, prefix := range list {
		bits, most, sum, unit := prefix.Bits(), widest6, &sum6, 64
		if prefix.Addr().Is4() {
			most, sum, unit = widest4, &sum4, 32
		}
		if bits < most {
			return fmt.Errorf("it names %s, and no network of a platform is wider than /%d", prefix, most)
		}
		if *sum += 1 << max(unit-bits, 0); *sum > 1<<(unit-most) {
			return fmt.Errorf("its networks are together wider than a /%d", most)
		}
	}
	return nil
}

var errTooMany = fmt.Errorf("it names more than %d networks", maxNetworks)

// missing returns how many networks of one list the other lacks.
func missing(list, other []netip.Prefix) (n int) {
	for _, prefix := range list {
		if near := overlapping(other, prefix); len(near) != 1 || near[0] != prefix {
			n++
		}
	}
	return n
}

// lost returns how many networks of one list share no address with the other.
func lost(list, other []netip.Prefix) (n int) {
	for _, prefix := range list {
		if len(overlapping(other, prefix)) == 0 {
			n++
		}
	}
	return n
}
