package messages

import (
	"context"
	"database/sql"
	"time"
)

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
	for by, n := range c {
		_, err := tx.ExecContext(ctx, `
INSERT INTO counts (minute, point, flow, verdict, deciding, messages, recipients) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (minute, point, flow, verdict, deciding)
DO UPDATE SET messages = counts.messages + excluded.messages, recipients = counts.recipients + excluded.recipients`,
			by.minute, by.point, by.flow, by.verdict, by.deciding, n.messages, n.recipients)
		if err != nil {
			return err
		}
	}
	return nil
}
