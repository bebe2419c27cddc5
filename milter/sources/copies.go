package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"coexistd/policy/config/files"
)

// The endings of a source's copies: the list that counts, and those that a Poller leaves to
// be judged. Each is judged under a name that the Poller does not write to.
const (
	taken  = ".csv"
	fresh  = ".new"
	older  = ".back"   // the source went back, as after a restored backup
	onward = ".onward" // it went on from there
	judged = ".judged" // behind one of these three
	part   = ".part"   // what is being written
	memory = ".json"   // what a Poller is to know at the next start
)

// copies are the files of one source in state_dir. A daemon that is killed between any two
// steps, or whose steps fail from one of them on, finds at its next start the list that
// counted, and nothing that was accepted without anybody's word.
type copies struct {
	path string // without the endings
	// step is nil, but in tests: it is told of each step before it is done, and may have it
	// fail.
	step func(what string) error
}

func (c copies) begin(what string) error {
	if c.step == nil {
		return nil
	}
	return c.step(what)
}

// move gives a copy the place of another.
func (c copies) move(from, to string) error {
	if err := c.begin("move " + from + " " + to); err != nil {
		return err
	}
	return os.Rename(c.path+from, c.path+to)
}

// remove removes a copy that need not be there.
func (c copies) remove(ending string) error {
	if err := c.begin("remove " + ending); err != nil {
		return err
	}
	if err := os.Remove(c.path + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// flush returns when what was written to a copy is there after a loss of power, too. It takes
// long, and for a list that is as before nobody need wait.
func (c copies) flush(ending string) error {
	if err := c.begin("flush " + ending); err != nil {
		return err
	}
	file, err := os.Open(c.path + ending)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// left are the endings of what a Poller leaves, in the order in which they are judged.
var left = [...]string{older, onward, fresh}

// leave puts what was written where it is judged, in place of a list that waits there.
func (c copies) leave(this string) error {
	for _, other := range left {
		if other == this {
			continue
		}
		if err := c.remove(other); err != nil {
			return err
		}
	}
	return c.move(part, this)
}

// claim makes what the Poller left the list that waits, in place of one from before, and
// finds it. A list that the Poller leaves meanwhile is the next one's.
func (c copies) claim() (ending string, info fs.FileInfo, err error) {
	for _, this := range left {
		if _, err := files.Look(c.path + this); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// The one from before goes first, so that never two wait.
		for _, other := range left {
			if other != this && err == nil {
				err = c.remove(other + judged)
			}
		}
		if err == nil {
			err = c.move(this, this+judged)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return this, nil, err
		}
	}
	return c.find(fresh+judged, onward+judged, older+judged)
}

// find finds the first of the copies with these endings that is there.
func (c copies) find(endings ...string) (ending string, info fs.FileInfo, err error) {
	for _, ending = range endings {
		if info, err = files.Look(c.path + ending); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return ending, info, err
}

// keep makes a list that waits the one that counts.
func (c copies) keep(ending string) error {
	if err := c.move(ending, taken); err != nil {
		return err
	}
	// It counts from now on. Should the power fail before that is on the disk, then the list
	// from before is there, whole, and the source is read anew.
	_ = c.sync()
	return nil
}

// save writes a small file so that at each instant it is there as it was or as it will be.
func (c copies) save(ending string, text []byte) error {
	if err := c.begin("save " + ending); err != nil {
		return err
	}
	next := c.path + ending + fresh
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := c.move(ending+fresh, ending); err != nil {
		return err
	}
	return c.sync()
}

// sync has the folder's entries on the disk.
func (c copies) sync() error {
	folder, err := os.Open(filepath.Dir(c.path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// digest is that of a copy, or "" where there is none that can be read.
func (c copies) digest(ending string) string {
	file, err := os.Open(c.path + ending)
	if err != nil {
		return ""
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// shortOf is a digest as people write it.
func shortOf(digest string) string { return digest[:min(len(digest), 12)] }
