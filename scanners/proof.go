package scanners

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy"
)

// CrossTenantHeader carries the GUID of the tenant that Exchange Online sent a
// message for. Anyone can write it; it says something only of a message from
// Exchange Online's addresses.
const CrossTenantHeader = "X-MS-Exchange-CrossTenant-Id"

// Evidence is what a message from a platform's addresses has to prove its tenant
// with.
type Evidence struct {
	// Values returns the values of the message's header fields of a name, folded or
	// not.
	Values func(name string) []string
	// Certificate is the common name of the client's TLS certificate, whose chain the
	// MTA trusts, or empty.
	Certificate string
	// DKIM is what was found of the message's signatures, nil until they were
	// verified.
	DKIM []policy.DKIM
}

// Prove finds whether a message from a platform's addresses comes from our
// tenant there. One of the platform's proofs is enough:
//
//   - CrossTenantHeader stands in it exactly once and holds our tenant's GUID and
//     nothing else;
//   - the secret header stands in it exactly once and holds the secret;
//   - the client's certificate has the name;
//   - a signature of one of the domains, not of one below it, has passed.
func Prove(platform *policy.Platform, e Evidence) policy.Proof {
	var lacks []string
	for _, prove := range [...]func(*policy.Platform, Evidence) (is, isNot string){byTenant, bySecret, byCertificate, byDKIM} {
		is, isNot := prove(platform, e)
		if is != "" {
			return policy.Proof{Proven: true, Why: is}
		}
		if isNot != "" {
			lacks = append(lacks, isNot)
		}
	}
	if len(lacks) == 0 {
		lacks = []string{"no proof of the tenant is configured for " + platform.Name}
	}
	return policy.Proof{Why: strings.Join(lacks, "; ") + ": the message counts as S0"}
}

// NeedsDKIM reports that nothing has proven the tenant, and that the message's
// signatures, which were not verified yet, could.
func NeedsDKIM(platform *policy.Platform, e Evidence) bool {
	return len(platform.Proof.Domains) > 0 && e.DKIM == nil && len(e.Values("DKIM-Signature")) > 0 && !Prove(platform, e).Proven
}

func byTenant(platform *policy.Platform, e Evidence) (is, isNot string) {
	if platform.Proof.Tenant == "" {
		return "", ""
	}
	value, isNot := only(e, CrossTenantHeader)
	switch {
	case isNot != "":
		return "", isNot
	case !equalFold(value, platform.Proof.Tenant):
		return "", CrossTenantHeader + " names another tenant"
	}
	return CrossTenantHeader + " names our tenant", ""
}

func bySecret(platform *policy.Platform, e Evidence) (is, isNot string) {
	name := platform.Proof.Header
	if name == "" {
		return "", ""
	}
	value, isNot := only(e, name)
	if isNot != "" {
		return "", isNot
	}
	if sum := sha256.Sum256([]byte(value)); subtle.ConstantTimeCompare(sum[:], platform.Proof.Secret[:]) != 1 {
		return "", name + " does not hold the secret"
	}
	return name + " holds the secret", ""
}

func byCertificate(platform *policy.Platform, e Evidence) (is, isNot string) {
	name := platform.Proof.Certificate
	switch {
	case name == "":
		return "", ""
	case e.Certificate == "":
		return "", "the client has no certificate that the MTA trusts"
	case !equalFold(e.Certificate, name):
		return "", "the client's certificate is not that of " + name
	}
	return "the client's certificate is that of " + name, ""
}

func byDKIM(platform *policy.Platform, e Evidence) (is, isNot string) {
	domains := platform.Proof.Domains
	if len(domains) == 0 {
		return "", ""
	}
	isNot = "no signature is one of " + strings.Join(domains, ", ")
	for _, signature := range e.DKIM {
		switch {
		case !slices.Contains(domains, signature.Domain):
		case signature.Result == policy.AuthPass:
			return "a signature of " + signature.Domain + " passes", ""
		default:
			isNot = fmt.Sprintf("the signature of %s does not pass but is %s", signature.Domain, signature.Result)
		}
	}
	return "", isNot
}

// only returns the one value of a field, without the white space around it. isNot
// says that there is none, or several.
func only(e Evidence, name string) (value, isNot string) {
	values := e.Values(name)
	switch len(values) {
	case 0:
		return "", "the message lacks " + name
	case 1:
		return strings.Trim(values[0], " \t\r\n"), ""
	}
	return "", fmt.Sprintf("the message has %d headers %s", len(values), name)
}

// equalFold compares with a text of ASCII, of which no letter of another script
// takes as many bytes as the one that it folds to.
func equalFold(text, ascii string) bool {
	return len(text) == len(ascii) && strings.EqualFold(text, ascii)
}
