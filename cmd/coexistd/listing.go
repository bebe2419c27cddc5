package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// listing prints rows, one a line. On a terminal the lines are as wide as it is, but never
// narrower than narrowest, and each is printed at once; elsewhere nothing is cut, and so many
// lines as a block has wait for each other, to be aligned. The first four columns are as wide
// as their least, the others share what is left: two for people, and a last one.
type listing struct {
	w     io.Writer
	width int        // of the terminal, in columns; 0: none
	block [][]string // the rows that wait
	least []int      // how wide the columns are at least
}

func newListing(w io.Writer) listing { return listing{w: w, width: max(0, terminalWidth(w))} }

const (
	narrowest = 110
	// fixedColumns are the first four, with the gaps between all columns.
	fixedColumns = 40 + 7*2
	// blockRows bounds what waits, however much is printed.
	blockRows = 1000
)

func (l *listing) add(cells ...string) {
	if l.block = append(l.block, cells); l.width > 0 || len(l.block) == blockRows {
		l.flush()
	}
}

// flush prints the rows that wait.
func (l *listing) flush() {
	widths := l.least
	if l.width > 0 {
		rest := max(l.width, narrowest) - fixedColumns
		check, person := rest/5, rest/4
		widths = append(slices.Clone(l.least[:4]), check, person, person, rest-check-2*person)
	}
	for _, cells := range l.block {
		for i := range cells {
			if l.width > 0 {
				cells[i] = narrow(cells[i], widths[i])
			} else if last := len(cells) - 1; i < last {
				widths[i] = max(widths[i], columns(cells[i]))
			}
		}
	}
	for _, cells := range l.block {
		for i := range cells {
			cells[i] = pad(cells[i], widths[i])
		}
		fmt.Fprintln(l.w, strings.TrimRight(strings.Join(cells, "  "), " "))
	}
	l.block = l.block[:0]
}
