package policy_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coexistd/policy"
)

func TestTheResultOfDMARCForAuthenticationResults(t *testing.T) {
	for _, c := range []struct {
		about             string
		spf, dkim, record string
		want              policy.AuthResult
	}{
		{"RFC 7489 11.2: pass", "fail far.example", "pass far.example", "far.example p=none", policy.AuthPass},
		{"RFC 7489 11.2: fail, whatever the policy asks", "fail far.example", "fail far.example", "far.example p=none", policy.AuthFail},
		{"RFC 7489 11.2: no record", "pass far.example", "pass far.example", "far.example none", policy.AuthNone},
		{"RFC 7489 11.2: the record could not be had", "pass far.example", "pass far.example", "far.example temperror", policy.AuthTempError},
		{"RFC 7489 11.2: what would prove it could not be had", "temperror far.example", "", "far.example p=reject", policy.AuthTempError},
		{"RFC 7489 11.2: what cannot be read", "pass far.example", "", "far.example permerror", policy.AuthPermError},
		{"RFC 7489 3.1: an identity without a domain", "pass", "pass", "far.example p=none", policy.AuthFail},
	} {
		w := newWorld()
		a := readAuthentication(t, c.spf, c.dkim, c.record, policy.Authors{})
		want(t, c.about, w.DMARCResult(a, a.DMARC[0]).String(), c.want.String())
	}
}

func TestAlignmentGoesByTheOrganisationalDomain(t *testing.T) {
	for _, c := range []struct {
		author, signer string
		aligned        bool
	}{
		{"far.example", "far.example", true},
		{"a.b.far.example", "c.far.example", true},
		{"far.example", "other.example", false},
		{"example", "far.example", false},
		{"example", "example", true},
		{"a.co.uk", "b.co.uk", false},
		{"x.a.co.uk", "a.co.uk", true},
		{"a.github.io", "b.github.io", false}, // private suffixes count
		{"a.github.io", "github.io", false},
		{"xn--bcher-kva.example", "mail.xn--bcher-kva.example", true},
		{"[192.0.2.1]", "[198.51.2.1]", false}, // no labels to be cut off
		{"[192.0.2.1]", "[192.0.2.1]", true},
		{"192.0.2.1", "198.51.2.1", false},
		{"a..example", "b..example", false},
		{"acmecorp.com", "gapps.acmecorp.com", true},
		{"acme.net", "acmecorp.com", false},
		// Other tenants share what is above an alternate domain.
		{"acmecorp-com.onmicrosoft.com", "evil.onmicrosoft.com", false},
		{"acmecorp-com.onmicrosoft.com", "acme-net.onmicrosoft.com", false},
		{"acmecorp-com.onmicrosoft.com", "onmicrosoft.com", false},
		{"acmecorp-com.onmicrosoft.com", "mail.acmecorp-com.onmicrosoft.com", true},
		{"x.acmecorp-com.onmicrosoft.com", "acmecorp-com.onmicrosoft.com", true},
		{"one.onmicrosoft.com", "two.onmicrosoft.com", true}, // so RFC 7489 has it
	} {
		w := newWorld()
		a := &policy.Authentication{DKIM: []policy.DKIM{{Result: policy.AuthPass, Domain: c.signer}}}
		got := w.DMARCResult(a, policy.DMARC{Domain: c.author, Lookup: policy.AuthPass})
		if (got == policy.AuthPass) != c.aligned {
			t.Errorf("%s signed by %s: %v, and aligned would be %v", c.author, c.signer, got, c.aligned)
		}
	}
}

var authResults = map[string]policy.AuthResult{
	"none": policy.AuthNone, "pass": policy.AuthPass, "fail": policy.AuthFail, "softfail": policy.AuthSoftFail,
	"neutral": policy.AuthNeutral, "temperror": policy.AuthTempError, "permerror": policy.AuthPermError,
}

// readResult reads "pass far.example".
func readResult(t testing.TB, text string) (policy.AuthResult, string) {
	t.Helper()
	word, domain, _ := strings.Cut(text, " ")
	result, ok := authResults[word]
	if !ok {
		t.Fatalf("there is no result %q", word)
	}
	return result, domain
}

