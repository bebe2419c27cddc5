package messages

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

const (
	// pruneRuns is how many runs of messages one change looks at, pruneRows how many deliveries,
	// and pruneMinutes how many minutes of counts: others wait for it, no longer than 50 ms on a
	// slow disk.
	pruneRuns    = 4
	pruneRows    = 200
	pruneMinutes = 60
	// ahead is how far a message's time may lie in the future. A clock that went further was
	// wrong, and what it has marked would never be old.
	ahead = time.Hour
)

// prune deletes what is too old, a little at a time. A batch that waits goes first.
func (x *Index) prune(ctx context.Context) {
	now := time.Now()
	oldest := now.Add(-x.options.Keep)
	steps := [...]func(*sql.Tx) (bool, error){
		func(tx *sql.Tx) (bool, error) {
			return pruneOldest(ctx, tx, "runs", pruneRuns, "latest", oldest, "earliest", now.Add(ahead))
		},
		func(tx *sql.Tx) (bool, error) { return pruneFirst(ctx, tx, oldest, now.Add(ahead)) },
		func(tx *sql.Tx) (bool, error) { return pruneSpan(ctx, tx) },
		func(tx *sql.Tx) (bool, error) { return pruneCounts(ctx, tx, oldest) },
		func(tx *sql.Tx) (bool, error) {
			return pruneOldest(ctx, tx, "deliveries", pruneRows, "earliest", oldest, "earliest", now.Add(ahead))
		},
	}
	for _, step := range steps {
		for more := true; more; {
			err := x.update(ctx, func(tx *sql.Tx) (err error) {
				more, err = step(tx)
				return err
			})
			if x.note(0, err); err != nil {
				return
			}
			select {
			case <-x.full:
				x.writeAll(ctx)
			case <-x.stop:
				return
			default:
			}
		}
	}
}

// pruneOldest deletes the first rows of a table, as far as a column says that they are too old,
// or another one that no clock which is right has marked them.
func pruneOldest(ctx context.Context, tx *sql.Tx, table string, rows int, old string, oldest time.Time, young string, newest time.Time) (more bool, err error) {
	deleted, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE id <= (SELECT max(id) FROM (SELECT id FROM `+table+` ORDER BY id LIMIT ?) AS first)
AND (`+old+` < ? OR `+young+` > ?)`, rows, oldest.UnixMicro(), newest.UnixMicro())
	if err != nil {
		return false, err
	}
	n, err := deleted.RowsAffected()
	return n > 0, err
}

// pruneFirst deletes what is too old of a run that also has others: the messages before the
// first one that is not.
func pruneFirst(ctx context.Context, tx *sql.Tx, oldest, newest time.Time) (more bool, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+runColumns+` FROM runs ORDER BY id LIMIT 1`)
	if err != nil {
		return false, err
	}
	var before run
	var left draft
	err = eachRun(rows, func(r *run) error {
		before = *r
		return r.eachMessage(func(m *Message) {
			if !left.isEmpty() || !m.Time.Before(oldest) && !m.Time.After(newest) {
				left.add(m)
			}
		})
	})
	switch {
	case err != nil || before.first == before.last:
		return false, err
	case left.isEmpty():
		_, err = tx.ExecContext(ctx, `DELETE FROM runs WHERE id = ?`, int64(before.first))
	case left.first == before.first:
		return false, nil
	default:
		if _, err = tx.ExecContext(ctx, `DELETE FROM runs WHERE id = ?`, int64(before.first)); err == nil {
			_, err = tx.ExecContext(ctx, writeRun, left.run().values()...)
		}
	}
	return true, err
}

// pruneSpan deletes the index of a span without messages.
func pruneSpan(ctx context.Context, tx *sql.Tx) (more bool, err error) {
	var first ID
	err = tx.QueryRowContext(ctx, `SELECT id FROM spans WHERE id = (SELECT min(id) FROM spans) AND last < coalesce((SELECT min(id) FROM runs), last + 1)`).Scan((*int64)(&first))
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM blocks WHERE id >= ? AND id < ?`, blockID(0, first), blockID(0, first+1)); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM spans WHERE id = ?`, int64(first))
	return true, err
}

// pruneCounts deletes the oldest counts.
func pruneCounts(ctx context.Context, tx *sql.Tx, oldest time.Time) (more bool, err error) {
	deleted, err := tx.ExecContext(ctx, `DELETE FROM counts WHERE minute < ? AND minute < (SELECT min(minute) FROM counts) + ?`, oldest.Unix(), pruneMinutes*60)
	if err != nil {
		return false, err
	}
	n, err := deleted.RowsAffected()
	return n > 0, err
}
