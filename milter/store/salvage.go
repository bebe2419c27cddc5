package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	// salvageRows and salvageBytes bound the rows that are copied in one change.
	salvageRows  = 500
	salvageBytes = 1 << 20
	// maxKey is above all keys that are given to rows.
	maxKey = 1 << 62
)

// openDamaged opens the damaged file, and has nobody change it until release is called.
func (f *File) openDamaged(ctx context.Context, to *opened) (from *sql.DB, release func(), err error) {
	from, err = sql.Open("sqlite", dataSource(f.options.Path, []string{busyTimeout(f.options.Patience), "trusted_schema(0)"}, "immediate"))
	if err != nil {
		return nil, nil, err
	}
	var found int
	if err = from.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&found); err == nil && found == 0 || errors.Is(meaning(err), ErrDamaged) {
		err = f.graft(ctx, to.writer)
	}
	var held *sql.Tx
	if err == nil {
		held, err = from.BeginTx(context.WithoutCancel(ctx), nil)
	}
	switch {
	case err == nil:
		return from, func() { held.Rollback() }, nil
	case errors.Is(meaning(err), ErrDamaged): // to all others, too
		return from, func() {}, nil
	}
	return nil, nil, errors.Join(f.say(err), from.Close())
}

// salvage copies all rows of the file's tables that can be read, and tells what was lost.
func (f *File) salvage(ctx context.Context, from *sql.DB, to *opened) (lost string, err error) {
	var told []string
	for _, name := range f.options.Tables {
		t := &salvaged{name: name, from: from, to: to}
		if err := t.copy(ctx); err != nil {
			return "", err
		}
		if t.unread {
			told = append(told, "rows of "+name)
		}
	}
	if f.options.Mended != nil {
		err = transact(ctx, to.writer, func(tx *sql.Tx) error {
			lost, err := f.options.Mended(tx)
			if lost != "" {
				told = append(told, lost)
			}
			return err
		})
	}
	return cmp.Or(strings.Join(told, "; "), "nothing"), err
}

// The header of a file of SQLite, which its first page begins with
// (https://www.sqlite.org/fileformat2.html, section 1.3).
const (
	pageSize       = 4096
	changesAt      = 24 // how often the file was changed, in 4 bytes
	firstFreeAt    = 32 // the first page that is free, and how many are, in 8 bytes
	sizeValidForAt = 92 // for which number of changes the file's size in the header holds
)

// graft puts a first page into the damaged file whose own cannot be read. It leads to the
// tables, and is the same in every file of this version, but for the size of the file, which
// SQLite then looks up, and the list of free pages, which is not needed any more.
func (f *File) graft(ctx context.Context, to *sql.DB) error {
	if pages, _ := checkpoint(ctx, to, "TRUNCATE"); pages < 0 {
		return errors.New("a first page cannot be made")
	}
	made, err := os.Open(f.options.Path + fresh)
	if err != nil {
		return err
	}
	defer made.Close()
	page := make([]byte, pageSize)
	if _, err := made.ReadAt(page, 0); err != nil {
		return err
	}
	clear(page[firstFreeAt : firstFreeAt+8])
	binary.BigEndian.PutUint32(page[sizeValidForAt:], binary.BigEndian.Uint32(page[changesAt:])+1)
	damaged, err := os.OpenFile(f.options.Path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = damaged.WriteAt(page, 0)
	return errors.Join(err, damaged.Sync(), damaged.Close())
}

// salvaged is a table of a damaged file.
type salvaged struct {
	name   string
	from   *sql.DB
	to     *opened
	unread bool // some rows could not be read
}

// copy copies the rows in the order of their keys.
func (t *salvaged) copy(ctx context.Context) error {
	last := t.lastKey(ctx)
	for key := int64(0); key <= last; {
		rows, err := t.read(ctx, key, last, salvageRows)
		if isOther(ctx, err) {
			return err
		}
		if err := t.write(ctx, rows); err != nil {
			return err
		}
		switch {
		case len(rows) > 0: // behind them may be some that can be read, whatever the error is
			key = keyOf(rows[len(rows)-1]) + 1
		case err == nil:
			return nil
		default:
			t.unread = true
			if key, err = t.skip(ctx, key, last); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOther reports an error that does not tell of the rows which were to be read.
func isOther(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(meaning(err), ErrBusy))
}

// lastKey is the highest key, or one above all where that cannot be read.
func (t *salvaged) lastKey(ctx context.Context) int64 {
	var highest sql.NullInt64
	if err := t.from.QueryRowContext(ctx, "SELECT max(rowid) FROM "+t.name).Scan(&highest); err != nil {
		t.unread = true
		return maxKey
	}
	return min(highest.Int64, maxKey)
}

// skip returns the first key behind one that cannot be read from which on the next row can.
// Keys may lie far apart, so that it takes steps, each a part of the way so far. It then looks
// by halves between the last two.
func (t *salvaged) skip(ctx context.Context, bad, last int64) (good int64, err error) {
	const part = 16
	from := bad
	for good = bad + 1; good <= last; good = bad + 1 + (bad-from)/part {
		_, err := t.read(ctx, good, last, 1)
		if isOther(ctx, err) {
			return 0, err
		}
		if err == nil {
			break
		}
		bad = good
	}
	for good = min(good, last+1); good-bad > 1; {
		middle := bad + (good-bad)/2
		switch _, err := t.read(ctx, middle, last, 1); {
		case isOther(ctx, err):
			return 0, err
		case err == nil:
			good = middle
		default:
			bad = middle
		}
	}
	return good, nil
}

// read reads the next rows from a key to another, at most so many, with the key of each before
// its columns. With an error come those before the one that cannot be read.
func (t *salvaged) read(ctx context.Context, from, to int64, most int) (list [][]any, err error) {
	rows, err := t.from.QueryContext(ctx, fmt.Sprintf("SELECT rowid, * FROM %s WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT %d", t.name, most), from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for bytes := 0; bytes < salvageBytes && rows.Next(); {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return list, err
		}
		if keyOf(values) < from {
			return list, fmt.Errorf("%w: keys of %s are not in order", ErrDamaged, t.name)
		}
		from = keyOf(values) + 1
		list = append(list, values)
		for _, value := range values {
			if data, is := value.([]byte); is {
				bytes += len(data)
			}
		}
	}
	return list, rows.Err()
}

// keyOf is the key of a row that read has read.
func keyOf(row []any) int64 { return row[0].(int64) }

// write puts rows into the new file. One that does not fit there, since what was read is no
// row of ours, is lost. Its log is brought into the file when it is long, so that a mending takes little more room
// than the new file.
func (t *salvaged) write(ctx context.Context, list [][]any) error {
	if len(list) == 0 {
		return nil
	}
	err := transact(ctx, t.to.writer, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s VALUES (%s) ON CONFLICT DO NOTHING", t.name, strings.Join(slices.Repeat([]string{"?"}, len(list[0])-1), ", ")))
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, values := range list {
			if _, err := insert.ExecContext(ctx, values[1:]...); err != nil {
				if known := meaning(err); errors.Is(known, ErrFull) || errors.Is(known, errFailing) || ctx.Err() != nil {
					return err
				}
				t.unread = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if pages, _ := checkpoint(ctx, t.to.writer, "NOOP"); pages >= checkpointPages {
		t.to.checkpoints.copied(ctx)
	}
	return nil
}
