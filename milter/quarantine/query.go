package quarantine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/milter/ownmail"
)

// queryTests are the names that a query's word may begin with, and how an entry is met by
// the text behind one. The last two take a time.
var queryTests = []struct {
	name string
	test func(e *Entry, text string) bool
}{
	{"from:", (*Entry).isFrom},
	{"to:", (*Entry).isTo},
	{"subject:", (*Entry).isAbout},
	{"check:", func(e *Entry, text string) bool { return anyContains(e.Checks, text) }},
	{"point:", func(e *Entry, text string) bool { return contains(e.Point.String(), text) }},
	{"found:", func(e *Entry, text string) bool { return anyContains(e.Found, text) }},
	{"before:", nil},
	{"after:", nil},
}

// queryTimes are how a word writes a time. A date is the midnight that it
// begins with.
var queryTimes = [...]string{"2006-01-02", "2006-01-02T15:04"}

// SplitWords cuts a line into the words of a Query. Spaces between double
// quotes belong to the word: subject:"past due".
func SplitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted := false
	for _, c := range line + " " {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\n'):
			if word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(c)
		}
	}
	if quoted {
		return nil, fmt.Errorf("the query %q has an opening quote without a closing one", line)
	}
	return words, nil
}

// matcher returns the function that tells whether an entry is chosen. Dates are
// days of zone. The error names every word that means nothing.
func (q Query) matcher(zone *time.Location) (func(*Entry) bool, error) {
	var tests []func(*Entry) bool
	if !q.All {
		tests = append(tests, (*Entry).isOpen)
	}
	if len(q.IDs) > 0 {
		tests = append(tests, func(e *Entry) bool { return slices.Contains(q.IDs, e.ID) })
	}
	if q.To != "" {
		to := strings.TrimSuffix(strings.TrimPrefix(q.To, "<"), ">")
		tests = append(tests, func(e *Entry) bool {
			return strings.EqualFold(e.Address, to) || strings.EqualFold(e.Owner, to)
		})
	}
	var errs []error
	for _, word := range q.Words {
		test, err := wordTest(word, zone)
		tests, errs = append(tests, test), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return func(e *Entry) bool {
		for _, test := range tests {
			if !test(e) {
				return false
			}
		}
		return true
	}, nil
}

// isOpen reports an entry that is neither settled nor gone. One whose release
// was broken off is still to be looked after.
func (e *Entry) isOpen() bool { return e.State == Held || e.State == Releasing }

// wordTest reads one word.
func wordTest(word string, zone *time.Location) (func(*Entry) bool, error) {
	name, text, named := strings.Cut(word, ":")
	if !named {
		return func(e *Entry) bool { return e.isFrom(word) || e.isTo(word) || e.isAbout(word) }, nil
	}
	var names []string
	for _, known := range queryTests {
		names = append(names, known.name)
		switch {
		case strings.ToLower(name)+":" != known.name:
		case text == "":
			return nil, fmt.Errorf("the query's word %q lacks what it is to look for", word)
		case known.test != nil:
			return func(e *Entry) bool { return known.test(e, text) }, nil
		default:
			at, err := parseTime(word, text, zone)
			return func(e *Entry) bool { return e.Time.Before(at) == (known.name == "before:") }, err
		}
	}
	return nil, fmt.Errorf("the query's word %q begins with a name that is not known; it would be one of %s. A text that has a colon itself goes behind one of them: %q",
		word, strings.Join(names, " "), "subject:"+word)
}

func parseTime(word, text string, zone *time.Location) (time.Time, error) {
	for _, layout := range queryTimes {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("the query's word %q does not name a date; it would be a day like 2026-11-23, or 2026-11-23T14:30", word)
}

// isFrom looks at the sender of the envelope and at that of the header.
func (e *Entry) isFrom(text string) bool {
	return contains(e.Sender, text) || contains(ownmail.Readable(e.From), text)
}

func (e *Entry) isTo(text string) bool { return contains(e.Address, text) || contains(e.Owner, text) }

func (e *Entry) isAbout(text string) bool { return contains(ownmail.Readable(e.Subject), text) }

func anyContains(list []string, text string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return contains(s, text) })
}
