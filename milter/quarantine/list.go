package quarantine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// pageEntries is how many entries are read in one go.
const pageEntries = 500

// List returns the entries that a query chooses, the newest first.
func (s *Store) List(q Query) ([]Entry, error) {
	var list []Entry
	for entry, err := range s.All(q) {
		if err != nil {
			return nil, err
		}
		list = append(list, entry)
	}
	return list, nil
}

// All returns the entries that a query chooses, the newest first, with little
// memory however many they are. The store is free between them: entries that
// change meanwhile come as they are then, and ones that are new do not come. An
// error is the last that comes.
func (s *Store) All(q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		match, err := q.matcher(s.zone)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		var last []byte
		for more := true; more; {
			var page []Entry
			var next []byte
			err := s.view(func(ix *index) (err error) {
				page, next, err = ix.page(q, last, match)
				return err
			})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
			last, more = next, next != nil
		}
	}
}

// page returns the chosen ones of the next entries that are older than the age
// key last, or of the newest when that is nil, and the key to go on with. That is
// nil when there are no more.
func (ix *index) page(q Query, last []byte, match func(*Entry) bool) (page []Entry, next []byte, err error) {
	if len(q.IDs) > 0 {
		page, err = ix.named(q.IDs, match)
		return page, nil, err
	}
	bucket := ix.open
	if q.All {
		bucket = ix.entries
	}
	c := bucket.Cursor()
	key := before(c, last)
	for range pageEntries {
		if key == nil {
			return page, nil, nil
		}
		r, err := parseRecord(ix.entries.Get(key))
		if err != nil {
			return nil, nil, err
		}
		if match(&r.Entry) {
			page = append(page, r.Entry)
		}
		last = slices.Clone(key)
		key, _ = c.Prev()
	}
	return page, last, nil
}

// before returns the last key that is smaller than key; of all when key is nil.
func before(c *bolt.Cursor, key []byte) []byte {
	if key == nil {
		found, _ := c.Last()
		return found
	}
	if found, _ := c.Seek(key); found == nil {
		found, _ = c.Last() // all keys are smaller
		return found
	}
	found, _ := c.Prev()
	return found
}

// named returns the entries with those IDs that are chosen, the newest first.
func (ix *index) named(ids []string, match func(*Entry) bool) ([]Entry, error) {
	var list []Entry
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		r, err := ix.get(id)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		case match(&r.Entry):
			list = append(list, r.Entry)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return b.Time.Compare(a.Time) })
	return list, nil
}

// entry returns the entry with that ID.
func (s *Store) entry(id string) (Entry, error) {
	r, err := record{}, fmt.Errorf("%w %.40q", ErrNotFound, id)
	if viewErr := s.view(func(ix *index) error {
		r, err = ix.get(id)
		return nil
	}); viewErr != nil {
		return Entry{}, viewErr
	}
	return r.Entry, err
}

// Content opens a message as it was put, byte for byte.
func (s *Store) Content(id string) (io.ReadSeekCloser, error) {
	entry, err := s.entry(id)
	if err != nil {
		return nil, err
	}
	message, err := s.contentOf(&entry)
	if err != nil {
		return nil, err
	}
	return message, nil
}

func (s *Store) contentOf(e *Entry) (*stored, error) {
	message, err := s.openMessage(e.Message)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !e.isOpen():
		return nil, fmt.Errorf("the message of %s is no longer kept: it is %s since %s", e.ID, e.State, e.Changed.Format(time.DateTime))
	case err != nil:
		return nil, fmt.Errorf("the message of %s cannot be read: %w", e.ID, err)
	}
	return message, nil
}

// Usage tells how full a store is.
type Usage struct {
	Entries int       `json:"entries"` // that are not settled
	Bytes   int64     `json:"bytes"`   // of all messages' files
	Oldest  time.Time `json:"oldest"`  // when the oldest message of an entry came; zero when there is none
	Free    int64     `json:"free"`    // bytes that the file system has left for the daemon
}

// Usage looks how full the store is.
func (s *Store) Usage() (Usage, error) {
	var u Usage
	err := s.view(func(ix *index) error {
		u = Usage{Bytes: ix.bytes(), Entries: ix.open.Stats().KeyN}
		for r, err := range ix.records(ix.open) {
			u.Oldest = r.Time
			return err // the first is the oldest
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	var system syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &system); err == nil {
		u.Free = int64(system.Bavail) * system.Bsize
	} else if !errors.Is(err, syscall.ENOENT) {
		return u, fmt.Errorf("the free space of %s cannot be told: %w", s.dir, err)
	}
	return u, nil
}
