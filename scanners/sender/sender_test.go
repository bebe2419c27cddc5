package sender_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners/sender"
)

// verifier asks the name server, and no other.
func verifier(dns *lab.DNS) *sender.Verifier {
	return &sender.Verifier{Resolver: sender.NewResolver([]string{dns.Addr})}
}

// impatient is a verifier for names for which the name server is silent.
func impatient(dns *lab.DNS) *sender.Verifier {
	v := verifier(dns)
	v.Resolver.SetPatience(100*time.Millisecond, 100*time.Millisecond)
	return v
}

func address(t testing.TB, path string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSPFIsAskedOfTheSenderOrForTheNullSenderOfHELO(t *testing.T) {
	dns := startDNS(t)
	txt := func(name, record string) { dns.Set(name, "TXT", "some other text", record) }
	txt("hard.example", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all")
	txt("soft.example", "v=spf1 ~all")
	txt("neutral.example", "v=spf1 ?all")
	txt("end.example", "v=spf1 ip4:198.51.100.1")
	txt("wrong.example", "v=spf1 ip4:nonsense -all")
	txt("mx.example", "v=spf1 mx -all")
	dns.Set("mx.example", "MX", "10 host.mx.example")
	dns.Set("host.mx.example", "A", "192.0.2.7")
	txt("deep.example", "v=spf1 include:deep.example -all")
	txt("include.example", "v=spf1 include:down.example -all")
	txt("local.example", "v=spf1 exists:%{l}.users.local.example -all")
	dns.Set("bob.users.local.example", "A", "127.0.0.2")
	txt("helo.example", "v=spf1 exists:%{h}.helo.helo.example -all")
	dns.Set("mail.client.example.helo.helo.example", "A", "127.0.0.2")
	txt("ptr.example", "v=spf1 ptr -all")
	dns.Set("7.2.0.192.in-addr.arpa", "PTR", "a.ptr.example")
	dns.Set("a.ptr.example", "A", "192.0.2.7")
	dns.Fail("8.2.0.192.in-addr.arpa", lab.DNSServFail)
	dns.Set("9.2.0.192.in-addr.arpa", "PTR", "x.down.example")
	dns.Set("10.2.0.192.in-addr.arpa", "PTR", "x.down.example", "b.ptr.example")
	dns.Set("b.ptr.example", "A", "192.0.2.10")
	txt("ptrdown.example", "v=spf1 ptr a:x.down.example -all")
	txt("or.example", "v=spf1 ptr ip4:192.0.2.8 -all")
	dns.Set("two.example", "TXT", "v=spf1 -all", "v=spf1 +all")
	txt("xn--bcher-kva.example", "v=spf1 ip4:192.0.2.7 -all")
	dns.Fail("down.example", lab.DNSServFail)
	dns.Fail("x.down.example", lab.DNSServFail)
	dns.Fail("refused.example", lab.DNSRefused)
	dns.Fail("silent.example", lab.DNSSilent)
	v := verifier(dns)

	const client = "192.0.2.7"
	for _, c := range []struct {
		about, client, helo, sender string
		want                        spoof.AuthResult
		domain                      string
	}{
		{"its client", client, "", "a@hard.example", spoof.AuthPass, "hard.example"},
		{"its client by IPv6", "2001:db8::1", "", "a@hard.example", spoof.AuthPass, "hard.example"},
		{"its client, IPv4 mapped", "::ffff:192.0.2.7", "", "a@hard.example", spoof.AuthPass, "hard.example"},
		{"another client", "203.0.113.1", "", "a@hard.example", spoof.AuthFail, "hard.example"},
		{"the domain in another case", client, "", "a@HARD.Example", spoof.AuthPass, "hard.example"},
		{"softfail", client, "", "a@soft.example", spoof.AuthSoftFail, "soft.example"},
		{"neutral", client, "", "a@neutral.example", spoof.AuthNeutral, "neutral.example"},
		{"no term matches (RFC 7208 section 4.7)", client, "", "a@end.example", spoof.AuthNeutral, "end.example"},
		{"no record", client, "", "a@host.mx.example", spoof.AuthNone, "host.mx.example"},
		{"no such domain", client, "", "a@none.example", spoof.AuthNone, "none.example"},
		{"two records (section 4.5)", client, "", "a@two.example", spoof.AuthPermError, "two.example"},
		{"a broken record", client, "", "a@wrong.example", spoof.AuthPermError, "wrong.example"},
		{"a record without end (section 4.6.4)", client, "", "a@deep.example", spoof.AuthPermError, "deep.example"},
		{"an MX", client, "", "a@mx.example", spoof.AuthPass, "mx.example"},
		{"UTF-8", client, "", "a@bücher.example", spoof.AuthPass, "xn--bcher-kva.example"},
		{"the local part in a macro", client, "", "bob@local.example", spoof.AuthPass, "local.example"},
		{"another local part in a macro", client, "", "eve@local.example", spoof.AuthFail, "local.example"},
		{"a local part with an @", client, "", `"bob@hard.example"@local.example`, spoof.AuthFail, "local.example"},
		{"HELO in a macro", client, "mail.client.example", "a@helo.example", spoof.AuthPass, "helo.example"},
		{"DNS fails", client, "", "a@down.example", spoof.AuthTempError, "down.example"},
		{"DNS refuses", client, "", "a@refused.example", spoof.AuthTempError, "refused.example"},
		{"DNS is silent", client, "", "a@silent.example", spoof.AuthTempError, "silent.example"},
		{"DNS fails below include (section 5.2)", client, "", "a@include.example", spoof.AuthTempError, "include.example"},
		{"ptr", client, "", "a@ptr.example", spoof.AuthPass, "ptr.example"},
		{"ptr of a client without name", "192.0.2.6", "", "a@ptr.example", spoof.AuthFail, "ptr.example"},
		{"ptr, DNS fails (section 5.5)", "192.0.2.8", "", "a@ptr.example", spoof.AuthFail, "ptr.example"},
		{"ptr, DNS fails for the name (section 5.5)", "192.0.2.9", "", "a@ptr.example", spoof.AuthFail, "ptr.example"},
		{"ptr, DNS fails for one of two names", "192.0.2.10", "", "a@ptr.example", spoof.AuthPass, "ptr.example"},
		{"ptr, then DNS fails for another term", "192.0.2.8", "", "a@ptrdown.example", spoof.AuthTempError, "ptrdown.example"},
		{"ptr, DNS fails, but another term matches", "192.0.2.8", "", "a@or.example", spoof.AuthPass, "or.example"},
		{"null sender (section 2.4)", client, "hard.example", "", spoof.AuthPass, "hard.example"},
		{"null sender, another client", "203.0.113.1", "Hard.Example.", "", spoof.AuthFail, "hard.example"},
		{"null sender, HELO a word", client, "localhost", "", spoof.AuthNone, ""},
		{"null sender, HELO an address", client, "192.0.2.7", "", spoof.AuthNone, ""},
		{"null sender, HELO a literal", client, "[192.0.2.7]", "", spoof.AuthNone, ""},
		{"null sender, HELO rubbish", client, "a b\x00ü", "", spoof.AuthNone, ""},
		{"null sender, no HELO", client, "", "", spoof.AuthNone, ""},
		{"null sender, a huge HELO", client, strings.Repeat("ü.", 1<<20), "", spoof.AuthNone, ""},
		{"HELO does not help a sender", client, "hard.example", "a@host.mx.example", spoof.AuthNone, "host.mx.example"},
		{"a bare local part", client, "hard.example", "root", spoof.AuthNone, ""},
		{"an address literal", client, "hard.example", "a@[192.0.2.7]", spoof.AuthNone, ""},
		{"a domain of one label (section 4.3)", client, "", "a@localhost", spoof.AuthNone, ""},
		{"a client that is not known", "", "", "a@hard.example", spoof.AuthTempError, "hard.example"},
	} {
		t.Run(c.about, func(t *testing.T) {
			q := sender.Question{Helo: c.helo, Sender: address(t, c.sender)}
			if c.client != "" {
				q.Client = netip.MustParseAddr(c.client)
			}
			v := v
			if strings.HasPrefix(c.domain, "silent.") {
				v = impatient(dns)
			}
			got := v.Authenticate(t.Context(), q).SPF
			if got.Result != c.want || got.Domain != c.domain || got.Helo != (c.sender == "") {
				t.Errorf("got %+v, want %s of %q", got, c.want, c.domain)
			}
			if got.Why == "" || len(got.Why) > 1000 {
				t.Errorf("the reason: %q", got.Why)
			}
		})
	}
}

func TestDMARCRecordsAreThoseOfTheDomainOrOfItsOrganisation(t *testing.T) {
	dns := startDNS(t)
	dns.Set("_dmarc.strict.example", "TXT", "v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=s; pct=30")
	dns.Set("_dmarc.plain.example", "TXT", "v=DMARC1; p=quarantine")
	dns.Set("_dmarc.own.plain.example", "TXT", "v=DMARC1; p=none")
	dns.Set("_dmarc.several.example", "TXT", "v=DMARC1; p=none", "v=DMARC1; p=reject")
	dns.Set("_dmarc.one.several.example", "TXT", "v=DMARC1; p=reject", "v=DMARC1; p=reject")
	dns.Set("_dmarc.mixed.example", "TXT", "some text", "v=spf1 -all", "v=DMARC2; p=none", "v=DMARC1; p=reject")
	dns.Set("_dmarc.other.plain.example", "TXT", "some text")
	dns.Set("_dmarc.nopolicy.example", "TXT", "v=DMARC1; pct=10")
	dns.Set("_dmarc.reports.example", "TXT", "v=DMARC1; p=rejekt; rua=mailto:d@reports.example")
	dns.Set("_dmarc.acme.co.uk", "TXT", "v=DMARC1; p=reject")
	dns.Set("_dmarc.co.uk", "TXT", "v=DMARC1; p=none")
	dns.Set("_dmarc.np.example", "TXT", "v=DMARC1; p=none; np=reject")
	dns.Set("host.np.example", "A", "192.0.2.1")
	dns.Set("six.np.example", "AAAA", "2001:db8::1")
	dns.Set("mail.np.example", "MX", "10 host.np.example")
	dns.Set("text.np.example", "TXT", "only text")
	dns.Fail("down.np.example", lab.DNSServFail)
	dns.Fail("_dmarc.down.example", lab.DNSServFail)
	dns.Fail("_dmarc.refused.example", lab.DNSRefused)
	dns.Fail("_dmarc.silent.example", lab.DNSSilent)
	dns.Fail("_dmarc.sub.plain.example", lab.DNSServFail)
	v := verifier(dns)

	none := func(domain string, lookup spoof.AuthResult) spoof.DMARC {
		return spoof.DMARC{Domain: domain, Lookup: lookup}
	}
	at := func(domain, at string, p, sp, np verdict.Verdict) spoof.DMARC {
		return spoof.DMARC{Domain: domain, Lookup: spoof.AuthPass, At: at, Policy: p, Subdomains: sp, Nonexistent: np, Percent: 100}
	}
	missing := func(d spoof.DMARC) spoof.DMARC { d.Missing = true; return d }
	unsure := func(d spoof.DMARC) spoof.DMARC { d.Unsure = true; return d }
	strict := spoof.DMARC{
		Domain: "strict.example", Lookup: spoof.AuthPass, At: "strict.example", Policy: verdict.Reject, Subdomains: verdict.Quarantine,
		Nonexistent: verdict.Accept, Percent: 30, StrictDKIM: true, StrictSPF: true,
	}
	const accept, quarantine, reject = verdict.Accept, verdict.Quarantine, verdict.Reject
	broken := spoof.DMARC{Domain: "nopolicy.example", At: "nopolicy.example", Lookup: spoof.AuthPermError, Percent: 100}
	for _, c := range []struct {
		about string
		want  spoof.DMARC
	}{
		{"all tags", strict},
		{"what sp and np are by default (RFC 7489 section 6.3)", at("plain.example", "plain.example", quarantine, quarantine, quarantine)},
		{"an own record", at("own.plain.example", "own.plain.example", accept, accept, accept)},
		{"the organisation's (section 6.6.3)", at("a.b.plain.example", "plain.example", quarantine, quarantine, quarantine)},
		{"below a domain with a record of its own", at("x.own.plain.example", "plain.example", quarantine, quarantine, quarantine)},
		{"other text at the domain", at("other.plain.example", "plain.example", quarantine, quarantine, quarantine)},
		{"several records", none("several.example", spoof.AuthNone)},
		{"several records at the organisation", none("two.several.example", spoof.AuthNone)},
		{"several records at the domain, which ends the search", none("one.several.example", spoof.AuthNone)},
		{"other text beside it", at("mixed.example", "mixed.example", reject, reject, reject)},
		{"no record", none("none.example", spoof.AuthNone)},
		{"no policy", broken},
		{"no policy, but reports are wanted", at("reports.example", "reports.example", accept, accept, accept)},
		{"below a public suffix", at("www.acme.co.uk", "acme.co.uk", reject, reject, reject)},
		{"not asked of a public suffix", none("other.co.uk", spoof.AuthNone)},
		{"a public suffix itself", at("co.uk", "co.uk", accept, accept, accept)},
		{"np: it has an address (RFC 9091 section 2.7)", at("host.np.example", "np.example", accept, accept, reject)},
		{"np: it has an IPv6 address", at("six.np.example", "np.example", accept, accept, reject)},
		{"np: it has an MX", at("mail.np.example", "np.example", accept, accept, reject)},
		{"np: it has only text", missing(at("text.np.example", "np.example", accept, accept, reject))},
		{"np: it does not exist", missing(at("none.np.example", "np.example", accept, accept, reject))},
		{"np: the DNS does not say", unsure(at("down.np.example", "np.example", accept, accept, reject))},
		{"np at the domain itself", at("np.example", "np.example", accept, accept, reject)},
		{"DNS fails", none("down.example", spoof.AuthTempError)},
		{"DNS refuses", none("refused.example", spoof.AuthTempError)},
		{"DNS is silent", none("silent.example", spoof.AuthTempError)},
		{"DNS fails at the domain: the organisation has a record", unsure(at("sub.plain.example", "plain.example", quarantine, quarantine, quarantine))},
	} {
		t.Run(c.about, func(t *testing.T) {
			v := v
			if strings.HasPrefix(c.want.Domain, "silent.") {
				v = impatient(dns)
			}
			found := v.Authenticate(t.Context(), sender.Question{Domains: []string{c.want.Domain}}).DMARC
			if len(found) != 1 || found[0] != c.want {
				t.Errorf("got %+v\nwant %+v", found, c.want)
			}
		})
	}
	if n := dns.Asked("host.np.example"); n != 2 {
		t.Errorf("a name was asked for %d times to know whether it exists, want A and AAAA", n)
	}
	for _, name := range []string{"a.b.plain.example", "none.example", "np.example"} {
		if n := dns.Asked(name); n != 0 {
			t.Errorf("%s was asked for, which nobody needs to know", name)
		}
	}
}

func TestFiveAuthorDomainsAreAskedForAtMost(t *testing.T) {
	dns := startDNS(t)
	v := verifier(dns)
	found := v.Authenticate(t.Context(), sender.Question{
		Domains: []string{"one.example", "[192.0.2.1]", "two.example", "three.example", "four.example", "five.example", "six.example"},
	}).DMARC
	var domains []string
	for _, d := range found {
		domains = append(domains, d.Domain)
	}
	if got := strings.Join(domains, " "); got != "one.example two.example three.example four.example five.example" {
		t.Errorf("got %s", got)
	}
	if n := dns.Asked("_dmarc.one.example"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAuthenticateEndsWithItsContextAndFailsNobody(t *testing.T) {
	dns := startDNS(t)
	for _, name := range []string{"hard.example", "_dmarc.hard.example", "_dmarc.other.example"} {
		dns.Fail(name, lab.DNSSilent)
	}
	r := sender.NewResolver([]string{dns.Addr})
	r.SetPatience(time.Minute, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	found := (&sender.Verifier{Resolver: r}).Authenticate(ctx, sender.Question{
		Client: netip.MustParseAddr("192.0.2.1"), Sender: address(t, "a@hard.example"), Domains: []string{"hard.example", "other.example"},
	})
	if took := time.Since(start); took >= time.Minute {
		t.Errorf("took %v", took)
	}
	if found.SPF.Result != spoof.AuthTempError || len(found.DMARC) != 2 || found.DMARC[0].Lookup != spoof.AuthTempError || found.DMARC[1].Lookup != spoof.AuthTempError {
		t.Errorf("got %+v", found)
	}
}

// The client's owner names his address as he likes, and decides which servers of
// those names are silent.
func TestSilentNamesOfAClientDoNotTakeTheTimeOfTheOtherTerms(t *testing.T) {
	t.Parallel()
	dns := startDNS(t)
	dns.Set("hard.example", "TXT", "v=spf1 ptr mx -all")
	dns.Set("hard.example", "MX", "10 host.hard.example")
	dns.Set("host.hard.example", "A", "192.0.2.7")
	var names []string
	for i := range 10 {
		name := fmt.Sprintf("n%d.evil.example", i)
		dns.Fail(name, lab.DNSSilent)
		names = append(names, name)
	}
	dns.Set("1.2.0.192.in-addr.arpa", "PTR", names...)
	v := verifier(dns)
	// One waited for after the other, these names would take longer than the check may.
	v.Resolver.SetPatience(3*time.Second, 0)
	got := v.Authenticate(t.Context(), sender.Question{Client: netip.MustParseAddr("192.0.2.1"), Sender: address(t, "a@hard.example")}).SPF
	if got.Result != spoof.AuthFail {
		t.Errorf("got %+v", got)
	}
}
