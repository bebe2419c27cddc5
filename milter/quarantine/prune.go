package quarantine

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

const (
	// changesAtOnce is how many entries one transaction changes: others have their turn in
	// between, and it fits into the room that a full disk leaves.
	changesAtOnce = 200
	// draftTime is after which time a message that is still being written is known to be
	// left over from a process that has ended.
	draftTime = time.Hour
)

// Which entries and messages are due, each by an index, so that no others are read.
const (
	dueByAge   = "WHERE e." + openStates + " AND e.time < ? AND (e.state = 'held' OR e.changed < ?) ORDER BY e.time, e.number LIMIT ?"
	dueBySize  = "WHERE e.state = 'held' AND (e.report AND NOT e.reported) = ? AND e.message <> ? ORDER BY e.time, e.number LIMIT ?"
	dueSettled = "WHERE e." + settledStates + " AND e.changed < ? ORDER BY e.changed LIMIT ?"
	leftDrafts = "UPDATE messages SET state = ? WHERE state = 1 AND time < ?"
	nextUnkept = "SELECT coalesce(min(number), 0) FROM messages WHERE state = 2"
)

// Prune expires entries that were held for longer than Options.Keep, and then
// the oldest ones, as long as the messages have more than Options.MaxBytes. The
// record of an entry that was settled so long ago is removed. It tells how many
// have expired.
func (s *Store) Prune(now time.Time) (expired int, err error) {
	if s.keep > 0 {
		before := now.Add(-s.keep)
		err = s.repeat(func(tx *sql.Tx) (bool, error) {
			n, err := expireOlder(tx, before, now)
			expired += n
			return n == changesAtOnce, err
		})
		if err == nil {
			err = s.repeat(func(tx *sql.Tx) (bool, error) { return forgetOlder(tx, before) })
		}
	}
	if s.maxBytes > 0 && err == nil {
		var displaced int
		displaced, err = s.makeRoom(nil, 0, now)
		expired += displaced
	}
	if err == nil {
		err = s.update(func(tx *sql.Tx) error {
			_, err := tx.Exec(leftDrafts, unkept, now.Add(-draftTime).UnixNano())
			return err
		})
	}
	if err == nil {
		err = s.sweep()
	}
	return expired, err
}

// repeat calls do in transactions of their own, as long as it tells that there is more to do.
func (s *Store) repeat(do func(*sql.Tx) (more bool, err error)) error {
	for more := true; more; s.file.Settle(context.Background()) {
		if err := s.update(func(tx *sql.Tx) (err error) {
			more, err = do(tx)
			return err
		}); err != nil {
			return fmt.Errorf("clearing out the quarantine %s: %w", s.file.Path(), err)
		}
	}
	return nil
}

// expireOlder expires entries of messages that came before a time. One whose release was
// broken off since then is spared as yet.
func expireOlder(tx *sql.Tx, before, now time.Time) (int, error) {
	due, err := rows(tx, dueByAge, before.UnixNano(), before.UnixNano(), changesAtOnce)
	if err != nil {
		return 0, err
	}
	for i := range due {
		if _, err := set(tx, &due[i], Expired, "", now); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// forgetOlder removes entries that were settled before a time.
func forgetOlder(tx *sql.Tx, before time.Time) (more bool, err error) {
	due, err := rows(tx, dueSettled, before.UnixNano(), changesAtOnce)
	for i := range due {
		if err == nil {
			_, err = tx.Exec("DELETE FROM entries WHERE number = ?", due[i].number)
		}
		if err == nil {
			_, err = tx.Exec("DELETE FROM messages WHERE number = ? AND state = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE message = ?)",
				due[i].Message, swept, due[i].Message)
		}
	}
	return len(due) == changesAtOnce, err
}

// displaced counts entries that had to go for want of room, and those among them of which
// their recipients were not told yet.
type displaced struct{ entries, untold int }

// makeRoom expires held entries, the oldest first, until the messages have no more than
// maxBytes. It spares entries by their IDs, and those of a message: nothing may go that their
// recipients are just told to be held by. It tells how many have expired.
func (s *Store) makeRoom(spared []string, message int64, now time.Time) (expired int, err error) {
	var all displaced
	err = s.repeat(func(tx *sql.Tx) (bool, error) {
		some, err := s.expireOldest(tx, spared, message, now)
		all.entries, all.untold = all.entries+some.entries, all.untold+some.untold
		return some.entries == changesAtOnce, err
	})
	if all.entries > 0 {
		s.log.Warn("the quarantine is full: its oldest entries have expired", slog.Int("entries", all.entries), slog.Int64("bytes", s.maxBytes))
	}
	if all.untold > 0 {
		s.log.Error("the quarantine is so full that entries have expired of which nobody was told yet: raise quarantine.max_size, or have reports sent more often",
			slog.Int("entries", all.untold), slog.Int64("bytes", s.maxBytes))
	}
	return all.entries, err
}

// expireOldest makes room as makeRoom, by a batch at most. Entries of which their recipients
// are still to be told go when nothing else is left.
func (s *Store) expireOldest(tx *sql.Tx, spared []string, message int64, now time.Time) (d displaced, err error) {
	has, err := fact(tx, bytesFact)
	for _, untold := range [...]bool{false, true} {
		if err != nil || has <= s.maxBytes || d.entries == changesAtOnce {
			return d, err
		}
		due, err := rows(tx, dueBySize, untold, message, changesAtOnce+len(spared))
		for i := 0; err == nil && i < len(due) && has > s.maxBytes && d.entries < changesAtOnce; i++ {
			if slices.Contains(spared, due[i].ID) {
				continue
			}
			var freed int64
			freed, err = set(tx, &due[i], Expired, "", now)
			has -= freed
			d.entries++
			if untold {
				d.untold++
			}
		}
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// sweep removes the chunks of messages that nobody needs any more, some in each change.
func (s *Store) sweep() error {
	return s.repeat(func(tx *sql.Tx) (more bool, err error) {
		var number int64
		if err := tx.QueryRow(nextUnkept).Scan(&number); err != nil || number == 0 {
			return false, err
		}
		return true, sweepOne(tx, number)
	})
}

// sweepOrTell sweeps after something that is done whether this succeeds or not: what is left
// goes with the next Prune.
func (s *Store) sweepOrTell() {
	if err := s.sweep(); err != nil {
		s.log.Warn("messages that nobody needs any more stay in the quarantine as yet", slog.String("error", err.Error()))
	}
}

// sweepOne removes chunks of a message, as many as one change may. The message goes with its
// last chunk and its last entry.
func sweepOne(tx *sql.Tx, number int64) error {
	removed, err := change(tx, "DELETE FROM chunks WHERE number IN (SELECT number FROM chunks WHERE number >= ? AND number < ? LIMIT ?)",
		number*maxChunks, (number+1)*maxChunks, chunksAtOnce)
	if err != nil || removed == chunksAtOnce {
		return err
	}
	if _, err := tx.Exec("UPDATE messages SET state = ? WHERE number = ?", swept, number); err != nil {
		return err
	}
	_, err = tx.Exec("DELETE FROM messages WHERE number = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE message = ?)", number, number)
	return err
}
