package spoof_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// dmarcResult returns what Authentication-Results says of the one author domain.
func (w *world) dmarcResult(t testing.TB, a *spoof.Authentication) string {
	t.Helper()
	_, after, _ := strings.Cut(w.results(t, "h.example", "", *a), "dmarc=")
	result, domain, _ := strings.Cut(after, " header.from=")
	if !strings.HasPrefix(domain, a.DMARC[0].Domain+";") {
		t.Fatalf("there is no result for %s", a.DMARC[0].Domain)
	}
	return result
}

func TestTheResultOfDMARCForAuthenticationResults(t *testing.T) {
	for _, c := range []struct {
		about             string
		spf, dkim, record string
		want              spoof.AuthResult
	}{
		{"RFC 7489 11.2: pass", "fail far.example", "pass far.example", "far.example p=none", spoof.AuthPass},
		{"RFC 7489 11.2: fail, whatever the policy asks", "fail far.example", "fail far.example", "far.example p=none", spoof.AuthFail},
		{"RFC 7489 11.2: no record", "pass far.example", "pass far.example", "far.example none", spoof.AuthNone},
		{"RFC 7489 11.2: the record could not be had", "pass far.example", "pass far.example", "far.example temperror", spoof.AuthTempError},
		{"RFC 7489 11.2: what would prove it could not be had", "temperror far.example", "", "far.example p=reject", spoof.AuthTempError},
		{"RFC 7489 11.2: what cannot be read", "pass far.example", "", "far.example permerror", spoof.AuthPermError},
		{"RFC 7489 3.1: an identity without a domain", "pass", "pass", "far.example p=none", spoof.AuthFail},
	} {
		w := newWorld()
		a := readAuthentication(t, c.spf, c.dkim, c.record, spoof.Authors{})
		want(t, c.about, w.dmarcResult(t, a), c.want.String())
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
		a := &spoof.Authentication{DKIM: []spoof.DKIM{{Result: spoof.AuthPass, Domain: c.signer}}}
		a.DMARC = []spoof.DMARC{{Domain: c.author, Lookup: spoof.AuthPass}}
		got := w.dmarcResult(t, a)
		if (got == "pass") != c.aligned {
			t.Errorf("%s signed by %s: %v, and aligned would be %v", c.author, c.signer, got, c.aligned)
		}
	}
}

var authResults = map[string]spoof.AuthResult{
	"none": spoof.AuthNone, "pass": spoof.AuthPass, "fail": spoof.AuthFail, "softfail": spoof.AuthSoftFail,
	"neutral": spoof.AuthNeutral, "temperror": spoof.AuthTempError, "permerror": spoof.AuthPermError,
}

// readResult reads "pass far.example".
func readResult(t testing.TB, text string) (spoof.AuthResult, string) {
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
func readAuthentication(t testing.TB, spf, dkim, dmarc string, authors spoof.Authors) *spoof.Authentication {
	t.Helper()
	a := &spoof.Authentication{}
	if spf != "" {
		a.SPF.Result, a.SPF.Domain = readResult(t, spf)
	}
	for one := range strings.SplitSeq(dkim, ", ") {
		if one != "" {
			result, domain := readResult(t, one)
			a.DKIM = append(a.DKIM, spoof.DKIM{Result: result, Domain: domain, Selector: "s"})
		}
	}
	for one := range strings.SplitSeq(dmarc, "; ") {
		if one != "" {
			a.DMARC = append(a.DMARC, readRecord(t, one))
		}
	}
	for _, domain := range authors.Read().Domains {
		if !strings.HasPrefix(domain, "[") && !slices.ContainsFunc(a.DMARC, func(d spoof.DMARC) bool { return d.Domain == domain }) {
			a.DMARC = append(a.DMARC, spoof.DMARC{Domain: domain})
		}
	}
	return a
}

// readRecord reads "sub.far.example at=far.example p=reject sp=none adkim=s missing".
func readRecord(t testing.TB, text string) spoof.DMARC {
	t.Helper()
	words := strings.Fields(text)
	d := spoof.DMARC{Domain: words[0], At: words[0], Lookup: spoof.AuthPass, Percent: 100}
	tags := map[string]string{}
	for _, word := range words[1:] {
		if result, ok := authResults[word]; ok {
			d.Lookup = result
			continue
		}
		name, value, _ := strings.Cut(word, "=")
		tags[name] = value
	}
	asked := func(name string, otherwise verdict.Verdict) verdict.Verdict {
		switch tags[name] {
		case "":
			return otherwise
		case "none":
			return verdict.Accept
		case "quarantine":
			return verdict.Quarantine
		}
		return verdict.Reject
	}
	d.Policy = asked("p", verdict.Accept)
	d.Subdomains = asked("sp", d.Policy)
	d.Nonexistent = asked("np", d.Subdomains)
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
		dmarc, spf verdict.Verdict
		spfSays    string
		record     string
		want       string
	}{
		{verdict.Quarantine, verdict.Tag, "none", "far.example p=reject", "quarantine DMARC"},
		{verdict.Quarantine, verdict.Tag, "none", "far.example p=quarantine", "quarantine DMARC"},
		{verdict.Tag, verdict.Tag, "none", "far.example p=reject", "tag DMARC"},
		{verdict.Accept, verdict.Tag, "none", "far.example p=reject", "accept"},
		{verdict.Tag, verdict.Tag, "none", "far.example temperror", "accept"},
		{verdict.Reject, verdict.Accept, "fail far.example", "", "accept"},
		{verdict.Reject, verdict.Reject, "fail far.example", "", "reject SPF"},
		{verdict.Reject, verdict.Quarantine, "fail far.example", "", "quarantine SPF"},
		{verdict.Reject, verdict.Quarantine, "temperror far.example", "", "accept unknown"},
		{verdict.Reject, verdict.Accept, "temperror far.example", "", "accept"},
	} {
		w := newWorld()
		w.DMARC, w.SPF = c.dmarc, c.spf
		authors := writtenBy(t, "x@far.example")
		m := w.fromOutside(t, internetClient, "x@far.example", authors, readAuthentication(t, c.spfSays, "", c.record, authors))
		want(t, fmt.Sprintf("dmarc %v, spf %v, SPF %s, %s", c.dmarc, c.spf, c.spfSays, c.record), w.outcome(t, m), c.want)
	}
}

func TestASignatureThatTheDNSKeepsFromPassingMayExplainAFailOfSPF(t *testing.T) {
	for verdict, expected := range map[verdict.Verdict]string{verdict.Reject: "tempfail unknown", verdict.Quarantine: "tempfail unknown", verdict.Tag: "accept"} {
		w := newWorld()
		w.SPF = verdict
		authors := writtenBy(t, "x@far.example")
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
		w := newWorld()
		authors := writtenBy(t, "x@sub.far.example")
		m := w.fromOutside(t, internetClient, "x@evil.example", authors, readAuthentication(t, "none", "", record, authors))
		want(t, record, w.outcome(t, m), expected)
		m = w.fromOutside(t, internetClient, "x@evil.example", authors, readAuthentication(t, "none", "pass sub.far.example", record, authors))
		want(t, record+", signed", w.outcome(t, m), "accept")
	}
}

func TestThePercentageIsThatOfTheNonces(t *testing.T) {
	w := newWorld()
	authors := writtenBy(t, "x@far.example")
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
