package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// place is where a mistake is shown.
type place struct {
	file string
	line int
	key  string
}

// later returns two places with the one that stands further down first.
func later(a, b place) (below, above place) {
	if a.line < b.line {
		return b, a
	}
	return a, b
}

// item is one text of a list.
type item struct {
	text string
	place
}

// table is one table of the file. Its getters return the zero value, or the
// fallback, for a key that is absent or has a value of the wrong type; the
// latter is put on record as a mistake.
type table struct {
	r       *reader
	name    string // the last part of its key
	path    string // in the line index
	place   place
	entries map[string]any
}

// at is the place of one key of the table, or of the table itself when the
// key is absent.
func (t *table) at(name string) place {
	p := t.place
	p.key = join(t.place.key, name)
	if line, ok := t.r.lines[join(t.path, name)]; ok {
		p.line = line
	}
	return p
}

// fail puts a mistake in the value of one key on record.
func (t *table) fail(name, format string, args ...any) {
	t.r.fail(t.at(name), format, args...)
}

func (t *table) has(name string) bool {
	_, ok := t.entries[name]
	return ok
}

// get returns the value of a key that must have the type T.
func get[T any](t *table, name, want string) (value T, ok bool) {
	entry, ok := t.entries[name]
	if !ok {
		return value, false
	}
	if value, ok = entry.(T); !ok {
		t.fail(name, "is %s; it must be %s", describe(entry), want)
	}
	return value, ok
}

func (t *table) text(name, fallback string) string {
	if value, ok := get[string](t, name, "a string in quotes"); ok {
		return value
	}
	return fallback
}

func (t *table) flag(name string, fallback bool) bool {
	if value, ok := get[bool](t, name, "true or false"); ok {
		return value
	}
	return fallback
}

func (t *table) number(name string, fallback, low, high int64) int {
	value, ok := get[int64](t, name, fmt.Sprintf("a whole number from %d to %d", low, high))
	if !ok {
		return int(fallback)
	}
	if value < low || value > high {
		t.fail(name, "%d is out of range; it must be a whole number from %d to %d", value, low, high)
		return int(fallback)
	}
	return int(value)
}

// texts returns a list of strings.
func (t *table) texts(name string) []item {
	const want = `a list of strings, like ["a", "b"]`
	var entries []any
	switch value := t.entries[name].(type) {
	case nil:
		return nil
	case []any:
		entries = value
	default:
		t.fail(name, "is %s; it must be %s", describe(value), want)
		return nil
	}
	items := make([]item, 0, len(entries))
	for i, entry := range entries {
		where := t.at(name)
		if line, ok := t.r.lines[element(join(t.path, name), i)]; ok {
			where.line = line
		}
		text, ok := entry.(string)
		if !ok {
			t.r.fail(where, "holds %s; it must be %s", describe(entry), want)
			continue
		}
		items = append(items, item{text, where})
	}
	return items
}

// oneOrMore returns a string, or the strings of a list. It is nil for what is
// neither.
func (t *table) oneOrMore(name string) []item {
	switch value := t.entries[name].(type) {
	case nil:
	case string:
		return []item{{value, t.at(name)}}
	case []any:
		return t.texts(name)
	default:
		t.fail(name, "is %s; it must be a string in quotes, or a list of them", describe(value))
	}
	return nil
}

// table returns the table of that name, or nil.
func (t *table) table(name, want string) *table {
	entries, ok := get[map[string]any](t, name, want)
	if !ok {
		return nil
	}
	return &table{r: t.r, name: name, path: join(t.path, name), place: t.at(name), entries: entries}
}

// optional returns the table of that name, or one that says nothing.
func (t *table) optional(name string) *table {
	if one := t.table(name, fmt.Sprintf("a table, written as [%s]", join(t.place.key, name))); one != nil {
		return one
	}
	return &table{r: t.r, name: name, path: join(t.path, name), place: t.at(name)}
}

// tables returns the tables within the table of that name, sorted by theirs:
// [platform.NAME].
func (t *table) tables(name string) []*table {
	want := fmt.Sprintf("tables with a name, each written as [%s]", join(t.place.key, name)+".NAME")
	parent := t.table(name, want)
	if parent == nil {
		return nil
	}
	var all []*table
	for _, name := range slices.Sorted(maps.Keys(parent.entries)) {
		if one := parent.table(name, fmt.Sprintf("a table, written as [%s]", join(parent.place.key, name))); one != nil {
			all = append(all, one)
		}
	}
	return all
}

// array returns the tables of that name: [[listen]].
func (t *table) array(name string) []*table {
	want := fmt.Sprintf("a list of tables, each written as [[%s]]", join(t.place.key, name))
	var entries []any
	switch value := t.entries[name].(type) {
	case nil:
		return nil
	case []map[string]any:
		for _, one := range value {
			entries = append(entries, one)
		}
	case []any:
		entries = value
	default:
		t.fail(name, "is %s; it must be %s", describe(value), want)
		return nil
	}
	var all []*table
	for i, entry := range entries {
		one := &table{r: t.r, name: name, path: element(join(t.path, name), i), place: t.at(name)}
		if line, ok := t.r.lines[one.path]; ok {
			one.place.line = line
		}
		var ok bool
		if one.entries, ok = entry.(map[string]any); !ok {
			t.r.fail(one.place, "holds %s; it must be %s", describe(entry), want)
			continue
		}
		all = append(all, one)
	}
	return all
}

// only refuses every key of the table that is not among the known ones.
func (t *table) only(known ...string) {
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		if slices.Contains(known, name) {
			continue
		}
		if t.path != "" && slices.Contains(topKeys, name) {
			t.fail(name, "stands in the table [%s], but belongs at the top of the file, before the first table", t.place.key)
			continue
		}
		t.fail(name, "is not a known key; %s", suggest(name, known))
	}
}

// describe names the type of a value in a reader's words.
func describe(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	}
	return "a list"
}

// suggest says which of the known words was probably meant.
func suggest(word string, known []string) string {
	best, least := "", (len(word)+2)/3+1
	if len(word) <= maxKey {
		for _, candidate := range known {
			if len(word) >= 3 && strings.HasPrefix(candidate, word) {
				best = candidate
				break
			}
			if d := distance(strings.ToLower(word), candidate); d < least {
				best, least = candidate, d
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	sorted := slices.Sorted(slices.Values(known))
	if len(sorted) == 1 {
		return "it would be " + sorted[0]
	}
	return "it would be one of " + strings.Join(sorted, ", ")
}

// distance is the Levenshtein distance of two words, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
