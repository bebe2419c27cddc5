package spoof_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/bidi"

	"coexistd/policy/spoof"
)

func TestTextIsTurnedAsUnicodeTurnsIt(t *testing.T) {
	for _, c := range []struct{ text, fromLeft, fromRight string }{
		{"ceo@acme.com", "ceo@acme.com", "ceo@acme.com"},
		{"\u202emoc.emca@oec", "ceo@acme.com", "ceo@acme.com"},
		{"a \u202ecb\u202c d", "a bc d", "d bc a"},
		{"\u202emoc.\u202dacme\u202c@oec\u202c.", "ceo@acme.com.", ".ceo@acme.com"},
		{"\u202e(ta)", "(at)", "(at)"},
		{"\u202bcom\u200f.\u200facme", "acme.com", "acme.com"},
		{"x\u2067a\u200f.\u200fb\u2069.\u2067c\u200f.\u200fd\u2069y", "xb.a.d.cy", "xb.a.d.cy"},
		{"\u200f\u2066com\u2069 \u2066acme\u2069\u200f", "acme com", "acme com"},
		{"\u2068אב\u2069 c", "בא c", "c בא"},
		{"\u2068\u2066x\u2069אב c\u2069", "c באx", "c באx"},
		{"אב 12 cd", "12 בא cd", "cd 12 בא"},
		{strings.Repeat("\u202e", 60) + "ba", "ab", "ab"},
		{"\u202c\u2069a\u2069\u202c", "a", "a"},
	} {
		for base, expected := range []string{c.fromLeft, c.fromRight} {
			if got := spoof.AsShown(c.text, base); got != expected {
				t.Errorf("%+q is shown in lines of direction %d as %+q; it must be %+q", c.text, base, got, expected)
			}
		}
	}
}

// alphabet has no signs that belong to numbers and no brackets, which are not
// turned by all of the rules.
var alphabet = []rune("ab@! אבا\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

// sameDirections compares with golang.org/x/text, which knows the directions of
// characters, and not their order.
func sameDirections(t *testing.T, text string) {
	t.Helper()
	isNumber := strings.ContainsAny(text, "12")
	text = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(string(alphabet), r), isNumber && strings.ContainsRune("12", r), !isNumber && r == '.':
			return r
		}
		return -1
	}, text)
	for base, start := range []string{"\u200e", "\u200f"} {
		whole := start + text + "x" // white space at the end belongs to the line
		var p bidi.Paragraph
		if _, err := p.SetString(whole, bidi.DefaultDirection(bidi.Direction(base))); err != nil {
			t.Fatal(err)
		}
		order, err := p.Order()
		if err != nil {
			t.Fatal(err)
		}
		var expected strings.Builder
		for i := range order.NumRuns() {
			run := order.Run(i)
			for _, r := range run.String() {
				if !unicode.Is(unicode.Bidi_Control, r) {
					expected.WriteByte("LR"[run.Direction()])
				}
			}
		}
		if got := spoof.Directions(whole, base); got != expected.String() {
			t.Errorf("%+q, base %d:\ngot  %s\nwant %s", whole, base, got, expected.String())
		}
	}
}

func TestDirectionsAreThoseOfUnicode(t *testing.T) {
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 0))
		letters := append([]rune{'.'}, alphabet...)
		if seed%2 == 0 {
			letters = append([]rune("12"), alphabet...)
		}
		text := make([]rune, 1+random.IntN(12))
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		if sameDirections(t, string(text)); t.Failed() {
			return
		}
	}
}

func FuzzTurned(f *testing.F) {
	for _, seed := range []string{"\u202emoc.emca@oec", "\u2067a\u2069\u2068א1\u2069", "\u202b\u2066\u202c\u2069\u061c1", "\u2069\u202c\xff("} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sameDirections(t, text)
		for base := range 2 {
			shown := []rune(spoof.AsShown(text, base))
			// What is shown is what is there, save the mirrored brackets.
			count := make(map[rune]int)
			for _, r := range text {
				if unicode.IsSpace(r) {
					r = ' '
				}
				count[r]++
			}
			for _, r := range shown {
				if count[r]--; count[r] < 0 && !strings.ContainsRune("()[]{}<>", r) {
					t.Errorf("%+q is shown as %+q", text, string(shown))
				}
			}
		}
	})
}
