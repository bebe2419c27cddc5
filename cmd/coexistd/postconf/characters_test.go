package postconf

import "testing"

func TestCharactersAreReadAsPostfixReadsThem(t *testing.T) {
	for text, want := range map[string]string{
		"":           "",
		`\0`:         "\x00",
		`\00`:        "\x00",
		`\0001`:      "\x001",
		`\101\t\r`:   "A\t\r",
		`\a\b\f\n\v`: "\a\b\f\n\v",
		`\\0`:        `\0`,
		`\8\x`:       "8x",
		`a\`:         `a\`,
		`\400\377`:   "\x00\u00ff",
		"\xe9":       "\u00e9",
	} {
		if got := Characters(text); got != want {
			t.Errorf("of %q is made %q; Postfix makes %q", text, got, want)
		}
	}
}
