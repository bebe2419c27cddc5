package mail_test

import (
	"strings"
	"testing"
	"unicode"

	"coexistd/policy/mail"
)

func TestParsesEveryFormOfAnAddress(t *testing.T) {
	for _, c := range []struct{ path, mailbox, local, domain, key, owner string }{
		{"alice@acmecorp.com", "alice@acmecorp.com", "alice", "acmecorp.com", "alice@acmecorp.com", "alice@acmecorp.com"},
		{"<Alice@AcmeCorp.com>", "Alice@AcmeCorp.com", "Alice", "acmecorp.com", "alice@acmecorp.com", "alice@acmecorp.com"},
		{"alice@acmecorp.com.", "alice@acmecorp.com.", "alice", "acmecorp.com", "alice@acmecorp.com", "alice@acmecorp.com"},
		{"a+b+c@x.example", "a+b+c@x.example", "a+b+c", "x.example", "a+b+c@x.example", "a@x.example"},
		{"+b@x.example", "+b@x.example", "+b", "x.example", "+b@x.example", "+b@x.example"},
		{`"Alice"@x.example`, `"Alice"@x.example`, `"Alice"`, "x.example", "alice@x.example", "alice@x.example"},
		{`"\a\l\ice+x"@x.example`, `"\a\l\ice+x"@x.example`, `"\a\l\ice+x"`, "x.example", "alice+x@x.example", "alice@x.example"},
		{`"a@b"@x.example`, `"a@b"@x.example`, `"a@b"`, "x.example", `"a@b"@x.example`, `"a@b"@x.example`},
		{`"a\"\\b"@x.example`, `"a\"\\b"@x.example`, `"a\"\\b"`, "x.example", `"a\"\\b"@x.example`, `"a\"\\b"@x.example`},
		{`"a b+c"@x.example`, `"a b+c"@x.example`, `"a b+c"`, "x.example", `"a b+c"@x.example`, `"a b+c"@x.example`},
		{`""@x.example`, `""@x.example`, `""`, "x.example", `""@x.example`, `""@x.example`},
		{`".a"@x.example`, `".a"@x.example`, `".a"`, "x.example", `".a"@x.example`, `".a"@x.example`},
		{`"<a>"@x.example`, `"<a>"@x.example`, `"<a>"`, "x.example", `"<a>"@x.example`, `"<a>"@x.example`},
		{"a@b@x.example", "a@b@x.example", "a@b", "x.example", `"a@b"@x.example`, `"a@b"@x.example`},
		{"A b+c@x.example", "A b+c@x.example", "A b+c", "x.example", `"a b+c"@x.example`, `"a b+c"@x.example`},
		{"a..b.@x.example", "a..b.@x.example", "a..b.", "x.example", "a..b.@x.example", "a..b.@x.example"},
		{"JÜRGEN@x.example", "JÜRGEN@x.example", "JÜRGEN", "x.example", "jürgen@x.example", "jürgen@x.example"},
		{"Groß+X@x.example", "Groß+X@x.example", "Groß+X", "x.example", "gross+x@x.example", "gross@x.example"},
		{"a@BÜCHER.example", "a@BÜCHER.example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@[192.0.2.1]", "a@[192.0.2.1]", "a", "[192.0.2.1]", "a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"a@[IPv6:2001:DB8::1]", "a@[IPv6:2001:DB8::1]", "a", "[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"},
		{"<@one.example,@two.example:a@x.example>", "a@x.example", "a", "x.example", "a@x.example", "a@x.example"},
		{"@[IPv6:2001:db8::1]:a@x.example", "a@x.example", "a", "x.example", "a@x.example", "a@x.example"},
		{`@one.example:"a:b"@x.example`, `"a:b"@x.example`, `"a:b"`, "x.example", `"a:b"@x.example`, `"a:b"@x.example`},
		{"postmaster", "postmaster", "postmaster", "", "postmaster@", "postmaster@"},
		{`"a b"`, `"a b"`, `"a b"`, "", `"a b"@`, `"a b"@`},
	} {
		a, err := mail.ParseAddress(c.path, "+")
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		expected := mail.Address{Path: c.mailbox, Local: c.local, Domain: c.domain, Key: c.key, Owner: c.owner}
		if a != expected {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.path, a, expected)
		}
		if a.IsNull() {
			t.Errorf("%s passes for the null path", c.path)
		}
	}
}

func TestTheNullPathIsAnAddress(t *testing.T) {
	for _, path := range []string{"", "<>"} {
		if a, err := mail.ParseAddress(path, "+"); err != nil || !a.IsNull() {
			t.Errorf("%q: %+v, %v", path, a, err)
		}
	}
}

func TestRefusesWhatIsNoAddress(t *testing.T) {
	for path, says := range map[string]string{
		"@x.example":                            "source route",
		"@x.example:":                           "source route",
		"@[IPv6:::1]a@x.example":                "source route",
		"@one.example:@two.example":             "no local part",
		"@one.example:@two.example@x.example":   "no local part",
		"a@":                                    "domain",
		"a@.":                                   "domain",
		"a@x..example":                          "domain",
		"a@.x.example":                          "domain",
		"a@x example":                           "domain",
		"a@x.example>":                          "bracket",
		"<a@x.example":                          "bracket",
		"<<a@x.example>>":                       "bracket",
		"a>,<b@x.example":                       "bracket",
		"a@[x y]":                               "domain",
		"a@[]":                                  "domain",
		"a@" + strings.Repeat("x.", 130) + "xx": "domain",
		"a@ \u202e.example":                     "domain",
		`"a@x.example`:                          "quoted string",
		`"a"b@x.example`:                        "quoted string",
		`"a"@`:                                  "quoted string",
		`"a\"@x.example`:                        "quoted string",
		"a\x00@x.example":                       "control",
		"a\r\nDATA@x.example":                   "control",
		"a\x7f@x.example":                       "control",
		"a\u009b31m@x.example":                  "control",
		"a\xff@x.example":                       "UTF-8",
		strings.Repeat("a", 1025):               "1024",
	} {
		a, err := mail.ParseAddress(path, "+")
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, error %v, want one that says %q", path, a, err, says)
		}
	}
}

