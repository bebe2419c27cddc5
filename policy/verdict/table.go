package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Replies returns the codes that a reply belongs to, sorted by the reply, then by their
// own names.
func Replies() []Code {
	codes := slices.Sorted(maps.Keys(catalogue))
	codes = slices.DeleteFunc(codes, func(c Code) bool { return catalogue[c].reply == (status{}) })
	slices.SortStableFunc(codes, func(a, b Code) int {
		x, y := catalogue[a], catalogue[b]
		return cmp.Or(cmp.Compare(x.reply.code, y.reply.code), cmp.Compare(x.reply.enhanced, y.reply.enhanced), cmp.Compare(x.text, y.text))
	})
	return codes
}

// RepliesTable returns the documentation's table of all replies, in Markdown: for each
// when it is given, and what asks for its codes. What a text is filled in with is "…".
func RepliesTable() string {
	var b strings.Builder
	b.WriteString("| reply | text | when | by |\n|---|---|---|---|\n")
	codes := Replies()
	for len(codes) > 0 {
		first := catalogue[codes[0]]
		var when, rfc []string
		for len(codes) > 0 {
			row := catalogue[codes[0]]
			if row.reply != first.reply || row.text != first.text {
				break
			}
			when = append(when, row.when)
			rfc = append(rfc, strings.Split(row.rfc, ", ")...)
			codes = codes[1:]
		}
		fmt.Fprintf(&b, "| %d %s | %s | %s | %s |\n", first.reply.code, first.reply.enhanced,
			elided(first.text), joined(when, "; "), joined(rfc, ", "))
	}
	return b.String()
}

// HasReply reports a code that a reply belongs to.
func (c Code) HasReply() bool { return catalogue[c].reply != (status{}) }

// elided puts "…" in the place of each argument.
func elided(text string) string {
	before, after, found := strings.Cut(text, "{")
	if !found {
		return text
	}
	_, after, _ = strings.Cut(after, "}")
	return before + "…" + elided(after)
}

// joined joins the different ones of a list, sorted.
func joined(list []string, by string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), by)
}
