// Package senders keeps the senders that recipients have allowed and blocked, in a table of
// store.db.
package senders

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"coexistd/milter/audit"
	"coexistd/milter/store"
	policy "coexistd/policy/senders"
)

// Schema is the migration of store.db that makes the tables. Times are nanoseconds since
// 1970. The one row of senders_version is a Version.
const Schema = `
CREATE TABLE senders (
	number INTEGER PRIMARY KEY,
	owner  TEXT NOT NULL,
	sender TEXT NOT NULL,
	kind   TEXT NOT NULL,
	until  BIGINT NOT NULL,
	time   BIGINT NOT NULL,
	who    TEXT NOT NULL,
	entry  TEXT NOT NULL
);
CREATE UNIQUE INDEX senders_by_owner ON senders (owner, sender);
CREATE TABLE senders_version (
	number  INTEGER PRIMARY KEY,
	file    TEXT NOT NULL,
	changes BIGINT NOT NULL
);
`

// Sender is one whom a recipient has allowed or blocked.
type Sender struct {
	policy.Sender
	Until time.Time `json:"until"`
	// Time is when that was said last, Who has said it, and Entry is that of the quarantine
	// of which it was said.
	Time  time.Time `json:"time"`
	Who   string    `json:"who"`
	Entry string    `json:"entry"`
}

// Version tells one state of the list from another: in which file it is, by a name that no
// other file has, and how often it was changed there. It is zero in a file where nobody was
// ever allowed or blocked.
type Version struct {
	File    string
	Changes int64
}

// Add has a recipient allow or block a sender in a transaction of store.db, in place of what
// they have said of this sender before.
func Add(tx *sql.Tx, s Sender) error {
	var others, ofOwner int
	err := tx.QueryRow("SELECT count(*), count(CASE WHEN owner = ? THEN 1 END) FROM senders WHERE NOT (owner = ? AND sender = ?)", s.Owner, s.Owner, s.Name).
		Scan(&others, &ofOwner)
	switch {
	case err != nil:
		return err
	case others >= policy.Most:
		return fmt.Errorf("recipients have allowed and blocked %d senders, and more cannot be kept: remove some first (coexistd senders list)", others)
	case ofOwner >= policy.MostOfOne:
		return fmt.Errorf("%s has allowed and blocked %d senders, and more cannot be kept of one recipient: remove some first (coexistd senders list --to %s)", s.Owner, ofOwner, s.Owner)
	}
	if err := insert(tx, s, "UPDATE SET kind = excluded.kind, until = excluded.until, time = excluded.time, who = excluded.who, entry = excluded.entry"); err != nil {
		return err
	}
	return count(tx)
}

// insert adds a row, or does what is said where there is one of that recipient and sender.
func insert(tx *sql.Tx, s Sender, otherwise string) error {
	_, err := tx.Exec(`INSERT INTO senders VALUES ((SELECT coalesce(max(number), 0) + 1 FROM senders), ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, sender) DO `+otherwise,
		s.Owner, s.Name, s.Kind, s.Until.UnixNano(), s.Time.UnixNano(), s.Who, s.Entry)
	return err
}

// count notes that the list has changed.
func count(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT INTO senders_version VALUES (1, ?, 1) ON CONFLICT (number) DO UPDATE SET changes = senders_version.changes + 1", rand.Text())
	return err
}

// Mended has a damaged file, of which some rows may be lost, count as another file.
func Mended(tx *sql.Tx) error {
	_, err := tx.Exec("DELETE FROM senders_version")
	return err
}

// Book is the list in its file.
type Book struct{ file *store.File }

// New returns the list in store.db.
func New(file *store.File) *Book { return &Book{file} }

// Path is where the file is.
func (b *Book) Path() string { return b.file.Path() }

// Remove has a recipient neither allow nor block a sender any more, for a user. It reports
// false where they do not.
func (b *Book) Remove(ctx context.Context, owner, sender, who string) (found bool, err error) {
	err = b.file.Update(ctx, func(tx *sql.Tx) error {
		removed, err := remove(tx, "owner = ? AND sender = ?", owner, sender)
		if found = removed > 0; err != nil || !found {
			return err
		}
		_, err = audit.Add(tx, audit.Event{Who: who, Way: audit.Command, What: audit.Remove, Object: sender, Whose: owner, Outcome: audit.Done})
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return found, err
}

func remove(tx *sql.Tx, condition string, args ...any) (removed int64, err error) {
	result, err := tx.Exec("DELETE FROM senders WHERE "+condition, args...)
	if err != nil {
		return 0, err
	}
	if removed, err = result.RowsAffected(); err != nil || removed == 0 {
		return removed, err
	}
	return removed, count(tx)
}

// atOnce is how many rows one transaction changes or reads: others have their turn in between.
const atOnce = 200

// Prune removes those whose time is over.
func (b *Book) Prune(ctx context.Context, now time.Time) error {
	for {
		var removed int64
		err := b.file.Update(ctx, func(tx *sql.Tx) (err error) {
			removed, err = remove(tx, "number IN (SELECT number FROM senders WHERE until < ? LIMIT ?)", now.UnixNano(), atOnce)
			return err
		})
		if err != nil || removed < atOnce {
			return err
		}
	}
}

// Restore writes senders into a file that lacks them. What it says of one itself stays.
func (b *Book) Restore(ctx context.Context, all []Sender) error {
	for some := range slices.Chunk(all, atOnce) {
		err := b.file.Update(ctx, func(tx *sql.Tx) error {
			for _, s := range some {
				if err := insert(tx, s, "NOTHING"); err != nil {
					return err
				}
			}
			return count(tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Version is that of the list now. Where there is no file yet, it is zero.
func (b *Book) Version(ctx context.Context) (v Version, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		return tx.QueryRow("SELECT coalesce(max(file), ''), coalesce(max(changes), 0) FROM senders_version").Scan(&v.File, &v.Changes)
	})
	return v, err
}

// All returns all that is allowed and blocked, by recipient and sender: policy.Most at the
// most.
func (b *Book) All(ctx context.Context) (all []Sender, err error) {
	for last, full := int64(0), true; full && len(all) < policy.Most; {
		before := len(all)
		err := b.view(ctx, func(tx *sql.Tx) (err error) {
			all, last, err = page(tx, all[:before], last)
			return err
		})
		if err != nil {
			return nil, err
		}
		full = len(all) == before+atOnce
	}
	slices.SortFunc(all, func(a, b Sender) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// page reads the rows behind the one of that number, and tells that of the last.
func page(tx *sql.Tx, all []Sender, last int64) ([]Sender, int64, error) {
	rows, err := tx.Query("SELECT number, owner, sender, kind, until, time, who, entry FROM senders WHERE number > ? ORDER BY number LIMIT ?", last, atOnce)
	if err != nil {
		return all, last, err
	}
	defer rows.Close()
	for rows.Next() {
		var s Sender
		var until, at int64
		if err := rows.Scan(&last, &s.Owner, &s.Name, &s.Kind, &until, &at, &s.Who, &s.Entry); err != nil {
			return all, last, err
		}
		s.Until, s.Time = time.Unix(0, until).UTC(), time.Unix(0, at).UTC()
		all = append(all, s)
	}
	return all, last, rows.Err()
}

func (b *Book) view(ctx context.Context, do func(*sql.Tx) error) error {
	err := b.file.View(ctx, do)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List is what messages are decided by of all these.
func List(all []Sender) *policy.List {
	return policy.NewList(func(add func(policy.Sender, int64)) {
		for _, s := range all {
			add(s.Sender, s.Until.Unix())
		}
	})
}
