package networks

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// Set is a set of networks. However many they are, asking for an address takes the same
// few steps. A Set never changes; the zero Set is empty.
type Set struct {
	table *bart.Lite // nil: there is none
}

// SetOf returns the set of these networks. What is set beyond a network's length does not
// count. They may overlap.
func SetOf(list ...netip.Prefix) Set {
	if len(list) == 0 {
		return Set{}
	}
	table := new(bart.Lite)
	for _, network := range list {
		table.Insert(network)
	}
	return Set{table}
}

// With returns the set with these networks, too.
func (s Set) With(list ...netip.Prefix) Set {
	if s.table == nil {
		return SetOf(list...)
	}
	for _, network := range list {
		s.table = s.table.InsertPersist(network)
	}
	return s
}

// Len is the number of networks.
func (s Set) Len() int {
	if s.table == nil {
		return 0
	}
	return s.table.Size()
}

// Prefixes returns the networks, sorted by address, IPv4 first.
func (s Set) Prefixes() []netip.Prefix {
	if s.table == nil {
		return nil
	}
	return slices.Collect(s.table.AllSorted())
}

// String lists the networks.
func (s Set) String() string { return fmt.Sprintf("%v", s.Prefixes()) }

// Has reports that one of the networks has the client. A client without an address is in
// none.
func (s Set) Has(client netip.Addr) bool {
	return s.table != nil && s.table.Contains(client.Unmap().WithZone(""))
}

// Smallest returns the smallest of the networks that have the client, if one has.
func (s Set) Smallest(client netip.Addr) (netip.Prefix, bool) {
	client = client.Unmap().WithZone("")
	if s.table == nil || !client.IsValid() {
		return netip.Prefix{}, false
	}
	return s.table.LookupPrefixLPM(netip.PrefixFrom(client, client.BitLen()))
}

// Lists reports that the network is one of them.
func (s Set) Lists(network netip.Prefix) bool { return s.table != nil && s.table.Get(network) }

// Holds reports that one of the networks has all of another.
func (s Set) Holds(network netip.Prefix) bool {
	return s.table != nil && s.table.LookupPrefix(network)
}

// Overlapping returns one of the networks that has an address in common with another, if
// one has: the smallest that holds it, or the first by address of those that it holds.
func (s Set) Overlapping(network netip.Prefix) (netip.Prefix, bool) {
	if s.table == nil {
		return netip.Prefix{}, false
	}
	if around, ok := s.table.LookupPrefixLPM(network); ok {
		return around, true
	}
	for within := range s.table.Subnets(network) {
		return within, true
	}
	return netip.Prefix{}, false
}