func TestAnyOfSeveralDelimitersEndsTheOwner(t *testing.T) {
	a, err := mail.ParseAddress("alice-x+y@x.example", "+-")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "owner", a.Owner, "alice@x.example")
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"", "<>", "alice@acmecorp.com", `"a\"b c"@x.example`, "@a,@[IPv6:::1]:b+c@x.example", "JÜRGEN@BÜCHER.example",
		"a@[IPv6:2001:db8::1]", "K\u212a\u0130@x.example", "a@x。example", "\u023a@x.example", `"\é"@x.example`, "a@b@c", "postmaster",
	} {
		f.Add(seed, "+")
		f.Add(seed, "-+")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, path, delimiters string) {
		a, err := mail.ParseAddress(path, delimiters)
		if err != nil {
			if a != (mail.Address{}) {
				t.Errorf("an error comes with %+v", a)
			}
			return
		}
		if !strings.Contains(path, a.Path) || !strings.HasPrefix(a.Path, a.Local) {
			t.Errorf("%+v is not what was written", a)
		}
		for _, text := range []string{a.Path, a.Domain, a.Key, a.Owner} {
			if strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%q holds a control character", text)
			}
		}
		if a.Domain == "" || len(a.Key) > mail.MaxAddress-len("@alternate.example") {
			return
		}
		again, err := mail.ParseAddress(a.Key, delimiters)
		if err != nil || again.Key != a.Key || again.Owner != a.Owner || again.Domain != a.Domain {
			t.Errorf("%+v: its key is read as %+v, %v", a, again, err)
		}
		there, err := mail.ParseAddress(a.At("alternate.example"), delimiters)
		if len(a.At("alternate.example")) <= mail.MaxAddress && (err != nil || there.Key != strings.TrimSuffix(a.Key, a.Domain)+"alternate.example") {
			t.Errorf("%+v: the rewritten address is read as %+v, %v", a, there, err)
		}
	})
}

// want compares one text and says what it is about.
func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}
