package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// readersAtOnce bounds the connections that read.
	readersAtOnce = 4
	// openTime bounds the opening of a file.
	openTime = time.Minute
)

// opened is a file that is open.
type opened struct {
	path        string
	info        fs.FileInfo  // of the file that was opened
	log         atomic.Int64 // the most bytes that the log beside it was seen to have
	writer      *sql.DB      // one connection
	readers     *sql.DB
	checkpoints checkpoints
}

// doubt is what is wrong with a file that was open. It holds for no other at its path.
type doubt struct {
	of  fs.FileInfo
	why error
}

// open opens the file unless it is open. The daemon makes it, and mends it.
func (f *File) open(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return fmt.Errorf("%s: %w", f.options.Path, fs.ErrClosed)
	case f.opened != nil:
		return nil
	}
	if err := f.prepare(); err != nil {
		return err
	}
	info, err := os.Stat(f.options.Path)
	if err != nil {
		return err
	}
	var o *opened
	if f.doubt.of != nil && os.SameFile(f.doubt.of, info) {
		err = f.doubt.why
	} else {
		o, err = f.connect(ctx, f.options.Path)
	}
	if f.owner && errors.Is(err, ErrDamaged) {
		o, err = f.mend(ctx, info, err)
	}
	if err == nil {
		f.opened, f.doubt = o, doubt{}
	}
	return err
}

// prepare sees to it that there is a file which SQLite can open.
func (f *File) prepare() error {
	if err := refuseNetwork(f.folder()); err != nil {
		return err
	}
	if !f.owner {
		return nil
	}
	if err := os.MkdirAll(f.folder(), 0o700); err != nil {
		return fmt.Errorf("the folder for %s cannot be made: %w", f.options.Path, err)
	}
	if err := f.endMending(); err != nil {
		return err
	}
	return makeFile(f.options.Path)
}

func (f *File) folder() string { return filepath.Dir(f.options.Path) }

// connect opens the connections to the file at path, and has its tables be those of this
// version.
func (f *File) connect(ctx context.Context, path string) (*opened, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	o := &opened{path: path, info: info}
	// The pages that are kept in memory, in KB, are those of one change or of one page of rows.
	if err := errors.Join(
		f.dial(&o.writer, path, 1, f.options.Patience, "immediate", "cache_size(-1000)"),
		f.dial(&o.readers, path, readersAtOnce, f.options.Patience, "deferred", "query_only(1)", "cache_size(-250)"),
		f.dial(&o.checkpoints.db, path, 1, checkpointTime, "deferred", "query_only(1)", "cache_size(-250)"),
	); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	err = f.migrate(ctx, o.writer)
	if err == nil && f.owner {
		err = f.verify(ctx, o.readers)
	}
	if err != nil {
		return nil, errors.Join(f.say(err), o.close())
	}
	if f.owner {
		o.checkpoints.begin(f.turn)
	}
	return o, nil
}

// dial has db connect to the file at path, when it is used.
func (f *File) dial(db **sql.DB, path string, connections int, patience time.Duration, lock string, pragmas ...string) (err error) {
	synchronous := "synchronous(NORMAL)"
	if f.options.Durable {
		synchronous = "synchronous(FULL)"
	}
	pragmas = append(pragmas, busyTimeout(patience), "journal_mode(WAL)", synchronous, "cell_size_check(1)", "trusted_schema(0)")
	if f.owner {
		// The daemon does that beside the changes, not within one.
		pragmas = append(pragmas, "wal_autocheckpoint(0)")
	}
	if *db, err = sql.Open("sqlite", dataSource(path, pragmas, lock)); err == nil {
		(*db).SetMaxOpenConns(connections)
	}
	return err
}

// busyTimeout is how SQLite is told how long to wait for others.
func busyTimeout(patience time.Duration) string {
	return fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds())
}

// dataSource is how the driver is told of a file, which must be there.
func dataSource(path string, pragmas []string, lock string) string {
	q := url.Values{"mode": {"rw"}, "_txlock": {lock}, "_pragma": pragmas}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// migrate brings the file up to this version.
func (f *File) migrate(ctx context.Context, db *sql.DB) error {
	var has int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&has); err != nil {
		return err
	}
	switch wants := len(f.options.Migrations); {
	case has == wants:
		return nil
	case has > wants:
		return fmt.Errorf("%s was made by a newer version of coexistd (its tables are of version %d, and this program knows %d): run that version, or move the file away",
			f.options.Path, has, wants)
	case !f.owner:
		return fmt.Errorf("%s is of another version of coexistd: the daemon must be started first", f.options.Path)
	}
	return transact(ctx, db, func(tx *sql.Tx) error {
		// Another daemon may have done so since.
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&has); err != nil {
			return err
		}
		for n := has; n < len(f.options.Migrations); n++ {
			if _, err := tx.ExecContext(ctx, f.options.Migrations[n]); err != nil {
				return fmt.Errorf("bringing %s from version %d to %d: %w", f.options.Path, n, n+1, err)
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(f.options.Migrations)))
		return err
	})
}

// verify reads the tables that are to be whole.
func (f *File) verify(ctx context.Context, db *sql.DB) error {
	for _, table := range f.options.Verified {
		var said string
		if err := db.QueryRowContext(ctx, "PRAGMA quick_check('"+table+"')").Scan(&said); err != nil {
			return err
		}
		if said != "ok" {
			return fmt.Errorf("%s: %w: %s", f.options.Path, ErrDamaged, said)
		}
	}
	return nil
}

// stillThere reports that the file is the one at its path, with its log. What was written to
// one that is not would be lost.
func (o *opened) stillThere() error {
	now, err := os.Stat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(now, o.info):
		return fmt.Errorf("%s: %w", o.path, errReplaced)
	case err != nil:
		return err
	}
	// While the file is open, its log only grows or begins anew in its place. SQLite would go
	// on behind the end of one that was cut, and read nothing where changes had been. Others
	// look at it, too, so that only what was seen before this look counts.
	seen := o.log.Load()
	info, err := os.Stat(o.path + "-wal")
	if err != nil || info.Size() < seen {
		if seen > 0 {
			return fmt.Errorf("%s-wal: %w: it was cut or removed", o.path, ErrDamaged)
		}
		return nil
	}
	// Where another has seen more meanwhile, that stays.
	o.log.CompareAndSwap(seen, info.Size())
	return nil
}

// drop lets go of what is open. The caller has the lock whole.
func (f *File) drop() error {
	o := f.opened
	f.opened = nil
	if o == nil {
		return nil
	}
	return o.close()
}

func (o *opened) close() error {
	o.checkpoints.stop()
	return errors.Join(o.checkpoints.db.Close(), o.readers.Close(), o.writer.Close())
}

// meaning is what an error of SQLite means to callers, or nil.
func meaning(err error) error {
	failed, is := errors.AsType[*sqlite.Error](err)
	if !is {
		return nil
	}
	switch failed.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return ErrDamaged
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return ErrBusy
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_IOERR:
		return errFailing
	case sqlite3.SQLITE_READONLY:
		return fs.ErrPermission
	case sqlite3.SQLITE_ERROR:
		// Its own tables are the file's, so that one which lacks them is not whole.
		if strings.Contains(failed.Error(), "no such table") || strings.Contains(failed.Error(), "no such column") {
			return ErrDamaged
		}
	}
	return nil
}
