package tenant_test

import (
	"strings"
	"testing"

	"coexistd/policy/tenant"
)

func TestPlatformsShareNetworksWhenNoProofIsOfBoth(t *testing.T) {
	for _, c := range []struct {
		about      string
		one, other tenant.Proofs
		want       string
	}{
		{"two tenants", tenant.Proofs{Tenant: ours}, tenant.Proofs{Tenant: other}, ""},
		{"tenant and header", tenant.Proofs{Tenant: ours}, tenant.Proofs{Header: "X-Proof"}, ""},
		{"certificates and signatures of their own", tenant.Proofs{Certificate: "a.example", Domains: []string{"a.example"}},
			tenant.Proofs{Certificate: "b.example", Domains: []string{"b.example", "sub.a.example"}}, ""},
		{"one without a proof", tenant.Proofs{}, tenant.Proofs{Tenant: ours}, "platform one has none; add tenant or proof"},
		{"the same tenant", tenant.Proofs{Tenant: ours, Header: "X-One"}, tenant.Proofs{Tenant: ours, Header: "X-Other"}, "the tenant " + ours + " proves both"},
		{"a signature of both", tenant.Proofs{Domains: []string{"a.example", "c.example"}}, tenant.Proofs{Tenant: ours, Domains: []string{"b.example", "c.example"}}, "a signature of c.example proves both"},
		{"the same certificate", tenant.Proofs{Certificate: "a.example"}, tenant.Proofs{Certificate: "a.example", Tenant: ours}, "the certificate of a.example proves both"},
		{"the certificate of every tenant", tenant.Proofs{Certificate: tenant.SharedCertificate}, tenant.Proofs{Tenant: ours}, "the certificate of " + tenant.SharedCertificate + " proves both"},
	} {
		for _, order := range [...][2]string{{"one", "other"}, {"other", "one"}} {
			err := tenant.Rules{"one": c.one, "other": c.other}.MayShare(order[0], order[1])
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %v: %v; want %q", c.about, order, err, c.want)
			}
		}
	}
	if err := (tenant.Rules{"one": {Tenant: ours}}).MayShare("one", "unknown"); err == nil {
		t.Error("a platform that nothing is known of has no proof")
	}
}
