package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/zone"
	"coexistd/contrib/lab"
	"coexistd/scanners/sender"
)

func start(t *testing.T) (*lab.DNS, *sender.Resolver) {
	t.Helper()
	dns, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	return dns, sender.NewResolver([]string{dns.Addr})
}

func TestWhatRecordsForSPFNameIsAskedToo(t *testing.T) {
	t.Parallel()
	dns, resolver := start(t)
	dns.Set("acmecorp.com", "TXT", "v=spf1 include:a.example mx -all", "other")
	dns.Set("acmecorp.com", "MX", "20 MX2.example.", "10 mx1.example.")
	dns.Set("a.example", "TXT", "v=spf1 a:b.example redirect=c.example")
	dns.Set("b.example", "A", "192.0.2.1")
	dns.Set("b.example", "AAAA", "2001:db8::1")
	dns.Set("c.example", "TXT", "v=spf1 ip4:192.0.2.2 -all")
	dns.Set("mx1.example", "A", "192.0.2.3")
	dns.Fail("mx2.example", lab.DNSServFail)
	asked := zone.Ask(t.Context(), resolver, []string{"acmecorp.com", "none.example", "", "acmecorp.com"})
	asked.AskHosts(t.Context(), resolver)
	var got []string
	for name, r := range asked {
		got = append(got, fmt.Sprint(name, r.MX, r.TXT, r.Addresses, r.Err != nil))
	}
	slices.Sort(got)
	want := strings.Join([]string{
		"a.example[] [v=spf1 a:b.example redirect=c.example] [] false",
		"acmecorp.com[mx1.example mx2.example] [v=spf1 include:a.example mx -all other] [] false",
		"b.example[] [] [192.0.2.1 2001:db8::1] false",
		"c.example[] [v=spf1 ip4:192.0.2.2 -all] [] false",
		"mx1.example[] [] [192.0.2.3] false",
		"mx2.example[] [] [] true",
		"none.example[] [] [] false",
	}, "\n")
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("it knows\n%s\nright is\n%s", text, want)
	}
	// What is known is reckoned with, and nobody is asked.
	before := dns.Asked("a.example")
	if r := asked.Reckon("acmecorp.com", "v=spf1 include:a.example -all"); r.Lookups() != 3 || r.Err() != nil || dns.Asked("a.example") != before {
		t.Errorf("it takes %d lookups: %v; asked again: %v", r.Lookups(), r.Err(), dns.Asked("a.example") != before)
	}
	for _, text := range []string{"v=spf1 mx -all", "v=spf1 include:never.asked.example"} {
		if err := asked.Reckon("acmecorp.com", text).Err(); !zone.IsUnknown(err) {
			t.Errorf("what %q comes to is not known, and the error is %v", text, err)
		}
	}
	if err := asked.Reckon("acmecorp.com", "v=spf1 include:none.example").Err(); err == nil || zone.IsUnknown(err) {
		t.Errorf("that a name has no record is known, and the error is %v", err)
	}
}

func TestOnlyOneRecordIsTakenForWhatItSaysThatItIs(t *testing.T) {
	t.Parallel()
	r := zone.Records{TXT: []string{"v=spf1", "V=SPF1 -all", "v=spf10 -all", "v=DMARC1; p=none", " v=DMARC1", "v=DMARC1 ;", "v=dmarc1; p=none"}}
	if got := fmt.Sprintf("%q %q", r.SPF(), r.DMARC()); got != `["v=spf1" "V=SPF1 -all"] ["v=DMARC1; p=none" " v=DMARC1" "v=DMARC1 ;"]` {
		t.Errorf("they are %s", got)
	}
}
