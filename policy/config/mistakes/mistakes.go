// Package mistakes has what is wrong with a configuration, as people are told.
package mistakes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind says what a problem keeps from being used.
type Kind uint8

// The kinds of problems.
const (
	// OfFile refuses the configuration.
	OfFile Kind = iota
	// OfDomains refuses the configuration, and is of what a directory's rows are judged
	// by, so that these cannot be read.
	OfDomains
	// OfList is in a file that "file:PATH" names in networks, or between one and others.
	// The configuration can be used without: a daemon may have the list from before, or
	// do with a part of it.
	OfList
)

// Place is where a mistake stands.
type Place struct {
	// File is the file that holds the mistake, as the caller of Load named it
	// or, for a list of networks, as the configuration names it.
	File string
	// Line counts from 1. It is 0 when the file as a whole is meant.
	Line int
	// Key is the whole key as TOML writes it, or empty.
	Key string
	// Kind is that of the mistakes there.
	Kind Kind
}

// Later returns two places with the one that stands further down first.
func Later(a, b Place) (below, above Place) {
	if a.Line < b.Line {
		return b, a
	}
	return a, b
}

// Problem is one mistake in a configuration: where it stands, what is wrong, and
// what would be right.
type Problem struct {
	Place
	// Text is one sentence without a full stop.
	Text string
}

// String returns "FILE:LINE: KEY: TEXT" without the parts that are empty.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where += fmt.Sprintf(":%d", p.Line)
	}
	if p.Key != "" {
		where += ": " + p.Key
	}
	return where + ": " + p.Text
}

// Problems is every mistake of one configuration, sorted by file and line.
type Problems []Problem

// Add adds a mistake.
func (p *Problems) Add(at Place, format string, args ...any) {
	*p = append(*p, Problem{at, fmt.Sprintf(format, args...)})
}

// Refuse reports that one of them refuses the configuration.
func (p Problems) Refuse() bool {
	return slices.ContainsFunc(p, func(one Problem) bool { return one.Kind != OfList })
}

// MaxPrinted bounds the text of Problems: nobody reads more.
const MaxPrinted = 100

// Error returns one line for each mistake, and at most 100 of them.
func (p Problems) Error() string {
	var lines []string
	for _, one := range p[:min(len(p), MaxPrinted)] {
		lines = append(lines, one.String())
	}
	if len(p) > MaxPrinted {
		lines = append(lines, fmt.Sprintf("and %d more", len(p)-MaxPrinted))
	}
	return strings.Join(lines, "\n")
}

// Sort puts the mistakes of the configuration file itself first.
func (p Problems) Sort(main string) {
	file := func(one Problem) string {
		if one.File == main {
			return ""
		}
		return one.File
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(file(a), file(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
}
