package spoof_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// The clients of the tests. That of Office 365 sends for all tenants.
const (
	internetClient = "203.0.113.9"
	officeClient   = "40.92.1.2"
	serviceClient  = "198.51.100.7"
)

// world has three domains: acmecorp.com on both platforms, its subdomain
// eu.acmecorp.com with nothing elsewhere, and acme.net at Office 365. The networks of
// serviceClient, and mailing.example, may send in their names.
type world struct {
	spoof.Rules
	routes     route.Rules
	delimiters string
	failed     bool // the directory cannot answer
}

func newWorld() *world {
	return &world{
		Rules: spoof.Rules{DMARC: verdict.Reject, SPF: verdict.Tag, Services: spoof.Services{
			Networks: networks.SetOf(netip.MustParsePrefix("198.51.100.0/24")), Domains: []string{"mailing.example"},
		}},
		routes: route.Rules{Platforms: []*route.Platform{{Name: "google"}, {Name: "office365", TargetDomains: []string{"acmecorp.mail.onmicrosoft.com"}}}, Domains: map[string]*route.Domain{
			"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{
				"office365": "acmecorp-com.onmicrosoft.com", "google": "gapps.acmecorp.com"}},
			"eu.acmecorp.com": {Name: "eu.acmecorp.com"},
			"acme.net":        {Name: "acme.net", Alternates: map[string]string{"office365": "acme-net.onmicrosoft.com"}},
		}},
		delimiters: "+",
	}
}

func address(t testing.TB, path string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(path, "+")
	if err != nil {
		t.Fatalf("ParseAddress(%q): %v", path, err)
	}
	return a
}

// author reads "Display <address>" or "address" for a test; the text before the
// bracket is taken as it is.
func author(t testing.TB, text string) spoof.Author {
	t.Helper()
	display, address := "", text
	if i := strings.LastIndexByte(text, '<'); i >= 0 {
		display, address = strings.TrimSpace(text[:i]), strings.TrimSuffix(text[i+1:], ">")
	}
	// A header is read without delimiters.
	parsed, err := mail.ParseAddress(address, "")
	if err != nil {
		t.Fatal(err)
	}
	return spoof.Author{Address: parsed, Display: display}
}

// writtenBy has one From field with those mailboxes.
func writtenBy(t testing.TB, from ...string) spoof.Authors {
	t.Helper()
	a := spoof.Authors{Fields: 1}
	for _, text := range from {
		a.From = append(a.From, author(t, text))
	}
	return a
}

// question is a message, and whether it is asked of it at S2 if its login may send it, or
// at another point if it is forged.
type question struct {
	spoof.Facts
	submitted bool
}

func (w *world) facts(t testing.TB, sender string, authors spoof.Authors) spoof.Facts {
	t.Helper()
	from, err := mail.ParseAddress(sender, w.delimiters)
	if err != nil {
		t.Fatal(err)
	}
	return spoof.Facts{
		Names: spoof.NamesOf(&w.routes), Routes: &w.routes, Delimiters: w.delimiters,
		Sender: from, Authors: &authors,
	}
}

// fromOutside is a message at S0 from a client.
func (w *world) fromOutside(t testing.TB, client, sender string, authors spoof.Authors, a *spoof.Authentication) question {
	t.Helper()
	f := w.facts(t, sender, authors)
	f.Client, f.Authentication, f.Shared = netip.MustParseAddr(client), a, client == officeClient
	return question{f, false}
}

// find is the finding of a message.
func (w *world) find(q question) verdict.Finding {
	*q.Authors = q.Authors.Read() // tests change the rest of them
	if q.submitted {
		return w.Owned(&q.Facts)
	}
	return w.Forged(&q.Facts)
}

// follows is the verdict of a finding where hits are refused and what the check could not
// tell is accepted.
func follows(f verdict.Finding) verdict.Verdict {
	switch {
	case f.State == verdict.Unknown:
		return max(verdict.Accept, f.Proposed)
	case f.State == verdict.Clean:
		return verdict.Accept
	case f.Proposed == verdict.None:
		return verdict.Reject
	}
	return f.Proposed
}

// outcome is that verdict and what the finding is about: "reject own domain", "accept",
// "tempfail unknown".
func (w *world) outcome(t testing.TB, q question) string {
	t.Helper()
	f := w.find(q)
	switch {
	case f.Check != verdict.CheckSpoof, (f.State == verdict.Clean) != (f.Reasons.String() == ""), (f.State == verdict.Hit) != (f.Name != ""):
		t.Errorf("the finding is not whole: %+v", f)
	case f.State == verdict.Unknown:
		return follows(f).String() + " unknown"
	}
	return strings.TrimSpace(follows(f).String() + " " + f.Name)
}

// reply is what the client is told.
func (w *world) reply(q question) string {
	f := w.find(q)
	return f.Reply(follows(f)).String()
}

// want compares one text and says what it is about.
func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}
