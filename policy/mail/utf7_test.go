package mail

import (
	"testing"
	"unicode/utf8"
)

func TestUTF7IsDecoded(t *testing.T) {
	for encoded, decoded := range map[string]string{
		// RFC 2152's examples.
		"A+ImIDkQ.":               "A≢Α.",
		"Hi Mom -+Jjo--!":         "Hi Mom -☺-!",
		"+ZeVnLIqe-":              "日本語",
		"Item 3 is +AKM-1.":       "Item 3 is £1.",
		"":                        "",
		"ceo@acmecorp.com":        "ceo@acmecorp.com",
		"1 +- 1":                  "1 + 1",
		"+AGMAZQBv-+AEA-acme+AC4": "ceo@acme.",
		"+2D3eAA":                 "😀",
		"+AEA=":                   "@=",
		"+":                       "",
		"+,":                      ",",
		"a+-":                     "a+",
		"+A-":                     "",             // six bits are no letter
		"+AEAA-":                  "@",            // nor are eight more
		"+2D0-x":                  "\uFFFDx",      // half a surrogate
		"+3gDYPQ-":                "\uFFFD\uFFFD", // two in the wrong order
		"~\\":                     `~\`,
		"\xfc":                    "\uFFFD",
	} {
		if got := decodeUTF7(encoded); got != decoded {
			t.Errorf("%q is %q; it must be %q", encoded, got, decoded)
		}
	}
}

func TestUTF7HasSeveralNames(t *testing.T) {
	for _, name := range []string{"utf-7", "UTF-7", "utf7", "unicode-1-1-utf-7", "Unicode-2-0-UTF-7", "csUnicode11UTF7", "csUTF7", "x-unicode-2-0-utf-7"} {
		if got, _ := DecodeWords("=?" + name + "?q?+AEA-?="); got != "@" {
			t.Errorf("%s is UTF-7", name)
		}
	}
	for _, name := range []string{"", "utf-8", "utf-7-imap", "utf-70"} {
		if got, _ := DecodeWords("=?" + name + "?q?+AEA-?="); got == "@" {
			t.Errorf("%s is not UTF-7", name)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	for _, seed := range []string{"Hi Mom -+Jjo--!", "+ZeVnLIqe-", "+2D3eAA", "+3gDYPQ-", "+++---", "+AEA\xff", "+A+A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := decodeUTF7(raw)
		if !utf8.ValidString(got) || len(got) > 3*len(raw) {
			t.Errorf("%q is %q", raw, got)
		}
	})
}