// readAuthentication reads what SPF says, "fail far.example", what DKIM does of
// each signature, "pass a.example, fail b.example", and the author domains'
// records, as "a.example p=reject pct=50; b.example temperror". Every other author
// domain has no record.
func readAuthentication(t testing.TB, spf, dkim, dmarc string, authors policy.Authors) *policy.Authentication {
	t.Helper()
	a := &policy.Authentication{}
	if spf != "" {
		a.SPF.Result, a.SPF.Domain = readResult(t, spf)
	}
	for one := range strings.SplitSeq(dkim, ", ") {
		if one != "" {
			result, domain := readResult(t, one)
			a.DKIM = append(a.DKIM, policy.DKIM{Result: result, Domain: domain, Selector: "s"})
		}
	}
	for one := range strings.SplitSeq(dmarc, "; ") {
		if one != "" {
			a.DMARC = append(a.DMARC, readRecord(t, one))
		}
	}
	for _, author := range authors.From {
		domain := author.Address.Domain
		if !strings.HasPrefix(domain, "[") && !slices.ContainsFunc(a.DMARC, func(d policy.DMARC) bool { return d.Domain == domain }) {
			a.DMARC = append(a.DMARC, policy.DMARC{Domain: domain})
		}
	}
	return a
}

// readRecord reads "sub.far.example at=far.example p=reject sp=none adkim=s missing".
func readRecord(t testing.TB, text string) policy.DMARC {
	t.Helper()
	words := strings.Fields(text)
	d := policy.DMARC{Domain: words[0], At: words[0], Lookup: policy.AuthPass, Percent: 100}
	tags := map[string]string{}
	for _, word := range words[1:] {
		if result, ok := authResults[word]; ok {
			d.Lookup = result
			continue
		}
		name, value, _ := strings.Cut(word, "=")
		tags[name] = value
	}
	verdict := func(name string, otherwise policy.Verdict) policy.Verdict {
		switch tags[name] {
		case "":
			return otherwise
		case "none":
			return policy.Accept
		case "quarantine":
			return policy.Quarantine
		}
		return policy.Reject
	}
	d.Policy = verdict("p", policy.Accept)
	d.Subdomains = verdict("sp", d.Policy)
	d.Nonexistent = verdict("np", d.Subdomains)
	if at, ok := tags["at"]; ok {
		d.At = at
	}
	if pct, ok := tags["pct"]; ok {
		n, err := strconv.Atoi(pct)
		if err != nil {
			t.Fatal(err)
		}
		d.Percent = n
	}
	d.StrictDKIM, d.StrictSPF = tags["adkim"] == "s", tags["aspf"] == "s"
	_, d.Missing = tags["missing"]
	_, d.Unsure = tags["unsure"]
	return d
}

func TestTheAdministratorMayBeMilderThanThePublishedPolicy(t *testing.T) {
	for _, c := range []struct {
		dmarc, spf policy.Verdict
		spfSays    string
		record     string
		want       string
	}{
		{policy.Quarantine, policy.Tag, "none", "far.example p=reject", "quarantine DMARC"},
		{policy.Quarantine, policy.Tag, "none", "far.example p=quarantine", "quarantine DMARC"},
		{policy.Tag, policy.Tag, "none", "far.example p=reject", "tag DMARC"},
		{policy.Accept, policy.Tag, "none", "far.example p=reject", "accept"},
		{policy.Tag, policy.Tag, "none", "far.example temperror", "accept"},
		{policy.Reject, policy.Accept, "fail far.example", "", "accept"},
		{policy.Reject, policy.Reject, "fail far.example", "", "reject SPF"},
		{policy.Reject, policy.Quarantine, "fail far.example", "", "quarantine SPF"},
		{policy.Reject, policy.Quarantine, "temperror far.example", "", "accept unknown"},
		{policy.Reject, policy.Accept, "temperror far.example", "", "accept"},
	} {
		w := newWorld().spoofing()
		w.Spoof.DMARC, w.Spoof.SPF = c.dmarc, c.spf
		authors := w.writtenBy(t, "x@far.example")
		m := w.fromOutside(t, internetClient, "x@far.example", authors, readAuthentication(t, c.spfSays, "", c.record, authors))
		want(t, fmt.Sprintf("dmarc %v, spf %v, SPF %s, %s", c.dmarc, c.spf, c.spfSays, c.record), w.outcome(t, m), c.want)
	}
}

