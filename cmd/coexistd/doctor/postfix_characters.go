package doctor

import (
	"strings"

	"coexistd/cmd/coexistd/postconf"
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
		strips, refuses := postconf.Characters(has), postconf.Characters(p.Value(s, refused))
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
