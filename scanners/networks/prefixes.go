package networks

import (
	"net/netip"

	"coexistd/policy/networks"
)

// without returns what is left of a prefix when the addresses of the set are taken out of
// it, sorted.
func without(prefix netip.Prefix, out networks.Set) []netip.Prefix {
	if out.Holds(prefix) {
		return nil
	}
	if _, overlaps := out.Overlapping(prefix); !overlaps {
		return []netip.Prefix{prefix}
	}
	low, high := halves(prefix)
	return append(without(low, out), without(high, out)...)
}

// halves returns the two networks of which one is made.
func halves(prefix netip.Prefix) (low, high netip.Prefix) {
	bits := prefix.Bits()
	upper := prefix.Addr().AsSlice()
	upper[bits/8] |= 0x80 >> (bits % 8)
	addr, _ := netip.AddrFromSlice(upper)
	return netip.PrefixFrom(prefix.Addr(), bits+1), netip.PrefixFrom(addr, bits+1)
}

// missing returns how many networks of a list another lacks, and of how many of them it has
// no address. Both are in the normal form of package coexistd/policy/networks: no network
// lies within another.
func missing(list []netip.Prefix, other networks.Set) (lacked, lost int) {
	for _, prefix := range list {
		if _, near := other.Overlapping(prefix); !near {
			lost++
		}
		if !other.Lists(prefix) {
			lacked++
		}
	}
	return lacked, lost
}
