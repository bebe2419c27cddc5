package schema

import (
	"fmt"
	"maps"
	"slices"

	"coexistd/policy/config/document"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/wording"
)

// Item is one text of a list, and where it stands.
type Item struct {
	Value string
	mistakes.Place
}

// Table is one table of the file.
type Table struct {
	// Name is the last part of its key, and Place where the table stands.
	Name  string
	Place mistakes.Place
	// Entries are what the file says, in the decoder's types.
	Entries map[string]any

	reader  *Reader
	path    string         // in the line index
	section string         // the path of its section in the schema
	values  map[string]any // what the keys stand for, said or not
	right   map[string]any // of those, what is said
}

// At is the place of one key of the table, or of the table itself when the
// key is absent.
func (t *Table) At(name string) mistakes.Place {
	p := t.Place
	p.Key = document.Join(t.Place.Key, name)
	if line, ok := t.reader.Lines[document.Join(t.path, name)]; ok {
		p.Line = line
	}
	if t.path == "" {
		p.Kind = t.reader.Kinds[name]
	}
	return p
}

// Fail puts a mistake on record, at a key.
func (t *Table) Fail(name, format string, args ...any) {
	t.reader.Fail(t.At(name), format, args...)
}

// Has reports that a key is said, be it right or wrong.
func (t *Table) Has(name string) bool {
	_, ok := t.Entries[name]
	return ok
}

