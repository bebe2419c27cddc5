// Package policy decides what becomes of mail in a domain that is split
// between our own mail server and other platforms.
//
// It is pure: facts go in, a decision comes out. It does no I/O, reads no
// clock, and cannot fail. What could not be found out is a fact like any
// other, and the package says what follows from it. The same functions serve the
// daemon, the commands and the tests.
//
// A message passes three functions. Enter names the contact point from what is
// known at MAIL. Admit rules on each recipient at RCPT, where it can be refused
// alone. A Case, opened when the header has come, rules on the whole message at
// its end: Decide gives the verdict, the reply and every change to the message.
//
// The rooms below hold the rules and the facts of one thing each, and this package
// composes them.
package policy

import (
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// Rules are what the administrator's file says, in the form that decisions need: no text
// left to parse, every name resolved. They are never changed once they are in use.
type Rules struct {
	// Hostname names this system in the headers that it adds.
	Hostname string
	// OurNetworks are the clients that are ours without authentication, and
	// OurCertificates the common names of the TLS certificates of such clients, in
	// lower case.
	OurNetworks     networks.Set
	OurCertificates []string
	// Delimiters holds the characters that separate a subaddress's tag from
	// the owner's local part (RFC 5233 section 2): usually "+". Empty: none.
	Delimiters string
	// Header names the header field that tells the result in each accepted message.
	// Empty: none.
	Header string
	// ProbeFrom owns the address to which our probes come back, in the form of
	// mail.Address.Owner. Empty: no bounce of theirs is looked for.
	ProbeFrom string
	// Points says what is done at each contact point. PastMX takes the place of
	// S0 for recipients in a domain whose MX points to another platform.
	Points Points
	PastMX Point
	// Allow spares some mail some checks.
	Allow []Allowance
	// TLS is what is demanded of connections, in order.
	TLS []TLS
	// Archive gets a copy of mail that passes us. Nil: there is none.
	Archive *Archive
	// Upstreams are the gateways in front of us, by their names.
	Upstreams map[string]Upstream
	// Routes, Tenants, Rates, DDoS and Spoof are the rules of their rooms.
	Routes  route.Rules
	Tenants tenant.Rules
	Rates   []rate.Rule
	DDoS    DDoS
	Spoof   spoof.Rules
	// Observe has mail that concerns no domain of ours, and clients before their mail, be
	// observed only: see Policy.Observes.
	Observe bool
}

// Points are what is done at each contact point.
type Points [verdict.S4 + 1]Point

// Policy is everything that messages are decided with: the rules of the file, the keys,
// and the platforms' and upstreams' networks as they are now. It never changes, so any number of
// messages may be decided with one Policy at once.
type Policy struct {
	*Rules
	Keys     seal.Keys
	Networks networks.Live

	names   spoof.Names // ours
	secrets []string    // the names of the headers that bear secrets
	bounded []string    // those of which a message may have few

	observesAny bool // some mail is only observed
}

// New returns the policy of these rules, keys and networks.
func New(rules *Rules, keys seal.Keys, live networks.Live) *Policy {
	p := &Policy{
		Rules: rules, Keys: keys, Networks: live,
		names: spoof.NamesOf(&rules.Routes), secrets: rules.Tenants.SecretHeaders(),
	}
	p.bounded = append([]string{spoof.ResultsHeader, seal.PassHeader}, p.secrets...)
	if rules.Header != "" {
		p.bounded = append(p.bounded, rules.Header)
	}
	p.observesAny = rules.Observe
	for _, domain := range rules.Routes.Domains {
		p.observesAny = p.observesAny || domain.Observe
	}
	return p
}

// Allowance spares some mail some checks: that which meets each of its
// conditions. A condition that is empty holds for all mail, and at least one is
// not empty.
type Allowance struct {
	Name    string // stands in the log
	Checks  []string
	Clients networks.Set
	// Senders and Recipients hold addresses (as mail.Address.Key and Owner have
	// them) and domains as "@" with their normal form.
	Senders, Recipients []string
	// Certificates are names as TLS.Names has them, one of which the client's certificate has,
	// and DKIM domains, one of which has signed the message: itself, or one below it where it
	// begins with a dot.
	Certificates, DKIM []string
}

// spares reports that the allowance spares a message a check, for a recipient.
func (a *Allowance) spares(check string, c *Case, recipient mail.Address) bool {
	return slices.Contains(a.Checks, check) &&
		(a.Clients.Len() == 0 || a.Clients.Has(c.Client)) &&
		(len(a.Senders) == 0 || c.Sender.IsIn(a.Senders)) &&
		(len(a.Recipients) == 0 || recipient.IsIn(a.Recipients)) &&
		(len(a.Certificates) == 0 || c.Certificate != "" && mail.IsBelow(strings.ToLower(c.Certificate), a.Certificates)) &&
		(len(a.DKIM) == 0 || c.isSignedBy(a.DKIM))
}

// stage is a contact point on a recipient's way, with what is done there.
type stage struct {
	at verdict.Checkpoint
	Point
}

// readsBody reports that the checks of a point need the message's body: those of
// scanners, signatures of mail from outside, and limits that count bytes.
func (r *Rules) readsBody(s stage) bool {
	return slices.ContainsFunc(s.Checks, func(c Check) bool {
		switch c.Name {
		case verdict.CheckSpoof:
			return s.at == verdict.S0
		case verdict.CheckRate:
			return slices.ContainsFunc(r.Rates, func(rule rate.Rule) bool {
				return rule.Count == rate.Bytes && slices.Contains(rule.Points, s.at)
			})
		}
		return c.asksScanner()
	})
}

// NeedsContent tells whether the content of some, and of all, messages is read that come
// by a listener with that checkpoint. Mail made on this host is S2 at any listener, a
// pass brings the checks of another point along, and bounces of probes come to any.
func (r *Rules) NeedsContent(listener verdict.Checkpoint) (some, all bool) {
	points := []stage{{verdict.S0, r.Points[verdict.S0]}, {verdict.S0, r.PastMX}}
	for at := verdict.S1; at <= verdict.S4; at++ {
		points = append(points, stage{at, r.Points[at]})
	}
	entries := points[:4]
	switch listener {
	case verdict.S0:
		entries = []stage{points[0], points[1], points[3]}
	case verdict.S2:
		entries = points[3:4]
	}
	return r.ProbeFrom != "" || r.Routes.GoesBySize() || r.mayVerify() || slices.ContainsFunc(points, r.readsBody),
		!slices.ContainsFunc(entries, func(s stage) bool { return !r.readsBody(s) })
}

// mayVerify reports that some message's signatures are verified whatever the checks of
// its point are: they may prove a tenant, or, at S1, a domain that is not the platform's, or
// whom an allowance names.
func (r *Rules) mayVerify() bool {
	if slices.ContainsFunc(r.Allow, func(a Allowance) bool { return len(a.DKIM) > 0 }) {
		return true
	}
	for _, platform := range r.Routes.Platforms {
		proofs := r.Tenants[platform.Name]
		if len(proofs.Domains) > 0 {
			return true
		}
		for _, domain := range r.Routes.Domains {
			if proofs.Any() && !platform.Holds(domain) {
				return true
			}
		}
	}
	return false
}
