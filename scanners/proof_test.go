package scanners_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/scanners"
)

const (
	tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
	other  = "11111111-2222-3333-4444-555555555555"
)

func TestATenantIsProvenByItsHeaderAloneAndExactlyOnce(t *testing.T) {
	const name = scanners.CrossTenantHeader
	for _, c := range []struct {
		about   string
		tenant  string
		headers scanners.Headers
		proven  bool
		why     string
	}{
		{"ours", tenant, scanners.Headers{{name, tenant}}, true, "names our tenant"},
		{"ours with a leading space", tenant, scanners.Headers{{name, " " + tenant}}, true, "names our tenant"},
		{"ours in upper case", tenant, scanners.Headers{{name, " " + strings.ToUpper(tenant)}}, true, "names our tenant"},
		{"ours, folded with LF", tenant, scanners.Headers{{name, "\n\t" + tenant}}, true, "names our tenant"},
		{"ours, folded with CRLF", tenant, scanners.Headers{{name, " \r\n " + tenant + " "}}, true, "names our tenant"},
		{"the name with -id", tenant, scanners.Headers{{"X-MS-Exchange-CrossTenant-id", tenant}}, true, "names our tenant"},
		{"the name in lower case", tenant, scanners.Headers{{strings.ToLower(name), tenant}}, true, "names our tenant"},
		{"among others", tenant, scanners.Headers{{"Subject", other}, {name, tenant}, {name + "x", other}}, true, "names our tenant"},

		{"no header", tenant, nil, false, "lacks"},
		{"a name with a letter that folds to ASCII", tenant, scanners.Headers{{"X-M\u017f-Exchange-CrossTenant-Id", tenant}}, false, "lacks"},
		{"only a longer name", tenant, scanners.Headers{{name + "entity", tenant}, {"x" + name, tenant}}, false, "lacks"},
		{"AuthAs says nothing of the tenant", tenant, scanners.Headers{{"X-MS-Exchange-Organization-AuthAs", "Internal"}}, false, "lacks"},
		{"a foreign tenant", tenant, scanners.Headers{{name, other}}, false, "another tenant"},
		{"ours twice", tenant, scanners.Headers{{name, tenant}, {name, tenant}}, false, "2 headers"},
		{"ours and a foreign one", tenant, scanners.Headers{{name, tenant}, {name, other}}, false, "2 headers"},
		{"a foreign one and ours in another case", tenant, scanners.Headers{{name, other}, {strings.ToUpper(name), tenant}}, false, "2 headers"},
		{"ours and an empty one", tenant, scanners.Headers{{name, tenant}, {name, ""}}, false, "2 headers"},
		{"an empty one", tenant, scanners.Headers{{name, ""}}, false, "another tenant"},
		{"text behind it", tenant, scanners.Headers{{name, tenant + " (checked)"}}, false, "another tenant"},
		{"text before it", tenant, scanners.Headers{{name, "id=" + tenant}}, false, "another tenant"},
		{"two in one header", tenant, scanners.Headers{{name, other + ", " + tenant}}, false, "another tenant"},
		{"folded inside", tenant, scanners.Headers{{name, tenant[:8] + "\r\n " + tenant[8:]}}, false, "another tenant"},
		{"in braces", tenant, scanners.Headers{{name, "{" + tenant + "}"}}, false, "another tenant"},
		{"a NUL behind it", tenant, scanners.Headers{{name, tenant + "\x00"}}, false, "another tenant"},
		{"a part of it", tenant, scanners.Headers{{name, tenant[:35]}}, false, "another tenant"},
		{"no tenant configured", "", scanners.Headers{{name, tenant}}, false, "no proof of the tenant is configured for office365"},
		{"no tenant configured, an empty header", "", scanners.Headers{{name, ""}}, false, "no proof of the tenant is configured"},
	} {
		t.Run(c.about, func(t *testing.T) {
			proof := scanners.Prove(
				&policy.Platform{Name: "office365", Proof: policy.Proofs{Tenant: c.tenant}},
				scanners.Evidence{Values: c.headers.Values})
			if proof.Proven != c.proven || !strings.Contains(proof.Why, c.why) {
				t.Errorf("got %+v, want %v, %q", proof, c.proven, c.why)
			}
			if !proof.Proven && !strings.Contains(proof.Why, "counts as S0") {
				t.Errorf("the reason does not say what follows: %q", proof.Why)
			}
			if strings.Contains(proof.Why, other) {
				t.Errorf("the reason repeats what a stranger wrote: %q", proof.Why)
			}
		})
	}
}

const secret = "open, sesame: 0123456789"

// platform takes any of the four proofs.
func platform() *policy.Platform {
	return &policy.Platform{Name: "google", Proof: policy.Proofs{
		Tenant: tenant, Header: "X-Coexist-Proof", Secret: sha256.Sum256([]byte(secret)),
		Certificate: "mail.example.net", Domains: []string{"acmecorp.com", "acmecorp.example"},
	}}
}

