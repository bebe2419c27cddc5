package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Default returns the text of a configuration in which every key stands with its meaning,
// and with its usual value or an example, all commented out. At least one [[listen]] and
// one [domain."NAME"] must be uncommented.
func Default() string {
	var b strings.Builder
	b.WriteString("# The configuration of coexistd. A line that begins with # and no space is a setting: it shows what\n" +
		"# holds when nothing is said, or an example where nothing does. Needed are a [[listen]] with its address\n" +
		"# and a [domain.\"NAME\"] with its directory. The whole is told by contrib/docs/configuration.md.\n")
	for _, s := range schema {
		if s.header != "" {
			fmt.Fprintf(&b, "\n\n# %s: %s.\n#%s\n", s.header, s.about, s.header)
		}
		for _, k := range s.keys {
			if k.shown() != "" && s.header+s.path != "platform.*.proof" {
				fmt.Fprintf(&b, "\n%s#%s = %s\n", k.comment(), k.name, k.shown())
			}
		}
	}
	return b.String()
}

// shown is the key's usual value as the file would say it, or an example.
func (k key) shown() string {
	switch usual := k.usual.(type) {
	case nil:
		return k.example
	case string:
		return fmt.Sprintf("%q", usual)
	case []any:
		return fmt.Sprintf("[%q]", usual[0])
	}
	return fmt.Sprint(k.usual)
}

// link is a link in Markdown: one in brackets, which goes, or one of which the text stays.
var link = regexp.MustCompile(` \(\[[^\]]*\]\([^)]*\)\)|\[([^\]]*)\]\([^)]*\)`)

// comment tells the key's meaning in lines that begin with "# ".
func (k key) comment() string {
	text := k.meaning + ". Possible: " + k.kind.possible + "."
	if k.usual == nil && k.missing == "" {
		text += " Without it: " + k.without() + "."
	}
	text = strings.ReplaceAll(link.ReplaceAllString(text, "$1"), "`", "")
	if !strings.HasPrefix(k.meaning, "`") { // which is a value, in its own letters
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

// without says in words what holds when nothing is said.
func (k key) without() string {
	if k.usually != "" {
		return k.usually
	}
	return "none"
}
