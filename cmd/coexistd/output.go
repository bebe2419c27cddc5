package main

import (
	"fmt"
	"io"
)

// output is where a command prints to. It keeps the first error until the end, so that
// those who print need not look for one: what a command does besides printing goes on
// when a disk is full behind >FILE, and the exit status tells of it.
type output struct {
	io.Writer
	err error
}

// Write writes until the first error. It returns none.
func (o *output) Write(b []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.Writer.Write(b)
	}
	return len(b), nil
}

// finish returns the exit status of a command that has printed all that it had to say.
func (o *output) finish(status int, stderr io.Writer) int {
	if o.err == nil {
		return status
	}
	fmt.Fprintf(stderr, "the output is not complete: %v\n", o.err)
	return exitWrong
}
