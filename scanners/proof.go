package scanners

import (
	"fmt"
	"strings"

	"coexistd/policy"
)

// CrossTenantHeader carries the GUID of the tenant that Exchange Online sent a
// message for. Anyone can write it; it says something only of a message from
// Exchange Online's addresses.
const CrossTenantHeader = "X-MS-Exchange-CrossTenant-Id"

// Prove finds whether a message from a platform's addresses comes from our
// tenant there. It does when CrossTenantHeader stands in it exactly once and
// holds our tenant's GUID and nothing else. Values returns the values of the
// message's header fields of a name, folded or not.
func Prove(platform *policy.Platform, values func(name string) []string) policy.Proof {
	if platform.Tenant == "" {
		return policy.Proof{Why: fmt.Sprintf("no tenant is configured for %s, so the message counts as S0", platform.Name)}
	}
	tenants := values(CrossTenantHeader)
	switch {
	case len(tenants) == 0:
		return policy.Proof{Why: fmt.Sprintf("the message lacks %s, so it counts as S0", CrossTenantHeader)}
	case len(tenants) > 1:
		return policy.Proof{Why: fmt.Sprintf("the message has %d headers %s, so it counts as S0", len(tenants), CrossTenantHeader)}
	case !strings.EqualFold(strings.Trim(tenants[0], " \t\r\n"), platform.Tenant):
		return policy.Proof{Why: fmt.Sprintf("%s names another tenant, so the message counts as S0", CrossTenantHeader)}
	}
	return policy.Proof{Proven: true, Why: fmt.Sprintf("%s names our tenant", CrossTenantHeader)}
}
