// Package store keeps what coexistd must find again in files of SQLite below state_dir. One
// file is one File: the daemon makes it and mends it, commands only open it. What its tables
// mean is known to the rooms that have their rows there.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// Options say what a File is.
type Options struct {
	// Path is where the file is. Beside it lie two more while it is open, whose names end
	// in -wal and -shm.
	Path string
	// Migrations bring an empty file to what this version reads, one after the other: each
	// is one or more statements. A file knows how many it has had, so that none is ever
	// changed, and new ones stand at the end. Their SQL is what PostgreSQL also takes.
	Migrations []string
	// Durable has each change on disk before Update returns. Without it a crash of the
	// machine, not of the process, may lose the last ones.
	Durable bool
	// Tables are those whose rows are kept when the file is damaged, as far as they can be
	// read. Each has a number as its key, which SQLite finds rows by.
	Tables []string
	// Verified are the tables that are read at each start of the daemon, so that damage is
	// found then. They should be small.
	Verified []string
	// Mended, when it is not nil, brings what was kept of a damaged file into order, and
	// tells in words what was lost.
	Mended func(*sql.Tx) (lost string, err error)
	// Patience is how long a change waits for those of other processes; 0: 30 seconds.
	Patience time.Duration
	Log      *slog.Logger
}

// Errors that callers tell apart.
var (
	// ErrDamaged is the error of a file that cannot be read as SQLite wrote it.
	ErrDamaged = errors.New("the file is damaged")
	// ErrBusy is the error of a change for which others left no time.
	ErrBusy = errors.New("it is in use by a process that does not let go of it")
	// ErrFull is the error of a file system without room.
	ErrFull = errors.New("the disk is full")
)

// defaultPatience is how long a change waits for those of others.
const defaultPatience = 30 * time.Second

// File is a file of SQLite. Its methods may be called side by side, and by several processes.
type File struct {
	options Options
	owner   bool // it makes what is missing, and mends what is damaged

	// turn is held by the one change of this process that is under way: whoever waits for it
	// waits in order, which SQLite does not promise.
	turn    chan struct{}
	changes counts

	mu     sync.RWMutex // whoever replaces what follows has it whole
	opened *opened      // nil: it has to be opened first
	doubt  doubt        // of the damaged one that was let go
	closed bool
}

// New returns the file as the daemon has it: the first who needs it opens it, makes it when
// it is missing, brings it up to this version, and mends it when it is damaged. Close ends it.
func New(o Options) *File {
	f := newFile(o)
	f.owner = true
	return f
}

// Ready reports that the file is open, or can be opened now.
func (f *File) Ready(ctx context.Context) error {
	_, release, err := f.current(ctx)
	if err == nil {
		release()
	}
	return err
}

// Open opens the file for a command, which makes no file. Where there is none, every View and
// Update returns fs.ErrNotExist until there is one.
func Open(o Options) *File { return newFile(o) }

func newFile(o Options) *File {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return &File{options: o, turn: make(chan struct{}, 1)}
}

// Path is where the file is.
func (f *File) Path() string { return f.options.Path }

// Close ends what is under way in this process, and lets go of the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.drop()
}

// View reads in one transaction. It should be short: SQLite keeps all that changed since it
// began. It is begun anew, once, when the file proves to be damaged or replaced.
func (f *File) View(ctx context.Context, do func(*sql.Tx) error) error {
	look := func(o *opened) error { return transact(ctx, o.readers, do) }
	err := f.run(ctx, look)
	if isStale(err) {
		err = f.run(ctx, look)
	}
	return err
}

// Update changes in one transaction, which is given up when do returns an error. When it
// returns nil the change is on disk, if the file is Durable. Those of one process are made in
// the order in which they come. After ErrFull, another try may find the room that the log
// beside the file had.
func (f *File) Update(ctx context.Context, do func(*sql.Tx) error) error {
	began := time.Now()
	var refused error
	err := f.update(ctx, func(tx *sql.Tx) error {
		refused = do(tx)
		return refused
	})
	f.changes.add(time.Since(began), err != nil && (refused == nil || meaning(refused) != nil))
	return err
}

