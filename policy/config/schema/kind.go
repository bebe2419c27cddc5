package schema

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/quantity"
	"coexistd/policy/config/wording"
)

// Kind is what the value of a key can be.
type Kind struct {
	// JSON is its type in the words of JSON Schema; "strings" is one string or a list, and
	// a kind of Anything has the word that it was given.
	JSON string
	// Possible is what it can be, for the reference.
	Possible string
	// Words are all that it can be; nil: there are others.
	Words []string
	// Low and High are the bounds of a number.
	Low, High int64

	// read returns what a value stands for, or nil when it put a mistake on record.
	read func(t *Table, name string, value any) any
}

// AString is what the value of most keys must be.
const AString = "a string in quotes"

// reads makes the read of a kind whose values have the type T in TOML.
func reads[T, V any](want string, parse func(T) (V, error)) func(*Table, string, any) any {
	return func(t *Table, name string, value any) any {
		typed, ok := value.(T)
		if !ok {
			t.Fail(name, "is %s; it must be %s", Describe(value), want)
			return nil
		}
		parsed, err := parse(typed)
		if err != nil {
			t.Fail(name, "%v", err)
			return nil
		}
		return parsed
	}
}

// As is the parse of what stands for itself.
func As[T any](value T) (T, error) { return value, nil }

// Text is a string that stands for a V. Want is what a value must be, for an error about
// another type. The error of parse says what is wrong, and what would be right.
func Text[V any](want string, parse func(string) (V, error)) Kind {
	return Kind{JSON: "string", Possible: "a string", read: reads(want, parse)}
}

// OrEmpty is also an empty string, which stands for nothing.
func (k Kind) OrEmpty() Kind {
	read := k.read
	k.read = func(t *Table, name string, value any) any {
		if value == "" {
			return ""
		}
		return read(t, name, value)
	}
	return k
}

// But is the kind without the values that refuse has an error for.
func (k Kind) But(refuse func(value any) error) Kind {
	read := k.read
	k.read = func(t *Table, name string, value any) any {
		if err := refuse(value); err != nil {
			t.Fail(name, "%v", err)
			return nil
		}
		return read(t, name, value)
	}
	return k
}

// Boolean is a bool.
func Boolean() Kind {
	const want = "true or false"
	return Kind{JSON: "boolean", Possible: want, read: reads(want, As[bool])}
}

// Number is an int.
func Number(low, high int64) Kind {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	return Kind{JSON: "integer", Possible: fmt.Sprintf("%d to %d", low, high), Low: low, High: high, read: reads(want, func(value int64) (int, error) {
		if value < low || value > high {
			return 0, fmt.Errorf("%d is out of range; it must be %s", value, want)
		}
		return int(value), nil
	})}
}

// Score is a float64 from 0 to 1000, written with a fraction or without.
func Score() Kind {
	const want = "a number from 0 to 1000"
	read := reads(want, func(value float64) (float64, error) {
		if !(value >= 0 && value <= 1000) {
			return 0, fmt.Errorf("%v is out of range; it must be %s", value, want)
		}
		return value, nil
	})
	return Kind{JSON: "number", Possible: "0 to 1000", High: 1000, read: func(t *Table, name string, value any) any {
		if whole, isWhole := value.(int64); isWhole {
			value = float64(whole)
		}
		return read(t, name, value)
	}}
}

// Duration is a time.Duration.
func Duration(low, high time.Duration) Kind {
	k := Text(quantity.Durations.Want(), func(text string) (time.Duration, error) {
		value, err := quantity.Durations.Within(text, int64(low), int64(high))
		return time.Duration(value), err
	})
	k.Possible = fmt.Sprintf("%q to %q", quantity.Durations.Text(int64(low)), quantity.Durations.Text(int64(high)))
	return k
}

// Size is an int64 of bytes.
func Size(low, high int64) Kind {
	k := Text(quantity.Sizes.Want(), func(text string) (int64, error) { return quantity.Sizes.Within(text, low, high) })
	k.Possible = fmt.Sprintf("%q to %q", quantity.Sizes.Text(low), quantity.Sizes.Text(high))
	return k
}

// Choice is one of several words, each of which stands for a T. What names them, with its
// article.
func Choice[T fmt.Stringer](what string, known ...T) Kind {
	var words []string
	for _, one := range known {
		words = append(words, one.String())
	}
	want := "one of " + strings.Join(words, ", ") + ", in quotes"
	k := Text(want, func(text string) (value T, err error) {
		if i := slices.Index(words, text); i >= 0 {
			return known[i], nil
		}
		return value, fmt.Errorf("%s is not %s; %s", wording.Quote(text), what, wording.Suggest(text, words))
	})
	k.Words, k.Possible = words, `"`+strings.Join(words, `", "`)+`"`
	return k
}

// Word is a text of a Choice that stands for itself.
type Word string

// String returns the word.
func (w Word) String() string { return string(w) }

// Inline is a table whose keys the administrator names: a map[string]any, as the decoder
// has it.
func Inline(like string) Kind {
	want := "a table, like " + like
	return Kind{JSON: "object", Possible: "a table", read: reads(want, As[map[string]any])}
}

// Anything is a value that its section reads by itself.
func Anything(json, possible string) Kind {
	return Kind{JSON: json, Possible: possible, read: func(_ *Table, _ string, value any) any { return value }}
}
