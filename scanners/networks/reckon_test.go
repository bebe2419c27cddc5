package networks

import (
	"fmt"
	"strings"
	"testing"
)

func TestEachTermsCostAndNetworksAreReckonedPastMistakesAndLimits(t *testing.T) {
	d, resolver := startDNS(t)
	zone(d,
		"deep.example TXT v=spf1 include:one.example include:two.example a mx -all", "deep.example A 192.0.2.9",
		"one.example TXT v=spf1 ip4:192.0.2.0/29 exists:%{i}.one.example ~all", "two.example TXT v=spf1 redirect=one.example",
		"loop.example TXT v=spf1 include:loop.example", "torn.example TXT v=spf1 ip4:nonsense",
		"p.example A 198.51.100.1", "p.example MX 10 deep.example", "p.example MX 20 p.example")
	d.Fail("silent.example", "servfail")
	for _, c := range []struct{ text, want string }{
		{"v=spf1", ""},
		{"V=SPF1 ip4:192.0.2.1 -all ip4:192.0.2.2", "ip4:192.0.2.1 0 0 [192.0.2.1/32], -all 0 0 []"},
		{"v=spf1 include:deep.example ~all", "include:deep.example 8 3 [192.0.2.0/29 192.0.2.9/32] unlisted, ~all 0 0 []"},
		{"v=spf1 mx a/24 a:none.example ptr", "mx 1 0 [192.0.2.9/32 198.51.100.1/32], a/24 1 0 [198.51.100.0/24], a:none.example 1 1 [], ptr 1 1 [] unlisted"},
		{"v=spf1 include:loop.example include:torn.example include:none.example frob:x +all", "include:loop.example 2 0 [] wrong, include:torn.example 1 0 [] wrong, " +
			"include:none.example 1 0 [] wrong, frob:x 0 0 [] wrong, +all 0 0 [] wrong"},
		{"v=spf1 include:silent.example -all", "include:silent.example 1 0 [] wrong, -all 0 0 []"},
		{"v=spf1 redirect=one.example a exp=x.example", "a 1 0 [198.51.100.1/32], redirect=one.example 2 1 [192.0.2.0/29] unlisted"},
		{"v=spf1 redirect=one.example -all", "-all 0 0 []"},
		{"v=spf1 redirect=one.example redirect=one.example", "redirect=one.example 0 0 [] wrong, redirect=one.example 2 1 [192.0.2.0/29] unlisted"},
	} {
		var got []string
		for _, one := range Reckon(t.Context(), resolver, "p.example", c.text).Terms {
			text := fmt.Sprintf("%s %d %d %v", one.Text, one.Lookups, one.Void, one.Networks)
			if one.Unlisted {
				text += " unlisted"
			}
			if one.Err != nil {
				text += " wrong"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s:\n%s; right is\n%s", c.text, text, c.want)
		}
	}
}

func TestARecordBeyondTheLimitsIsWrongAndSaysByHowMuch(t *testing.T) {
	d, resolver := startDNS(t)
	zone(d, "p.example A 192.0.2.1")
	for text, want := range map[string]string{
		"v=spf1" + strings.Repeat(" a", 10):            "<nil>",
		"v=spf1" + strings.Repeat(" a", 11):            "it takes 11 lookups in the DNS, and 10 are the most",
		"v=spf1" + strings.Repeat(" mx", 2):            "<nil>",
		"v=spf1" + strings.Repeat(" mx", 3):            "3 of its lookups may find nothing, and 2 are the most",
		"v=spf1" + strings.Repeat(" ip4:1.2.3.4", 201): "the record has ",
		"v=spf1 +all": "+all lets the whole Internet send",
	} {
		if err := fmt.Sprint(Reckon(t.Context(), resolver, "p.example", text).Err()); !strings.HasPrefix(err, want) {
			t.Errorf("%.60s: %s; right is %s", text, err, want)
		}
	}
}

func TestWhatARecordTakesOutFirstItDoesNotLetSend(t *testing.T) {
	_, resolver := startDNS(t)
	r := Reckon(t.Context(), resolver, "p.example", "v=spf1 ip4:192.0.2.1 -ip4:192.0.2.0/30 ip4:192.0.2.0/29")
	wantPrefixes(t, r.Passes().Prefixes(), "192.0.2.1/32 192.0.2.4/30")
}
