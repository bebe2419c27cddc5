package ownmail

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"coexistd/policy/mail"
)

const (
	// maxRaw bounds what is decoded of a header field, in bytes.
	maxRaw = 4000
	// maxShown bounds what people are shown of a stranger's text, in runes.
	maxShown = 200
	// maxMarks bounds the combining marks on one letter: a tower of them covers
	// the lines above.
	maxMarks = 3
	// textWidth is where the lines of plain text end, if words allow it (RFC 5322
	// section 2.1.1 asks for 78).
	textWidth = 76
)

// Readable returns a header field's value as people may see it: encoded words
// (RFC 2047) decoded, on one line, of 200 characters at most, without control
// characters and without those that change the direction of writing. Any input
// is safe.
func Readable(value string) string {
	if len(value) > maxRaw {
		value = value[:maxRaw]
	}
	if text, words := mail.DecodeWords(value); words.Unknown == "" {
		value = text
	}
	return OneLine(value)
}

// OneLine does what Readable promises save the decoding.
func OneLine(s string) string {
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

// Unlinked breaks what mail programs would make a link of, in the way that people who
// report such things write it: https[:]//evil[.]example, x[@]evil[.]example. It can be read,
// searched for and copied, and nothing invisible is in it. Numbers and IP addresses stay as they are.
func Unlinked(s string) string {
	words := strings.Split(s, " ")
	for i, word := range words {
		if !isIP(word) {
			words[i] = unlinkedWord(word)
		}
	}
	return strings.Join(words, " ")
}

func isIP(word string) bool {
	_, noAddr := netip.ParseAddr(word)
	_, noPrefix := netip.ParsePrefix(word)
	return noAddr == nil || noPrefix == nil
}

// isHost reports a word that begins with the number of a host: "192.0.2.1/x".
func isHost(word string) bool {
	digits := strings.TrimLeft(word, `("'<[`)
	end := strings.IndexFunc(digits, func(c rune) bool { return c != '.' && !unicode.IsDigit(c) })
	return end > 0 && isIP(digits[:end])
}

func unlinkedWord(word string) string {
	var b strings.Builder
	before, letters, host := rune(0), []rune(word), isHost(word)
	for i, c := range letters {
		after := rune(0)
		if i+1 < len(letters) {
			after = letters[i+1]
		}
		if links(before, c, after) || host && c == '.' {
			b.WriteString("[" + string(c) + "]")
		} else {
			b.WriteRune(c)
		}
		before = c
	}
	return b.String()
}

// links reports a character that mail programs know a link by: the dot of a name, the
// at sign of an address, the colon of a scheme, or the first backslash of a server's name.
func links(before, c, after rune) bool {
	switch c {
	case '.':
		number := unicode.IsDigit(before) && unicode.IsDigit(after)
		return before != 0 && !number && (unicode.IsLetter(after) || unicode.IsDigit(after))
	case '@':
		return before != 0 && after != 0
	case ':':
		leads := after != 0 && strings.ContainsRune(`/\+?`, after)
		return unicode.IsLetter(before) && (unicode.IsLetter(after) || leads) || unicode.IsDigit(before) && leads
	case '\\':
		return before != c && after == c
	}
	return false
}

// Address returns the address of somebody of ours as people may see it. A plain one stays as
// it is, even if mail programs make a link of it: that leads to nobody else.
func Address(s string) string {
	if s = OneLine(s); plainAddress.MatchString(s) {
		return s
	}
	return Unlinked(s)
}

var plainAddress = regexp.MustCompile(`^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`)

// Wrap writes text in lines that begin below each other, behind a label. The last
// line ends.
func Wrap(label, text string) string {
	var b strings.Builder
	b.WriteString(label)
	indent := strings.Repeat(" ", len(label))
	width := len(label)
	for i, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+size > textWidth:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += size
	}
	b.WriteByte('\n')
	return b.String()
}

// Bytes writes a size for people: "812 bytes", "4.1 KB", "25 MB".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	size, unit := float64(n)/1024, "KB"
	for _, larger := range [...]string{"MB", "GB"} {
		if size < 1023.5 {
			break
		}
		size, unit = size/1024, larger
	}
	if size < 9.95 {
		return fmt.Sprintf("%.1f %s", size, unit)
	}
	return fmt.Sprintf("%.0f %s", size, unit)
}
