package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// badSuffix marks what was set aside because it cannot be read.
const badSuffix = ".bad"

// reconcile brings files and index together when the daemon starts. It holds the
// lock all the time, so that no other process is storing anything meanwhile.
//
// A file without entries in the index is one of which nobody was told: the MTA
// has the message still, and the file is removed. It is the other way round when
// there is no index, or none that can be read: then all files become entries.
func (s *Store) reconcile() error {
	unlock, err := s.lock(true)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.removeDrafts(); err != nil {
		return err
	}
	known := make(map[string]bool)
	err = withIndex(s.path(indexFile), false, func(ix *index) error { return ix.verify(known) })
	if isLost(err) {
		return s.restore(err)
	}
	if err != nil {
		return err
	}
	err = s.eachMessage(func(name string) error {
		if known[name] {
			delete(known, name)
			return nil
		}
		s.log.Warn("a message in the quarantine of which nobody was told is removed: the MTA has it still", slog.String("message", name))
		return os.Remove(s.messagePath(name))
	})
	if err != nil || len(known) == 0 {
		return err
	}
	return s.change(func(ix *index) error { return s.settleMissing(ix, known) })
}

// verify reads the whole index, and tells which messages it knows.
func (ix *index) verify(known map[string]bool) error {
	err := ix.entries.ForEach(func(key, value []byte) error {
		r, err := parseRecord(value)
		if err == nil && (string(ageKey(&r.Entry)) != string(key) || string(ix.ids.Get([]byte(r.ID))) != string(key)) {
			err = fmt.Errorf("%w: the entry %s is in the wrong place", errDamaged, r.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, err := range ix.records(ix.open) {
		if err != nil {
			return err
		}
	}
	if err := ix.digests.ForEach(func(_, id []byte) error {
		_, err := ix.get(string(id))
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return err
	}); err != nil {
		return err
	}
	return ix.messages.ForEach(func(name, _ []byte) error {
		known[string(name)] = true
		_, err := ix.share(string(name))
		return err
	})
}

// settleMissing settles the entries of messages that are gone.
func (s *Store) settleMissing(ix *index, missing map[string]bool) error {
	var lost []record
	for r, err := range ix.records(ix.open) {
		if err != nil {
			return err
		}
		if missing[r.Message] {
			s.log.Error("a message in the quarantine is gone; its entry is deleted",
				slog.String("id", r.ID), slog.String("recipient", r.Address), slog.String("message", r.Message))
			lost = append(lost, r)
		}
	}
	return ix.settle(lost, Deleted, time.Now())
}

// eachMessage calls do with the names of all messages that have a file.
func (s *Store) eachMessage(do func(name string) error) error {
	folders, err := os.ReadDir(s.path(messagesFolder))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		files, err := os.ReadDir(filepath.Join(s.path(messagesFolder), folder.Name()))
		if err != nil {
			return err
		}
		for _, file := range files {
			if strings.HasSuffix(file.Name(), badSuffix) {
				continue
			}
			if err := do(file.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeDrafts removes the drafts that nobody is at work on.
func (s *Store) removeDrafts() error {
	drafts, err := os.ReadDir(s.path(draftsFolder))
	if err != nil {
		return err
	}
	for _, entry := range drafts {
		path := filepath.Join(s.path(draftsFolder), entry.Name())
		if err := removeUnlocked(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func removeUnlocked(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	return os.Remove(path)
}

// restore makes the index from the messages' files, all of which are held then,
// because of what was wrong with the one that was there. That one is set aside.
// The caller has the lock.
func (s *Store) restore(because error) error {
	path, fresh := s.path(indexFile), s.path(newIndexFile)
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var names []string
	err := s.eachMessage(func(name string) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return err
	}
	entries := 0
	err = newIndex(fresh, slices.Chunk(names, pageEntries), func(ix *index, names []string) error {
		for _, name := range names {
			n, err := s.restoreMessage(ix, name)
			if err != nil {
				return err
			}
			entries += n
		}
		return nil
	})
	if err != nil {
		_ = os.Remove(fresh) // the next try begins with that
		return fmt.Errorf("the index %s cannot be made: %w", path, err)
	}
	aside := path + badSuffix + "-" + time.Now().UTC().Format("20060102T150405.000000000")
	switch err := os.Rename(path, aside); {
	case err == nil:
		s.log.Error("the quarantine's index was damaged: it is set aside and made anew; what was released or deleted for some of a message's recipients is held again",
			slog.String("index", aside), slog.Int("entries", entries), slog.Any("error", because))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case entries > 0:
		s.log.Error("the quarantine's index was missing: it is made anew; what was released or deleted for some of a message's recipients is held again",
			slog.String("index", path), slog.Int("entries", entries))
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncFolder(s.dir)
}

// restoreMessage puts the entries into a new index that a message's file tells
// of. A file that cannot be read is set aside.
func (s *Store) restoreMessage(ix *index, name string) (entries int, err error) {
	path := s.messagePath(name)
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	h, size, err := readHead(file)
	if err != nil {
		s.log.Error("a message in the quarantine is damaged: it is set aside", slog.String("file", path+badSuffix), slog.String("error", err.Error()))
		return 0, os.Rename(path, path+badSuffix)
	}
	return len(h.Recipients), ix.addHead(&h, name, size)
}
