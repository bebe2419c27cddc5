package quarantine

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Options say where a store is and what it keeps.
type Options struct {
	// Dir is the store's folder.
	Dir string
	// Keep is for how long entries are held, and settled ones remembered.
	// 0: for ever.
	Keep time.Duration
	// MaxBytes bounds the size of all messages' files. 0: there is no bound.
	MaxBytes int64
	// Zone is that of dates in queries. Nil: the machine's.
	Zone *time.Location
	Log  *slog.Logger
}

// Below the store's folder.
const (
	lockFile       = "lock"
	indexFile      = "index"
	newIndexFile   = "index.new"
	draftsFolder   = "tmp"
	messagesFolder = "messages" // holds folders named by the first two characters of messages
)

const (
	// idLength is the length of an entry's ID: 50 random bits in base32.
	idLength = 10
	// defaultPatience is how long an operation waits for other processes.
	defaultPatience = 30 * time.Second
)

// ErrNotFound is the error of an ID that no entry has.
var ErrNotFound = errors.New("there is no entry")

// Store keeps messages. Its methods may be called side by side, and by several
// processes.
type Store struct {
	dir      string
	keep     time.Duration
	maxBytes int64
	zone     *time.Location
	log      *slog.Logger
	// owner marks the daemon's store: it makes what is missing.
	owner    bool
	patience time.Duration
	fault    func(step string)
	// turn holds the one operation of this process that has the lock.
	turn chan struct{}
	// doubt is what was found to be wrong with the index. The lock guards it.
	doubt error
}

// Open opens the store for the daemon. It makes the folder if need be, and mends
// what a crash has left behind.
func Open(o Options) (*Store, error) {
	s := newStore(o)
	s.owner = true
	for _, folder := range [...]string{s.dir, s.path(draftsFolder), s.path(messagesFolder)} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("the quarantine's folder cannot be made: %w", err)
		}
	}
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err == nil {
		err = s.reconcile()
	}
	if err != nil {
		return nil, fmt.Errorf("the quarantine %s cannot be opened: %w", s.dir, err)
	}
	return s, nil
}

// OpenExisting opens the store for a command. It makes no file, so that none
// belongs to another user than the daemon's. A store that does not exist is
// empty.
func OpenExisting(o Options) (*Store, error) {
	if info, err := os.Stat(o.Dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("the quarantine %s is not a folder", o.Dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the quarantine cannot be opened: %w", err)
	}
	return newStore(o), nil
}

func newStore(o Options) *Store {
	return &Store{
		dir: o.Dir, keep: o.Keep, maxBytes: o.MaxBytes, zone: cmp.Or(o.Zone, time.Local), log: o.Log,
		patience: defaultPatience, fault: faultHook(), turn: make(chan struct{}, 1),
	}
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Store) messagePath(name string) string {
	return filepath.Join(s.dir, messagesFolder, name[:min(2, len(name))], name)
}

// update changes the index in one transaction, and removes the messages' files
// that no entry needs after it.
func (s *Store) update(do func(*index) error) error {
	unlock, err := s.lock(true)
	if err != nil {
		return err
	}
	defer unlock()
	return s.change(do)
}

// change is update for a caller that has the lock. An index that is missing or
// cannot be opened is made anew from the messages' files; one that proves to be
// damaged only in use, at the next change.
func (s *Store) change(do func(*index) error) error {
	var used *index
	run := func() error {
		return withIndex(s.path(indexFile), true, func(ix *index) error {
			used = ix
			return do(ix)
		})
	}
	err := s.doubt
	if err == nil {
		err = run()
	}
	if s.owner && used == nil && isLost(err) {
		if err := s.restore(err); err != nil {
			return err
		}
		s.doubt = nil
		err = run()
	}
	if err != nil {
		return s.judge(err, used == nil)
	}
	for _, name := range used.unneeded {
		if err := os.Remove(s.messagePath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("a message that the quarantine no longer needs cannot be removed", slog.String("error", err.Error()))
		}
	}
	return nil
}

// view reads the index in one transaction. That of a store which does not exist
// is not read at all.
func (s *Store) view(do func(*index) error) error {
	err := s.look(do)
	if s.owner && isLost(err) {
		if err := s.update(func(*index) error { return nil }); err != nil {
			return err
		}
		err = s.look(do)
	}
	return err
}

func (s *Store) look(do func(*index) error) error {
	unlock, err := s.lock(false)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !s.owner {
			return nil
		}
		return err
	}
	defer unlock()
	return s.judge(withIndex(s.path(indexFile), false, do), true)
}

// isLost reports an index that is missing or damaged.
func isLost(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged) }

// judge remembers an error that says that the index is damaged, and tells the
// administrator what to do. Unopened says that the error is one of opening the
// index. The caller has the lock.
func (s *Store) judge(err error, unopened bool) error {
	if !errors.Is(err, errDamaged) && !(unopened && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if s.owner && errors.Is(err, errDamaged) {
		s.doubt = err
	}
	return fmt.Errorf("the index %s cannot be used: %w; coexistd serve makes it anew from the messages", s.path(indexFile), err)
}

// Put stores a message for recipients, each of whom gets an entry, and returns
// the entries' IDs in that order. When it returns without an error, message and
// entries are on disk. Otherwise nothing is stored. A message that is held for a
// recipient already is not stored for them again: the ID is that of the entry which
// has it.
func (s *Store) Put(item Item, recipients []Recipient, content io.Reader) (ids []string, err error) {
	if item.Time.IsZero() {
		item.Time = time.Now()
	}
	d, err := s.newDraft(item, recipients, content)
	defer d.discard()
	if err == nil {
		ids, err = s.insert(d)
	}
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("the disk is full: %w", err)
		}
		return nil, fmt.Errorf("the message cannot be stored in the quarantine %s: %w", s.dir, err)
	}
	s.fault("put: committed")
	return ids, nil
}

