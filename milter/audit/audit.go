// Package audit remembers who has changed something by hand, what, when, by which way, and
// what came of it. Its table stands in store.db, beside what is held: what a command does
// there is noted in the transaction that does it.
package audit

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"iter"
	"strings"
	"time"

	"coexistd/milter/store"
)

// Keep is for how long events are remembered.
const Keep = 365 * 24 * time.Hour

// Ways in which the daemon or its store is asked to change something.
const (
	Command = "command"        // a command changed the store itself
	Control = "control socket" // a command asked the daemon
	Signal  = "signal"         // whose sender is not known
)

// What is done, by the names of the commands that do it.
const (
	Release = "release" // of the quarantine's entries
	Delete  = "delete"
	Allow   = "allow"   // a sender, for a recipient
	Block   = "block"   // likewise
	Remove  = "remove"  // a sender that was allowed or blocked
	Reset   = "reset"   // a limit
	Unblock = "unblock" // a client
	Accept  = "accept"  // a directory's list
	Reload  = "reload"
)

// Outcomes. Others are texts that say why something was not done, or not as it was meant.
const (
	Done    = "done"
	Nothing = "nothing was to be changed"
	// Unknown is that of what was begun, as long as it has not ended.
	Unknown = "uncertain"
)

// Whats are all that an Event's What can be.
func Whats() []string {
	return []string{Release, Delete, Allow, Block, Remove, Reset, Unblock, Accept, Reload}
}

// Event is one change, or one that was tried.
type Event struct {
	Time time.Time `json:"time"`
	// Who is the system's user who asked for it: with sudo, the one who called it. It is
	// empty where nobody can tell.
	Who  string `json:"who"`
	Way  string `json:"way"`
	What string `json:"what"`
	// Object is what was changed: an entry's ID, a limit's rule, a client's network, a
	// directory's source, a sender, the configuration's path.
	Object string `json:"object"`
	// Whose is the recipient of an entry, or who has allowed or blocked a sender, or the key of
	// a limit; empty for all others.
	Whose   string `json:"whose"`
	Outcome string `json:"outcome"`
}

// Schema is the migration of store.db that makes the table. Times are nanoseconds since 1970.
const Schema = `
CREATE TABLE audit (
	number  INTEGER PRIMARY KEY,
	time    BIGINT NOT NULL,
	who     TEXT NOT NULL,
	way     TEXT NOT NULL,
	what    TEXT NOT NULL,
	object  TEXT NOT NULL,
	whose   TEXT NOT NULL,
	outcome TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (time, number);
`

// maxText bounds each text of an event, in bytes.
const maxText = 2000

// bounded returns a text of UTF-8 that is not longer than it may be.
func bounded(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "\uFFFD")
}

// Add notes an event in a transaction of store.db. Its Time is now. Conclude may tell another
// outcome of it, by its number.
func Add(tx *sql.Tx, e Event) (number int64, err error) {
	if err := tx.QueryRow("SELECT coalesce(max(number), 0) + 1 FROM audit").Scan(&number); err != nil {
		return 0, err
	}
	_, err = tx.Exec("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", number, time.Now().UnixNano(),
		bounded(e.Who), e.Way, e.What, bounded(e.Object), bounded(e.Whose), bounded(e.Outcome))
	return number, err
}

// Conclude notes what came of an event that was Unknown as yet.
func Conclude(tx *sql.Tx, number int64, outcome string) error {
	_, err := tx.Exec("UPDATE audit SET outcome = ? WHERE number = ?", bounded(outcome), number)
	return err
}

// Book is all that is remembered.
type Book struct{ file *store.File }

// New returns the book in store.db.
func New(file *store.File) *Book { return &Book{file} }

// Write notes an event.
func (b *Book) Write(ctx context.Context, e Event) error {
	return b.file.Update(ctx, func(tx *sql.Tx) error {
		_, err := Add(tx, e)
		return err
	})
}

const (
	// pageSize is how many events one transaction reads.
	pageSize = 500
	// forgotAtOnce is how many one transaction removes: others have their turn in between.
	forgotAtOnce = 200
)

// Query chooses events; the zero Query all.
type Query struct {
	Since time.Time // not before; zero: whenever
	Until time.Time // before; zero: whenever
	Who   string
	What  string
}

// All yields the events that a query chooses, the newest first, until an error. Each page is
// read in a transaction of its own. Where there is no file yet, there is none.
func (b *Book) All(ctx context.Context, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for at := (place{time: 1<<63 - 1}); ; {
			var events []Event
			err := b.file.View(ctx, func(tx *sql.Tx) (err error) {
				events, at, err = page(tx, q, at)
				return err
			})
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if len(events) < pageSize {
				return
			}
		}
	}
}

// place is that of an event among all.
type place struct{ time, number int64 }

// page reads the next events before a place, and tells where it ends.
func page(tx *sql.Tx, q Query, before place) (events []Event, end place, err error) {
	where, args := "(time, number) < (?, ?)", []any{before.time, before.number}
	also := func(condition string, arg any) { where, args = where+" AND "+condition, append(args, arg) }
	if !q.Since.IsZero() {
		also("time >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		also("time < ?", q.Until.UnixNano())
	}
	if q.Who != "" {
		also("who = ?", q.Who)
	}
	if q.What != "" {
		also("what = ?", q.What)
	}
	rows, err := tx.Query("SELECT number, time, who, way, what, object, whose, outcome FROM audit WHERE "+where+" ORDER BY time DESC, number DESC LIMIT ?",
		append(args, pageSize)...)
	if err != nil {
		return nil, before, err
	}
	defer rows.Close()
	for rows.Next() {
		var e Event
		if err := rows.Scan(&end.number, &end.time, &e.Who, &e.Way, &e.What, &e.Object, &e.Whose, &e.Outcome); err != nil {
			return nil, before, err
		}
		e.Time = time.Unix(0, end.time).UTC()
		events = append(events, e)
	}
	return events, end, rows.Err()
}

// Prune forgets what is older than Keep.
func (b *Book) Prune(ctx context.Context, now time.Time) error {
	for {
		var forgotten int64
		err := b.file.Update(ctx, func(tx *sql.Tx) error {
			result, err := tx.Exec("DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE time < ? ORDER BY time, number LIMIT ?)",
				now.Add(-Keep).UnixNano(), forgotAtOnce)
			if err == nil {
				forgotten, err = result.RowsAffected()
			}
			return err
		})
		if err != nil || forgotten < forgotAtOnce {
			return err
		}
	}
}