func TestOneProofIsEnough(t *testing.T) {
	for _, c := range []struct {
		about    string
		evidence scanners.Evidence
		headers  scanners.Headers
		proven   bool
		why      string
	}{
		{"the secret", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", secret}}, true, "X-Coexist-Proof holds the secret"},
		{"the secret, folded around, the name in another case", scanners.Evidence{}, scanners.Headers{{"X-COEXIST-proof", "\r\n\t" + secret + " "}}, true, "holds the secret"},
		{"the secret beside a foreign tenant", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", secret}, {scanners.CrossTenantHeader, other}}, true, "holds the secret"},
		{"our tenant beside a wrong secret", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", other}, {scanners.CrossTenantHeader, tenant}}, true, "names our tenant"},
		{"the secret in another case", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", strings.ToUpper(secret)}}, false, "X-Coexist-Proof does not hold the secret"},
		{"the secret twice", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", secret}, {"x-coexist-proof", secret}}, false, "2 headers X-Coexist-Proof"},
		{"the secret and a wrong one", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", other}, {"X-Coexist-Proof", secret}}, false, "2 headers X-Coexist-Proof"},
		{"a part of the secret", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", secret[:20]}}, false, "does not hold the secret"},
		{"the secret folded inside", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", secret[:4] + "\r\n " + secret[5:]}}, false, "does not hold the secret"},
		{"an empty secret", scanners.Evidence{}, scanners.Headers{{"X-Coexist-Proof", ""}}, false, "does not hold the secret"},

		{"the certificate", scanners.Evidence{Certificate: "mail.example.net"}, nil, true, "certificate is that of mail.example.net"},
		{"the certificate in another case", scanners.Evidence{Certificate: "Mail.Example.NET"}, nil, true, "certificate is that of"},
		{"a certificate below it", scanners.Evidence{Certificate: "a.mail.example.net"}, nil, false, "certificate is not that of mail.example.net"},
		{"a certificate with a letter that folds to ASCII", scanners.Evidence{Certificate: "mail.example.n\u212at"}, nil, false, "certificate is not that of"},
		{"no certificate", scanners.Evidence{}, nil, false, "the client has no certificate"},

		{"a signature", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthPass, Domain: "acmecorp.com"}}}, nil, true, "a signature of acmecorp.com passes"},
		{"the second signature", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthFail, Domain: "acmecorp.com"}, {Result: policy.AuthPass, Domain: "acmecorp.example"}}}, nil, true, "acmecorp.example passes"},
		{"a signature from below the domain", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthPass, Domain: "news.acmecorp.com"}}}, nil, false, "no signature is one of acmecorp.com"},
		{"a signature from above the domain", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthPass, Domain: "com"}}}, nil, false, "no signature is one of"},
		{"a foreign signature", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthPass, Domain: "evil.example"}}}, nil, false, "no signature is one of"},
		{"a signature that fails", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthFail, Domain: "acmecorp.com"}}}, nil, false, "signature of acmecorp.com does not pass but is fail"},
		{"a signature whose key the DNS keeps", scanners.Evidence{DKIM: []policy.DKIM{{Result: policy.AuthTempError, Domain: "acmecorp.com"}}}, nil, false, "is temperror"},
		{"signatures not verified", scanners.Evidence{}, scanners.Headers{{"DKIM-Signature", "v=1; d=acmecorp.com"}}, false, "no signature is one of"},
	} {
		t.Run(c.about, func(t *testing.T) {
			c.evidence.Values = c.headers.Values
			proof := scanners.Prove(platform(), c.evidence)
			if proof.Proven != c.proven || !strings.Contains(proof.Why, c.why) {
				t.Errorf("got %+v, want %v, %q", proof, c.proven, c.why)
			}
			if strings.Contains(proof.Why, secret) || strings.Contains(proof.Why, other) || strings.Contains(proof.Why, "evil.example") {
				t.Errorf("the reason repeats a secret or what a stranger wrote: %q", proof.Why)
			}
		})
	}
}

func TestWhatIsNotConfiguredProvesNothing(t *testing.T) {
	everything := scanners.Evidence{
		Values: scanners.Headers{
			{scanners.CrossTenantHeader, tenant}, {scanners.CrossTenantHeader + "x", ""}, {"", ""}, {"X-Coexist-Proof", secret},
		}.Values,
		Certificate: "mail.example.net",
		DKIM:        []policy.DKIM{{Result: policy.AuthPass, Domain: "acmecorp.com"}, {Result: policy.AuthPass}},
	}
	proof := scanners.Prove(&policy.Platform{Name: "google"}, everything)
	if proof.Proven || !strings.Contains(proof.Why, "counts as S0") {
		t.Errorf("got %+v", proof)
	}
}

func TestSignaturesAreVerifiedOnlyWhereTheyCanProveTheTenant(t *testing.T) {
	signed := scanners.Headers{{"DKIM-Signature", "v=1"}}
	without := platform()
	without.Proof.Domains = nil
	for _, c := range []struct {
		about    string
		platform *policy.Platform
		headers  scanners.Headers
		found    []policy.DKIM
		needs    bool
	}{
		{"a signature that was not verified", platform(), signed, nil, true},
		{"a signature beside a foreign tenant", platform(), append(scanners.Headers{{scanners.CrossTenantHeader, other}}, signed...), nil, true},
		{"no signature", platform(), nil, nil, false},
		{"none of its signatures counts", without, signed, nil, false},
		{"what is proven already", platform(), append(scanners.Headers{{"X-Coexist-Proof", secret}}, signed...), nil, false},
		{"signatures that were verified", platform(), signed, []policy.DKIM{}, false},
	} {
		t.Run(c.about, func(t *testing.T) {
			if got := scanners.NeedsDKIM(c.platform, scanners.Evidence{Values: c.headers.Values, DKIM: c.found}); got != c.needs {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestValuesKeepOrderAndBytes(t *testing.T) {
	headers := scanners.Headers{{"Received", " one"}, {"To", "x"}, {"RECEIVED", "\r\n\ttwo "}}
	got := headers.Values("received")
	if len(got) != 2 || got[0] != " one" || got[1] != "\r\n\ttwo " {
		t.Errorf("got %q", got)
	}
	if got := headers.Values("Cc"); got != nil {
		t.Errorf("a field that is not there: %q", got)
	}
}
