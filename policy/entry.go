package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// Arrival is what is known of a message's client when MAIL is given.
type Arrival struct {
	// Listener is the point that the listener's configuration names, or
	// verdict.Undecided.
	Listener verdict.Checkpoint
	// Client is the connecting address; invalid when the MTA gave none.
	Client netip.Addr
	// OnHost is set for mail that the MTA made or took on its own host
	// without SMTP: the sendmail command, Postfix's non_smtpd_milters.
	OnHost bool
	// Login is the authenticated user, or empty.
	Login string
	// Certificate is the common name of the client's TLS certificate, whose chain
	// the MTA trusts, or empty.
	Certificate string
	// TLS is the version of TLS that the client speaks, as "TLSv1.3", or empty.
	TLS string
}

// Entry is where a message enters, as far as its client tells. The zero Entry is that
// nothing is known.
type Entry struct {
	Point verdict.Checkpoint // S0, S1 (provisional) or S2
	// Candidates names the platforms that a provisional entry may be from, sorted: it is
	// S1 if the message proves its tenant at one of them, and S0 if it does not. The
	// networks of a platform are shared by all of its tenants, and by several platforms
	// when two of them are tenants of one host.
	Candidates []string
	// Upstream names the gateway that hands the message on, or is empty. Until the header has
	// come, Candidates are all platforms then. Handed is what its fields say of the client.
	Upstream string
	Handed   verdict.Reason
	OnHost   bool
	// Known is set for a client that need not log in any more, or whom nothing asks to:
	// one that has, that is in OurNetworks or has a certificate of OurCertificates, or
	// this host itself.
	Known bool
	// Unready says why it cannot be told yet where the message enters, or is zero.
	Unready verdict.Reason
	Why     verdict.Reason

	unmet []demand // of those of [[tls]], as far as the client tells
}

// IsProvisional reports an entry that the message's proof is still to settle.
func (e Entry) IsProvisional() bool { return len(e.Candidates) > 0 }

// Enter decides the contact point at which a message enters. What the
// listener says goes first, then the login, then the client's address: whether
// it is of an upstream, ours, or a platform's. A listener of S0 is S0 whoever
// comes; a listener of S1 is S1 for a platform's networks and S0 for all others.
func (p *Policy) Enter(a Arrival) Entry {
	e := p.enter(a)
	if !a.OnHost && (e.Upstream == "" || p.Upstreams[e.Upstream].ByMTA) {
		e.unmet = p.unmet(a.Client, a.TLS, a.Certificate, "")
	}
	return e
}

func (p *Policy) enter(a Arrival) Entry {
	if a.OnHost {
		return Entry{Point: verdict.S2, OnHost: true, Known: true, Why: verdict.Why(verdict.EnteredOnHost)}
	}
	upstream, mayBe := p.Networks.Upstream(a.Client)
	known, isKnown := p.knows(a)
	switch {
	case a.Listener == verdict.S0:
		return Entry{Point: verdict.S0, Upstream: upstream, Why: verdict.Why(verdict.EnteredByListener, "S0")}.unless(mayBe)
	case a.Listener == verdict.S2:
		return Entry{Point: verdict.S2, Known: isKnown, Why: verdict.Why(verdict.EnteredByListener, "S2")}
	case a.Listener == verdict.Undecided && isKnown && (a.Login != "" || upstream == "" || p.Upstreams[upstream].ByMTA):
		return Entry{Point: verdict.S2, Known: true, Why: known}
	case upstream != "":
		return p.enterThrough(upstream, a)
	}
	candidates, pending := p.Networks.Of(a.Client)
	if len(candidates) > 0 {
		return Entry{
			Point: verdict.S1, Candidates: candidates,
			Why: verdict.Why(verdict.EnteredByPlatform, strings.Join(candidates, " and ")).Of(a.Client),
		}
	}
	e := Entry{Point: verdict.S0, Why: verdict.Why(verdict.EnteredByStranger).Of(a.Client)}
	if !a.Client.IsValid() {
		e.Why = verdict.Why(verdict.EnteredWithoutAddress)
	}
	return e.unless(cmp.Or(pending, mayBe))
}

// unless is the entry of a client who may turn out to be of a platform or an upstream of that
// name; empty: of none.
func (e Entry) unless(pending string) Entry {
	if pending != "" {
		e.Unready = verdict.Why(verdict.NetworksNotKnown, pending)
	}
	return e
}

// knows tells whether a client is one of ours, and why.
func (p *Policy) knows(a Arrival) (why verdict.Reason, known bool) {
	switch {
	case a.Login != "":
		return verdict.Why(verdict.EnteredByLogin, a.Login), true
	case p.OurNetworks.Has(a.Client):
		return verdict.Why(verdict.EnteredByOurNetworks).Of(a.Client), true
	case a.Certificate != "" && slices.Contains(p.OurCertificates, strings.ToLower(a.Certificate)):
		return verdict.Why(verdict.EnteredByCertificate, a.Certificate), true
	}
	return verdict.Reason{}, false
}

// outcomes lists what an entry may turn out to be.
func (p *Policy) outcomes(e Entry) []route.Origin {
	all := []route.Origin{p.settle(e, "")}
	for _, name := range e.Candidates {
		all = append(all, p.settle(e, name))
	}
	return all
}

// settle turns an entry into what it is for a message that is proven to be from our
// tenant at that platform, or at none.
func (p *Policy) settle(e Entry, proven string) route.Origin {
	from := route.Origin{Point: e.Point, OnHost: e.OnHost}
	if e.IsProvisional() {
		from = p.tenantOf(proven)
	}
	from.Upstream = e.Upstream != ""
	return from
}

// tenantOf is where mail of our tenant at a platform enters, and the Internet's where
// there is no such platform.
func (p *Policy) tenantOf(name string) route.Origin {
	if platform := p.Routes.Platform(name); platform != nil {
		return route.Origin{Point: verdict.S1, Platform: platform}
	}
	return route.Origin{Point: verdict.S0}
}
