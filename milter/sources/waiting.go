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

// The endings of a source's copies: the list that counts, and those that a Poller leaves to
// be judged, the second when the source went back, as after a restored backup. Each is
// judged under a name that the Poller does not write to.
const (
	taken  = ".csv"
	fresh  = ".new"
	older  = ".back"
	judged = ".judged" // behind fresh or older
)

// waiting is what is known of a list that waits.
type waiting struct {
	seen fs.FileInfo // nil: there is none
	why  error       // why it was not taken
}

// take takes the list that waits, if there is one and nothing speaks against it. The error
// says what does. The list that is taken is then the copy that counts.
func (c *List) take() error {
	path, info, err := c.claim()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.waiting = waiting{}
		return nil
	case err != nil:
		return fmt.Errorf("the list of %s that waits in %s %w", c.Source.Path, path, err)
	case c.waiting.seen != nil && files.Same(c.waiting.seen, info):
		return c.waiting.why
	}
	c.waiting = waiting{info, c.judge(path, false)}
	return c.waiting.why
}

// claim makes what the Poller left the list that waits, in place of one from before, and
// finds it. A list that the Poller leaves meanwhile is the next one's.
func (c *List) claim() (path string, info fs.FileInfo, err error) {
	for _, one := range [...][2]string{{older, fresh}, {fresh, older}} {
		path = c.Source.Copy + one[0]
		err = os.Rename(path, path+judged)
		if err == nil {
			err = os.Remove(c.Source.Copy + one[1] + judged)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return path, nil, err
		}
	}
	return c.find(fresh+judged, older+judged)
}

// find finds the first of the copies with these endings that is there.
func (c *List) find(endings ...string) (path string, info fs.FileInfo, err error) {
	for _, ending := range endings {
		path = c.Source.Copy + ending
		if info, err = files.Look(path); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return path, info, err
}

// Waiting returns the list that a source outside this host has and that was not taken, or
// nil where there is none.
func (c *List) Waiting() (*directory.Snapshot, error) {
	path, _, err := c.find(fresh, older, fresh+judged, older+judged)
	if c.Source.Copy == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	text, _, err := files.Read(path, directory.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("the list of %s that waits in %s %w", c.Source.Path, path, err)
	}
	return parse(c.Source, text)
}

// Accept takes the list that waits, however much it lacks. It reports false where none does.
func (c *List) Accept() (found bool, err error) {
	if c.Source.Copy == "" {
		return false, nil
	}
	path, info, err := c.claim()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = c.judge(path, true)
		c.waiting = waiting{info, err}
	}
	if c.Err = err; err == nil {
		c.Err = c.read()
	}
	return true, err
}

// judge takes the list in a file, or says why not. Meant is set where somebody has said that
// what it lacks is meant.
func (c *List) judge(path string, meant bool) error {
	text, _, err := files.Read(path, directory.MaxSize)
	if err != nil {
		return fmt.Errorf("the list of %s that waits in %s %w", c.Source.Path, path, err)
	}
	sum := maphash.String(c.seed, text)
	list := c.Snapshot
	if list == nil || c.refusal != nil || sum != c.sum {
		if list, err = parse(c.Source, text); err != nil {
			return err
		}
	}
	if c.Snapshot != nil && list != c.Snapshot && !meant {
		if path == c.Source.Copy+older+judged {
			return &loss{fmt.Errorf("%s lists what it did at an earlier time, as after a restored backup. The old list stays. If that is meant, run coexistd directory accept %[1]s", c.Source.Path)}
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
