package spoof

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"
)

// Read returns the authors with the domains that follow from the rest of them.
func (a Authors) Read() Authors {
	a.Domains, a.MoreDomains = nil, false
	a.readDomains()
	return a
}

// AsShown returns what is seen of a line, in lines from the left (0) or from the right (1).
func AsShown(text string, base int) string {
	var t turner
	t.turn(text, int32(base))
	return visible(t.shown.String())
}

// Directions returns an L or an R for each character of a line, without those that are
// only to turn it.
func Directions(text string, base int) string {
	t := turner{rest: []rune(text)}
	replaceFSI(t.rest)
	t.read(embedding{int32(base), bidi.ON}, false)
	var b strings.Builder
	for _, l := range t.letters {
		if !unicode.Is(unicode.Bidi_Control, l.rune) {
			b.WriteByte("LR"[l.level%2])
		}
	}
	return b.String()
}
