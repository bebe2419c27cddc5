package postconf

import (
	"strconv"
	"strings"
)

// Characters reads a list of characters as Postfix does: \a, \b, \f, \n, \r, \t, \v and one to three
// octal digits behind a backslash stand for one (unescape(3) of Postfix). Each byte becomes a rune.
func Characters(text string) string {
	var list strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			list.WriteRune(rune(c))
			continue
		}
		digits := 0
		for digits < 3 && i+1+digits < len(text) && text[i+1+digits] >= '0' && text[i+1+digits] <= '7' {
			digits++
		}
		if digits > 0 {
			value, _ := strconv.ParseUint(text[i+1:i+1+digits], 8, 16)
			list.WriteRune(rune(byte(value)))
			i += digits
			continue
		}
		i++
		if at := strings.IndexByte("abfnrtv", text[i]); at >= 0 {
			list.WriteByte("\a\b\f\n\r\t\v"[at])
		} else {
			list.WriteRune(rune(text[i]))
		}
	}
	return list.String()
}
