package route_test

import (
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// rules have three domains: acmecorp.com on both platforms, its subdomain
// eu.acmecorp.com with nothing elsewhere, and acme.net at Office 365.
func rules() *route.Rules {
	return &route.Rules{
		Platforms: []*route.Platform{{Name: "google", Letter: "G"}, {Name: "office365", Letter: "O"}},
		Domains: map[string]*route.Domain{
			"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{
				"office365": "acmecorp-com.onmicrosoft.com", "google": "gapps.acmecorp.com"}},
			"eu.acmecorp.com": {Name: "eu.acmecorp.com"},
			"acme.net":        {Name: "acme.net", Alternates: map[string]string{"office365": "acme-net.onmicrosoft.com"}},
		},
		MaxPasses: 3,
	}
}

func address(t testing.TB, path string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(path, "+")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// want compares one text and says what it is about.
func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}

func TestLettersKeepPlatformsApart(t *testing.T) {
	got := route.Letters([]string{"office365", "oak", "google", "gmail", "exchange", "zimbra"})
	for name, letter := range map[string]string{
		"office365": "O", "google": "G", "oak": "OAK", "gmail": "GMAIL", "exchange": "EXCHANGE", "zimbra": "Z",
	} {
		want(t, name, got[name], letter)
	}
}

func TestResidenceReadsTheDirectorysWords(t *testing.T) {
	r := rules()
	for _, c := range []struct{ domain, word, kind, err string }{
		{"acmecorp.com", "here", "here", ""},
		{"acmecorp.com", " Office365 ", "office365", ""},
		{"acmecorp.com", "BOTH:google", "both", ""},
		{"acmecorp.com", "both", "", "both:PLATFORM"},
		{"acme.net", "both", "both", ""},
		{"acme.net", "moving", "moving", ""},
		{"acme.net", "google", "", "office365"},
		{"eu.acmecorp.com", "office365", "", "name the platform in the domain's alternate"},
		{"acmecorp.com", "", "", "google, office365"},
	} {
		r, err := r.Domains[c.domain].Residence(c.word, r.Platforms)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s, %q: %v", c.domain, c.word, err)
		case c.err == "":
			want(t, c.word, r.String(), c.kind)
		case err == nil || !strings.Contains(err.Error(), c.err):
			t.Errorf("%s, %q: error %v, want one that says %q", c.domain, c.word, err, c.err)
		}
	}
}

func TestLocateKnowsOurDomainsOnly(t *testing.T) {
	r := rules()
	for path, known := range map[string]bool{
		"alice@acmecorp.com": true, "postmaster@acmecorp.com": true, "nobody@acmecorp.com": false,
		"postmaster@far.example": false, "alice@gapps.acmecorp.com": false, "postmaster": false,
	} {
		var listing route.Listing
		if path == "alice@acmecorp.com" {
			listing = route.Listing{Found: true, Address: path, Residence: route.Residence{Kind: route.There, Platform: "office365"}}
		}
		if got := r.Locate(address(t, path), listing).Kind != route.Nowhere; got != known {
			t.Errorf("%s: known is %v, want %v", path, got, known)
		}
	}
}
