package policy

import "net/netip"

// DDoS bounds what one client, and one network, may ask of the mail system. A
// client is an address, IPv6 by its /64; a network is a /24 of IPv4 or a /48 of
// IPv6. A bound of zero does not hold.
type DDoS struct {
	// Connections and NetworkConnections bound the connections at once, and
	// Total those of all clients that are not exempt.
	Connections, NetworkConnections, Total int
	// PerMinute and NetworkPerMinute bound the new connections in a minute.
	PerMinute, NetworkPerMinute int
	// Messages and Refused bound the messages and the refused recipients of one
	// connection.
	Messages, Refused int
	// Unknown bounds the unknown recipients that a client asks for in ten minutes,
	// in any number of connections: who asks for more is harvesting addresses.
	Unknown int
	// Exempt are the networks for which none of this holds.
	Exempt []netip.Prefix
}
