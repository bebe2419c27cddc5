package tenant_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
)

const (
	ours  = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
	other = "11111111-2222-3333-4444-555555555555"
)

// fields are header fields, as name and value.
type fields [][2]string

func (f fields) header() *mail.Header {
	h := &mail.Header{}
	for _, field := range f {
		h.Add([]byte(field[0]), []byte(field[1]))
	}
	return h
}

// prove asks for one platform. What is proven is proven there and is not absent.
func prove(t *testing.T, r tenant.Rules, platform string, e tenant.Evidence) tenant.Proof {
	t.Helper()
	proof := r.Prove([]string{platform}, e)
	if proof.Platform != "" && (proof.Platform != platform || proof.Absent != nil) {
		t.Errorf("got %+v", proof)
	}
	return proof
}

func TestATenantIsProvenByItsHeaderAloneAndExactlyOnce(t *testing.T) {
	const name = tenant.CrossTenantHeader
	for _, c := range []struct {
		about   string
		tenant  string
		headers fields
		proven  bool
		why     string
	}{
		{"ours", ours, fields{{name, ours}}, true, "names our tenant"},
		{"ours with a leading space", ours, fields{{name, " " + ours}}, true, "names our tenant"},
		{"ours in upper case", ours, fields{{name, " " + strings.ToUpper(ours)}}, true, "names our tenant"},
		{"ours, folded with LF", ours, fields{{name, "\n\t" + ours}}, true, "names our tenant"},
		{"ours, folded with CRLF", ours, fields{{name, " \r\n " + ours + " "}}, true, "names our tenant"},
		{"the name with -id", ours, fields{{"X-MS-Exchange-CrossTenant-id", ours}}, true, "names our tenant"},
		{"the name in lower case", ours, fields{{strings.ToLower(name), ours}}, true, "names our tenant"},
		{"among others", ours, fields{{"Subject", other}, {name, ours}, {name + "x", other}}, true, "names our tenant"},

		{"no header", ours, nil, false, "lacks"},
		{"a name with a letter that folds to ASCII", ours, fields{{"X-M\u017f-Exchange-CrossTenant-Id", ours}}, false, "lacks"},
		{"only a longer name", ours, fields{{name + "entity", ours}, {"x" + name, ours}}, false, "lacks"},
		{"AuthAs says nothing of the tenant", ours, fields{{"X-MS-Exchange-Organization-AuthAs", "Internal"}}, false, "lacks"},
		{"a foreign tenant", ours, fields{{name, other}}, false, "another tenant"},
		{"ours twice", ours, fields{{name, ours}, {name, ours}}, false, "2 headers"},
		{"ours and a foreign one", ours, fields{{name, ours}, {name, other}}, false, "2 headers"},
		{"a foreign one and ours in another case", ours, fields{{name, other}, {strings.ToUpper(name), ours}}, false, "2 headers"},
		{"ours and an empty one", ours, fields{{name, ours}, {name, ""}}, false, "2 headers"},
		{"an empty one", ours, fields{{name, ""}}, false, "another tenant"},
		{"text behind it", ours, fields{{name, ours + " (checked)"}}, false, "another tenant"},
		{"text before it", ours, fields{{name, "id=" + ours}}, false, "another tenant"},
		{"two in one header", ours, fields{{name, other + ", " + ours}}, false, "another tenant"},
		{"folded inside", ours, fields{{name, ours[:8] + "\r\n " + ours[8:]}}, false, "another tenant"},
		{"in braces", ours, fields{{name, "{" + ours + "}"}}, false, "another tenant"},
		{"a NUL behind it", ours, fields{{name, ours + "\x00"}}, false, "another tenant"},
		{"a part of it", ours, fields{{name, ours[:35]}}, false, "another tenant"},
		{"no tenant configured", "", fields{{name, ours}}, false, "no proof of the tenant is configured for office365"},
		{"no tenant configured, an empty header", "", fields{{name, ""}}, false, "no proof of the tenant is configured"},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := tenant.Rules{"office365": {Tenant: c.tenant}}
			proof := prove(t, r, "office365", tenant.Evidence{Header: c.headers.header()})
			why := proof.Reasons.String()
			if (proof.Platform != "") != c.proven || !strings.Contains(why, c.why) {
				t.Errorf("got %+v, want %v, %q", proof, c.proven, c.why)
			}
			if !c.proven && !strings.Contains(why, "counts as S0") {
				t.Errorf("the reason does not say what follows: %q", why)
			}
			if strings.Contains(why, other) {
				t.Errorf("the reason repeats what a stranger wrote: %q", why)
			}
		})
	}
}

const secret = "open, sesame: 0123456789"

