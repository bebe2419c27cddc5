package networks

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// The size of a list is bounded, so that a list that is forged or wrong does not
// make the Internet a platform. No cloud holds more than an IPv4 /8 or an IPv6
// /24, and a platform's mail servers are a small part of one. The lists of the
// large platforms have some 60 networks.
const (
	// Max is the largest number of networks in a list.
	Max     = 10_000
	widest4 = 8
	widest6 = 24
)

// ErrTooMany is the error of a list with more than Max networks.
var ErrTooMany = fmt.Errorf("it names more than %d networks", Max)

// Bounded returns an error for a list, in normal form, that is empty or larger
// than a platform's can be.
func Bounded(list []netip.Prefix) error {
	if len(list) == 0 {
		return errors.New("it names no network")
	}
	if len(list) > Max {
		return ErrTooMany
	}
	// IPv4 is counted in addresses, IPv6 in networks of /64.
	var sum4, sum6 uint64
	for _, prefix := range list {
		if private.Holds(prefix) {
			continue // nobody comes from there over the Internet
		}
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

// private are the networks of RFC 1918 section 3 and RFC 4193 section 3.1.
var private = SetOf(
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"),
)

// Normal returns the networks in normal form: with nothing set beyond their
// lengths, sorted by address, IPv4 first, and without those that others hold.
func Normal(list []netip.Prefix) []netip.Prefix {
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
