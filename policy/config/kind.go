package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/quantity"
	"coexistd/policy/config/wording"
)

// kind is what the value of a key can be.
type kind struct {
	json      string // its type in the words of JSON Schema; "strings" is one string or a list
	want      string // what a value must be; the words for an error about one of another type
	possible  string // what it can be, for the reference
	words     []string
	low, high int64 // of a number
	// read returns what a value stands for, or nil when it put a mistake on record.
	read func(t *table, name string, value any) any
}

// aString is what the value of most keys must be.
const aString = "a string in quotes"

// reads makes the read of a kind whose values have the type T in TOML. The error of parse
// says what is wrong and what would be right.
func reads[T, V any](want string, parse func(r *reader, value T) (V, error)) func(*table, string, any) any {
	return func(t *table, name string, value any) any {
		typed, ok := value.(T)
		if !ok {
			t.fail(name, "is %s; it must be %s", describe(value), want)
			return nil
		}
		parsed, err := parse(t.r, typed)
		if err != nil {
			t.fail(name, "%v", err)
			return nil
		}
		return parsed
	}
}

// as is reads for what needs no parsing.
func as[T any](_ *reader, value T) (T, error) { return value, nil }

// alone makes a parser of one that asks nothing of the rest of the file.
func alone[V any](parse func(string) (V, error)) func(*reader, string) (V, error) {
	return func(_ *reader, text string) (V, error) { return parse(text) }
}

// text is a string that stands for a V.
func text[V any](want string, parse func(*reader, string) (V, error)) kind {
	return kind{json: "string", want: want, possible: "a string", read: reads(want, parse)}
}

// orEmpty is a text of a kind, or an empty one, which stands for nothing.
func orEmpty(k kind) kind {
	read := k.read
	k.read = func(t *table, name string, value any) any {
		if value == "" {
			return ""
		}
		return read(t, name, value)
	}
	return k
}

func boolean() kind {
	const want = "true or false"
	return kind{json: "boolean", want: want, possible: want, read: reads(want, as[bool])}
}

// number is an int.
func number(low, high int64) kind {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	return kind{json: "integer", want: want, possible: fmt.Sprintf("%d to %d", low, high), low: low, high: high, read: reads(want, func(_ *reader, value int64) (int, error) {
		if value < low || value > high {
			return 0, fmt.Errorf("%d is out of range; it must be %s", value, want)
		}
		return int(value), nil
	})}
}

// score is a float64, written with a fraction or without.
func score() kind {
	const want = "a number from 0 to 1000"
	read := reads(want, func(_ *reader, value float64) (float64, error) {
		if !(value >= 0 && value <= 1000) {
			return 0, fmt.Errorf("%v is out of range; it must be %s", value, want)
		}
		return value, nil
	})
	return kind{json: "number", want: want, possible: "0 to 1000", high: 1000, read: func(t *table, name string, value any) any {
		if whole, isWhole := value.(int64); isWhole {
			value = float64(whole)
		}
		return read(t, name, value)
	}}
}

// duration is a time.Duration, and size an int64 of bytes.
func duration(low, high time.Duration) kind {
	k := text(quantity.Durations.Want(), func(_ *reader, text string) (time.Duration, error) {
		value, err := quantity.Durations.Within(text, int64(low), int64(high))
		return time.Duration(value), err
	})
	k.possible = fmt.Sprintf("%q to %q", quantity.Durations.Text(int64(low)), quantity.Durations.Text(int64(high)))
	return k
}

func size(low, high int64) kind {
	k := text(quantity.Sizes.Want(), func(_ *reader, text string) (int64, error) { return quantity.Sizes.Within(text, low, high) })
	k.possible = fmt.Sprintf("%q to %q", quantity.Sizes.Text(low), quantity.Sizes.Text(high))
	return k
}

// choice is one of several words. What names them, with its article.
func choice[T fmt.Stringer](what string, known ...T) kind {
	var words []string
	for _, one := range known {
		words = append(words, one.String())
	}
	want := "one of " + strings.Join(words, ", ") + ", in quotes"
	k := text(want, func(_ *reader, text string) (value T, err error) {
		if i := slices.Index(words, text); i >= 0 {
			return known[i], nil
		}
		return value, fmt.Errorf("%s is not %s; %s", wording.Quote(text), what, wording.Suggest(text, words))
	})
	k.words, k.possible = words, `"`+strings.Join(words, `", "`)+`"`
	return k
}

// word is a text that is a value as it is.
type word string

func (w word) String() string { return string(w) }

// inline is a table whose keys the administrator names, as the decoder has it.
func inline(like string) kind {
	want := "a table, like " + like
	return kind{json: "object", want: want, possible: "a table", read: reads(want, as[map[string]any])}
}

// anything is a value that its section reads by itself.
func anything(json, possible string) kind {
	return kind{json: json, possible: possible, read: func(_ *table, _ string, value any) any { return value }}
}

// twice says what is done with an entry that a list has twice.
type twice int

const (
	kept twice = iota
	dropped
	refused
)

// rules are what holds for a list as a whole.
type rules struct {
	empty string // what is wrong when it has no entry; "": nothing
	most  int    // of entries; 0: any number
	what  string // the entries, for an error about too many
	twice twice
}

const wantList = `a list of strings, like ["a", "b"]`

// list is a list of strings, each of which stands for a V: a []V.
func list[V comparable](parse func(*reader, string) (V, error), rules rules) kind {
	return kind{json: "array", want: wantList, possible: "a list of strings", read: func(t *table, name string, value any) any {
		items := t.items(name, value, rules)
		if items == nil {
			return nil
		}
		return append([]V{}, each(t.r, items, parse, rules.twice)...)
	}}
}

// oneOrMore is a string, or a list as list has it.
func oneOrMore[V comparable](parse func(*reader, string) (V, error), rules rules) kind {
	const want = "a string in quotes, or a list of them"
	many := list(parse, rules)
	return kind{json: "strings", want: want, possible: "a string, or a list of them", read: func(t *table, name string, value any) any {
		switch one := value.(type) {
		case []any:
			return many.read(t, name, value)
		case string:
			return each(t.r, []item{{value: one, place: t.at(name)}}, parse, rules.twice)
		}
		t.fail(name, "is %s; it must be %s", describe(value), want)
		return nil
	}}
}

// texts is a list of strings with their places, which its section reads by itself: a
// []item.
func texts(rules rules) kind {
	return kind{json: "array", want: wantList, possible: "a list of strings", read: func(t *table, name string, value any) any {
		if items := t.items(name, value, rules); items != nil {
			return items
		}
		return nil // and not a nil slice
	}}
}

// each returns what the texts of a list stand for. Of what cannot be used,
// parse may return a value beside the error, which then must not be there twice either.
func each[V comparable](r *reader, items []item, parse func(*reader, string) (V, error), twice twice) (all []V) {
	var none V
	seen := make(map[V]bool)
	for _, one := range items {
		value, err := parse(r, one.value)
		switch {
		case seen[value] && twice == refused:
			r.fail(one.place, "%s is there twice; keep one of them", wording.Quote(one.value))
			continue
		case err != nil:
			r.fail(one.place, "%v", err)
		case !seen[value] || twice == kept:
			all = append(all, value)
		}
		seen[value] = value != none
	}
	return all
}
