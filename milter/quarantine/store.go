package quarantine

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"coexistd/milter/audit"
	"coexistd/milter/store"
)

// Options say where a store is and what it keeps.
type Options struct {
	// Dir is the folder of the store's file.
	Dir string
	// Keep is for how long entries are held, and settled ones remembered.
	// 0: for ever.
	Keep time.Duration
	// MaxBytes bounds the size of all messages. 0: there is no bound.
	MaxBytes int64
	// By is the user for whom entries are released and deleted, for the audit.
	By string
	// Zone is that of dates in queries. Nil: the machine's.
	Zone *time.Location
	Log  *slog.Logger
}

const (
	// FileName is the name of the store's file in its folder.
	FileName = "store.db"
	// idLength is the length of an entry's ID: 50 random bits in base32.
	idLength = 10
	// chunksAtOnce is how many chunks of a message are written in one change. A message
	// that has more, which is one above 1 MB, is written in several, so that the others need
	// not wait for it.
	chunksAtOnce = 10
	// reserve is how many bytes of the disk are left alone, so that what helps a full one,
	// to delete and to release, can be written.
	reserve = 4 << 20
)

// ErrNotFound is the error of an ID that no entry has.
var ErrNotFound = errors.New("there is no entry")

// Store keeps messages. Its methods may be called side by side, and by several
// processes.
type Store struct {
	file     *store.File
	keep     time.Duration
	maxBytes int64
	zone     *time.Location
	log      *slog.Logger
	by       string
	// owner marks the daemon's store: it makes what is missing.
	owner bool
	fault func(step string)
}

// FileOptions are those of the file of a store.
func FileOptions(dir string, log *slog.Logger) store.Options {
	return store.Options{
		Path: filepath.Join(dir, FileName), Migrations: migrations, Durable: true, Log: log,
		Tables: tables, Verified: []string{"audit", "senders", "senders_version", "facts", "messages", "entries"}, Mended: mended,
	}
}

// New returns the daemon's store in a file of FileOptions.
func New(file *store.File, o Options) *Store {
	s := newStore(file, o)
	s.owner = true
	return s
}

// OpenExisting opens the store for a command. It makes no file, so that none
// belongs to another user than the daemon's. A store that does not exist is
// empty.
func OpenExisting(o Options) *Store { return newStore(store.Open(FileOptions(o.Dir, o.Log)), o) }

func newStore(file *store.File, o Options) *Store {
	return &Store{file: file, keep: o.Keep, maxBytes: o.MaxBytes, by: o.By, zone: cmp.Or(o.Zone, time.Local), log: o.Log, fault: faultHook()}
}

// Ready reports that messages can be held, as far as can be told before one is to be.
func (s *Store) Ready() error {
	if err := s.file.Ready(context.Background()); err != nil {
		return fmt.Errorf("the quarantine cannot be opened: %w", err)
	}
	return nil
}

// update changes the store in one transaction.
func (s *Store) update(do func(*sql.Tx) error) error { return s.file.Update(context.Background(), do) }

