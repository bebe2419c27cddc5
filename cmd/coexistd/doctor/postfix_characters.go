package doctor

import (
	"strconv"
	"strings"
)

// lookAtCharacters looks for characters that Postfix takes out of messages. cleanup(8) does so
// before it asks a milter: what is checked is what is delivered, but it is no longer what was
// signed. A message with a character for which it is refused is refused before. What scanners and
// mail programs make of a NUL differs, so that Postfix should let none through.
func lookAtCharacters(p *postfix) []Finding {
	const taken, refused = "message_strip_characters", "message_reject_characters"
	var findings []Finding
	told := make(map[string]bool)
	for _, s := range p.Running("cleanup") {
		has, file := p.Value(s, taken), s.Where(taken)
		strips, refuses := unescape(has), unescape(p.Value(s, refused))
		left := strings.Map(func(c rune) rune {
			if strings.ContainsRune(refuses, c) {
				return -1
			}
			return c
		}, strips)
		if !strings.Contains(strips+refuses, "\x00") && !told[""] {
			told[""] = true
			findings = append(findings, warning("a message with a NUL is taken, of which scanners and mail programs make different things").
				do(`put into main.cf: %s = \0; then run: postfix reload`, refused))
		}
		if left == "" || told[has+file] {
			continue
		}
		told[has+file] = true
		instead := "take it out of " + file
		if strings.Contains(left, "\x00") {
			instead += ", and put into main.cf: " + refused + ` = \0`
		}
		findings = append(findings, warning("%s is %s in %s: Postfix takes these characters out of messages before coexistd sees them, so that the signatures (DKIM, ARC) of such mail no longer match and it may be refused as forged", taken, has, file).
			do("%s; then run: postfix reload", instead))
	}
	return findings
}

// unescape reads a list of characters as Postfix does: \a, \b, \f, \n, \r, \t, \v and one to three
// octal digits behind a backslash stand for one (unescape(3) of Postfix). Each byte becomes a rune.
func unescape(text string) string {
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
