package policy

import (
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

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
	Exempt networks.Set
}

// Guards returns what is done at an entry about clients who ask for more than
// DDoS allows. It is false when nothing is. A platform's networks are shared by
// many, as an upstream's are, and are not bounded.
func (r *Rules) Guards(e Entry) (Check, bool) {
	if e.OnHost || e.IsProvisional() || e.Upstream != "" {
		return Check{}, false
	}
	check, made := r.Points[e.Point].check(verdict.CheckDDoS)
	if !made && e.Point == verdict.S0 {
		check, made = r.PastMX.check(verdict.CheckDDoS)
	}
	return check, made
}

// GuardsAny reports that Guards is true for some entries of a listener with that
// checkpoint.
func (r *Rules) GuardsAny(listener verdict.Checkpoint) bool {
	for _, at := range [...]verdict.Checkpoint{verdict.S0, verdict.S2} {
		if _, guards := r.Guards(Entry{Point: at}); guards && (listener == at || listener == verdict.Undecided || listener == verdict.S1 && at == verdict.S0) {
			return true
		}
	}
	return false
}

// TooMuch is why a client is turned away that asks for more than DDoS allows, or zero
// where nothing is done about it. Unknown says that what they ask for too often are unknown
// recipients.
func (c Check) TooMuch(unknown bool) verdict.Reason {
	codes := map[verdict.Verdict]verdict.Code{verdict.Tempfail: verdict.TooMuch, verdict.Reject: verdict.TooMuchRefused}
	if unknown {
		codes = map[verdict.Verdict]verdict.Code{verdict.Tempfail: verdict.TooManyUnknown, verdict.Reject: verdict.TooManyUnknownRefused}
	}
	if code, answered := codes[c.OnHit]; answered {
		return verdict.Why(code)
	}
	return verdict.Reason{}
}
