package mail

import (
	"slices"
	"strings"
	"unicode/utf16"
)

// utf7Names are UTF-7's names as a charset, in lower case.
var utf7Names = []string{"utf-7", "utf7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7", "csutf7"}

func isUTF7(charset string) bool { return slices.Contains(utf7Names, charset) }

// decodeUTF7 decodes UTF-7 (RFC 2152). It takes any input: what cannot be read becomes
// U+FFFD, and bits that make no whole letter are left out. The text is valid UTF-8, and
// has three times the bytes of raw at most.
func decodeUTF7(raw string) string {
	var b strings.Builder
	for rest := raw; rest != ""; {
		plain, shifted, _ := strings.Cut(rest, "+")
		b.WriteString(plain)
		end := strings.IndexFunc(shifted, func(c rune) bool { return !isBase64(c) })
		if end < 0 {
			end = len(shifted)
		}
		b.WriteString(utf16Text(shifted[:end]))
		rest = shifted[end:]
		if after, marked := strings.CutPrefix(rest, "-"); marked {
			if rest = after; end == 0 {
				b.WriteByte('+')
			}
		}
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// utf16Text decodes UTF-16 in base64.
func utf16Text(encoded string) string {
	raw, _ := decodeBase64(encoded)
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	return string(utf16.Decode(units))
}
