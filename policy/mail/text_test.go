package mail_test

import (
	"strings"
	"testing"

	"coexistd/policy/mail"
)

func TestAStrangersTextIsShownInShortPrintableASCII(t *testing.T) {
	long := strings.Repeat("x", 121)
	for text, want := range map[string]string{
		"":                            "",
		"bob~ \"%s\"":                 "bob~ \"%s\"",
		"a\r\n\t\x00\x1b[31m\x7fz":    "a?????[31m?z",
		"bücher \u202e\xff":           "b?cher ??",
		long[1:]:                      long[1:],
		long:                          long[1:] + "...",
		strings.Repeat("\u00fc", 120): strings.Repeat("?", 120),
		strings.Repeat("\u00fc", 121): strings.Repeat("?", 120) + "...",
	} {
		if got := mail.Printable(text); got != want {
			t.Errorf("%q is shown as %q; want %q", text, got, want)
		}
	}
	for most, want := range map[int]string{0: "", 2: "b?", 3: "b?c", 9: "b?cher"} {
		if got := mail.Excerpt("bücher", most); got != want {
			t.Errorf("%d bytes are %q; want %q", most, got, want)
		}
	}
}

func TestAFilesNameIsShownByItsEnd(t *testing.T) {
	for name, want := range map[string]string{
		"":                                "without a name",
		" \u00fc ":                        "?",
		"a \u202e\u0441\x00b  c.exe":      "a ?b c.exe",
		strings.Repeat("x", 99) + ".exe":  "..." + strings.Repeat("x", 73) + ".exe",
		strings.Repeat("\xff", 9) + ".js": "?.js",
	} {
		if got := mail.PrintableName(name); got != want {
			t.Errorf("%q is shown as %q; want %q", name, got, want)
		}
	}
}

func TestUnfoldLeavesAllButWhiteSpaceAsItIs(t *testing.T) {
	const folded = "<1\xff@\r\n\tx.example> \u00a0ü"
	if got, want := mail.Unfold(folded), "<1\xff@x.example>\u00a0ü"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
