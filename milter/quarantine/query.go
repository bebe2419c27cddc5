package quarantine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/milter/ownmail"
)

// queryNames are the names that a query's word may begin with.
var queryNames = [...]string{"from:", "to:", "subject:", "check:", "point:", "found:", "before:", "after:"}

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
		ids := q.IDs
		tests = append(tests, func(e *Entry) bool { return slices.Contains(ids, e.ID) })
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
		if err != nil {
			errs = append(errs, err)
		}
		tests = append(tests, test)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
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
	name = strings.ToLower(name) + ":"
	if text == "" && slices.Contains(queryNames[:], name) {
		return nil, fmt.Errorf("the query's word %q lacks what it is to look for", word)
	}
	switch name {
	case "from:":
		return func(e *Entry) bool { return e.isFrom(text) }, nil
	case "to:":
		return func(e *Entry) bool { return e.isTo(text) }, nil
	case "subject:":
		return func(e *Entry) bool { return e.isAbout(text) }, nil
	case "check:":
		return func(e *Entry) bool { return anyContains(e.Checks, text) }, nil
	case "found:":
		return func(e *Entry) bool { return anyContains(e.Found, text) }, nil
	case "point:":
		return func(e *Entry) bool { return contains(e.Point.String(), text) }, nil
	case "before:":
		at, err := parseTime(word, text, zone)
		return func(e *Entry) bool { return e.Time.Before(at) }, err
	case "after:":
		at, err := parseTime(word, text, zone)
		return func(e *Entry) bool { return !e.Time.Before(at) }, err
	}
	return nil, fmt.Errorf("the query's word %q begins with a name that is not known; it would be one of %s. A text that has a colon itself goes behind one of them: %q",
		word, strings.Join(queryNames[:], " "), "subject:"+word)
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
