package archive

import (
	"context"
	"errors"
	"io"
)

// Budget bounds what is unpacked of one message, in all its archives together.
type Budget struct {
	// Context ends all reading, with its error.
	Context context.Context
	// Left is how many bytes may still be read from and written by decompressors and scans
	// of whole files.
	Left int64
	// Doubt is told what cannot be read, or may be read in several ways.
	Doubt func(format string, args ...any)
	// Short is told what ends too soon, or looks as if it did.
	Short func(format string, args ...any)
	// Failure is the context's error, once it ended a reading.
	Failure error
}

var errUnpack = errors.New("the message unpacks to more than is looked through")

// Reader returns a reader of what r reads, which counts.
func (b *Budget) Reader(r io.Reader) io.Reader { return budgetReader{b, r} }

type budgetReader struct {
	b *Budget
	r io.Reader
}

// Read reads while something is left.
func (r budgetReader) Read(p []byte) (int, error) {
	if err := r.b.Context.Err(); err != nil {
		r.b.Failure = err
		return 0, err
	}
	if r.b.Left <= 0 {
		r.b.Doubt("%v", errUnpack)
		return 0, errUnpack
	}
	n, err := r.r.Read(p)
	r.b.Left -= int64(n)
	return n, err
}
