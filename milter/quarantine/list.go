package quarantine

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"
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
		for page, err := range s.pages(q) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for i := range page {
				if match(&page[i].Entry) && !yield(page[i].Entry, nil) {
					return
				}
			}
		}
	}
}

// pages returns the entries among which a query's are.
func (s *Store) pages(q Query) iter.Seq2[[]row, error] {
	if len(q.IDs) > 0 {
		return s.named(q.IDs)
	}
	condition := "WHERE "
	if !q.All {
		condition += "e." + openStates + " AND "
	}
	condition += "(e.time, e.number) < (?, ?) ORDER BY e.time DESC, e.number DESC LIMIT ?"
	return func(yield func([]row, error) bool) {
		last := row{number: 1<<63 - 1}
		last.Time = time.Unix(0, 1<<63-1)
		for {
			var page []row
			err := s.view(func(tx *sql.Tx) (err error) {
				page, err = rows(tx, condition, last.Time.UnixNano(), last.number, pageEntries)
				return err
			})
			if err != nil || len(page) > 0 {
				if !yield(page, err) || err != nil {
					return
				}
			}
			if len(page) < pageEntries {
				return
			}
			last = page[len(page)-1]
		}
	}
}

// named returns the entries with those IDs, the newest first.
func (s *Store) named(ids []string) iter.Seq2[[]row, error] {
	return func(yield func([]row, error) bool) {
		var list []row
		err := s.view(func(tx *sql.Tx) error {
			for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
				r, err := get(tx, id)
				switch {
				case errors.Is(err, ErrNotFound):
				case err != nil:
					return err
				default:
					list = append(list, r)
				}
			}
			return nil
		})
		slices.SortFunc(list, func(a, b row) int { return b.Time.Compare(a.Time) })
		yield(list, err)
	}
}

// entry returns the entry with that ID.
func (s *Store) entry(id string) (Entry, error) {
	r, err := row{}, fmt.Errorf("%w %.40q", ErrNotFound, id)
	if viewErr := s.view(func(tx *sql.Tx) error {
		r, err = get(tx, id)
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
	content, err := s.contentOf(&entry)
	if err != nil {
		return nil, err
	}
	return content, nil
}

// contentOf opens the message of an entry, and looks whether it is there.
func (s *Store) contentOf(e *Entry) (stored, error) {
	content := s.content(e)
	var state int
	err := s.view(func(tx *sql.Tx) error {
		return tx.QueryRow("SELECT state FROM messages WHERE number = ?", e.Message).Scan(&state)
	})
	switch {
	case err == nil && state != whole:
		return content, fmt.Errorf("the message of %s is no longer kept: it is %s since %s", e.ID, e.State, e.Changed.Format(time.DateTime))
	case err == nil && e.Size > 0:
		_, err = content.ReadAt(make([]byte, 1), 0)
	}
	if err != nil {
		return content, fmt.Errorf("the message of %s cannot be read: %w", e.ID, err)
	}
	return content, nil
}

// Usage tells how full a store is.
type Usage struct {
	Entries int       `json:"entries"` // that are not settled
	Bytes   int64     `json:"bytes"`   // of all messages
	Oldest  time.Time `json:"oldest"`  // when the oldest message of an entry came; zero when there is none
	Free    int64     `json:"free"`    // bytes that the file system has left for the daemon
}

// Usage looks how full the store is.
func (s *Store) Usage() (u Usage, err error) {
	err = s.view(func(tx *sql.Tx) error {
		var oldest sql.NullInt64
		if u.Bytes, err = fact(tx, bytesFact); err != nil {
			return err
		}
		if err := tx.QueryRow("SELECT count(*), min(time) FROM entries WHERE "+openStates).Scan(&u.Entries, &oldest); err != nil {
			return err
		}
		if oldest.Valid {
			u.Oldest = time.Unix(0, oldest.Int64).UTC()
		}
		return nil
	})
	if err == nil {
		u.Free, err = s.file.Free()
	}
	return u, err
}
