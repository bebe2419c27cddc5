package scanners_test

import (
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
		{"no tenant configured", "", scanners.Headers{{name, tenant}}, false, "no tenant is configured for office365"},
		{"no tenant configured, an empty header", "", scanners.Headers{{name, ""}}, false, "no tenant is configured"},
	} {
		t.Run(c.about, func(t *testing.T) {
			proof := scanners.Prove(&policy.Platform{Name: "office365", Tenant: c.tenant}, c.headers.Values)
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
