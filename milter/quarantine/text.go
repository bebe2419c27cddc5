package quarantine

import (
	"io"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

const (
	// maxRaw bounds what is decoded of a header field, in bytes.
	maxRaw = 4000
	// maxShown bounds what people are shown of a stranger's text, in runes.
	maxShown = 200
	// maxMarks bounds the combining marks on one letter: a tower of them covers
	// the lines above.
	maxMarks = 3
)

// Readable returns a header field's value as people may see it: encoded words
// (RFC 2047) decoded, on one line, of 200 characters at most, without control
// characters and without those that change the direction of writing. Any input
// is safe.
func Readable(value string) string {
	if len(value) > maxRaw {
		value = value[:maxRaw]
	}
	decoder := mime.WordDecoder{CharsetReader: func(label string, r io.Reader) (io.Reader, error) {
		return charset.Reader(label, r)
	}}
	if decoded, err := decoder.DecodeHeader(value); err == nil {
		value = decoded
	}
	return oneLine(value)
}

// oneLine does what Readable promises save the decoding.
func oneLine(s string) string {
	var b strings.Builder
	shown, marks, gap := 0, 0, false
	for _, c := range s {
		switch {
		case unicode.IsSpace(c):
			gap = shown > 0
			continue
		case c == utf8.RuneError, unicode.Is(unicode.Co, c):
			c = '\uFFFD'
		case unicode.IsControl(c), isInvisible(c):
			continue
		}
		if marks++; !unicode.Is(unicode.M, c) {
			marks = 0
		}
		if marks > maxMarks {
			continue
		}
		if shown >= maxShown {
			b.WriteString("…")
			break
		}
		if gap {
			b.WriteByte(' ')
			shown++
		}
		b.WriteRune(c)
		shown, gap = shown+1, false
	}
	return b.String()
}

// isInvisible reports characters that show nothing themselves but change what
// is around them. The two joiners are letters' shapes in some scripts, and hold
// together the parts of an emoji.
func isInvisible(c rune) bool {
	return unicode.Is(unicode.Cf, c) && c != '\u200C' && c != '\u200D' || unicode.Is(unicode.Variation_Selector, c) && c > 0xFFFF
}

// unlinked breaks what mail programs would make a link of: an invisible space
// ends the word behind each dot, colon, slash and at sign within it. Long words
// may be wrapped at these places, too.
func unlinked(s string) string {
	var b strings.Builder
	ends := false
	for _, c := range s {
		if ends && c != ' ' {
			b.WriteRune('\u200B')
		}
		b.WriteRune(c)
		ends = strings.ContainsRune(".:/@", c)
	}
	return b.String()
}
