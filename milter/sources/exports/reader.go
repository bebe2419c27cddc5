package exports

import (
	"context"
	"fmt"
	"strings"

	"coexistd/milter/sources"
	"coexistd/policy/config/files"
	"coexistd/policy/directory"
)

// Reader is a sources.Reader of one export, which somebody replaces when they export the
// list anew.
type Reader struct {
	path    string
	options Options
}

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

// Read reads the file.
func (r *Reader) Read(_ context.Context, add func(sources.Row) error) error {
	text, _, err := files.Read(r.path, directory.MaxSize)
	if err == nil {
		err = Read(strings.NewReader(text), r.options, add)
	}
	if err != nil {
		return r.failed(err)
	}
	return nil
}

func (r *Reader) failed(err error) error { return fmt.Errorf("the file %s: %w", r.path, err) }

// Close does nothing: no file stays open.
func (r *Reader) Close() {}
