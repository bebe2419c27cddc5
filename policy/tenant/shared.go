package tenant

import (
	"fmt"
	"slices"
)

// SharedCertificate is the common name of the certificate that Office 365 shows for
// whichever tenant it sends.
const SharedCertificate = "mail.protection.outlook.com"

// MayShare tells whether two platforms may have networks in common, as two tenants of one
// host have. Only what a message proves tells then which of them it comes from, so the
// error says that a proof is missing, or that one proves both.
func (r Rules) MayShare(one, other string) error {
	a, b := r[one], r[other]
	missing, both := "", ""
	switch i := slices.IndexFunc(a.Domains, func(domain string) bool { return slices.Contains(b.Domains, domain) }); {
	case !a.Any():
		missing = one
	case !b.Any():
		missing = other
	case a.Tenant != "" && a.Tenant == b.Tenant:
		both = "the tenant " + a.Tenant
	case a.Certificate == SharedCertificate || a.Certificate != "" && a.Certificate == b.Certificate:
		both = "the certificate of " + a.Certificate
	case b.Certificate == SharedCertificate:
		both = "the certificate of " + b.Certificate
	case i >= 0:
		both = "a signature of " + a.Domains[i]
	default:
		return nil
	}
	const rule = "only a proof tells from which of the two a message comes, and"
	if missing != "" {
		return fmt.Errorf("%s platform %s has none; add tenant or proof to it", rule, missing)
	}
	return fmt.Errorf("%s %s proves both; give each a tenant or proof of its own", rule, both)
}
