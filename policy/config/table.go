package config

import (
	"fmt"
	"maps"
	"slices"

	"coexistd/policy/config/document"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/wording"
)

// place is where a mistake is shown.
type place struct {
	file string
	line int
	key  string
	kind mistakes.Kind // of the mistakes there
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
	value string
	place
}

// table is one table of the file, read by the schema.
type table struct {
	r       *reader
	name    string // the last part of its key
	path    string // in the line index
	schema  string // the path of its section in the schema
	place   place
	entries map[string]any
	values  map[string]any // what the keys stand for, said or not
	right   map[string]any // of those, what is said
}

// at is the place of one key of the table, or of the table itself when the
// key is absent.
func (t *table) at(name string) place {
	p := t.place
	p.key = document.Join(t.place.key, name)
	if line, ok := t.r.lines[document.Join(t.path, name)]; ok {
		p.line = line
	}
	if t.path == "" && (name == "platform" || name == "domain") {
		p.kind = mistakes.OfDomains
	}
	return p
}

func (t *table) fail(name, format string, args ...any) {
	t.r.fail(t.at(name), format, args...)
}

// has reports that a key is said, be it right or wrong.
func (t *table) has(name string) bool {
	_, ok := t.entries[name]
	return ok
}

// hasEmpty reports a list without entries.
func (t *table) hasEmpty(name string) bool {
	switch value := t.entries[name].(type) {
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// said returns what the file says, if it says it rightly.
func said[T any](t *table, name string) (value T, ok bool) {
	value, ok = t.right[name].(T)
	return value, ok
}

// value returns what the file says, or what holds when it says nothing or something
// wrong: the usual value, or the zero value.
func value[T any](t *table, name string) T {
	value, _ := t.values[name].(T)
	return value
}

// read reads the keys of a table, and refuses all that are not among them nor among the
// further ones, which the caller reads.
func (t *table) read(keys []key, further ...string) *table {
	known := slices.Clone(further)
	t.values, t.right = make(map[string]any), make(map[string]any)
	for _, k := range keys {
		known = append(known, k.name)
		switch usual := k.usual.(type) {
		case nil:
		case int:
			t.values[k.name] = k.kind.read(t, k.name, int64(usual))
		default:
			t.values[k.name] = k.kind.read(t, k.name, usual)
		}
		written, isSaid := t.entries[k.name]
		switch {
		case isSaid:
			if value := k.kind.read(t, k.name, written); value != nil {
				t.values[k.name], t.right[k.name] = value, value
			}
		case k.missing != "":
			t.fail(k.name, "is missing; %s", k.missing)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		switch {
		case slices.Contains(known, name):
		case t.path != "" && isTopKey(name):
			t.fail(name, "stands in the table [%s], but belongs at the top of the file, before the first table", t.place.key)
		default:
			t.fail(name, "is not a known key; %s", wording.Suggest(name, known))
		}
	}
	return t
}

// readSection reads a table by its section of the schema.
func (t *table) readSection() *table { return t.read(keysOf(t.schema), within(t.schema)...) }

// items returns the texts of a list; nil: it is none, or breaks the rules.
func (t *table) items(name string, value any, rules rules) []item {
	values, isList := value.([]any)
	switch {
	case !isList:
		t.fail(name, "is %s; it must be %s", describe(value), wantList)
		return nil
	case len(values) == 0 && rules.empty != "":
		t.fail(name, "%s", rules.empty)
	case rules.most > 0 && !t.atMost(name, rules.most, len(values), rules.what):
		return nil
	}
	all := []item{}
	for i, value := range values {
		at, _ := t.element(name, i)
		if text, isText := value.(string); isText {
			all = append(all, item{text, at})
		} else {
			t.r.fail(at, "holds %s; it must be %s", describe(value), wantList)
		}
	}
	return all
}

// element is the place of an entry of a list, and its path.
func (t *table) element(name string, i int) (place, string) {
	at, path := t.at(name), document.Element(document.Join(t.path, name), i)
	if line, ok := t.r.lines[path]; ok {
		at.line = line
	}
	return at, path
}

// atMost refuses more than so many. What names them.
func (t *table) atMost(name string, most, count int, what string) bool {
	if count > most {
		t.fail(name, "there are %d %s; at most %d are possible", count, what, most)
	}
	return count <= most
}

// inner returns the table that is the value of a key, unread. It is nil for another value,
// which is a mistake unless there is none. What is what it must be.
func (t *table) inner(name string, value any, want string) *table {
	entries, ok := value.(map[string]any)
	if !ok && value != nil {
		t.fail(name, "is %s; it must be %s", describe(value), want)
	}
	if !ok {
		return nil
	}
	inner := &table{r: t.r, name: name, path: document.Join(t.path, name), schema: under(t.schema, name), place: t.at(name), entries: entries}
	return inner
}

// section returns the table of that name, unread, or nil: [redis].
func (t *table) section(name string) *table {
	return t.inner(name, t.entries[name], fmt.Sprintf("a table, written as [%s]", document.Join(t.place.key, name)))
}

// optional returns the table of that name, unread, or one that says nothing.
func (t *table) optional(name string) *table {
	if one := t.section(name); one != nil {
		return one
	}
	return &table{r: t.r, name: name, path: document.Join(t.path, name), schema: under(t.schema, name), place: t.at(name)}
}

// parent returns the table that holds those with a name, or nil: that of all [platform.NAME].
func (t *table) parent(name string) *table {
	return t.inner(name, t.entries[name], fmt.Sprintf("tables with a name, each written as [%s.NAME]", document.Join(t.place.key, name)))
}

// tables returns the tables within a parent, unread, sorted by their names.
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

// array returns the tables of that name, unread: [[listen]].
func (t *table) array(name string) (all []*table) {
	want := fmt.Sprintf("a list of tables, each written as [[%s]]", document.Join(t.place.key, name))
	var values []any
	switch value := t.entries[name].(type) {
	case nil:
	case []map[string]any: // the decoder has a type of its own for lists of tables alone
		for _, one := range value {
			values = append(values, one)
		}
	case []any:
		values = value
	default:
		t.fail(name, "is %s; it must be %s", describe(value), want)
	}
	for i, value := range values {
		at, path := t.element(name, i)
		if entries, isTable := value.(map[string]any); isTable {
			all = append(all, &table{r: t.r, name: name, path: path, schema: under(t.schema, name), place: at, entries: entries})
		} else {
			t.r.fail(at, "holds %s; it must be %s", describe(value), want)
		}
	}
	return all
}

// typeNames are the decoder's types in a reader's words.
var typeNames = map[string]string{
	"string": "a string", "int64": "a whole number", "float64": "a number with a fraction", "bool": "a boolean",
	"time.Time": "a date or time", "map[string]interface {}": "a table", "[]map[string]interface {}": "a list of tables",
	"[]interface {}": "a list",
}

func describe(value any) string { return typeNames[fmt.Sprintf("%T", value)] }
