// Package document reads the text of a TOML file, and finds the line of each key and of each
// entry of a list, which the decoder does not tell. Any text is safe: what would make the
// decoder use much time, or all of the stack, is refused.
package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Document is what a file holds.
type Document struct {
	// Entries are the tables and values, in the decoder's types.
	Entries map[string]any
	Lines   Lines
}

// Mistake is why a text is no TOML that can be used.
type Mistake struct {
	Line int // from 1
	// Begins is the line where the entry or the header with the mistake begins. A string or
	// a list that nobody closes is known only at the end of the text.
	Begins int
	Text   string
}

// Error returns "line 7: what is wrong".
func (m *Mistake) Error() string { return fmt.Sprintf("line %d: %s", m.Line, m.Text) }

// Parse reads a text. The error is a *Mistake.
func Parse(text string) (Document, error) {
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		text = strings.TrimPrefix(text, mark)
	}
	if line, err := checkBounds(text); err != nil {
		return Document{}, &Mistake{line, beginOf(text, line), err.Error()}
	}
	entries, keys, err := decode(text)
	if err != nil {
		return Document{}, mistakeOf(text, err)
	}
	lines, _ := indexLines(text, keys)
	return Document{entries, lines}, nil
}

// mistakeOf tells an error of the decoder.
func mistakeOf(text string, err error) *Mistake {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return &Mistake{1, 1, fmt.Sprintf("not valid TOML: %v", err)}
	}
	// Position.Line is one too many where a line ends too early.
	start := min(max(0, syntax.Position.Start), len(text))
	where := ""
	if syntax.LastKey != "" {
		where = " at or after " + Printable(syntax.LastKey)
	}
	message := Printable(strings.TrimSuffix(syntax.Message, "."))
	line := 1 + strings.Count(text[:start], "\n")
	return &Mistake{line, beginOf(text, line), fmt.Sprintf("not valid TOML%s: %s", where, message)}
}

// decode decodes a text whose bounds were checked. The decoder panics on states that it
// holds to be impossible; here they are errors.
func decode(text string) (entries map[string]any, keys []toml.Key, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the decoder gave up: %s", Printable(fmt.Sprint(reason)))
		}
	}()
	meta, err := toml.Decode(text, &entries)
	return entries, meta.Keys(), err
}

// Printable replaces what could upset a terminal.
func Printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}
