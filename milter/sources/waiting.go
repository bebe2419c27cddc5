package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"coexistd/policy/config/files"
	"coexistd/policy/directory"
)

// waiting is what is known of a list that waits.
type waiting struct {
	seen fs.FileInfo // nil: there is none, or it is to be judged
	why  error       // why it was not taken
}

// take takes the list that waits, if there is one and nothing speaks against it. The error
// says what does. The list that is taken is then the copy that counts.
func (c *List) take() error {
	ending, info, err := c.copies().claim()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.waiting = waiting{}
		return nil
	case err != nil:
		return c.unreachable(ending, err)
	case c.waiting.seen != nil && files.Same(c.waiting.seen, info):
		return c.waiting.why
	}
	c.weigh(ending, info, false)
	return c.waiting.why
}

// Waiting returns the list that a source outside this host has and that was not taken, and
// its digest, by which it can be accepted. The digest is empty where none waits.
func (c *List) Waiting() (list *directory.Snapshot, digest string, err error) {
	ending, _, err := c.copies().find(fresh, onward, older, fresh+judged, onward+judged, older+judged)
	if c.Source.Copy == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	// Without a survey, for the daemon may move it meanwhile.
	file, sum := content{path: c.Source.Copy + ending}, sha256.New()
	if err := c.parse(&file, sum); err != nil {
		return nil, "", c.unreachable(ending, err)
	}
	return file.list, shortOf(hex.EncodeToString(sum.Sum(nil))), file.refusal
}

// Accept takes the list that waits, however much it lacks, if it is that of a digest: the
// one that somebody has seen. It reports false where none waits.
func (c *List) Accept(digest string) (found bool, err error) {
	if c.Source.Copy == "" {
		return false, nil
	}
	ending, info, err := c.copies().claim()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, c.unreachable(ending, err)
	}
	if digest == "" || digest != shortOf(c.copies().digest(ending)) {
		return true, fmt.Errorf("%s: %w than that of the digest %q; see what it would change: coexistd directory diff %[1]s", c.Source.Path, ErrOther, digest)
	}
	c.weigh(ending, info, true)
	if c.Err = c.waiting.why; c.Err != nil {
		return true, c.Err
	}
	c.Err = c.read()
	return true, nil
}

// ErrOther is of a list that is not the one that somebody meant.
var ErrOther = errors.New("another list waits by now")

// unreachable says that the list that waits cannot be had.
func (c *List) unreachable(ending string, err error) error {
	return fmt.Errorf("the list of %s that waits in %s: %w", c.Source.Path, c.Source.Copy+ending, err)
}

// weigh judges the list that waits, and keeps what speaks against it. That it could not be
// read or kept does not: it is judged again.
func (c *List) weigh(ending string, info fs.FileInfo, meant bool) {
	err := c.judge(ending, meant)
	if _, failed := errors.AsType[*failure](err); failed {
		info = nil
	}
	c.waiting = waiting{info, err}
}

// failure is why a list could not be judged, or not be kept. The list has nothing to do with
// it.
type failure struct{ error }

// judge takes a list that waits, or says why not. Meant is set where somebody has said that
// what it lacks is meant.
func (c *List) judge(ending string, meant bool) error {
	file, err := c.survey(c.Source.Copy + ending)
	if err == nil && (c.Snapshot == nil || c.refusal != nil || file.sum != c.sum) {
		err = c.parse(&file)
	} else {
		file.list = c.Snapshot
	}
	switch {
	case err != nil:
		return &failure{c.unreachable(ending, err)}
	case file.refusal != nil:
		return file.refusal
	}
	if c.Snapshot != nil && file.list != c.Snapshot && !meant {
		if err := c.guardBack(ending, file.list); err != nil {
			return err
		}
	}
	if err := c.copies().keep(ending); err != nil {
		return &failure{fmt.Errorf("the list of %s cannot be kept: %w", c.Source.Path, err)}
	}
	c.count(file.list, file.state.Size())
	// What was just read is what the copy holds, so that it need not be read once more.
	c.sum, c.seen, c.refusal = file.sum, file.state, nil
	return nil
}
