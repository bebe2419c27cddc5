package mail

import (
	"fmt"
	"strings"
	"unicode"
)

// invisible are the characters beyond ASCII that show as nothing, as white space, or only
// in the order of others: joiners, marks of direction, fillers, variation selectors. In a
// name that is to be the same wherever it is written, they have no use.
var invisible = []*unicode.RangeTable{
	unicode.Cf, unicode.Zs, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
}

// CheckVisible refuses a text with a character that people cannot see. The error says
// which one and where.
func CheckVisible(text string) error {
	if IsASCII(text) {
		return nil
	}
	place := 0
	for _, c := range text {
		place++
		if c > unicode.MaxASCII && unicode.In(c, invisible...) {
			return fmt.Errorf("character %d is U+%04X, which cannot be seen; take it out", place, c)
		}
	}
	return nil
}

// Printable makes a stranger's text fit for an SMTP reply: printable ASCII of at most 120
// bytes, and "..." in the place of what goes beyond.
func Printable(s string) string {
	const longest = 120
	clean := Excerpt(s, longest+1)
	if len(clean) > longest {
		clean = clean[:longest] + "..."
	}
	return clean
}

// Excerpt makes a stranger's text harmless wherever people read it: its beginning, at most
// that many bytes, as printable ASCII, with a question mark for each other character.
func Excerpt(s string, most int) string {
	clean := make([]byte, 0, min(len(s), most))
	for _, c := range s {
		if len(clean) == most {
			break
		}
		if c < ' ' || c > '~' {
			c = '?'
		}
		clean = append(clean, byte(c))
	}
	return string(clean)
}

// PrintableName makes the name that a stranger gives a file, or the like, harmless: at most
// 80 printable ASCII characters, with a question mark for each run of others. When it is
// too long, its end stays, where the extension is. It is never empty.
func PrintableName(name string) string {
	const most = 80
	if len(name) > 16*most {
		name = name[len(name)-16*most:]
	}
	var b strings.Builder
	for _, c := range name {
		switch {
		case c == ' ' && strings.HasSuffix(b.String(), " "):
		case c >= ' ' && c < 0x7f:
			b.WriteRune(c)
		case !strings.HasSuffix(b.String(), "?"):
			b.WriteByte('?')
		}
	}
	clean := strings.TrimSpace(b.String())
	if len(clean) > most {
		clean = "..." + clean[len(clean)-most+3:]
	}
	if clean == "" {
		return "without a name"
	}
	return clean
}

// Unfold drops all white space, which hops between may change.
func Unfold(value string) string {
	return string(AppendUnfolded(make([]byte, 0, len(value)), value))
}

// AppendUnfolded appends a value without its white space.
func AppendUnfolded[T string | []byte](b []byte, value T) []byte {
	start := 0
	for i := range len(value) {
		switch value[i] {
		case ' ', '\t', '\r', '\n':
			b = append(b, value[start:i]...)
			start = i + 1
		}
	}
	return append(b, value[start:]...)
}

// Enclosed returns the length of the quoted string, or of the comment with those in it,
// that s begins with.
func Enclosed(s string) (n int, ended bool) {
	depth := 1
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case s[0] == '"' && c == '"', s[0] == '(' && c == ')':
			if depth--; depth == 0 {
				return i + 1, true
			}
		case s[0] == '(' && c == '(':
			depth++
		}
	}
	return len(s), false
}

// WithoutComments drops what stands in parentheses (RFC 5322 section 3.2.2), of those that
// do not end too.
func WithoutComments(s string) string {
	depth := 0
	return strings.Map(func(c rune) rune {
		switch {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			return c
		}
		return -1
	}, s)
}

// Unescape drops the backslash of each pair (RFC 5322 section 3.2.1).
func Unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
