// Package tenant decides whether a message from a platform's addresses comes from our
// tenant there. All tenants of a platform send from the same addresses, so an address
// proves the platform alone.
package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// CrossTenantHeader carries the GUID of the tenant that Exchange Online sent a message
// for. Anyone can write it; it says something only of a message from Exchange Online's
// addresses, and Exchange Online leaves it out at times.
const CrossTenantHeader = "X-MS-Exchange-CrossTenant-Id"

// Proofs are the ways in which a message can prove its tenant at one platform. Those
// that are empty do not count, and one of the others is enough.
type Proofs struct {
	// Tenant is the GUID that CrossTenantHeader must hold, once and with nothing else,
	// in lower case.
	Tenant string
	// Domains are those whose DKIM signature proves it, in normal form. A domain below
	// one of them proves nothing.
	Domains []string
	// Header is the name of a header that a rule over there adds, with one value, and Secret the
	// SHA-256 digest of its value.
	Header string
	Secret [32]byte
	// Certificate is the common name of the client's TLS certificate, in lower case.
	Certificate string
}

// Any reports that there is a way.
func (p *Proofs) Any() bool {
	return p.Tenant != "" || len(p.Domains) > 0 || p.Header != "" || p.Certificate != ""
}

// Rules are the proofs by the platforms' names.
type Rules map[string]Proofs

// SecretHeaders returns the names of the headers that bear secrets, sorted.
func (r Rules) SecretHeaders() []string {
	var names []string
	for _, proofs := range r {
		if proofs.Header != "" {
			names = append(names, proofs.Header)
		}
	}
	slices.Sort(names)
	return names
}

// Evidence is what a message has to prove its tenant with.
type Evidence struct {
	Header *mail.Header
	// Certificate is the common name of the client's TLS certificate, whose chain the
	// MTA trusts, or empty.
	Certificate string
	// Signatures are what was found of the message's DKIM signatures, nil until they
	// were verified.
	Signatures []spoof.DKIM
}

// Proof is what was found of a message's tenant. The zero Proof proves nothing.
type Proof struct {
	// Platform is the one at which our tenant is proven; empty: at none.
	Platform string
	// Absent names the platforms that the client may come from when none is proven, and
	// the message bears nothing that could have been a proof: no header, no signature, no
	// certificate. It is empty for what bears another tenant's.
	Absent []string
	// Foreign is set when none is proven, and a header that proves a tenant is there and does
	// not prove ours: it is another's, wrong, or there with two values.
	Foreign bool
	// Pending is set when none is proven, and the message's signatures, which were not
	// verified yet, could.
	Pending bool
	Reasons verdict.Reasons
}

// Prove finds which of the platforms that the client may come from the message proves
// our tenant at. The first that is proven counts.
func (r Rules) Prove(candidates []string, e Evidence) Proof {
	var lacks []verdict.Reason
	absent, foreign, provable, signs := true, false, false, false
	for _, platform := range candidates {
		proofs := r[platform]
		for _, prove := range [...]func(*Proofs, Evidence) finding{byTenant, bySecret, byCertificate, bySignature} {
			switch f := prove(&proofs, e); f.state {
			case proven:
				return Proof{Platform: platform, Reasons: verdict.Because(f.reason)}
			case contradicted:
				absent, foreign = false, foreign || f.inHeader
				fallthrough
			case lacking:
				lacks = append(lacks, f.reason)
			}
		}
		signs = signs || len(proofs.Domains) > 0
		if proofs.Any() {
			provable = true
		} else {
			lacks = append(lacks, verdict.Why(verdict.ProofNotConfigured, platform))
		}
	}
	if len(lacks) == 0 {
		return Proof{}
	}
	lacks = append(lacks, verdict.Why(verdict.CountsAsInternet))
	proof := Proof{
		Foreign: foreign,
		Pending: signs && e.Signatures == nil && e.Header.Count("DKIM-Signature") > 0,
		Reasons: verdict.Because(lacks...),
	}
	if absent && provable {
		proof.Absent = candidates
	}
	return proof
}

// state is what one way of proof came to.
type state uint8

const (
	notAsked     state = iota // the platform is not proven in this way
	lacking                   // the message bears nothing of the kind
	contradicted              // it bears something else
	proven
)

// finding is what one way of proof found.
type finding struct {
	state    state
	inHeader bool // it was found by byField
	reason   verdict.Reason
}

func found(s state, code verdict.Code, args ...string) finding {
	return finding{state: s, reason: verdict.Why(code, args...)}
}

func byTenant(p *Proofs, e Evidence) finding {
	if p.Tenant == "" {
		return finding{}
	}
	isOurs := func(value string) bool { return equalFold(value, p.Tenant) }
	return byField(values(e.Header, CrossTenantHeader), CrossTenantHeader, isOurs, verdict.TenantNamed, verdict.TenantForeign)
}

func bySecret(p *Proofs, e Evidence) finding {
	if p.Header == "" {
		return finding{}
	}
	isSecret := func(value string) bool {
		sum := sha256.Sum256([]byte(value))
		return subtle.ConstantTimeCompare(sum[:], p.Secret[:]) == 1
	}
	// Two rules over there may both add it.
	return byField(slices.Compact(values(e.Header, p.Header)), p.Header, isSecret, verdict.SecretHeld, verdict.SecretWrong)
}

// values are those of all fields of a name, without the white space around them.
func values(h *mail.Header, name string) []string {
	list := slices.Clone(h.Values(name))
	for i, value := range list {
		list[i] = strings.Trim(value, " \t\r\n")
	}
	return list
}

// byField looks into the one value of the fields of that name that there may be.
func byField(values []string, name string, proves func(value string) bool, right, wrong verdict.Code) finding {
	switch {
	case len(values) == 0:
		return found(lacking, verdict.ProofLacks, name)
	case len(values) > 1:
		return finding{contradicted, true, verdict.Why(verdict.ProofRepeated, name, strconv.Itoa(len(values)))}
	case !proves(values[0]):
		return finding{contradicted, true, verdict.Why(wrong, name)}
	}
	return found(proven, right, name)
}

func byCertificate(p *Proofs, e Evidence) finding {
	switch {
	case p.Certificate == "":
		return finding{}
	case e.Certificate == "":
		return found(lacking, verdict.CertificateLacks)
	case !equalFold(e.Certificate, p.Certificate):
		// Of a platform's many hosts, some may show another.
		return found(lacking, verdict.CertificateForeign, p.Certificate)
	}
	return found(proven, verdict.CertificateShown, p.Certificate)
}

func bySignature(p *Proofs, e Evidence) finding {
	if len(p.Domains) == 0 {
		return finding{}
	}
	f := found(lacking, verdict.SignatureLacks, strings.Join(p.Domains, ", "))
	for _, signature := range e.Signatures {
		switch {
		case !slices.Contains(p.Domains, signature.Domain):
		case signature.Result == spoof.AuthPass:
			return found(proven, verdict.SignaturePasses, signature.Domain)
		default:
			s := contradicted
			if signature.Result == spoof.AuthTempError {
				s = f.state // the next try may tell
			}
			f = found(s, verdict.SignatureFails, signature.Domain, signature.Result.String())
		}
	}
	return f
}

// equalFold compares with a text of ASCII, of which no letter of another script
// takes as many bytes as the one that it folds to.
func equalFold(text, ascii string) bool {
	return len(text) == len(ascii) && strings.EqualFold(text, ascii)
}
