package rate

import (
	"maps"
	"net/netip"
	"slices"

	"coexistd/policy/networks"
)

// NetworkLimits are the limits of the clients in networks. The zero NetworkLimits has none.
type NetworkLimits struct {
	set    networks.Set
	limits map[netip.Prefix]int64
}

// LimitNetworks makes NetworkLimits of the limit of each network.
func LimitNetworks(limits map[netip.Prefix]int64) NetworkLimits {
	if len(limits) == 0 {
		return NetworkLimits{}
	}
	list := slices.SortedFunc(maps.Keys(limits), netip.Prefix.Compare)
	return NetworkLimits{networks.SetOf(list...), maps.Clone(limits)}
}

// Len is the number of networks.
func (n NetworkLimits) Len() int { return len(n.limits) }

// Of returns the limit of the smallest network that has the client, if one has.
func (n NetworkLimits) Of(client netip.Addr) (limit int64, said bool) {
	network, has := n.set.Smallest(client)
	if !has {
		return 0, false
	}
	return n.limits[network], true
}