// HasEmpty reports a list without entries.
func (t *Table) HasEmpty(name string) bool {
	switch value := t.Entries[name].(type) {
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// Said returns what the file says, if it says it rightly.
func Said[T any](t *Table, name string) (value T, ok bool) {
	value, ok = t.right[name].(T)
	return value, ok
}

// Value returns what the file says, or what holds when it says nothing or something
// wrong: the usual value, or the zero value.
func Value[T any](t *Table, name string) T {
	value, _ := t.values[name].(T)
	return value
}

// Read reads the keys of a table, and refuses all that are not among them nor among the
// further ones, which the caller reads.
func (t *Table) Read(keys []Key, further ...string) *Table {
	known := slices.Clone(further)
	t.values, t.right = make(map[string]any), make(map[string]any)
	for _, k := range keys {
		if !slices.Contains(known, k.Name) {
			known = append(known, k.Name)
		}
		switch usual := k.Usual.(type) {
		case nil:
		case int:
			t.values[k.Name] = k.Kind.read(t, k.Name, int64(usual))
		default:
			t.values[k.Name] = k.Kind.read(t, k.Name, usual)
		}
		written, isSaid := t.Entries[k.Name]
		switch {
		case isSaid:
			if value := k.Kind.read(t, k.Name, written); value != nil {
				t.values[k.Name], t.right[k.Name] = value, value
			}
		case k.Missing != "":
			t.Fail(k.Name, "is missing; %s", k.Missing)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Entries)) {
		switch {
		case slices.Contains(known, name):
		case t.path != "" && t.reader.Schema.has("", name):
			t.Fail(name, "stands in the table [%s], but belongs at the top of the file, before the first table", t.Place.Key)
		default:
			t.Fail(name, "is not a known key; %s", wording.Suggest(name, known))
		}
	}
	return t
}

// ReadSection reads a table by its section of the schema.
func (t *Table) ReadSection() *Table {
	return t.Read(t.reader.Schema.Keys(t.section), t.reader.Schema.Within(t.section)...)
}

// ReadEntry reads an entry whose key the administrator names. It reports false for one that
// is wrong, which is then on record.
func ReadEntry[V any](t *Table, name string, kind Kind) (V, bool) {
	value, ok := kind.read(t, name, t.Entries[name]).(V)
	return value, ok
}

// items returns the texts of a list; nil: it is none, or breaks the rules.
func (t *Table) items(name string, value any, rules Rules) []Item {
	values, isList := value.([]any)
	switch {
	case !isList:
		t.Fail(name, "is %s; it must be %s", Describe(value), wantList)
		return nil
	case len(values) == 0 && rules.Empty != "":
		t.Fail(name, "%s", rules.Empty)
	case rules.Most > 0 && !t.AtMost(name, rules.Most, len(values), rules.What):
		return nil
	}
	all := []Item{}
	for i, value := range values {
		at, _ := t.element(name, i)
		if text, isText := value.(string); isText {
			all = append(all, Item{text, at})
		} else {
			t.reader.Fail(at, "holds %s; it must be %s", Describe(value), wantList)
		}
	}
	return all
}

// element is the place of an entry of a list, and its path.
func (t *Table) element(name string, i int) (mistakes.Place, string) {
	at, path := t.At(name), document.Element(document.Join(t.path, name), i)
	if line, ok := t.reader.Lines[path]; ok {
		at.Line = line
	}
	return at, path
}

// AtMost refuses more than so many. What names them.
func (t *Table) AtMost(name string, most, count int, what string) bool {
	if count > most {
		t.Fail(name, "there are %d %s; at most %d are possible", count, what, most)
	}
	return count <= most
}

// Inner returns the table that is the value of a key, unread. It is nil for another value,
// which is a mistake unless there is none. What is what it must be.
func (t *Table) Inner(name string, value any, want string) *Table {
	entries, ok := value.(map[string]any)
	if !ok && value != nil {
		t.Fail(name, "is %s; it must be %s", Describe(value), want)
	}
	if !ok {
		return nil
	}
	inner := t.without(name)
	inner.Entries = entries
	return inner
}

// Section returns the table of that name, unread, or nil: [redis].
func (t *Table) Section(name string) *Table {
	return t.Inner(name, t.Entries[name], fmt.Sprintf("a table, written as [%s]", document.Join(t.Place.Key, name)))
}

// Optional returns the table of that name, unread, or one that says nothing.
func (t *Table) Optional(name string) *Table {
	if one := t.Section(name); one != nil {
		return one
	}
	return t.without(name)
}

// without returns the table of that name within t, as one that says nothing.
func (t *Table) without(name string) *Table {
	return &Table{
		Name: name, Place: t.At(name),
		reader: t.reader, path: document.Join(t.path, name), section: t.reader.Schema.under(t.section, name),
	}
}

// Parent returns the table that holds those with a name, or nil: that of all [platform.NAME].
func (t *Table) Parent(name string) *Table {
	return t.Inner(name, t.Entries[name], fmt.Sprintf("tables with a name, each written as [%s.NAME]", document.Join(t.Place.Key, name)))
}

// Tables returns the tables within a parent, unread, sorted by their names.
func (t *Table) Tables(name string) (all []*Table) {
	if parent := t.Parent(name); parent != nil {
		for _, name := range slices.Sorted(maps.Keys(parent.Entries)) {
			if one := parent.Section(name); one != nil {
				all = append(all, one)
			}
		}
	}
	return all
}

// Array returns the tables of that name, unread: [[listen]].
func (t *Table) Array(name string) (all []*Table) {
	want := fmt.Sprintf("a list of tables, each written as [[%s]]", document.Join(t.Place.Key, name))
	var values []any
	switch value := t.Entries[name].(type) {
	case nil:
	case []map[string]any: // the decoder has a type of its own for lists of tables alone
		for _, one := range value {
			values = append(values, one)
		}
	case []any:
		values = value
	default:
		t.Fail(name, "is %s; it must be %s", Describe(value), want)
	}
	for i, value := range values {
		at, path := t.element(name, i)
		if entries, isTable := value.(map[string]any); isTable {
			all = append(all, &Table{
				Name: name, Place: at, Entries: entries,
				reader: t.reader, path: path, section: t.reader.Schema.under(t.section, name),
			})
		} else {
			t.reader.Fail(at, "holds %s; it must be %s", Describe(value), want)
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

// Describe returns the type of a value in a reader's words, with its article.
func Describe(value any) string { return typeNames[fmt.Sprintf("%T", value)] }