// anyProof takes any of the four.
func anyProof() tenant.Proofs {
	return tenant.Proofs{
		Tenant: ours, Header: "X-Coexist-Proof", Secret: sha256.Sum256([]byte(secret)),
		Certificate: "mail.example.net", Domains: []string{"acmecorp.com", "acmecorp.example"},
	}
}

func TestOneProofIsEnough(t *testing.T) {
	for _, c := range []struct {
		about    string
		evidence tenant.Evidence
		headers  fields
		proven   bool
		why      string
	}{
		{"the secret", tenant.Evidence{}, fields{{"X-Coexist-Proof", secret}}, true, "X-Coexist-Proof holds the secret"},
		{"the secret, folded around, the name in another case", tenant.Evidence{}, fields{{"X-COEXIST-proof", "\r\n\t" + secret + " "}}, true, "holds the secret"},
		{"the secret beside a foreign tenant", tenant.Evidence{}, fields{{"X-Coexist-Proof", secret}, {tenant.CrossTenantHeader, other}}, true, "holds the secret"},
		{"our tenant beside a wrong secret", tenant.Evidence{}, fields{{"X-Coexist-Proof", other}, {tenant.CrossTenantHeader, ours}}, true, "names our tenant"},
		{"the secret in another case", tenant.Evidence{}, fields{{"X-Coexist-Proof", strings.ToUpper(secret)}}, false, "X-Coexist-Proof does not hold the secret"},
		{"the secret twice", tenant.Evidence{}, fields{{"X-Coexist-Proof", secret}, {"x-coexist-proof", secret}}, true, "X-Coexist-Proof holds the secret"},
		{"the secret twice and a wrong one", tenant.Evidence{}, fields{{"X-Coexist-Proof", secret}, {"X-Coexist-Proof", secret}, {"X-Coexist-Proof", other}}, false, "2 headers X-Coexist-Proof"},
		{"a wrong one twice", tenant.Evidence{}, fields{{"X-Coexist-Proof", other}, {"X-Coexist-Proof", other}}, false, "does not hold the secret"},
		{"the secret between wrong ones", tenant.Evidence{}, fields{{"X-Coexist-Proof", other}, {"X-Coexist-Proof", secret}, {"X-Coexist-Proof", other}}, false, "3 headers X-Coexist-Proof"},
		{"the secret and a wrong one", tenant.Evidence{}, fields{{"X-Coexist-Proof", other}, {"X-Coexist-Proof", secret}}, false, "2 headers X-Coexist-Proof"},
		{"a part of the secret", tenant.Evidence{}, fields{{"X-Coexist-Proof", secret[:20]}}, false, "does not hold the secret"},
		{"the secret folded inside", tenant.Evidence{}, fields{{"X-Coexist-Proof", secret[:4] + "\r\n " + secret[5:]}}, false, "does not hold the secret"},
		{"an empty secret", tenant.Evidence{}, fields{{"X-Coexist-Proof", ""}}, false, "does not hold the secret"},

		{"the certificate", tenant.Evidence{Certificate: "mail.example.net"}, nil, true, "certificate is that of mail.example.net"},
		{"the certificate in another case", tenant.Evidence{Certificate: "Mail.Example.NET"}, nil, true, "certificate is that of"},
		{"a certificate below it", tenant.Evidence{Certificate: "a.mail.example.net"}, nil, false, "certificate is not that of mail.example.net"},
		{"a certificate with a letter that folds to ASCII", tenant.Evidence{Certificate: "mail.example.n\u212at"}, nil, false, "certificate is not that of"},
		{"no certificate", tenant.Evidence{}, nil, false, "the client has no certificate"},

		{"a signature", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthPass, Domain: "acmecorp.com"}}}, nil, true, "a signature of acmecorp.com passes"},
		{"the second signature", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthFail, Domain: "acmecorp.com"}, {Result: spoof.AuthPass, Domain: "acmecorp.example"}}}, nil, true, "acmecorp.example passes"},
		{"a signature from below the domain", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthPass, Domain: "news.acmecorp.com"}}}, nil, false, "no signature is one of acmecorp.com"},
		{"a signature from above the domain", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthPass, Domain: "com"}}}, nil, false, "no signature is one of"},
		{"a foreign signature", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthPass, Domain: "evil.example"}}}, nil, false, "no signature is one of"},
		{"a signature that fails", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthFail, Domain: "acmecorp.com"}}}, nil, false, "signature of acmecorp.com does not pass but is fail"},
		{"a signature whose key the DNS keeps", tenant.Evidence{Signatures: []spoof.DKIM{{Result: spoof.AuthTempError, Domain: "acmecorp.com"}}}, nil, false, "is temperror"},
		{"signatures not verified", tenant.Evidence{}, fields{{"DKIM-Signature", "v=1; d=acmecorp.com"}}, false, "no signature is one of"},
	} {
		t.Run(c.about, func(t *testing.T) {
			c.evidence.Header = c.headers.header()
			proof := prove(t, tenant.Rules{"google": anyProof()}, "google", c.evidence)
			why := proof.Reasons.String()
			if (proof.Platform != "") != c.proven || !strings.Contains(why, c.why) {
				t.Errorf("got %+v, want %v, %q", proof, c.proven, c.why)
			}
			if strings.Contains(why, secret) || strings.Contains(why, other) || strings.Contains(why, "evil.example") {
				t.Errorf("the reason repeats a secret or what a stranger wrote: %q", why)
			}
		})
	}
}

