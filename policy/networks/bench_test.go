package networks

import (
	"net/netip"
	"testing"
)

// many are as many networks as a list may have, of which none holds 203.0.113.1.
func many() []netip.Prefix {
	list := make([]netip.Prefix, 0, Max)
	for i := range Max {
		if i%2 == 0 {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i%3), byte(i >> 8), byte(i), 0}), 24))
		} else {
			list = append(list, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i)}), 48))
		}
	}
	return list
}

func BenchmarkAClientOfNoPlatform(b *testing.B) {
	live := Live{"office365": {Networks: SetOf(many()...)}}
	client := netip.MustParseAddr("203.0.113.1")
	for b.Loop() {
		if platforms, _ := live.Of(client); platforms != nil {
			b.Fatal(platforms)
		}
	}
}
