package schema

import (
	"fmt"
	"regexp"
	"strings"
)

// Default returns the text of a file in which every key stands with its meaning, and with
// its usual value or an example, all commented out. It begins with an introduction.
func (s Schema) Default(introduction string) string {
	var b strings.Builder
	b.WriteString(introduction)
	for _, one := range s {
		if one.Header != "" {
			fmt.Fprintf(&b, "\n\n# %s: %s.\n#%s\n", one.Header, one.About, one.Header)
		}
		for _, k := range one.Keys {
			if k.Shown() != "" && (one.Header != "" || one.Path == "") {
				fmt.Fprintf(&b, "\n%s#%s = %s\n", k.comment(), k.Name, k.Shown())
			}
		}
	}
	return b.String()
}

// Shown returns the key's usual value as the file would say it, or an example.
func (k Key) Shown() string {
	switch usual := k.Usual.(type) {
	case nil:
		return k.Example
	case string:
		return fmt.Sprintf("%q", usual)
	case []any:
		return fmt.Sprintf("[%q]", usual[0])
	}
	return fmt.Sprint(k.Usual)
}

// link is a link in Markdown: one in brackets, which goes, or one of which the text stays.
var link = regexp.MustCompile(` \(\[[^\]]*\]\([^)]*\)\)|\[([^\]]*)\]\([^)]*\)`)

// Unlinked returns the key's meaning without its links.
func (k Key) Unlinked() string { return link.ReplaceAllString(k.Meaning, "$1") }

// comment tells the key's meaning in lines that begin with "# ".
func (k Key) comment() string {
	text := k.Unlinked() + ". Possible: " + k.Kind.Possible + "."
	if k.Usual == nil && k.Missing == "" {
		text += " Without it: " + k.Without() + "."
	}
	text = strings.ReplaceAll(text, "`", "")
	if !strings.HasPrefix(k.Meaning, "`") { // which is a value, in its own letters
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(text) {
		if width += len(word) + 1; i == 0 || width > 100 {
			b.WriteString("\n#")
			width = len(word) + 1
		}
		b.WriteString(" " + word)
	}
	return b.String()[1:] + "\n"
}

// Without says in words what holds when nothing is said.
func (k Key) Without() string {
	if k.Usually != "" {
		return k.Usually
	}
	return "none"
}
