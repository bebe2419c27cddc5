package route_test

import (
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
)

func TestAHiddenAddressSaysWhoItIsAndWhereTheMailGoes(t *testing.T) {
	keys := seal.NewKeys([]byte("a secret"))
	for _, c := range []struct{ path, hop, begins, revealed, to string }{
		{"bob@example.org", "[mail.filter.example]:2525", "bob=at=example.org@mail.filter.example.p2525.", "bob@example.org", "[mail.filter.example]:2525"},
		{"Bob+News@Example.org", "[192.0.2.1]", "Bob+News=at=Example.org@192.0.2.1.p25.", "Bob+News@Example.org", "[192.0.2.1]:25"},
		{`"a @ b"@example.org`, "Filter.example", "=22a=20=40=20b=22=at=example.org@filter.example.mx25.", `"a @ b"@example.org`, "filter.example:25"},
		{"a,b@example.org", "filter.example:26", "=22a=2Cb=22=at=example.org@filter.example.mx26.", `"a,b"@example.org`, "filter.example:26"},
		{"a=at=b@example.org", "[x.mx]:25", "a=3Dat=3Db=at=example.org@x.mx.p25.", "a=at=b@example.org", "[x.mx]:25"},
		{"grüße@[IPv6:2001:db8::1]", "[ipv6:::1]:25", "grüße=at==5BIPv6=3A2001=3Adb8=3A=3A1=5D@ip6-0000-0000-0000-0000-0000-0000-0000-0001.p25.", "grüße@[IPv6:2001:db8::1]", "[0000:0000:0000:0000:0000:0000:0000:0001]:25"},
		{"-x%y!z/@example.org", "[2001:db8::1]:25", "=2Dx=25y=21z=2F=at=example.org@ip6-2001-0db8-0000-0000-0000-0000-0000-0001.p25.", "-x%y!z/@example.org", "[2001:0db8:0000:0000:0000:0000:0000:0001]:25"},
	} {
		a, err := mail.ParseAddress(c.path, "+")
		if err != nil {
			t.Fatal(err)
		}
		hidden := route.Hide(keys, a, c.hop)
		if !strings.HasPrefix(hidden, c.begins) || !strings.HasSuffix(hidden, ".route.invalid") {
			t.Errorf("%s by %s is %s", c.path, c.hop, hidden)
		}
		h, err := mail.ParseAddress(hidden, "+")
		if err != nil || !route.IsHidden(h.Domain) {
			t.Errorf("%s is no hidden address: %v", hidden, err)
		}
		address, hop, ok := route.Reveal(keys, hidden)
		if address != c.revealed || hop != c.to || !ok {
			t.Errorf("%s reveals %q and %q, %v; right is %q and %q", hidden, address, hop, ok, c.revealed, c.to)
		}
		upper := hidden[:strings.LastIndexByte(hidden, '@')] + strings.ToUpper(hidden[strings.LastIndexByte(hidden, '@'):])
		if _, again, ok := route.Reveal(keys, upper); again != c.to || !ok {
			t.Errorf("%s reveals %q, %v", upper, again, ok)
		}
		for about, forged := range map[string]string{
			"another hop":     strings.NewReplacer(".p2", ".p3", ".mx2", ".p2").Replace(hidden),
			"another label":   strings.Replace(hidden, "@", "@x.", 1),
			"no signature":    strings.Replace(hidden, hidden[strings.LastIndex(hidden, ".route")-20:], "route.invalid", 1),
			"a control":       "=0A" + hidden,
			"what is cut":     "=4" + hidden[strings.Index(hidden, "=at="):],
			"no local part":   hidden[strings.LastIndexByte(hidden, '@'):],
			"a domain alone":  hidden[strings.LastIndexByte(hidden, '@')+1:],
			"another ending":  hidden + ".example",
			"not a signature": strings.Replace(hidden, ".route.invalid", "x.route.invalid", 1),
		} {
			if address, hop, ok := route.Reveal(keys, forged); ok {
				t.Errorf("%s: %s reveals %q and %q", about, forged, address, hop)
			}
		}
		for about, others := range map[string]seal.Keys{"other keys": seal.NewKeys([]byte("another")), "no keys": {}} {
			if _, _, ok := route.Reveal(others, hidden); ok {
				t.Errorf("%s reveal %s", about, hidden)
			}
		}
		if _, _, ok := route.Reveal(seal.Keys{}, route.Hide(seal.Keys{}, a, c.hop)); ok {
			t.Error("what anybody could have signed is revealed")
		}
	}
}
