package exports

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"coexistd/milter/sources"
	"coexistd/policy/config/files"
	"coexistd/policy/directory"
)

const (
	usualSettle = 2 * time.Second
	// longestWait is how long a file that changes all the time is left alone, and lookAgain
	// how often it is looked at meanwhile.
	longestWait, lookAgain = 30 * time.Second, 100 * time.Millisecond
)

// Reader is a sources.Reader of one export, which somebody replaces when they export the
// list anew.
type Reader struct {
	path    string
	options Options
}

var _ sources.Reader = (*Reader)(nil)

// New returns a Reader of the file at a path. It need not be there yet.
func New(path string, o Options) *Reader { return &Reader{path, o} }

// Mark is the state of the file.
func (r *Reader) Mark(context.Context) (sources.Mark, error) {
	info, err := files.Look(r.path)
	if err != nil {
		return nil, r.failed(err)
	}
	return sources.Mark{fmt.Sprintf("%d bytes of %d", info.Size(), info.ModTime().UnixNano()): ""}, nil
}

// Read reads the file, once nobody seems to write it.
func (r *Reader) Read(ctx context.Context, add func(sources.Row) error) error {
	if err := r.settle(ctx); err != nil {
		return r.failed(err)
	}
	text, _, err := files.Read(r.path, directory.MaxSize)
	if err != nil {
		return r.failed(err)
	}
	var theirs error // of add, or of the context
	err = Read(strings.NewReader(text), r.options, func(row sources.Row) error {
		if theirs = add(row); theirs == nil {
			theirs = ctx.Err()
		}
		return theirs
	})
	switch {
	case theirs != nil:
		return theirs
	case err != nil:
		return r.failed(err)
	}
	return nil
}

// settle waits until the file has been left alone for a while: the first half of a list may
// look like a whole one. A time in the future tells nothing.
func (r *Reader) settle(ctx context.Context) error {
	still := cmp.Or(r.options.Settle, usualSettle)
	for begun := time.Now(); ; {
		info, err := files.Look(r.path)
		if err != nil {
			return err
		}
		age := time.Since(info.ModTime())
		switch {
		case age < 0 || age >= still:
			return nil
		case time.Since(begun) > longestWait:
			return fmt.Errorf("it has changed all the time for %v; write the list into another file, and then rename that", longestWait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(still-age, lookAgain)):
		}
	}
}

func (r *Reader) failed(err error) error { return fmt.Errorf("the file %s: %w", r.path, err) }

// Close does nothing: no file stays open.
func (r *Reader) Close() {}
