package sqldb

import (
	"errors"
	"fmt"
	"strings"

	"coexistd/milter/sources"
)

// checkQuery refuses what is not one statement that only reads. The server would refuse
// it, too, but not each in words that help; SQLite would run one statement after the other.
func checkQuery(driver, what, query string) error {
	if strings.TrimSpace(query) == "" {
		return fmt.Errorf("%s is missing; give one that begins with SELECT", what)
	}
	l := lexer{text: query, driver: driver}
	ended := false
	for n := 0; ; n++ {
		token := l.next()
		switch {
		case token == "":
			if n == 0 {
				return fmt.Errorf("%s holds nothing but comments; give one that begins with SELECT", what)
			}
			return nil
		case ended && token != ";":
			return fmt.Errorf("%s has several statements; give one, and nothing after its semicolon", what)
		case n == 0 && token != "SELECT" && token != "WITH" && token != "(":
			return fmt.Errorf("%s begins with %q; it must only read: begin it with SELECT or WITH", what, sources.Quote(token, ""))
		case token == "INTO":
			return fmt.Errorf("%s has the word INTO; it must only read: leave that out", what)
		case token == ";":
			ended = true
		}
	}
}

// lexer takes an SQL statement apart, as far as is needed to see where it ends.
type lexer struct {
	text   string
	driver string
}

// quoted stands for a text or a name in quotes.
const quoted = "'"

// next returns the next word in upper case, quoted, or another character by itself; "" at
// the end. Blanks and comments are left out.
func (l *lexer) next() string {
	for l.text != "" {
		if n := l.blank(); n > 0 {
			l.text = l.text[n:]
			continue
		}
		if n := l.quote(); n > 0 {
			l.text = l.text[n:]
			return quoted
		}
		n := 0
		for n < len(l.text) && isWord(l.text[n]) {
			n++
		}
		n = max(n, 1)
		token := strings.ToUpper(l.text[:n])
		l.text = l.text[n:]
		return token
	}
	return ""
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// blank returns the length of the white space or the comment at the beginning, or 0.
func (l *lexer) blank() int {
	text := l.text
	switch {
	case strings.ContainsRune(" \t\r\n\f\v", rune(text[0])):
		return 1
	case strings.HasPrefix(text, "--") && (l.driver != MySQL || len(text) == 2 || text[2] <= ' '),
		text[0] == '#' && l.driver == MySQL:
		return until(text, 1, "\n")
	// MySQL runs what stands in the other comments.
	case strings.HasPrefix(text, "/*") && (l.driver != MySQL || !strings.HasPrefix(text, "/*!") && !strings.HasPrefix(text, "/*M!")):
		return until(text, 2, "*/")
	}
	return 0
}

// quote returns the length of the text or the name in quotes at the beginning, or 0.
func (l *lexer) quote() int {
	text := l.text
	switch c := text[0]; {
	case c == '\'' || c == '"':
		return quoteEnd(text, 0, l.driver == MySQL)
	case c|0x20 == 'e' && len(text) > 1 && text[1] == '\'' && l.driver == Postgres:
		return quoteEnd(text, 1, true)
	case c == '`':
		return quoteEnd(text, 0, false)
	case c == '[' && l.driver == SQLite:
		return until(text, 1, "]")
	case c == '$' && l.driver == Postgres:
		n := 1
		for n < len(text) && isWord(text[n]) {
			n++
		}
		if n < len(text) && text[n] == '$' {
			return until(text, n+1, text[:n+1])
		}
	}
	return 0
}

// quoteEnd returns the length up to the quote that ends what the one at a place begins.
// One that is written twice ends it, and begins another.
func quoteEnd(text string, at int, escapes bool) int {
	for n := at + 1; n < len(text); n++ {
		switch {
		case text[n] == '\\' && escapes:
			n++
		case text[n] == text[at]:
			return n + 1
		}
	}
	return len(text)
}

// until returns the length up to and with an end that is looked for from a place on, or
// that of the whole text.
func until(text string, from int, end string) int {
	if at := strings.Index(text[from:], end); at >= 0 {
		return from + at + len(end)
	}
	return len(text)
}

// checkColumns refuses columns that no list can be made of.
func checkColumns(names []string) error {
	if len(names) > maxColumns {
		return fmt.Errorf("the query gives %d columns; at most %d are read: name those that are needed", len(names), maxColumns)
	}
	seen := make(map[string]bool)
	for _, name := range names {
		if seen[name] {
			return fmt.Errorf("the query gives two columns by the name %q; rename one with AS", sources.Quote(name, ""))
		}
		seen[name] = true
	}
	return nil
}

// errNoAddress tells of columns without the one that each list has.
func errNoAddress(names []string) error {
	return errors.New("the query gives no column address, but " + sources.Quote(strings.Join(names, ", "), "") + "; write SELECT … AS address")
}
