package sources

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/directory"
)

const (
	// settleTime is how long a changed file is left alone before it is read, since
	// its writer may be at work on it. It is also as long as the ticks of some file
	// systems' clocks: a change to a file that has been left alone longer shows.
	settleTime = 2 * time.Second
	// longestWait is how long a file that changes all the time is left alone.
	longestWait = 30 * time.Second
)

// List is one directory, and what is known of the file.
type List struct {
	// Source says which file it is.
	Source directory.Source
	// Snapshot is the last list of the file that was taken. It is nil until the
	// file holds one that can be.
	Snapshot *directory.Snapshot
	// Loaded is when Snapshot was taken, and Bytes the size of the file that it was read
	// from.
	Loaded time.Time
	Bytes  int64
	// Err says why the file cannot be read, or is refused, as it is now. It is of
	// type *directory.Errors when the file has bad rows. It is nil when Snapshot
	// is what the file holds.
	Err error

	seen    fs.FileInfo  // the state on disk that was judged last; nil where a later change may not show in it
	seed    maphash.Seed // of sum
	sum     uint64       // the hash of the content that was judged last
	refusal error        // what is wrong with that content
	waits   time.Time    // since when the file is left alone; zero: it is not
	told    string       // the Err that Untold has returned

	// among are the lists of the configuration, this one included.
	among Directories
	// inherits are the domains of which Snapshot has what another list had of them, until this
	// one has a list of its own of them.
	inherits map[string]bool

	// waiting is what a source lists now and the guard has not let pass: the state of its
	// file, and why.
	waiting waiting
	step    func(what string) error // that of copies
}

// copies are the files of a source outside this host.
func (c *List) copies() copies { return copies{c.Source.Copy, c.step} }

// Path is the file that is read: the directory, or the copy of what a source listed.
func (c *List) Path() string {
	if c.Source.Copy != "" {
		return c.Source.Copy + taken
	}
	return c.Source.Path
}

// read reads the file when it has changed. What Source or directory.Guard refuses
// leaves Snapshot as it is, and is not judged again until the file changes. The
// error is the new Err.
func (c *List) read() error {
	info, err := files.Look(c.Path())
	if err != nil {
		return c.unreadable(err)
	}
	if c.seen != nil && files.Same(c.seen, info) {
		return c.refusal
	}
	file, err := c.survey(c.Path())
	if err == nil && file.sum != c.sum {
		err = c.parse(&file)
	}
	if err != nil {
		return c.unreadable(err)
	}
	if c.seen = file.state; c.Source.Copy == "" && time.Since(file.state.ModTime()) <= settleTime {
		c.seen = nil
	}
	if file.sum != c.sum {
		if file.refusal == nil {
			file.refusal = c.guard(file.list)
		}
		if file.refusal == nil {
			c.count(file.list, file.state.Size())
		}
		c.sum, c.refusal = file.sum, file.refusal
	}
	return c.refusal
}

// content is what a file holds.
type content struct {
	path  string
	state fs.FileInfo
	sum   uint64 // the hash of its text
	lines int    // 0: nobody has counted them

	list    *directory.Snapshot // by parse; nil: it is refused
	refusal error               // why
}

// survey looks what a file holds, without making a list of it.
func (c *List) survey(path string) (file content, err error) {
	file.path = path
	file.state, err = files.Scan(path, directory.MaxSize, func(from io.Reader, _ int64) {
		file.sum, file.lines = 0, 1
		hash, piece := c.hash(), make([]byte, 64<<10)
		for {
			n, err := from.Read(piece)
			_, _ = hash.Write(piece[:n]) // which never fails
			if file.lines += bytes.Count(piece[:n], []byte("\n")); err != nil {
				break
			}
		}
		file.sum = hash.Sum64()
	})
	return file, err
}

// parse makes a list of what a file holds, which may be another content by now, and has
// digests of that text made. The text is never in memory as a whole: the list is, and so is
// that from before.
func (c *List) parse(file *content, digests ...hash.Hash) (err error) {
	file.state, err = files.Scan(file.path, directory.MaxSize, func(from io.Reader, size int64) {
		sum := c.hash()
		from = io.TeeReader(from, sum)
		for _, digest := range digests {
			digest.Reset()
			from = io.TeeReader(from, digest)
		}
		file.list, file.refusal = parse(c.Source, from, size, file.lines)
		_, _ = io.Copy(io.Discard, from) // what is left behind a header line that is refused
		file.sum = sum.Sum64()
	})
	return err
}

func (c *List) hash() *maphash.Hash {
	hash := new(maphash.Hash)
	hash.SetSeed(c.seed)
	return hash
}

// loss is why a list lacks too many addresses to take the place of the one before.
type loss struct{ error }

// Lost reports that Err is nothing but that the file lacks too many of Snapshot's
// addresses: directory.Guard refuses it.
func (c *List) Lost() bool {
	_, lost := errors.AsType[*loss](c.Err)
	return lost
}

// isBeingWritten reports a file that was changed a moment ago. A time in the
// future tells nothing.
func (c *List) isBeingWritten(now time.Time) bool {
	age := -time.Second
	if info, err := os.Stat(c.Source.Path); err == nil {
		age = now.Sub(info.ModTime())
	}
	switch {
	case age < 0 || age >= settleTime || !c.waits.IsZero() && now.Sub(c.waits) > longestWait:
		c.waits = time.Time{}
		return false
	case c.waits.IsZero():
		c.waits = now
	}
	return true
}

// ErrUnread is of a source outside this host that has not been read yet, and of which no
// copy is left from before.
var ErrUnread = errors.New("has not been read yet, and no copy of its list is left from before")

// unreadable says of an error which directory cannot be read.
func (c *List) unreadable(err error) error {
	switch {
	case c.Source.Copy == "":
		return fmt.Errorf("the directory file %s %w", c.Source.Path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %w", c.Source.Path, ErrUnread)
	}
	return fmt.Errorf("the copy of %s, %s, %w", c.Source.Path, c.Path(), err)
}
