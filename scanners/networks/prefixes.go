package networks

import (
	"net/netip"
	"slices"
)

// The functions of this file work on lists in the normal form of package
// coexistd/policy/networks: sorted, and no network lies within another.

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

// missing returns how many networks of one list the other lacks, and of how many of them
// it has no address.
func missing(list, other []netip.Prefix) (lacked, lost int) {
	for _, prefix := range list {
		switch near := overlapping(other, prefix); {
		case len(near) == 0:
			lacked, lost = lacked+1, lost+1
		case len(near) > 1 || near[0] != prefix:
			lacked++
		}
	}
	return lacked, lost
}
