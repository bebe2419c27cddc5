package document

import "strings"

// What can come next in a text. Each returns how many bytes of the text's beginning it
// takes; what begins and does not end goes on to the end of the text or of its line.

func spaces(text string) int {
	return len(text) - len(strings.TrimLeft(text, " \t"))
}

// blank is what may stand between entries: line ends and comments, too.
func blank(text string) int {
	for at := 0; ; at += restOfLine(text[at:]) {
		at = len(text) - len(strings.TrimLeft(text[at:], " \t\r\n"))
		if at == len(text) || text[at] != '#' {
			return at
		}
	}
}

func restOfLine(text string) int { return before(text, "\n") }

// keyPart is one part of a dotted key, without the spaces around it.
func keyPart(text string) int {
	if n := quoted(text); n > 0 {
		return n
	}
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return i
		}
	}
	return len(text)
}

// plainValue is a value that holds no other.
func plainValue(text string) int {
	if n := quoted(text); n > 0 {
		return n
	}
	return before(text, ",]}#\r\n")
}

// before is how many bytes stand before the first of some characters.
func before(text, characters string) int {
	if at := strings.IndexAny(text, characters); at >= 0 {
		return at
	}
	return len(text)
}

// quoted is a string of any kind; 0: there is none.
func quoted(text string) int {
	for _, mark := range []string{`"`, "'"} {
		switch {
		case strings.HasPrefix(text, mark+mark+mark):
			return multiline(text, mark)
		case strings.HasPrefix(text, mark):
			return oneLine(text, mark)
		}
	}
	return 0
}

// multiline is a string between three quotes each. Up to two quotes may stand before the
// three that close.
func multiline(text, mark string) int {
	for at := 3; at < len(text); at++ {
		rest := text[at:]
		if strings.HasPrefix(rest, mark+mark+mark) {
			quotes := len(rest) - len(strings.TrimLeft(rest, mark))
			return at + min(quotes, 5)
		}
		if mark == `"` && rest[0] == '\\' {
			at++ // what is escaped closes nothing
		}
	}
	return len(text)
}

// oneLine is a string between single quotes of either kind. A line's end is part of it
// only when it is escaped.
func oneLine(text, mark string) int {
	for at := 1; ; at++ {
		special := mark + "\n"
		if mark == `"` {
			special += `\`
		}
		at += before(text[at:], special)
		switch {
		case at == len(text) || text[at] == '\n':
			return at
		case text[at] != '\\':
			return at + len(mark)
		case at+1 == len(text):
			return at
		}
		at++
	}
}
