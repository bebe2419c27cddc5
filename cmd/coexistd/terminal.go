package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
	"golang.org/x/text/width"
)

// ink is a colour, as terminals know it.
type ink string

const (
	red    ink = "31"
	green  ink = "32"
	yellow ink = "33"
)

// paint returns a text in a colour, when it is for a terminal that has colours and whose
// user does not refuse them (no-color.org).
func paint(w io.Writer, colour ink, text string) string {
	if term := os.Getenv("TERM"); terminalWidth(w) < 0 || os.Getenv("NO_COLOR") != "" || term == "" || term == "dumb" {
		return text
	}
	return "\x1b[" + string(colour) + "m" + text + "\x1b[0m"
}

// terminalWidth returns the number of columns of the terminal that w is, which is 0 when
// it does not say, or -1 when w is none.
func terminalWidth(w io.Writer) int {
	if out, is := w.(*output); is {
		w = out.Writer
	}
	file, ok := w.(*os.File)
	if !ok {
		return -1
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return -1
	}
	return int(size.Col)
}

// columns returns how many columns of a terminal a text takes.
func columns(s string) (n int) {
	for _, c := range s {
		n += columnsOf(c)
	}
	return n
}

func columnsOf(c rune) int {
	if unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(c).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// pad makes a text at least n columns wide.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }

// narrow cuts a text to n columns.
func narrow(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	left := n - 1 // room for the mark of what is cut
	for i, c := range s {
		if left -= columnsOf(c); left < 0 {
			return s[:i] + "…"
		}
	}
	return s
}
