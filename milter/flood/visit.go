package flood

import (
	"net/netip"
	"time"

	"coexistd/policy"
)

// Visit is one connection that Connect let in, until End. The methods of a nil
// Visit do nothing, and never find anything over a bound. One goroutine at a
// time may use it.
//
// A nil bound is none: after a reload that switched the check off, a visit goes
// on counting and is never over. A client that a reload makes exempt is so from
// its next connection on.
type Visit struct {
	guard           *Guard
	shard           *shard // nil when the client has no address
	client, network *tally // both nil when shard is
	prefix          netip.Prefix
	told            *told // what was told of the client

	messages, refused int
	ended             bool
}

// Message counts a message that begins. It is over when it is one more than
// Messages.
func (v *Visit) Message(now time.Time, l *policy.DDoS) Excess {
	if v == nil {
		return Excess{}
	}
	v.messages++
	return v.excess(v.guard.at(now), overMessages, v.messages, boundsOf(l).Messages).count(&v.guard.messages)
}

// excess says whether a count of this connection passes a bound.
func (v *Visit) excess(at time.Duration, text string, count, bound int) Excess {
	if !passes(count, bound) {
		return Excess{}
	}
	return v.told.excess(at, text, name(v.prefix), count, bound)
}

func boundsOf(l *policy.DDoS) policy.DDoS {
	if l == nil {
		return policy.DDoS{}
	}
	return *l
}

// Refused counts a recipient that was refused; unknown says that it was because
// there is no such address. It is over when it is one more than Refused, or,
// with all unknown ones that the client asked for in ten minutes, one more than
// Unknown.
func (v *Visit) Refused(now time.Time, l *policy.DDoS, unknown bool) Excess {
	if v == nil {
		return Excess{}
	}
	at, bounds := v.guard.at(now), boundsOf(l)
	v.refused++
	if unknown && v.shard != nil {
		if e := v.miss(at, bounds.Unknown); e.Over() {
			return e.count(&v.guard.recipients)
		}
	}
	return v.excess(at, overRefused, v.refused, bounds.Refused).count(&v.guard.recipients)
}

// miss counts an unknown recipient for the client.
func (v *Visit) miss(at time.Duration, bound int) Excess {
	v.shard.mu.Lock()
	defer v.shard.mu.Unlock()
	if v.client.unknown == nil {
		v.client.unknown = new(window)
	}
	v.client.unknown.add(slot(at, harvestTime))
	return v.client.harvests(at, v.prefix, bound)
}

// End says that the connection is no longer open. Further calls do nothing.
func (v *Visit) End() {
	if v == nil || v.ended {
		return
	}
	v.ended = true
	v.guard.open.Add(-1)
	if v.shard == nil {
		return
	}
	v.shard.mu.Lock()
	defer v.shard.mu.Unlock()
	v.shard.clients.leave(v.client)
	v.shard.networks.leave(v.network)
}
