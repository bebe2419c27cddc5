package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

// TLS is what is demanded of the encryption of some connections: of those on which mail comes
// in, and of those on which it leaves.
type TLS struct {
	Name string // stands in the log
	// Domains are domains, as their normal forms, and with a dot before it what is below one:
	// those of senders on the way in, and of recipients on the way out.
	Domains []string
	// Clients and Platform say whose connections are meant on the way in. Each condition that
	// is not empty must hold.
	Clients  networks.Set
	Platform string
	// In is what is demanded of a client, and Out of a server.
	In, Out Encryption
	// Version is the least version of TLS, in tenths: 12 for TLS 1.2.
	Version int
	// Names are those that a verified certificate may have, in lower case; a dot before one
	// means what is below it. None: any on the way in, and on the way out the MTA's own rule.
	Names []string
}

// Encryption is how much a connection must be protected. The zero value demands nothing.
type Encryption string

// The levels. Those of the way out are Postfix's (postconf(5), smtp_tls_security_level).
const (
	Encrypt  Encryption = "encrypt"
	Verify   Encryption = "verify"    // with a certificate whose chain the MTA trusts
	Secure   Encryption = "secure"    // the same, and no name of it comes from the DNS
	DANE     Encryption = "dane"      // as the DNS says, where that is secured (RFC 7672)
	DANEOnly Encryption = "dane-only" // and nowhere else
)

// String returns the level as the configuration has it.
func (e Encryption) String() string { return string(e) }

// demand is one that the client of a message does not meet, or of which that cannot be told.
type demand struct {
	*TLS
	state verdict.State
	why   verdict.Reason
}

// unmet returns the demands that hold for a client whoever the sender is, and that are not met.
// Of a client that was before an upstream, the MTA does not tell how it was connected.
func (p *Policy) unmet(client netip.Addr, version, certificate string, before string) (unmet []demand) {
	for i := range p.TLS {
		rule := &p.TLS[i]
		if rule.In == "" || !rule.isFor(client, p.Networks) {
			continue
		}
		d := demand{TLS: rule, state: verdict.Hit}
		switch {
		case before != "":
			d.state, d.why = verdict.Unknown, verdict.Why(verdict.TLSBeforeUpstream, rule.Name, before)
		case version == "":
			d.why = verdict.Why(verdict.TLSNeeded, rule.Name)
		case TLSVersion(version) < rule.Version:
			d.why = verdict.Why(verdict.TLSTooOld, rule.Name, version, rule.version())
		case rule.In == Encrypt:
			continue
		case certificate == "":
			d.why = verdict.Why(verdict.TLSNotTrusted, rule.Name)
		case len(rule.Names) > 0 && !mail.IsBelow(strings.ToLower(certificate), rule.Names):
			d.why = verdict.Why(verdict.TLSOtherName, rule.Name, certificate)
		default:
			continue
		}
		unmet = append(unmet, d)
	}
	return unmet
}

// isFor reports that the demand is for a client, as far as the client tells. What the MTA's own host
// hands in passes no network: released mail, and that of Sendmail's sendmail command.
func (t *TLS) isFor(client netip.Addr, live networks.Live) bool {
	switch {
	case t.Clients.Len() > 0 && !t.Clients.Has(client):
		return false
	case t.Platform == "":
		return t.Clients.Len() > 0 || !isItself(client)
	}
	platforms, _ := live.Of(client)
	return slices.Contains(platforms, t.Platform)
}

// isItself reports the address by which programs of one host reach each other.
func isItself(client netip.Addr) bool {
	return client == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || client == netip.IPv6Loopback()
}

// isFrom reports that the demand is for mail of a sender. The null sender is in no domain.
func (t *TLS) isFrom(sender mail.Address) bool {
	return len(t.Domains) == 0 || mail.IsBelow(sender.Domain, t.Domains)
}

// encrypted is the finding of the check tls for mail of a sender: the first demand that is not
// met, and before those the first of which nothing can be told.
func (e *Entry) encrypted(sender mail.Address) verdict.Finding {
	f := verdict.Passed(verdict.CheckTLS)
	for i := range e.unmet {
		if d := &e.unmet[i]; d.isFrom(sender) && (f.State == verdict.Clean || f.State == verdict.Unknown && d.state == verdict.Hit) {
			f = verdict.Finding{Check: verdict.CheckTLS, State: d.state, Name: d.Name, Reasons: verdict.Because(d.why)}
		}
	}
	return f
}

// TLSVersion returns a version of TLS in tenths, as OpenSSL names them: 13 for "TLSv1.3", and 10
// for "TLSv1". What is no version of TLS is 0.
func TLSVersion(macro string) int {
	number, found := strings.CutPrefix(macro, "TLSv")
	if !found {
		return 0
	}
	major, minor, _ := strings.Cut(number, ".")
	tenths, err := strconv.Atoi(major)
	more, _ := strconv.Atoi(minor)
	if err != nil || tenths < 1 || tenths > 9 || more < 0 || more > 9 {
		return 0
	}
	return 10*tenths + more
}

// version returns the least version as people write it.
func (t *TLS) version() string { return strconv.Itoa(t.Version/10) + "." + strconv.Itoa(t.Version%10) }

// DemandsTLS reports that something is demanded of clients, or that their certificate is verified.
func (r *Rules) DemandsTLS() (some, verified bool) {
	for i := range r.TLS {
		some = some || r.TLS[i].In != ""
		verified = verified || r.TLS[i].In == Verify
	}
	return some, verified
}

// DemandsOfServers reports that something is demanded on the way out.
func (r *Rules) DemandsOfServers() bool {
	return slices.ContainsFunc(r.TLS, func(one TLS) bool { return one.Out != "" })
}

// Demands returns the first demand on the way out that names a next hop: a recipient's domain, a
// platform's alternate domain, or its relay. Nil: nothing is demanded.
func (r *Rules) Demands(hop string) *TLS {
	for i := range r.TLS {
		if rule := &r.TLS[i]; rule.Out != "" && (slices.Contains(rule.Domains, hop) || rule.Platform != "" && r.Routes.LeadsTo(hop, rule.Platform)) {
			return rule
		}
	}
	return nil
}

// Policy returns what Postfix demands then, as smtp_tls_policy_maps has it (postconf(5)).
func (t *TLS) Policy() string {
	text := t.Out.String()
	if len(t.Names) > 0 && (t.Out == Verify || t.Out == Secure) {
		text += " match=" + strings.Join(t.Names, ":")
	}
	protocols := "!SSLv2:!SSLv3"
	for _, old := range [...]struct {
		name    string
		version int
	}{{"TLSv1", 10}, {"TLSv1.1", 11}, {"TLSv1.2", 12}} {
		if old.version < t.Version {
			protocols += ":!" + old.name
		}
	}
	return text + " protocols=" + protocols
}
