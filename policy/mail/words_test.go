package mail_test

import (
	"strings"
	"testing"

	"coexistd/policy/mail"
)

func TestEncodedWordsAreDecodedAsFarAsTheyCanBe(t *testing.T) {
	for _, c := range []struct {
		encoded, text string
		words         mail.Words
	}{
		{"", "", mail.Words{}},
		{"a = ?b", "a = ?b", mail.Words{Bytes: "a = ?b"}},
		{"a =?utf-8?q?=C3=B6_b?= c", "a ö b c", mail.Words{Bytes: "a ö b c"}},
		{"=?iso-8859-1?Q?=F6?= =?ISO-8859-1*de?b?9g==?= =?utf-8?q?=C3=B6?=", "ööö", mail.Words{Bytes: "\xf6\xf6ö"}},
		{"=?utf-8?b?w?= =?utf-8?q?=C3?= =?utf-8?q?=B6?=", "ö", mail.Words{Bytes: "ö", Broken: true}},
		{"=?x-none?q?=FFabc?=", "\xffabc", mail.Words{Bytes: "\xffabc", Unknown: "x-none"}},
		{"=?utf-7?q?+AEA-=FF?=", "@\uFFFD", mail.Words{Bytes: "@\uFFFD"}},
		{"=?utf-8?q?a=4?==?utf-8?q?=zz=?=", "a=4=zz=", mail.Words{Bytes: "a=4=zz=", Broken: true}},
		{"=?utf-8?b?YQ=b?=", "a\x06", mail.Words{Bytes: "a\x06", Broken: true}},
		{"=?utf-8?x?a?= =??q?a?= =?utf-8?q?a", "=?utf-8?x?a?= =??q?a?= =?utf-8?q?a", mail.Words{Bytes: "=?utf-8?x?a?= =??q?a?= =?utf-8?q?a", Broken: true}},
	} {
		text, words := mail.DecodeWords(c.encoded)
		if text != c.text || words != c.words {
			t.Errorf("%q is %q, %+v\nand must be %q, %+v", c.encoded, text, words, c.text, c.words)
		}
	}
}

func TestTheLengthOfAnEncodedWordIsThatOfItAlone(t *testing.T) {
	for text, length := range map[string]int{
		"": 0, "a": 0, "=?": 0, "=?utf-8?q?a?=": 13, "=?utf-8?q?a,b?= c": 15, " =?utf-8?q?a?=": 0, "=?utf-8?q?a": 0,
		"=?" + strings.Repeat("a", 70) + "?q?a?=": 0,
	} {
		if got := mail.WordLength(text); got != length {
			t.Errorf("the word in %q has %d bytes, and %d are right", text, got, length)
		}
	}
}

func FuzzDecodeWords(f *testing.F) {
	for _, seed := range []string{"=?utf-8?q?a=0D?= =?iso-2022-jp?b?GyRC?=", "=?utf-7?b?K0FFQQ?= =?=?q?", "=?utf-16?q?=00a?=\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, words := mail.DecodeWords(s)
		if len(words.Bytes) > 3*len(s) || len(text) > 9*len(s) {
			t.Errorf("%q is %q and %q", s, text, words.Bytes)
		}
		if n := mail.WordLength(s); n > len(s) || n > 0 && !strings.HasSuffix(s[:n], "?=") {
			t.Errorf("the word in %q has %d bytes", s, n)
		}
	})
}
