package postconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDomainsAreFoundInListsAsPostfixFindsThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "domains")
	if err := os.WriteFile(file, []byte("# ours\nacmecorp.com, globex.example\n  #more\n!other.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	domains := []string{"acmecorp.com", "eu.acmecorp.com", "globex.example"}
	for _, c := range []struct{ list, want string }{
		{"", ""},
		{"acmecorp.com", "acmecorp.com"},
		{"other.example, ACMECORP.com\tglobex.example", "acmecorp.com globex.example"},
		{"!acmecorp.com acmecorp.com", ""},
		{"acmecorp.com !acmecorp.com", "acmecorp.com"},
		{".acmecorp.com", "eu.acmecorp.com"},
		{file, "acmecorp.com globex.example"},
		{"!" + file + " acmecorp.com eu.acmecorp.com", "eu.acmecorp.com"},
	} {
		p := &Settings{Main: map[string]string{"relay_domains": c.list}}
		found, err := p.Members(t.Context(), "relay_domains", domains, nil)
		if got := chosen(found); got != c.want || err != nil {
			t.Errorf("%q has %q (%v); right is %q", c.list, got, err, c.want)
		}
	}
	p := &Settings{Main: map[string]string{"relay_domains": "acmecorp.com", "parent_domain_matches_subdomains": "debug_peer_list,relay_domains"}}
	if found, err := p.Members(t.Context(), "relay_domains", domains, nil); chosen(found) != "acmecorp.com eu.acmecorp.com" || err != nil {
		t.Errorf("with its subdomains acmecorp.com has %v (%v)", found, err)
	}
	p.Main["relay_domains"] = "/no/such/file, globex.example"
	if found, err := p.Members(t.Context(), "relay_domains", domains, nil); chosen(found) != "globex.example" || err == nil || !strings.Contains(err.Error(), "/no/such/file: no such file") {
		t.Errorf("with a file that is not there it has %v (%v)", found, err)
	}
}

// chosen lists the domains that were found.
func chosen(found map[string]bool) string {
	var list []string
	for domain, is := range found {
		if is {
			list = append(list, domain)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestTablesAreTakenOneByOne(t *testing.T) {
	const setting = "proxy:hash:/a, unionmap:{texthash:/b, proxy:lmdb:/c} pipemap:{hash:/d, hash:/e}\n socketmap:inet:127.0.0.1:8702:aliases"
	want := []string{"hash:/a", "texthash:/b", "lmdb:/c", "pipemap:{hash:/d, hash:/e}", "socketmap:inet:127.0.0.1:8702:aliases"}
	if got := Tables(setting); !slices.Equal(got, want) {
		t.Errorf("the tables are %q; right is %q", got, want)
	}
}
