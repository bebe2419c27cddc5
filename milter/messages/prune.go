package messages

import (
	"context"
	"database/sql"
	"time"
)

const (
	// pruneRows is how many messages one change deletes, and pruneMinutes how many minutes
	// of counts: others wait for it, no longer than 50 ms on a slow disk.
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
			return pruneOldest(ctx, tx, "messages", "time", oldest, now.Add(ahead))
		},
		func(tx *sql.Tx) (bool, error) { return pruneSpan(ctx, tx) },
		func(tx *sql.Tx) (bool, error) { return pruneCounts(ctx, tx, oldest) },
		func(tx *sql.Tx) (bool, error) {
			return pruneOldest(ctx, tx, "deliveries", "earliest", oldest, now.Add(ahead))
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

// pruneOldest deletes the oldest rows of a table, by the column that has their time.
func pruneOldest(ctx context.Context, tx *sql.Tx, table, column string, oldest, newest time.Time) (more bool, err error) {
	deleted, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE id <= (SELECT max(id) FROM (SELECT id FROM `+table+` ORDER BY id LIMIT ?) AS first)
AND (`+column+` < ? OR `+column+` > ?)`, pruneRows, oldest.UnixMicro(), newest.UnixMicro())
	if err != nil {
		return false, err
	}
	n, err := deleted.RowsAffected()
	return n > 0, err
}

// pruneSpan deletes the index of a span without messages.
func pruneSpan(ctx context.Context, tx *sql.Tx) (more bool, err error) {
	var span, first sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT (SELECT min(id) FROM spans), (SELECT min(id) FROM messages)`).Scan(&span, &first)
	if err != nil || !span.Valid || first.Valid && first.Int64 < (span.Int64+1)*spanSize {
		return false, err
	}
	for block := range spanBlocks {
		if _, err := tx.ExecContext(ctx, `DELETE FROM blocks WHERE id = ?`, blockID(block, span.Int64)); err != nil {
			return false, err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM spans WHERE id = ?`, span.Int64)
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
