package sources

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/directory"
)

// The endings of a source's copies: the list that counts, one that waits to be judged, and
// one that does although the source went back, as after a restored backup.
const (
	taken = ".csv"
	fresh = ".new"
	older = ".back"
)

// waiting is what is known of a list that waits.
type waiting struct {
	seen fs.FileInfo // nil: there is none
	why  error       // why it was not taken
}

// take takes the list that waits, if there is one and nothing speaks against it. The error
// says what does. The list that is taken is then the copy that counts.
func (c *List) take() error {
	path := c.Source.Copy + fresh
	info, err := files.Look(path)
	if errors.Is(err, fs.ErrNotExist) {
		path = c.Source.Copy + older
		info, err = files.Look(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.waiting = waiting{}
		return nil
	case err != nil:
		return fmt.Errorf("the list of %s that waits in %s %w", c.Source.Path, path, err)
	case c.waiting.seen != nil && files.Same(c.waiting.seen, info):
		return c.waiting.why
	}
	c.waiting = waiting{info, c.judge(path)}
	return c.waiting.why
}

// judge takes the list in a file, or says why not.
func (c *List) judge(path string) error {
	text, _, err := files.Read(path, directory.MaxSize)
	if err != nil {
		return fmt.Errorf("the list of %s that waits in %s %w", c.Source.Path, path, err)
	}
	sum := maphash.String(c.seed, text)
	list := c.Snapshot
	if list == nil || sum != c.sum {
		if list, err = parse(c.Source, text); err != nil {
			return err
		}
	}
	if c.Snapshot != nil && list != c.Snapshot {
		if path == c.Source.Copy+older {
			return &loss{fmt.Errorf("%s lists what it did at an earlier time, as after a restored backup. The old list stays", c.Source.Path)}
		}
		if lost := directory.Guard(c.Snapshot, list); lost != nil {
			return &loss{lost}
		}
	}
	if err := os.Rename(path, c.Source.Copy+taken); err != nil {
		return fmt.Errorf("the list of %s cannot be kept: %w", c.Source.Path, err)
	}
	if list != c.Snapshot {
		c.Snapshot, c.Loaded, c.Bytes = list, time.Now(), int64(len(text))
	}
	c.sum, c.seen, c.refusal = sum, nil, nil
	return nil
}
