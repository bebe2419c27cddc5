package networks

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestASetHasTheClientsOfItsNetworks(t *testing.T) {
	s := SetOf(prefixes("192.0.2.0/24", "192.0.2.128/25", "198.51.100.7/32", "2001:db8::/32", "fe80::/10")...)
	for _, c := range []struct {
		client   string
		smallest string // empty: none
	}{
		{"192.0.2.1", "192.0.2.0/24"},
		{"192.0.2.200", "192.0.2.128/25"},
		{"::ffff:192.0.2.1", "192.0.2.0/24"},
		{"198.51.100.7", "198.51.100.7/32"},
		{"198.51.100.8", ""},
		{"2001:db8:1::1", "2001:db8::/32"},
		{"2001:db9::1", ""},
		{"fe80::1%eth0", "fe80::/10"},
	} {
		client := netip.MustParseAddr(c.client)
		found, ok := s.Smallest(client)
		if ok != (c.smallest != "") || ok && found.String() != c.smallest || s.Has(client) != ok {
			t.Errorf("%s is in %v, %v, and the set has it: %v; want %q", client, found, ok, s.Has(client), c.smallest)
		}
	}
	if _, ok := s.Smallest(netip.Addr{}); ok || s.Has(netip.Addr{}) {
		t.Error("a client without an address is in the set")
	}
	if got := s.String(); got != "[192.0.2.0/24 192.0.2.128/25 198.51.100.7/32 2001:db8::/32 fe80::/10]" || s.Len() != 5 {
		t.Errorf("%d networks, %s", s.Len(), got)
	}
}

func TestAnEmptySetHasNothing(t *testing.T) {
	one := prefixes("192.0.2.0/24")[0]
	for _, s := range []Set{{}, SetOf(), Set{}.With()} {
		_, smallest := s.Smallest(one.Addr())
		_, overlapping := s.Overlapping(one)
		if s.Has(one.Addr()) || smallest || s.Lists(one) || s.Holds(one) || overlapping || s.Len() != 0 || len(s.Prefixes()) != 0 {
			t.Errorf("%v has something", s)
		}
	}
}

func TestASetStaysAsItIsWhenOneWithMoreIsMade(t *testing.T) {
	list := prefixes("192.0.2.0/24", "2001:db8::/32")
	less := SetOf(list[0])
	more := less.With(list[1])
	if less.Len() != 1 || less.Has(list[1].Addr()) || more.Len() != 2 || !more.Has(list[0].Addr()) || !more.Has(list[1].Addr()) {
		t.Errorf("%v and %v", less, more)
	}
}

// anywhere is a network among few addresses, so that many overlap.
func anywhere(from *rand.Rand) netip.Prefix {
	if from.IntN(2) == 0 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(from.IntN(2)), byte(from.IntN(256))})
		return netip.PrefixFrom(addr, 20+from.IntN(13)).Masked()
	}
	addr := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 14: byte(from.IntN(2)), 15: byte(from.IntN(256))})
	return netip.PrefixFrom(addr, 116+from.IntN(13)).Masked()
}

func TestASetAnswersAsALookAtEachNetworkDoes(t *testing.T) {
	from := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var list []netip.Prefix
		for range from.IntN(12) {
			list = append(list, anywhere(from))
		}
		cut := from.IntN(len(list) + 1)
		s := SetOf(list[:cut]...).With(list[cut:]...)
		for range 50 {
			network := anywhere(from)
			smallest, has := s.Smallest(network.Addr())
			wantHas := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(network.Addr()) })
			if has != wantHas || s.Has(network.Addr()) != has || has && !slices.Contains(list, smallest) {
				t.Fatalf("%v has %s: %v, want %v", list, network.Addr(), has, wantHas)
			}
			wantHolds := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Bits() <= network.Bits() && p.Contains(network.Addr()) })
			if got := s.Holds(network); got != wantHolds {
				t.Fatalf("%v holds %s: %v, want %v", list, network, got, wantHolds)
			}
			found, overlaps := s.Overlapping(network)
			wantOverlaps := slices.ContainsFunc(list, network.Overlaps)
			if overlaps != wantOverlaps || overlaps && (!found.Overlaps(network) || !slices.Contains(list, found)) {
				t.Fatalf("%v overlaps %s: %v by %s, want %v", list, network, overlaps, found, wantOverlaps)
			}
			if got := s.Lists(network); got != slices.Contains(list, network) {
				t.Fatalf("%v lists %s: %v", list, network, got)
			}
		}
		want := slices.Clone(list)
		slices.SortFunc(want, netip.Prefix.Compare)
		if got := s.Prefixes(); !slices.Equal(got, slices.Compact(want)) {
			t.Fatalf("the networks are %v, want %v", got, slices.Compact(want))
		}
	}
}
