package schema

import "coexistd/policy/config/wording"

// Twice says what is done with an entry that a list has twice.
type Twice int

// The ways.
const (
	Kept Twice = iota
	Dropped
	Refused
)

// Rules are what holds for a list as a whole.
type Rules struct {
	Empty string // what is wrong when it has no entry; "": nothing
	Most  int    // of entries; 0: any number
	What  string // the entries, for an error about too many
	Twice Twice
}

const wantList = `a list of strings, like ["a", "b"]`

// List is a list of strings, each of which stands for a V: a []V.
func List[V comparable](parse func(string) (V, error), rules Rules) Kind {
	return Kind{JSON: "array", Possible: "a list of strings", read: func(t *Table, name string, value any) any {
		items := t.items(name, value, rules)
		if items == nil {
			return nil
		}
		return append([]V{}, Each(t.reader, items, parse, rules.Twice)...)
	}}
}

// OneOrMore is a string, or a list as List has it.
func OneOrMore[V comparable](parse func(string) (V, error), rules Rules) Kind {
	const want = "a string in quotes, or a list of them"
	many := List(parse, rules)
	return Kind{JSON: "strings", Possible: "a string, or a list of them", read: func(t *Table, name string, value any) any {
		switch one := value.(type) {
		case []any:
			return many.read(t, name, value)
		case string:
			return Each(t.reader, []Item{{one, t.At(name)}}, parse, rules.Twice)
		}
		t.Fail(name, "is %s; it must be %s", Describe(value), want)
		return nil
	}}
}

// Texts is a list of strings with their places, which its section reads by itself: a
// []Item.
func Texts(rules Rules) Kind {
	return Kind{JSON: "array", Possible: "a list of strings", read: func(t *Table, name string, value any) any {
		if items := t.items(name, value, rules); items != nil {
			return items
		}
		return nil // and not a nil slice
	}}
}

// Each returns what the texts of a list stand for. Of what cannot be used, parse may return
// a value beside the error, which then must not be there twice either.
func Each[V comparable](r *Reader, items []Item, parse func(string) (V, error), twice Twice) (all []V) {
	var none V
	seen := make(map[V]bool)
	for _, one := range items {
		value, err := parse(one.Value)
		switch {
		case seen[value] && twice == Refused:
			r.Fail(one.Place, "%s is there twice; keep one of them", wording.Quote(one.Value))
			continue
		case err != nil:
			r.Fail(one.Place, "%v", err)
		case !seen[value] || twice == Kept:
			all = append(all, value)
		}
		seen[value] = value != none
	}
	return all
}
