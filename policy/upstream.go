package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

// Upstream is what the administrator says of a gateway in front of us: a filter or a load
// balancer through which mail from the Internet comes. Its networks are among Policy.Networks.
type Upstream struct {
	// ByMTA is set where the gateway tells the MTA who its client is, and the MTA tells us:
	// no message's client is the gateway then.
	ByMTA bool
	// Inner are addresses of the gateway's own hosts from which its other hosts take mail,
	// besides its networks.
	Inner networks.Set
}

// maxFields bounds the Received fields that are read of a message.
const maxFields = 20

// receivedField is the name of the field that each host adds above all others (RFC 5321
// section 4.4).
const receivedField = "Received"

// enterThrough is the entry of a client that is of an upstream. Who has handed it the message
// is known when the header has come: it may be any platform then.
func (p *Policy) enterThrough(upstream string, a Arrival) Entry {
	if p.Upstreams[upstream].ByMTA {
		return Entry{Point: verdict.S0, Upstream: upstream, Why: verdict.Why(verdict.EnteredByUpstream, upstream).Of(a.Client)}
	}
	e := Entry{Point: verdict.S0, Upstream: upstream, Why: verdict.Why(verdict.EnteredThrough, upstream).Of(a.Client)}
	for _, platform := range p.Routes.Platforms {
		if proofs := p.Tenants[platform.Name]; proofs.Any() {
			e.Point, e.Candidates = verdict.S1, append(e.Candidates, platform.Name)
		}
	}
	return e
}

// comeThrough puts the client in the place of the upstream that its message has come through.
// The message enters then as if that client had come itself, but that it is never one of ours,
// and that the certificate was the upstream's. The reason is why it cannot be told yet where
// it enters, or zero.
func (c *Case) comeThrough() verdict.Reason {
	e := &c.Entry
	if e.Upstream == "" || c.policy.Upstreams[e.Upstream].ByMTA {
		return verdict.Reason{}
	}
	c.Certificate = ""
	c.Client, c.Helo, e.Handed = c.policy.before(e.Upstream, c.Header)
	e.unmet = c.policy.unmet(c.Client, "", "", e.Upstream)
	if !e.IsProvisional() {
		return verdict.Reason{}
	}
	e.Point, e.Candidates = verdict.S0, nil
	platforms, pending := c.policy.Networks.Of(c.Client)
	switch {
	case len(platforms) > 0:
		e.Point, e.Candidates = verdict.S1, platforms
	case pending != "":
		e.Unready = verdict.Why(verdict.NetworksNotKnown, pending)
	}
	return e.Unready
}

// before finds the client that has handed a message to an upstream, and what that calls
// itself. The topmost Received field was written by the host that has handed it to us. Where
// the client that a field names is the upstream's as well, the field below was written by that
// one. What stands below the first that names another was the stranger's to choose. A client
// that cannot be told is invalid; the reason says what was found.
func (p *Policy) before(upstream string, h *mail.Header) (client netip.Addr, helo string, why verdict.Reason) {
	trusted, inner := p.Networks[upstream].Networks, p.Upstreams[upstream].Inner
	fields := h.Values(receivedField)
	for i, field := range fields[:min(len(fields), maxFields)] {
		r, ok := mail.ReadReceived(field)
		switch {
		case !ok:
			return netip.Addr{}, "", verdict.Why(verdict.HandedUnread, upstream, strconv.Itoa(i+1), strings.TrimSpace(field[:min(len(field), maxQuoted)]))
		case r.Handed, trusted.Has(r.Client), inner.Has(r.Client):
		case !r.Client.IsGlobalUnicast():
			return netip.Addr{}, "", verdict.Why(verdict.HandedWithin, upstream, r.Client.String())
		default:
			return r.Client, r.Helo, verdict.Why(verdict.HandedFrom, upstream).Of(r.Client)
		}
	}
	return netip.Addr{}, "", verdict.Why(verdict.HandedByNobody, upstream, strconv.Itoa(min(len(fields), maxFields)))
}

// maxQuoted bounds, in bytes, what is shown of a field that cannot be read.
const maxQuoted = 200

// addThrough adds how the message came through an upstream, where that is not said yet.
func (c *Case) addThrough(why verdict.Reasons) verdict.Reasons {
	if c.Entry.Upstream == "" {
		return why
	}
	for _, one := range [...]verdict.Reason{c.Entry.Why, c.Entry.Handed} {
		if !why.Has(one) {
			why = why.And(one)
		}
	}
	return why
}