func (f *File) update(ctx context.Context, do func(*sql.Tx) error) error {
	patience, cancel := context.WithTimeout(ctx, f.options.Patience)
	defer cancel()
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-patience.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w", f.options.Path, ErrBusy)
	}
	return f.run(ctx, func(o *opened) error {
		err := transact(ctx, o.writer, do)
		if free, unknown := f.Free(); unknown == nil && free < scarce {
			if o.checkpoints.copied(ctx) {
				o.checkpoints.restart(ctx)
			}
		} else {
			o.checkpoints.changed()
		}
		return err
	})
}

// Settle is called between changes by those who make many: much of what was changed is brought
// to its place in the file, so that others do not wait for the disk longer than one of these
// changes takes.
func (f *File) Settle(ctx context.Context) {
	if o, release, err := f.current(ctx); err == nil {
		defer release()
		if f.owner {
			o.checkpoints.run(ctx)
		}
	}
}

var (
	// errReplaced is the error of a file that is no longer the one at its path.
	errReplaced = errors.New("the file was removed or replaced")
	// errFailing is the error of a disk, or of what lies beside the file.
	errFailing = errors.New("the file cannot be read or written")
)

// isStale reports an error after which the file is opened anew.
func isStale(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, errReplaced) || errors.Is(err, errFailing)
}

// run has do use the open file. What was written to one that is no longer at its path is
// lost, so that this is an error, too.
func (f *File) run(ctx context.Context, do func(*opened) error) error {
	o, release, err := f.current(ctx)
	if err != nil {
		return err
	}
	err = f.say(do(o))
	if err == nil {
		err = o.stillThere()
	}
	release()
	if isStale(err) {
		err = errors.Join(err, f.letGo(o, err))
	}
	return err
}

// current returns what is open, and opens it first where need be. Nobody replaces it until
// release is called.
func (f *File) current(ctx context.Context) (o *opened, release func(), err error) {
	for {
		f.mu.RLock()
		if o := f.opened; o != nil {
			gone := o.stillThere()
			if gone == nil {
				return o, f.mu.RUnlock, nil
			}
			f.mu.RUnlock()
			if err := f.letGo(o, gone); err != nil {
				return nil, nil, err
			}
		} else {
			f.mu.RUnlock()
		}
		if err := f.open(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// letGo closes an open file, because of what is wrong with it.
func (f *File) letGo(o *opened, why error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened != o {
		return nil
	}
	f.doubt = doubt{}
	if errors.Is(why, ErrDamaged) {
		f.doubt = doubt{o.info, why}
	} else if f.owner && errors.Is(why, errReplaced) {
		f.options.Log.Error("a file is no longer there, and what it held is lost with it", slog.String("file", f.options.Path), slog.String("error", why.Error()))
	}
	return f.drop()
}

// say puts the file's name, and what is wrong with it in words, before an error of SQLite.
func (f *File) say(err error) error {
	if err == nil {
		return nil
	}
	if known := meaning(err); known != nil {
		return fmt.Errorf("%s: %w: %w", f.options.Path, known, err)
	}
	return err
}

func transact(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Free is how many bytes the file system of the file has left for who asks.
func (f *File) Free() (int64, error) {
	var system syscall.Statfs_t
	if err := syscall.Statfs(f.folder(), &system); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("the free space of %s cannot be told: %w", f.folder(), err)
	}
	return int64(system.Bavail) * system.Bsize, nil
}

// Size is how many bytes the file has on disk, with those beside it.
func (f *File) Size() (size int64) {
	for _, suffix := range [...]string{"", "-wal"} {
		if info, err := os.Stat(f.options.Path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size
}
