package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// place is where a mistake is shown.
type place struct {
	file string
	line int
	key  string
	kind Kind // of the mistakes there
}

// later returns two places with the one that stands further down first.
func later(a, b place) (below, above place) {
	if a.line < b.line {
		return b, a
	}
	return a, b
}

// entry is one entry of a list.
type entry[T any] struct {
	value T
	path  string // in the line index
	place
}

// item is one text of a list.
type item = entry[string]

// aString is what the value of most keys must be.
const aString = "a string in quotes"

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
	if t.path == "" && (name == "platform" || name == "domain") {
		p.kind = OfDomains
	}
	return p
}

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

// getOr returns a fallback where get finds nothing.
func getOr[T any](t *table, name, want string, fallback T) T {
	if value, ok := get[T](t, name, want); ok {
		return value
	}
	return fallback
}

func (t *table) text(name, fallback string) string { return getOr(t, name, aString, fallback) }

func (t *table) flag(name string, fallback bool) bool {
	return getOr(t, name, "true or false", fallback)
}

// parsed returns what a text stands for. The error of read says what would be right.
func parsed[T any](t *table, name, want string, read func(string) (T, error)) (value T, ok bool) {
	text, ok := get[string](t, name, want)
	if !ok {
		return value, false
	}
	value, err := read(text)
	if err != nil {
		t.fail(name, "%v", err)
	}
	return value, err == nil
}

// parsedOr returns a fallback where parsed finds nothing.
func parsedOr[T any](t *table, name, want string, fallback T, read func(string) (T, error)) T {
	if value, ok := parsed(t, name, want, read); ok {
		return value
	}
	return fallback
}

func (t *table) number(name string, fallback, low, high int64) int {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	value := getOr(t, name, want, fallback)
	if value < low || value > high {
		t.fail(name, "%d is out of range; it must be %s", value, want)
		return int(fallback)
	}
	return int(value)
}

// list returns the entries of a list; nil: there is no list. The decoder has a type of its
// own for lists of tables alone.
func list[T any](t *table, name, want string) (all []entry[T]) {
	var values []any
	switch value := t.entries[name].(type) {
	case nil:
	case []T:
		for _, one := range value {
			values = append(values, one)
		}
	case []any:
		all, values = []entry[T]{}, value
	default:
		t.fail(name, "is %s; it must be %s", describe(value), want)
	}
	for i, value := range values {
		one := entry[T]{path: element(join(t.path, name), i), place: t.at(name)}
		if line, ok := t.r.lines[one.path]; ok {
			one.line = line
		}
		var ok bool
		if one.value, ok = value.(T); ok {
			all = append(all, one)
		} else {
			t.r.fail(one.place, "holds %s; it must be %s", describe(value), want)
		}
	}
	return all
}

func (t *table) texts(name string) []item {
	return list[string](t, name, `a list of strings, like ["a", "b"]`)
}

// oneOrMore returns a string, or the strings of a list.
func (t *table) oneOrMore(name string) []item {
	switch value := t.entries[name].(type) {
	case nil:
	case string:
		return []item{{value: value, place: t.at(name)}}
	case []any:
		return t.texts(name)
	default:
		t.fail(name, "is %s; it must be a string in quotes, or a list of them", describe(value))
	}
	return nil
}

// refuseEmpty refuses a list without entries.
func (t *table) refuseEmpty(name, problem string) {
	if values, isList := t.entries[name].([]any); isList && len(values) == 0 {
		t.fail(name, "%s", problem)
	}
}

// atMost refuses more than so many. What names them.
func (t *table) atMost(name string, most, count int, what string) bool {
	if count > most {
		t.fail(name, "there are %d %s; at most %d are possible", count, what, most)
	}
	return count <= most
}

// each returns what the texts of a list stand for.
func each[T any](r *reader, items []item, read func(string) (T, error)) (all []T) {
	for _, one := range items {
		if value, err := read(one.value); err != nil {
			r.fail(one.place, "%v", err)
		} else {
			all = append(all, value)
		}
	}
	return all
}

// unique drops what a list has a second time.
func unique[T comparable](list []T) (all []T) {
	for _, one := range list {
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// eachOnce is each for what must not be there twice, even when it cannot be used. Of
// what is no value at all, read returns the zero value.
func eachOnce[T comparable](r *reader, items []item, read func(string) (T, error)) (all []T) {
	var none T
	for _, one := range items {
		value, err := read(one.value)
		if slices.Contains(all, value) {
			err = fmt.Errorf("%s is there twice; keep one of them", quote(one.value))
		} else if value != none {
			all = append(all, value)
		}
		if err != nil {
			r.fail(one.place, "%v", err)
		}
	}
	return all
}

// servers reads those that are tried in turn. Right is what to do about none.
func (t *table) servers(name string, items []item, most int, what, right string, read func(string) (string, error)) []string {
	if items != nil && len(items) == 0 {
		t.fail(name, "names no server; %s", right)
	}
	if !t.atMost(name, most, len(items), what) {
		return nil
	}
	return eachOnce(t.r, items, read)
}

// require refuses that a key is absent. Right says what it would be.
func (t *table) require(name, right string) {
	if !t.has(name) {
		t.fail(name, "is missing; %s", right)
	}
}

// table returns the table of that name, or nil.
func (t *table) table(name, want string) *table {
	entries, ok := get[map[string]any](t, name, want)
	if !ok {
		return nil
	}
	return &table{r: t.r, name: name, path: join(t.path, name), place: t.at(name), entries: entries}
}

// section returns the table of that name, or nil: [redis]. It has no keys but the known
// ones, when any are given.
func (t *table) section(name string, known ...string) *table {
	one := t.table(name, fmt.Sprintf("a table, written as [%s]", join(t.place.key, name)))
	if one != nil && known != nil {
		one.only(known...)
	}
	return one
}

// optional returns the section of that name, or one that says nothing.
func (t *table) optional(name string, known ...string) *table {
	if one := t.section(name, known...); one != nil {
		return one
	}
	return &table{r: t.r, name: name, path: join(t.path, name), place: t.at(name)}
}

// parent returns the table that holds those with a name, or nil: that of all [platform.NAME].
func (t *table) parent(name string) *table {
	return t.table(name, fmt.Sprintf("tables with a name, each written as [%s.NAME]", join(t.place.key, name)))
}

// tables returns the tables within a parent, sorted by their names.
func (t *table) tables(name string) (all []*table) {
	if parent := t.parent(name); parent != nil {
		for _, name := range slices.Sorted(maps.Keys(parent.entries)) {
			if one := parent.section(name); one != nil {
				all = append(all, one)
			}
		}
	}
	return all
}

// array returns the tables of that name: [[listen]]. Known is as for section.
func (t *table) array(name string, known ...string) (all []*table) {
	want := fmt.Sprintf("a list of tables, each written as [[%s]]", join(t.place.key, name))
	for _, one := range list[map[string]any](t, name, want) {
		inner := &table{r: t.r, name: name, path: one.path, place: one.place, entries: one.value}
		if known != nil {
			inner.only(known...)
		}
		all = append(all, inner)
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

// typeNames are the decoder's types in a reader's words.
var typeNames = map[string]string{
	"string": "a string", "int64": "a whole number", "float64": "a number with a fraction", "bool": "a boolean",
	"time.Time": "a date or time", "map[string]interface {}": "a table", "[]map[string]interface {}": "a list of tables",
	"[]interface {}": "a list",
}

func describe(value any) string { return typeNames[fmt.Sprintf("%T", value)] }

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