func TestAHeaderThatProvesAnotherTenantIsForeign(t *testing.T) {
	signature := func(result spoof.AuthResult) []spoof.DKIM {
		return []spoof.DKIM{{Result: result, Domain: "acmecorp.com"}}
	}
	const name = tenant.CrossTenantHeader
	for _, c := range []struct {
		about             string
		headers           fields
		found             []spoof.DKIM
		foreign, isAbsent bool
	}{
		{"nothing", nil, nil, false, true},
		{"another tenant", fields{{name, other}}, nil, true, false},
		{"our tenant twice", fields{{name, ours}, {name, ours}}, nil, true, false},
		{"a wrong secret", fields{{"X-Coexist-Proof", other}}, nil, true, false},
		{"another tenant and a signature that fails", fields{{name, other}}, signature(spoof.AuthFail), true, false},
		{"another tenant beside the secret", fields{{name, other}, {"X-Coexist-Proof", secret}}, nil, false, false},
		{"another tenant beside our signature", fields{{name, other}}, signature(spoof.AuthPass), false, false},
		{"a signature that fails, as where a list added a footer", nil, signature(spoof.AuthFail), false, false},
	} {
		proof := prove(t, tenant.Rules{"google": anyProof()}, "google", tenant.Evidence{Header: c.headers.header(), Signatures: c.found})
		if proof.Foreign != c.foreign || (len(proof.Absent) > 0) != c.isAbsent {
			t.Errorf("%s: got %+v", c.about, proof)
		}
	}
}

func TestWhatIsNotConfiguredProvesNothing(t *testing.T) {
	everything := tenant.Evidence{
		Header: fields{
			{tenant.CrossTenantHeader, ours}, {tenant.CrossTenantHeader + "x", ""}, {"", ""}, {"X-Coexist-Proof", secret},
		}.header(),
		Certificate: "mail.example.net",
		Signatures:  []spoof.DKIM{{Result: spoof.AuthPass, Domain: "acmecorp.com"}, {Result: spoof.AuthPass}},
	}
	proof := prove(t, tenant.Rules{}, "google", everything)
	if proof.Platform != "" || !strings.Contains(proof.Reasons.String(), "counts as S0") {
		t.Errorf("got %+v", proof)
	}
}