// insert makes a draft a message of the store. The lock is held from before the
// file gets its place until the index has it, and until the file is gone when the
// index could not take it: a file without entries in the index is one of which
// nobody was told.
func (s *Store) insert(d *draft) (ids []string, err error) {
	unlock, err := s.lock(true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	displaced := 0
	err = s.change(func(ix *index) error {
		var fresh []headRecipient
		if ids, fresh, err = s.newcomers(ix, d); err != nil || len(fresh) == 0 {
			return err
		}
		if err := s.place(d, fresh); err != nil {
			return err
		}
		if err := ix.addHead(&d.head, d.name, d.size); err != nil {
			return err
		}
		if s.maxBytes > 0 {
			// Nothing may go that this message's recipients are told to be held by.
			if displaced, err = ix.expireOldest(s.maxBytes, append(ids, d.name), time.Now()); err != nil {
				return err
			}
		}
		s.fault("put: before commit")
		return nil
	})
	if err != nil {
		d.kept = false
		d.discard()
		return nil, err
	}
	if displaced > 0 {
		s.log.Warn("the quarantine is full: its oldest entries have expired", slog.Int("entries", displaced), slog.Int64("bytes", s.maxBytes))
	}
	return ids, nil
}

// newcomers returns the IDs for all recipients of a draft, and those for whom
// the message is not held already.
func (s *Store) newcomers(ix *index, d *draft) (ids []string, fresh []headRecipient, err error) {
	named := make(map[string]string, len(d.Recipients)) // the IDs of those who were named before
	for _, r := range d.Recipients {
		if id := named[r.Address]; id != "" {
			ids = append(ids, id)
			continue
		}
		named[r.Address] = r.ID
		before, found, err := ix.holder(entryDigest(d.Sender, r.Address, d.Digest))
		if err != nil {
			return nil, nil, err
		}
		if found {
			_, err = os.Stat(s.messagePath(before.Message))
			found = err == nil
		}
		if found {
			ids, named[r.Address] = append(ids, before.ID), before.ID
			continue
		}
		ids, fresh = append(ids, r.ID), append(fresh, r)
	}
	return ids, fresh, nil
}

// addHead puts the entries into the index that a message's file tells of.
func (ix *index) addHead(h *head, name string, size int64) error {
	for _, r := range h.Recipients {
		entry := Entry{ID: r.ID, Item: h.Item, Recipient: r.Recipient, State: Held, Changed: h.Time, Message: name}
		if err := ix.add(&record{entry, entryDigest(h.Sender, r.Address, h.Digest)}); err != nil {
			return err
		}
	}
	return errors.Join(ix.putShare(name, share{size, int64(len(h.Recipients))}), ix.count(size))
}

// Delete settles an entry that is held, or whose release was broken off: the
// message is kept for its recipient no longer. While it is being released, it is not
// deleted, and the error says so.
func (s *Store) Delete(id string) error {
	_, err := s.updateEntry(id, func(ix *index, r *record) error {
		if !r.isOpen() {
			return errSettled(&r.Entry)
		}
		// A release that has not come to its claim finds the entry deleted there.
		if r.State == Releasing {
			underWay, err := s.isUnderWay(r.Message)
			if err != nil {
				return fmt.Errorf("whether %s is being released cannot be told: %w", id, err)
			}
			if underWay {
				return fmt.Errorf("%w, so it is not deleted; see what comes of that with coexistd quarantine show %s", errUnderWay(id), id)
			}
		}
		return ix.set(r, Deleted, time.Now())
	})
	return err
}

func errSettled(e *Entry) error {
	return fmt.Errorf("%s is not held any more: it is %s since %s", e.ID, e.State, e.Changed.Format(time.DateTime))
}

// updateEntry changes the entry with that ID, and returns it as it is then.
func (s *Store) updateEntry(id string, do func(*index, *record) error) (Entry, error) {
	var r record
	err := s.update(func(ix *index) (err error) {
		if r, err = ix.get(id); err != nil {
			return err
		}
		return do(ix, &r)
	})
	if errors.Is(err, fs.ErrNotExist) {
		if _, none := os.Stat(s.path(lockFile)); none != nil { // nobody has made the store
			err = fmt.Errorf("%w %.40q", ErrNotFound, id)
		}
	}
	return r.Entry, err
}

// MarkReported notes that the recipients of those entries were told of them.
func (s *Store) MarkReported(ids []string) error {
	return s.update(func(ix *index) error {
		for _, id := range ids {
			r, err := ix.get(id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			r.Reported = true
			if err := ix.put(ageKey(&r.Entry), &r); err != nil {
				return err
			}
		}
		return nil
	})
}

// LastReport returns what SetLastReport was given; the zero time when it was not
// called yet.
func (s *Store) LastReport() (at time.Time, err error) { return s.time(lastReportKey) }

// SetLastReport notes when recipients were told of what is held, or would have been, had
// there been anything to tell.
func (s *Store) SetLastReport(at time.Time) error { return s.setTime(lastReportKey, at) }

// LastSent is when an MTA last took a report; the zero time when none has yet.
func (s *Store) LastSent() (at time.Time, err error) { return s.time(lastSentKey) }

func (s *Store) time(key []byte) (at time.Time, err error) {
	err = s.view(func(ix *index) error {
		if value := ix.meta.Get(key); value != nil {
			return at.UnmarshalBinary(value)
		}
		return nil
	})
	return at, err
}

func (s *Store) setTime(key []byte, at time.Time) error {
	value, err := at.MarshalBinary()
	if err != nil {
		return err
	}
	return s.update(func(ix *index) error { return ix.meta.Put(key, value) })
}
