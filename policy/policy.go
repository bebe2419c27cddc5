package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Policy is a whole configuration in the form that decisions need: no text
// left to parse, every name resolved. It is never changed once it is built, so
// any number of messages may be decided with one Policy at once.
type Policy struct {
	// Hostname names this system in trace headers.
	Hostname string
	// OurNetworks are the clients that are ours without authentication, and
	// OurCertificates the common names of the TLS certificates of such clients, in
	// lower case.
	OurNetworks     []netip.Prefix
	OurCertificates []string
	// Platforms are the other platforms, sorted by name.
	Platforms []*Platform
	// Domains maps a domain's normal form (see NormalDomain) to its settings.
	Domains map[string]*Domain
	// Points says what is done at each contact point. PastMX takes the place of
	// S0 for recipients in a domain whose MX points to another platform.
	Points map[Checkpoint]Point
	PastMX Point
	// Allow spares some mail some checks.
	Allow []Allowance
	// Rates, DDoS and Spoof are what the checks of these names go by.
	Rates []Rate
	DDoS  DDoS
	Spoof Spoof
	// Delimiters holds the characters that separate a subaddress's tag from
	// the owner's local part (RFC 5233 section 2): usually "+". Empty: none.
	Delimiters string
	// MaxPasses is how many times a message may be sent on for one recipient;
	// when it comes back once more, it is refused.
	MaxPasses int
	// Outbound names the platform through which all mail for the Internet
	// leaves; empty when it leaves from here.
	Outbound string
	// TraceKey signs trace headers. Hosts that share mail share the key.
	TraceKey []byte
}

// Platform is another platform: Office 365, Google Workspace, or a further
// one that the administrator names.
type Platform struct {
	// Name is the configuration's name, in lower case: "office365".
	Name string
	// Letter stands for the platform in flows: "O" in "S4=>O1". See Letters.
	Letter string
	// Networks are the addresses from which the platform sends. All of its
	// tenants share them. Pending is set while a part of them is not known yet.
	Networks []netip.Prefix
	Pending  bool
	// Proof is how a message proves that it comes from our tenant there. One of
	// its ways is enough. Without any, no message is S1.
	Proof Proofs
	// MayRelay allows the platform's users, once their tenant is proven, to
	// send mail to the Internet through us.
	MayRelay bool
	// Relay is the host that takes mail for the platform, as Postfix writes a
	// transport's next hop: "[acmecorp-com.mail.protection.outlook.com]:25".
	// Empty: the MTA finds the host by MX.
	Relay string
}

// Proofs are the ways in which a message can prove its tenant. Those that are
// empty do not count.
type Proofs struct {
	// Tenant is the GUID that Office 365 puts into X-MS-Exchange-CrossTenant-Id, in
	// lower case.
	Tenant string
	// Domains are those whose DKIM signature proves it, in normal form.
	Domains []string
	// Header is the name of a header that a rule over there adds, and Secret the
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

// Domain is one email domain that is ours. A subdomain is a domain of its own.
type Domain struct {
	// Name is the domain's normal form.
	Name string
	// MX names the platform to which the domain's MX points, or is empty when
	// it points here.
	MX string
	// RefusePastMX refuses mail from the Internet that comes here although MX
	// names another platform.
	RefusePastMX bool
	// Unlisted says where an address lives that the directory lacks. It is
	// consulted only when AcceptUnlisted is set; otherwise such an address is
	// refused.
	Unlisted       Residence
	AcceptUnlisted bool
	// Alternates maps a platform's name to the normal form of the alternate
	// domain that reaches this domain's mailboxes there.
	Alternates map[string]string
}

// Residence reads a residence as a directory writes it: "here", "moving",
// "both", "both:PLATFORM" or a platform's name, in any case. The error says
// what the domain allows.
func (d *Domain) Residence(word string) (Residence, error) {
	word = strings.ToLower(strings.TrimSpace(word))
	switch word {
	case "here":
		return Residence{}, nil
	case "moving":
		return Residence{Kind: Moving}, nil
	case "both":
		if len(d.Alternates) == 1 {
			for name := range d.Alternates {
				return Residence{Kind: Both, Platform: name}, nil
			}
		}
		return Residence{}, fmt.Errorf("residence %q is ambiguous: %s has %d alternate domains; write both:PLATFORM with one of %s",
			word, d.Name, len(d.Alternates), d.platformNames())
	}
	kind, name := There, word
	if rest, ok := strings.CutPrefix(word, "both:"); ok {
		kind, name = Both, rest
	}
	if _, ok := d.Alternates[name]; !ok {
		return Residence{}, fmt.Errorf("residence %q is not known for %s; it would be here, both, moving or one of %s",
			word, d.Name, d.platformNames())
	}
	return Residence{Kind: kind, Platform: name}, nil
}

// platformNames lists the platforms that hold mailboxes of the domain.
func (d *Domain) platformNames() string {
	names := slices.Sorted(maps.Keys(d.Alternates))
	if len(names) == 0 {
		return "a platform, once the domain's alternate names it"
	}
	return strings.Join(names, ", ")
}

// Platform returns the platform of that name, or nil.
func (p *Policy) Platform(name string) *Platform {
	for _, platform := range p.Platforms {
		if platform.Name == name {
			return platform
		}
	}
	return nil
}

// Letters gives each platform's name the letter that stands for it in flows:
// O for office365, G for google, else the name's first letter. A letter that
// another platform has (office365 and google go first, the rest by name), or
// that our own points use (S, L, E), makes way for the whole name.
func Letters(names []string) map[string]string {
	letters := make(map[string]string, len(names))
	taken := map[string]bool{"S": true, "L": true, "E": true}
	rank := func(name string) int {
		if name == "office365" || name == "google" {
			return 0
		}
		return 1
	}
	for _, name := range slices.SortedFunc(slices.Values(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	}) {
		upper := strings.ToUpper(name)
		letter := upper[:1]
		if taken[letter] {
			letter = upper
		}
		taken[letter] = true
		letters[name] = letter
	}
	return letters
}
