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
	// salvageRows is how many rows are copied in one change.
	salvageRows = 64
	// leastRow is the fewest bytes that a row may have: a file has no more rows than fit.
	leastRow = 16
)

// salvage copies all rows of the file's tables that can be read, and tells what was lost.
func (f *File) salvage(ctx context.Context, to *sql.DB) (lost string, err error) {
	from, err := sql.Open("sqlite", dataSource(f.options.Path, []string{"query_only(1)", "trusted_schema(0)"}, "deferred"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	from.SetMaxOpenConns(1)
	var found int
	if err := from.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&found); err != nil || found == 0 {
		if err := f.graft(ctx, to); err != nil {
			return "", err
		}
	}
	var told []string
	for _, name := range f.options.Tables {
		t := &salvaged{name: name, from: from, to: to, size: f.Size()}
		if err := t.copy(ctx); err != nil {
			return "", err
		}
		if t.unread {
			told = append(told, "rows of "+name)
		}
	}
	if f.options.Mended != nil {
		err = transact(ctx, to, func(tx *sql.Tx) error {
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
	name     string
	from, to *sql.DB
	size     int64 // of the file
	unread   bool  // some rows could not be read
}

// copy copies the rows in the order of their keys. Where the next ones cannot be read, it
// looks for each key alone until one is found.
func (t *salvaged) copy(ctx context.Context) error {
	last, known := t.lastKey(ctx)
	misses := int64(0)
	for key := int64(0); key <= last; {
		rows, next, err := t.read(ctx, key, salvageRows, last)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			t.unread = true
			if rows, _, err = t.read(ctx, key, 1, key); err != nil {
				rows = nil
			}
			next = key + 1
			if misses++; !known && misses > t.size/leastRow {
				return nil
			}
		}
		if err := t.write(ctx, rows); err != nil {
			return err
		}
		key = next
	}
	return nil
}

// lastKey is the highest key, or one above all where that cannot be read.
func (t *salvaged) lastKey(ctx context.Context) (key int64, known bool) {
	var highest sql.NullInt64
	if err := t.from.QueryRowContext(ctx, "SELECT max(rowid) FROM "+t.name).Scan(&highest); err != nil {
		t.unread = true
		return 1 << 62, false
	}
	return highest.Int64, true
}

// read reads rows from a key to another, at most so many, with the key of each before its
// columns. Next is the key to go on with.
func (t *salvaged) read(ctx context.Context, from int64, most int, to int64) (list [][]any, next int64, err error) {
	rows, err := t.from.QueryContext(ctx, fmt.Sprintf("SELECT rowid, * FROM %s WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT %d", t.name, most), from, to)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, 0, err
	}
	next = to + 1
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, 0, err
		}
		list = append(list, values)
		if len(list) == most {
			next = values[0].(int64) + 1
		}
	}
	return list, next, rows.Err()
}

// write puts rows into the new file. One that does not fit there, since what was read is no
// row of ours, is lost.
func (t *salvaged) write(ctx context.Context, list [][]any) error {
	if len(list) == 0 {
		return nil
	}
	return transact(ctx, t.to, func(tx *sql.Tx) error {
		into := fmt.Sprintf("INSERT INTO %s VALUES (%s) ON CONFLICT DO NOTHING", t.name, strings.Join(slices.Repeat([]string{"?"}, len(list[0])-1), ", "))
		for _, values := range list {
			if _, err := tx.ExecContext(ctx, into, values[1:]...); err != nil {
				if errors.Is(meaning(err), ErrFull) || ctx.Err() != nil {
					return err
				}
				t.unread = true
			}
		}
		return nil
	})
}