// view reads the store in one transaction. To a command, one that does not exist is not read
// at all.
func (s *Store) view(do func(*sql.Tx) error) error {
	err := s.file.View(context.Background(), do)
	if !s.owner && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// named is a recipient with what their entry is found by.
type named struct {
	Recipient
	id     string
	digest []byte
}

// arrival is a message on its way into the store.
type arrival struct {
	Item
	recipients []Recipient
	content    *digester
	buf        []byte // for one chunk
	number     int64  // of the message; 0: it has none yet
	chunks     int64  // that are written
	bytes      int64  // in them
	ended      bool   // all chunks are written
	begun      bool   // some of it is in the store, as a draft
	// intact tells, by their numbers, which messages that are the same can be read, and
	// doubted are entries of those of which that is not known yet.
	intact  map[int64]bool
	doubted []Entry
	ids     []string // of its entries; none: it is not held yet
	full    bool     // the store has more than it may have
}

// Put stores a message for recipients, each of whom gets an entry, and returns
// the entries' IDs in that order. When it returns without an error, message and
// entries are on disk. Otherwise nothing is stored. A message that is held for a
// recipient already is not stored for them again: the ID is that of the entry which
// has it.
func (s *Store) Put(item Item, recipients []Recipient, content io.Reader) (ids []string, err error) {
	a, err := newArrival(item, recipients, content)
	if err == nil {
		err = s.hasRoom(item.Size)
	}
	for err == nil && a.ids == nil {
		s.lookAtDoubted(a)
		err = s.write(a)
	}
	if err != nil {
		if a.begun {
			// What cannot be removed now, Prune removes.
			err = errors.Join(err, s.giveUp(a))
		}
		return nil, fmt.Errorf("the message cannot be stored in the quarantine %s: %w", s.file.Path(), err)
	}
	s.fault("put: committed")
	if a.full {
		if _, err := s.makeRoom(a.ids, a.number, time.Now()); err != nil {
			s.log.Error("the quarantine stays larger than quarantine.max_size as yet", slog.String("error", err.Error()))
		}
	}
	if a.full || a.begun {
		s.sweepOrTell()
	}
	return a.ids, nil
}

// hasRoom reports that a message of a size may be stored. It is written twice: into the log
// beside the file, and from there into the file.
func (s *Store) hasRoom(size int64) error {
	if err := s.file.Ready(context.Background()); err != nil {
		return err
	}
	free, err := s.file.Free()
	if err == nil && free < reserve+2*size {
		err = fmt.Errorf("%w: %d bytes are left", store.ErrFull, free)
	}
	return err
}

func newArrival(item Item, recipients []Recipient, content io.Reader) (a *arrival, err error) {
	a = &arrival{content: newDigester(content), buf: make([]byte, chunkSize), intact: make(map[int64]bool)}
	if a.Item, err = item.bounded(); err != nil {
		return a, err
	}
	if a.Time.IsZero() {
		a.Time = time.Now()
	}
	for _, r := range recipients {
		if r, err = r.bounded(); err != nil {
			return a, err
		}
		a.recipients = append(a.recipients, r)
	}
	return a, nil
}

// write writes what one change may hold of a message. What ends with the message's end tells
// of all of it.
func (s *Store) write(a *arrival) error {
	err := s.update(func(tx *sql.Tx) error {
		s.fault("put: before writing")
		if a.number == 0 {
			if err := tx.QueryRow("SELECT coalesce(max(number), 0) + 1 FROM messages").Scan(&a.number); err != nil {
				return err
			}
		}
		if err := writeChunks(tx, a); err != nil {
			return err
		}
		if !a.ended {
			return a.note(tx, draft)
		}
		err := s.insert(tx, a)
		s.fault("put: before commit")
		return err
	})
	if err == nil && a.ids == nil {
		a.begun = true
		s.fault("put: begun")
		s.file.Settle(context.Background())
	}
	return err
}

// note has the store know of the message, in a state.
func (a *arrival) note(tx *sql.Tx, state int) error {
	if a.begun {
		return goOn(tx, a.number, state, a.Item)
	}
	return insertMessage(tx, a.number, state, a.Item)
}

// insert makes a message of the store of one that is written, with the entries of those for
// whom it is not held yet, and notes the IDs for all. Where it is not known yet whether what
// is held can be read, it stays a draft.
func (s *Store) insert(tx *sql.Tx, a *arrival) error {
	a.Size = a.bytes
	digest := a.content.hash.Sum(nil)
	var ids []string
	var fresh []named
	before := make(map[string]string, len(a.recipients)) // the IDs of those who were named before
	for _, r := range a.recipients {
		if before[r.Address] == "" {
			one := named{Recipient: r, digest: entryDigest(a.Sender, r.Address, digest)}
			held, found, err := holder(tx, one.digest, 0)
			if err != nil {
				return err
			}
			intact, known := a.intact[held.Message]
			if found && !known {
				a.doubted = append(a.doubted, held.Entry)
			}
			if one.id = held.ID; !intact {
				one.id = strings.ToLower(rand.Text()[:idLength])
				fresh = append(fresh, one)
			}
			before[r.Address] = one.id
		}
		ids = append(ids, before[r.Address])
	}
	if len(a.doubted) > 0 {
		return a.note(tx, draft)
	}
	if a.ids = ids; len(fresh) == 0 {
		return a.note(tx, unkept)
	}
	err := errors.Join(a.note(tx, whole), insertEntries(tx, a.number, a.Item, fresh), addFact(tx, bytesFact, a.Size))
	if err == nil && s.maxBytes > 0 {
		var has int64
		has, err = fact(tx, bytesFact)
		a.full = has > s.maxBytes
	}
	return err
}

// lookAtDoubted looks whether messages that are held already can be read: one that is damaged
// does not stand for another that is the same.
func (s *Store) lookAtDoubted(a *arrival) {
	for i := range a.doubted {
		e := &a.doubted[i]
		if _, known := a.intact[e.Message]; known {
			continue
		}
		_, err := io.Copy(io.Discard, s.content(e))
		if a.intact[e.Message] = err == nil; err != nil {
			s.log.Error("a message that is held cannot be read; since it came again, it is held anew", slog.String("id", e.ID), slog.String("error", err.Error()))
		}
	}
	a.doubted = nil
}

// giveUp removes what is in the store of a message that does not come to its end.
func (s *Store) giveUp(a *arrival) error {
	err := s.update(func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE messages SET state = ? WHERE number = ? AND time = ? AND state = ?", unkept, a.number, a.Time.UnixNano(), draft)
		return err
	})
	return errors.Join(err, s.sweep())
}

