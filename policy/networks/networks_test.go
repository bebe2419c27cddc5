package networks

import (
	"fmt"
	"strings"
	"testing"
)

func TestAListGivesItsNetworksAndAllMistakes(t *testing.T) {
	for _, c := range []struct{ text, want, mistakes string }{
		{"", "[]", "[]"},
		{"# nothing\r\n\n", "[]", "[]"},
		{"\xef\xbb\xbf192.0.2.0/24 # a comment\r\n\n2001:db8::1\n192.0.2.0/24", "[192.0.2.0/24 2001:db8::1/128 192.0.2.0/24]", "[]"},
		{"192.0.2.1\n10.1.\n\n0.0.0.0/0\n::ffff:192.0.2.0/120\n192.0.2.1/24\n10.0.0.0/255.0.0.0\nx", "[192.0.2.1/32]",
			`[2 "10.1." is not a CIDR; write it as 10.1.0.0/16 4 "0.0.0.0/0" is the whole Internet; list the networks that are meant` +
				` 5 "::ffff:192.0.2.0/120" is an IPv4 network in IPv6 form, as which no client comes; write it as 192.0.2.0/24` +
				` 6 "192.0.2.1/24" has bits set beyond /24; write it as 192.0.2.0/24 7 "10.0.0.0/255.0.0.0" is not a CIDR; write it as 10.0.0.0/8` +
				` 8 "x" is not a CIDR; write it like "192.0.2.0/24", "192.0.2.1" or "2001:db8::/32"]`},
		{"#\n[2001:db8::1]\n[::1]/128\n[::ffff:127.0.0.0]/104\n[[x", "[]",
			`[2 "[2001:db8::1]" has brackets; write it as 2001:db8::1 3 "[::1]/128" has brackets; write it as ::1/128` +
				` 4 "::ffff:127.0.0.0/104" is an IPv4 network in IPv6 form, as which no client comes; write it as 127.0.0.0/8` +
				` 5 "x" is not a CIDR; write it like "192.0.2.0/24", "192.0.2.1" or "2001:db8::/32"]`},
		{"1\x009\x002\x00", "[]", "[1 holds NUL bytes; save it as UTF-8]"},
		{`[{"ips": ["192.0.2.0/24", "2001:db8::/32"], "tcpPorts": "25"}, {"ips": ["198.51.100.0/24"], "tcpPorts": "80,443"}, {"urls": ["x"]}]`, "[192.0.2.0/24 2001:db8::/32]", "[]"},
		{`[{"ips": ["192.0.2.0/24"], "tcpPorts": "2525"}]`, "[]", `[1 lists no "ips" whose "tcpPorts" hold 25; it should be the list of the service area Exchange]`},
		{`{"ips": ["192.0.2.0/24"]}`, "[]", `[1 is not Microsoft's list of endpoints, which is an array of {"ips": ["CIDR"], "tcpPorts": "25"}]`},
	} {
		found, mistakes := Parse(c.text)
		if got := fmt.Sprint(found); got != c.want {
			t.Errorf("%q gives %s; want %s", c.text, got, c.want)
		}
		if got := strings.NewReplacer("{", "", "}", "").Replace(fmt.Sprint(mistakes)); got != strings.NewReplacer("{", "", "}", "").Replace(c.mistakes) {
			t.Errorf("%q gives the mistakes\n%s; want\n%s", c.text, got, c.mistakes)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"192.0.2.0/24\n2001:db8::1 # x", `[{"ips":["192.0.2.0/24"],"tcpPorts":"25"}]`, "10.1.\n10/255.0.0.0", "{", "::ffff:1.2.3.4/95"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, mistakes := Parse(text)
		for _, prefix := range found {
			if !prefix.IsValid() || prefix != prefix.Masked() || prefix.Bits() == 0 || prefix.Addr().Is4In6() {
				t.Errorf("%q gives %v", text, prefix)
			}
		}
		lines := strings.Count(text, "\n") + 1
		for _, m := range mistakes {
			if m.Line < 1 || m.Line > lines || m.Problem == "" {
				t.Errorf("%q gives the mistake %+v", text, m)
			}
		}
	})
}
