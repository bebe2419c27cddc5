package ownmail

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestAStrangersTextIsReadable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"plain", "Your order", "Your order"},
		{"white space and folding", "  Your\r\n\torder \n", "Your order"},
		{"an encoded word", "=?iso-8859-1?q?Gr=FC=DFe?= =?utf-8?b?4pyT?=", "Grüße✓"},
		{"an encoded line break", "=?utf-8?q?a=0D=0ABcc:_x@y?=", "a Bcc: x@y"},
		{"UTF-7", "=?utf-7?q?Gr+APwA3w-e?= =?unicode-1-1-utf-7?b?K0p4TS0=?=", "Grüße✓"},
		{"a charset that is not known", "=?x-none?q?abc?=", "=?x-none?q?abc?="},
		{"right to left override", "invoice\u202Efdp.exe", "invoicefdp.exe"},
		{"isolates, marks and tags", "a\u2066\u2069\u200E\u200F\u061C\U000E0041b", "ab"},
		{"what has no width", "v\u200Bi\u00ADa\uFEFFg", "viag"},
		{"a family", "\U0001F468\u200D\U0001F469", "\U0001F468\u200D\U0001F469"},
		{"control characters", "a\x00\x1b[31mb\x7f\u0085c", "a[31mb c"},
		{"bytes that are not UTF-8", "Gr\xfc\xdfe", "Gr\uFFFD\uFFFDe"},
		{"a tower of marks", "a" + strings.Repeat("\u0301", 50) + "b", "a\u0301\u0301\u0301b"},
		{"line and paragraph separators", "a\u2028b\u2029c", "a b c"},
		{"nothing", "\r\n \t", ""},
	} {
		if got := Readable(c.value); got != c.want {
			t.Errorf("%s: %q is shown as %q, right is %q", c.name, c.value, got, c.want)
		}
	}
}

func TestALongTextIsCut(t *testing.T) {
	t.Parallel()
	for _, long := range []string{strings.Repeat("a", 100<<10), strings.Repeat("ä ", 50<<10), "=?utf-8?q?" + strings.Repeat("=C3=A4", 20<<10) + "?="} {
		got := Readable(long)
		if n := utf8.RuneCountInString(got); n > maxShown+2 || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
			t.Errorf("%.20q… is shown with %d characters: %q", long, n, got)
		}
	}
}

func TestNothingCanBecomeALinkAndAllCanBeReadAndCopied(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                     "",
		"s3://evil/x":                          "s3[:]//evil/x",
		"192.0.2.1/x and (192.0.2.1:80)":       "192[.]0[.]2[.]1/x and (192[.]0[.]2[.]1:80)",
		"192.0.2.1 and 192.0.2.0/24 for 1.50":  "192.0.2.1 and 192.0.2.0/24 for 1.50",
		"See https://evil.example/a?b=c.d now": "See https[:]//evil[.]example/a?b=c[.]d now",
		"www.evil.example":                     "www[.]evil[.]example",
		"<x.y@evil.example>":                   "<x[.]y[@]evil[.]example>",
		"mailto:x@evil.example":                "mailto[:]x[@]evil[.]example",
		"tel:+4912345":                         "tel[:]+4912345",
		"http://192.0.2.1/":                    "http[:]//192.0.2.1/",
		`\\evil\share`:                         `[\]\evil\share`,
		"münchen.example":                      "münchen[.]example",
		"a program: setup.exe":                 "a program: setup[.]exe",
		"Re: your order. At 12:30, for 1.50.":  "Re: your order. At 12:30, for 1.50.",
		"192.0.2.1 2001:db8::ffff:a 192.0.2.0/24 fe80::a/64": "192.0.2.1 2001:db8::ffff:a 192.0.2.0/24 fe80::a/64",
	} {
		if got := Unlinked(text); got != want {
			t.Errorf("%q is shown as %q, right is %q", text, got, want)
		}
	}
}

func TestAPlainAddressOfOursStaysAsItIs(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"alice.b+tag@acmecorp.com":             "alice.b+tag@acmecorp.com",
		`"https://evil.example/"@acmecorp.com`: `"https[:]//evil[.]example/"[@]acmecorp[.]com`,
		"www.evil.example":                     "www[.]evil[.]example",
		"a@b.example c@d.example":              "a[@]b[.]example c[@]d[.]example",
	} {
		if got := Address(address); got != want {
			t.Errorf("%q is shown as %q, right is %q", address, got, want)
		}
	}
}

func FuzzReadable(f *testing.F) {
	f.Add("=?utf-8?q?a=0D=0ABcc:_x@y?=")
	f.Add("\u202E\x00\xff=?iso-2022-jp?b?GyRC?=")
	f.Fuzz(func(t *testing.T, value string) {
		got := Readable(value)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxShown*(1+maxMarks) {
			t.Errorf("%q is shown as %q", value, got)
		}
		for _, c := range got {
			if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || unicode.IsSpace(c) && c != ' ' {
				t.Errorf("%q is shown with %U", value, c)
			}
		}
	})
}
