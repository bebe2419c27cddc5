package messages

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"iter"
	"time"
)

// pageTime is of how long a time counts are read in one transaction.
const pageTime = time.Hour

// counted is what messages are counted by: the minute in which they came, in seconds since
// 1970, and what became of them. Flow has the ways of all recipients of a message, as the log
// does, so that a message is counted once.
type counted struct {
	minute                         int64
	point, flow, verdict, deciding string
}

type tally struct{ messages, recipients int }

// counts are the messages of a batch, and how many recipients they had.
type counts map[counted]tally

func (c counts) add(m *Message) {
	by := counted{m.Time.Truncate(time.Minute).Unix(), m.Point.String(), m.flows(), m.Verdict.String(), m.Check}
	n := c[by]
	c[by] = tally{n.messages + 1, n.recipients + m.Count}
}

// write adds them to the table.
func (c counts) write(ctx context.Context, tx *sql.Tx) error {
	add, err := tx.PrepareContext(ctx, `
INSERT INTO counts (minute, point, flow, verdict, deciding, messages, recipients) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (minute, point, flow, verdict, deciding)
DO UPDATE SET messages = counts.messages + excluded.messages, recipients = counts.recipients + excluded.recipients`)
	if err != nil {
		return err
	}
	defer add.Close()
	for by, n := range c {
		if _, err := add.ExecContext(ctx, by.minute, by.point, by.flow, by.verdict, by.deciding, n.messages, n.recipients); err != nil {
			return err
		}
	}
	return nil
}

// Count is how many messages of one minute had a fate in common.
type Count struct {
	Minute time.Time
	// Flow has the ways of all recipients of a message, each once. Whoever is refused or put off
	// has none.
	Point, Flow, Verdict, Check string
	// Recipients are those of the messages, with those that were refused alone.
	Messages, Recipients int64
}

// Counts returns the counts of the minutes that begin at a time or later, and before another
// one, in their order. A time that is zero bounds nothing. It ends with an error.
func (r *Records) Counts(ctx context.Context, since, until time.Time) iter.Seq2[Count, error] {
	return func(yield func(Count, error) bool) {
		if oldest := time.Now().Add(-r.keep); since.Before(oldest) {
			since = oldest
		}
		for {
			page, err := r.countPage(ctx, since, until)
			if len(page) == 0 && err == nil || errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err != nil {
				yield(Count{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
			since = page[len(page)-1].Minute.Add(time.Minute)
		}
	}
}

// countPage returns the counts of the first minutes from a time on that have some.
func (r *Records) countPage(ctx context.Context, since, until time.Time) (page []Count, err error) {
	end := until.Unix()
	if until.IsZero() {
		end = time.Now().Add(ahead).Unix()
	}
	err = r.file.View(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `
SELECT minute, point, flow, verdict, deciding, messages, recipients FROM counts
WHERE minute >= ? AND minute < ? AND minute < (SELECT min(minute) FROM counts WHERE minute >= ?) + ?
ORDER BY minute, point, flow, verdict, deciding`, wholeSecond(since), end, wholeSecond(since), int64(pageTime.Seconds()))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c Count
			var minute int64
			if err := rows.Scan(&minute, &c.Point, &c.Flow, &c.Verdict, &c.Check, &c.Messages, &c.Recipients); err != nil {
				return err
			}
			c.Minute = time.Unix(minute, 0)
			page = append(page, c)
		}
		return rows.Err()
	})
	return page, err
}

// wholeSecond is the first second, since 1970, that begins at a time or later.
func wholeSecond(at time.Time) int64 { return at.Add(time.Second - 1).Unix() }
