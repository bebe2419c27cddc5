package quarantine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// pruneBatch is how many entries one transaction changes: others have their
// turn in between, and it fits into the room that a full disk leaves.
const pruneBatch = 200

// Prune expires entries that were held for longer than Options.Keep, and then
// the oldest ones, as long as the messages have more than Options.MaxBytes. The
// record of an entry that was settled so long ago is removed. It tells how many
// have expired.
func (s *Store) Prune(now time.Time) (expired int, err error) {
	if s.keep > 0 {
		before := now.Add(-s.keep)
		expired, err = s.inBatches(func(ix *index) (int, error) { return ix.expireOlder(before, now) })
		if err == nil {
			_, err = s.inBatches(func(ix *index) (int, error) { return ix.forgetOlder(before) })
		}
	}
	if s.maxBytes > 0 && err == nil {
		var n int
		n, err = s.inBatches(func(ix *index) (int, error) { return ix.expireOldest(s.maxBytes, nil, now) })
		if expired += n; n > 0 {
			s.log.Warn("the quarantine is full: its oldest entries have expired", slog.Int("entries", n), slog.Int64("bytes", s.maxBytes))
		}
	}
	return expired, err
}

// inBatches calls do in transactions of their own, until it changes less than a
// whole batch.
func (s *Store) inBatches(do func(*index) (changed int, err error)) (total int, err error) {
	for {
		changed := 0
		err := s.update(func(ix *index) (err error) {
			changed, err = do(ix)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("pruning the quarantine %s: %w", s.dir, err)
		}
		if total += changed; changed < pruneBatch {
			return total, nil
		}
	}
}

// older returns records of messages that came before a time, a batch at most, of those in
// a bucket that are due.
func (ix *index) older(bucket *bolt.Bucket, before time.Time, isDue func(*record) bool) (due []record, err error) {
	for r, err := range ix.records(bucket) {
		if err != nil {
			return nil, err
		}
		if !r.Time.Before(before) || len(due) == pruneBatch {
			break
		}
		if isDue(&r) {
			due = append(due, r)
		}
	}
	return due, nil
}

// expireOlder expires entries of messages that came before a time. One whose release was
// broken off since then is spared as yet.
func (ix *index) expireOlder(before, now time.Time) (int, error) {
	due, err := ix.older(ix.open, before, func(r *record) bool { return r.State == Held || r.Changed.Before(before) })
	if err != nil {
		return 0, err
	}
	return len(due), ix.settle(due, Expired, now)
}

// forgetOlder removes records of entries that were settled before a time.
func (ix *index) forgetOlder(before time.Time) (int, error) {
	due, err := ix.older(ix.entries, before, func(r *record) bool { return !r.isOpen() && r.Changed.Before(before) })
	for i := range due {
		err = errors.Join(err, ix.forget(&due[i]))
	}
	return len(due), err
}

// expireOldest expires held entries, a batch at most and the oldest first, until the
// messages have no more than so many bytes. It passes over those to be spared, by
// message or ID.
func (ix *index) expireOldest(maxBytes int64, spared []string, now time.Time) (int, error) {
	excess := ix.bytes() - maxBytes
	if excess <= 0 {
		return 0, nil
	}
	var due []record
	shares := make(map[string]share)
	for r, err := range ix.records(ix.open) {
		if err != nil {
			return 0, err
		}
		if r.State != Held || slices.Contains(spared, r.Message) || slices.Contains(spared, r.ID) {
			continue
		}
		part, seen := shares[r.Message]
		if !seen {
			if part, err = ix.share(r.Message); err != nil {
				return 0, err
			}
		}
		due = append(due, r)
		if part.Needed--; part.Needed == 0 {
			excess -= part.Size
		}
		shares[r.Message] = part
		if excess <= 0 || len(due) == pruneBatch {
			break
		}
	}
	return len(due), ix.settle(due, Expired, now)
}

// settle stores what has become of entries that are due.
func (ix *index) settle(due []record, state State, now time.Time) error {
	for i := range due {
		if err := ix.set(&due[i], state, now); err != nil {
			return err
		}
	}
	return nil
}