func TestSignaturesAreVerifiedOnlyWhereTheyCanProveTheTenant(t *testing.T) {
	signed := fields{{"DKIM-Signature", "v=1"}}
	without := anyProof()
	without.Domains = nil
	for _, c := range []struct {
		about   string
		proofs  tenant.Proofs
		headers fields
		found   []spoof.DKIM
		needs   bool
	}{
		{"a signature that was not verified", anyProof(), signed, nil, true},
		{"a signature beside a foreign tenant", anyProof(), append(fields{{tenant.CrossTenantHeader, other}}, signed...), nil, true},
		{"no signature", anyProof(), nil, nil, false},
		{"none of its signatures counts", without, signed, nil, false},
		{"what is proven already", anyProof(), append(fields{{"X-Coexist-Proof", secret}}, signed...), nil, false},
		{"signatures that were verified", anyProof(), signed, []spoof.DKIM{}, false},
	} {
		t.Run(c.about, func(t *testing.T) {
			e := tenant.Evidence{Header: c.headers.header(), Signatures: c.found}
			if got := (tenant.Rules{"google": c.proofs}).Prove([]string{"google"}, e).Pending; got != c.needs {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestOfSeveralPlatformsTheProofPicksOne(t *testing.T) {
	rules := tenant.Rules{
		"office365": {Tenant: ours},
		"subsidiary": {Tenant: other, Header: "X-Subsidiary", Secret: sha256.Sum256([]byte(secret)),
			Domains: []string{"acme.net"}},
	}
	both := []string{"office365", "subsidiary"}
	for _, c := range []struct {
		about      string
		headers    fields
		signatures []spoof.DKIM
		platform   string
		absent     bool
		why        string
	}{
		{"the one tenant", fields{{tenant.CrossTenantHeader, ours}}, nil, "office365", false, "names our tenant"},
		{"the other tenant", fields{{tenant.CrossTenantHeader, other}}, nil, "subsidiary", false, "names our tenant"},
		{"the other's secret", fields{{"X-Subsidiary", secret}}, nil, "subsidiary", false, "holds the secret"},
		{"the other's signature", nil, []spoof.DKIM{{Result: spoof.AuthPass, Domain: "acme.net"}}, "subsidiary", false, "a signature of acme.net passes"},
		{"what proves both: the first counts", fields{{tenant.CrossTenantHeader, ours}, {"X-Subsidiary", secret}}, nil, "office365", false, ""},
		{"a third tenant", fields{{tenant.CrossTenantHeader, "22222222-2222-3333-4444-555555555555"}}, nil, "", false, "names another tenant"},
		{"the other's secret, wrong", fields{{"X-Subsidiary", "wrong"}}, nil, "", false, "does not hold the secret"},
		{"nothing", nil, nil, "", true, "the message lacks X-MS-Exchange-CrossTenant-Id; the message lacks X-MS-Exchange-CrossTenant-Id; the message lacks X-Subsidiary"},
	} {
		t.Run(c.about, func(t *testing.T) {
			proof := rules.Prove(both, tenant.Evidence{Header: c.headers.header(), Signatures: c.signatures})
			var absent []string
			if c.absent {
				absent = both
			}
			if proof.Platform != c.platform || !slices.Equal(proof.Absent, absent) || !strings.Contains(proof.Reasons.String(), c.why) {
				t.Errorf("got %+v: %s", proof, proof.Reasons)
			}
		})
	}
	e := tenant.Evidence{Header: fields{{"DKIM-Signature", "v=1"}}.header()}
	if !rules.Prove(both, e).Pending || rules.Prove(both[:1], e).Pending {
		t.Error("signatures are verified where one of the platforms has a domain that signs, and only there")
	}
}

func TestAProofIsAbsentWhereNothingThatCouldBeOneIsThere(t *testing.T) {
	const name = tenant.CrossTenantHeader
	result := func(all ...spoof.AuthResult) []spoof.DKIM {
		var found []spoof.DKIM
		for _, r := range all {
			found = append(found, spoof.DKIM{Result: r, Domain: "acmecorp.com"})
		}
		return found
	}
	stranger := []spoof.DKIM{{Result: spoof.AuthPass, Domain: "evil.example"}}
	for _, c := range []struct {
		about    string
		proofs   tenant.Proofs
		evidence tenant.Evidence
		headers  fields
		absent   bool
	}{
		{"nothing", anyProof(), tenant.Evidence{}, nil, true},
		{"nothing, signatures verified", anyProof(), tenant.Evidence{Signatures: []spoof.DKIM{}}, nil, true},
		{"a stranger's signature", anyProof(), tenant.Evidence{Signatures: stranger}, nil, true},
		{"a signature whose key the DNS keeps", anyProof(), tenant.Evidence{Signatures: result(spoof.AuthTempError)}, nil, true},
		{"a signature that fails", anyProof(), tenant.Evidence{Signatures: result(spoof.AuthFail)}, nil, false},
		{"a signature that cannot be read", anyProof(), tenant.Evidence{Signatures: result(spoof.AuthPermError)}, nil, false},
		{"one that fails before one whose key the DNS keeps", anyProof(), tenant.Evidence{Signatures: result(spoof.AuthFail, spoof.AuthTempError)}, nil, false},
		{"one that fails behind it", anyProof(), tenant.Evidence{Signatures: result(spoof.AuthTempError, spoof.AuthFail)}, nil, false},
		{"a foreign tenant", anyProof(), tenant.Evidence{}, fields{{name, other}}, false},
		{"an empty tenant", anyProof(), tenant.Evidence{}, fields{{name, ""}}, false},
		{"our tenant, doubled", anyProof(), tenant.Evidence{}, fields{{name, ours}, {name, ours}}, false},
		{"a wrong secret", anyProof(), tenant.Evidence{}, fields{{"X-Coexist-Proof", "wrong"}}, false},
		{"the secret beside a wrong one", anyProof(), tenant.Evidence{}, fields{{"X-Coexist-Proof", secret}, {"X-Coexist-Proof", "wrong"}}, false},
		{"a foreign tenant, where another way proves ours", tenant.Proofs{Header: "X-Coexist-Proof"}, tenant.Evidence{}, fields{{name, other}}, true},
		{"nothing, and nothing could prove it", tenant.Proofs{}, tenant.Evidence{}, nil, false},
	} {
		t.Run(c.about, func(t *testing.T) {
			c.evidence.Header = c.headers.header()
			if proof := prove(t, tenant.Rules{"google": c.proofs}, "google", c.evidence); (proof.Absent != nil) != c.absent || proof.Platform != "" {
				t.Errorf("got %+v: %s", proof, proof.Reasons)
			}
		})
	}
}
