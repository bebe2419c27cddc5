package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration: where it stands, what is wrong, and
// what would be right.
type Error struct {
	// File is the file that holds the mistake, as the caller of Load named it
	// or, for a list of networks, as the configuration names it.
	File string
	// Line counts from 1. It is 0 when the file as a whole is meant.
	Line int
	// Key is the whole key as TOML writes it, or empty.
	Key string
	// Problem is one sentence without a full stop.
	Problem string

	ofList bool // it is in a file that "file:PATH" names, or between one and others
}

// Error returns "FILE:LINE: KEY: PROBLEM" without the parts that are empty.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Problem)
	return b.String()
}

// isOfDirectories reports a mistake that a directory's rows would be judged by.
func (e Error) isOfDirectories() bool {
	return !e.ofList && (strings.HasPrefix(e.Key, "domain") || strings.HasPrefix(e.Key, "platform"))
}

// Errors is every mistake of one configuration, sorted by file and line.
type Errors []Error

// OnlyLists reports that an error of Load is of nothing but the lists that
// "file:PATH" names in networks, or their overlapping others. The Config beside it
// is complete then, but for those lists: a daemon may have them from before, or do
// with a part of them.
func OnlyLists(err error) bool {
	var errs Errors
	return errors.As(err, &errs) && len(errs) > 0 && !slices.ContainsFunc(errs, func(e Error) bool { return !e.ofList })
}

// maxPrinted bounds the text of Errors: nobody reads more.
const maxPrinted = 100

// Error returns one line for each mistake, and at most 100 of them.
func (e Errors) Error() string {
	var b strings.Builder
	for i, one := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == maxPrinted {
			fmt.Fprintf(&b, "and %d more", len(e)-maxPrinted)
			break
		}
		b.WriteString(one.Error())
	}
	return b.String()
}

// sort puts the mistakes of the configuration file itself first.
func (e Errors) sort(main string) {
	slices.SortStableFunc(e, func(a, b Error) int {
		if (a.File == main) != (b.File == main) {
			if a.File == main {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
}

// quote shows a text from the file in an error. A long one is cut.
func quote(s string) string {
	const most = 100
	runes := []rune(s)
	if len(runes) > most {
		return fmt.Sprintf("%q…", string(runes[:most]))
	}
	return fmt.Sprintf("%q", s)
}