func TestASignatureThatTheDNSKeepsFromPassingMayExplainAFailOfSPF(t *testing.T) {
	for verdict, expected := range map[policy.Verdict]string{policy.Reject: "tempfail unknown", policy.Quarantine: "tempfail unknown", policy.Tag: "accept"} {
		w := newWorld().spoofing()
		w.Spoof.SPF = verdict
		authors := w.writtenBy(t, "x@far.example")
		a := readAuthentication(t, "fail far.example", "temperror far.example", "", authors)
		want(t, verdict.String(), w.outcome(t, w.fromOutside(t, internetClient, "x@far.example", authors, a)), expected)
	}
}

func TestAnOrganisationsRecordCountsWhereTheDomainsOwnCannotBeAsked(t *testing.T) {
	for record, expected := range map[string]string{
		"sub.far.example at=far.example p=reject unsure":                 "tempfail unknown",
		"sub.far.example at=far.example p=none sp=quarantine unsure":     "tempfail unknown",
		"sub.far.example at=far.example p=reject sp=none np=none unsure": "accept",
		"sub.far.example at=far.example p=none sp=none np=reject unsure": "tempfail unknown",
		"sub.far.example at=far.example p=none unsure":                   "accept",
	} {
		w := newWorld().spoofing()
		authors := w.writtenBy(t, "x@sub.far.example")
		m := w.fromOutside(t, internetClient, "x@evil.example", authors, readAuthentication(t, "none", "", record, authors))
		want(t, record, w.outcome(t, m), expected)
		m = w.fromOutside(t, internetClient, "x@evil.example", authors, readAuthentication(t, "none", "pass sub.far.example", record, authors))
		want(t, record+", signed", w.outcome(t, m), "accept")
	}
}

// Whoever forges may choose a name whose servers do not answer.
func TestAFailureOfTheDNSThatAForgerChoosesLetsNothingIn(t *testing.T) {
	for _, c := range []struct {
		dmarc, onHit, onError policy.Verdict
		want                  string
	}{
		{policy.Reject, policy.Reject, policy.Accept, "tempfail unknown"},
		{policy.Quarantine, policy.Reject, policy.Accept, "tempfail unknown"},
		{policy.Tag, policy.Reject, policy.Accept, "accept"},
		{policy.Accept, policy.Reject, policy.Accept, "accept"},
		{policy.Reject, policy.Quarantine, policy.Accept, "quarantine unknown"},
		{policy.Reject, policy.Tag, policy.Accept, "tag unknown"},
		{policy.Reject, policy.Accept, policy.Accept, "accept unknown"},
		{policy.Reject, policy.Reject, policy.Tag, "tempfail unknown"},
		{policy.Reject, policy.Reject, policy.Quarantine, "tempfail unknown"},
		{policy.Reject, policy.Reject, policy.Reject, "reject unknown"},
		{policy.Reject, policy.Quarantine, policy.Tempfail, "tempfail unknown"},
	} {
		w := newWorld().spoofing()
		w.at(policy.S0, policy.Check{Name: policy.CheckSpoof, OnHit: c.onHit, OnError: c.onError})
		w.Spoof.DMARC = c.dmarc
		authors := w.writtenBy(t, "x@bank.example")
		a := readAuthentication(t, "fail bank.example", "temperror lame.bank.example", "bank.example p=reject", authors)
		want(t, fmt.Sprintf("dmarc %v, on_hit %v, on_error %v", c.dmarc, c.onHit, c.onError),
			w.outcome(t, w.fromOutside(t, internetClient, "x@bank.example", authors, a)), c.want)
	}
}

func TestThePercentageIsThatOfTheNonces(t *testing.T) {
	w := newWorld().spoofing()
	authors := w.writtenBy(t, "x@far.example")
	count := map[string]int{}
	for i := range 10_000 {
		m := w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "far.example p=reject pct=30", authors))
		m.Nonce = [8]byte{byte(i >> 8), byte(i)}
		count[w.outcome(t, m)]++
	}
	if count["reject DMARC"] != 3000 || count["quarantine DMARC"] != 7000 {
		t.Errorf("of 10000 messages with pct=30, %v", count)
	}
}