// Delete settles an entry that is held, or whose release was broken off: the
// message is kept for its recipient no longer. While it is being released, it is not
// deleted, and the error says so.
func (s *Store) Delete(id string) error {
	_, err := s.updateEntry(id, func(tx *sql.Tx, r *row) error {
		switch {
		case !r.isOpen():
			return errSettled(&r.Entry)
		case r.isUnderWay():
			return fmt.Errorf("%w, so it is not deleted; see what comes of that with coexistd quarantine show %s", errUnderWay(id), id)
		}
		_, errAudit := audit.Add(tx, s.event(audit.Delete, &r.Entry, audit.Done))
		_, err := set(tx, r, Deleted, "", time.Now())
		return errors.Join(errAudit, err)
	})
	if err == nil {
		s.sweepOrTell()
	}
	return err
}

// event is what the audit is told of an entry.
func (s *Store) event(what string, e *Entry, outcome string) audit.Event {
	return audit.Event{Who: s.by, Way: audit.Command, What: what, Object: e.ID, Whose: e.Address, Outcome: outcome}
}

func errSettled(e *Entry) error {
	return fmt.Errorf("%s is not held any more: it is %s since %s", e.ID, e.State, e.Changed.Format(time.DateTime))
}

// updateEntry changes the entry with that ID, and returns it as it is then.
func (s *Store) updateEntry(id string, do func(*sql.Tx, *row) error) (Entry, error) {
	var r row
	try := func() error {
		return s.update(func(tx *sql.Tx) (err error) {
			if r, err = get(tx, id); err != nil {
				return err
			}
			return do(tx, &r)
		})
	}
	err := try()
	if errors.Is(err, store.ErrFull) {
		err = try() // to delete is what helps
	}
	if !s.owner && errors.Is(err, fs.ErrNotExist) { // nobody has made the store
		err = fmt.Errorf("%w %.40q", ErrNotFound, id)
	}
	return r.Entry, err
}

// MarkReported notes that the recipients of those entries were told of them.
func (s *Store) MarkReported(ids []string) error {
	for batch := range slices.Chunk(ids, changesAtOnce) {
		if err := s.update(func(tx *sql.Tx) error {
			for _, id := range batch {
				if _, err := tx.Exec("UPDATE entries SET reported = ? WHERE id = ?", true, id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// LastReport returns what SetLastReport was given; the zero time when it was not
// called yet.
func (s *Store) LastReport() (time.Time, error) { return s.time(lastReportFact) }

// SetLastReport notes when recipients were told of what is held, or would have been, had
// there been anything to tell.
func (s *Store) SetLastReport(at time.Time) error { return s.setTime(lastReportFact, at) }

// LastSent is when an MTA last took a report; the zero time when none has yet.
func (s *Store) LastSent() (time.Time, error) { return s.time(lastSentFact) }

func (s *Store) time(number int) (at time.Time, err error) {
	err = s.view(func(tx *sql.Tx) error {
		since, err := fact(tx, number)
		if since != 0 {
			at = time.Unix(0, since).UTC()
		}
		return err
	})
	return at, err
}

func (s *Store) setTime(number int, at time.Time) error {
	return s.update(func(tx *sql.Tx) error { return setFact(tx, number, at.UnixNano()) })
}
