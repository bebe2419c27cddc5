package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// notes is a file of one table.
func notes(path string) Options {
	return Options{
		Path: path, Durable: true, Log: slog.New(slog.DiscardHandler), Verified: []string{"notes"},
		Migrations: []string{"CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"},
		Tables:     []string{"notes"},
	}
}

func create(t testing.TB, o Options) *File {
	t.Helper()
	f := New(o)
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func add(f *File, id int) error {
	return f.Update(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO notes VALUES (?, ?)", id, strings.Repeat("x", 1000))
		return err
	})
}

func count(f *File) (n int, err error) {
	err = f.View(context.Background(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM notes").Scan(&n) })
	return n, err
}

func wantCount(t *testing.T, f *File, want int) {
	t.Helper()
	if n, err := count(f); err != nil || n != want {
		t.Errorf("there are %d notes (%v), not %d", n, err, want)
	}
}

func TestAFileAndThoseBesideItAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space, a?mark and 100%", "notes.db")
	f := create(t, notes(path))
	if err := add(f, 1); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if len(names) != 3 {
		t.Errorf("there are %q", names)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestACommandMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.db")
	command := Open(notes(path))
	t.Cleanup(func() { command.Close() })
	if _, err := count(command); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading a file that does not exist: %v", err)
	}
	if err := add(command, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("changing it: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	daemon := create(t, notes(path))
	for n, f := range []*File{command, daemon, command} {
		if err := add(f, n); err != nil {
			t.Error(err)
		}
	}
	wantCount(t, daemon, 3)
	wantCount(t, command, 3)
}

func TestANewerProgramsFileIsRefusedAndAnOlderOneIsBroughtUp(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	newer := o
	newer.Migrations = append(slices.Clone(o.Migrations), "CREATE TABLE more (id INTEGER); INSERT INTO more VALUES (1)")
	f := create(t, o)
	if err := add(f, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := count(Open(newer)); err == nil || !strings.Contains(err.Error(), "the daemon must be started first") {
		t.Errorf("a command of a newer version: %v", err)
	}
	wantCount(t, create(t, newer), 1)
	if err := New(o).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "newer version of coexistd") {
		t.Errorf("the older program says %v", err)
	}
}

// Whatever is done to the file, the daemon goes on with what can be read of it, and commands
// say what is wrong.
func TestADamagedFileIsMendedWithWhatCanBeRead(t *testing.T) {
	t.Parallel()
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	const notes = 20
	f := create(t, o)
	for n := range notes {
		if err := add(f, n); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	good, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	damages := map[string][]byte{"text": []byte(strings.Repeat("this is no file of SQLite\n", 1000)), "half": good[:len(good)/2/page*page], "cut": good[:page+10]}
	for at := 0; at < len(good); at += page {
		bad := slices.Clone(good)
		for i := range page {
			bad[at+i] = []byte{0, 0xff, '{'}[at/page%3]
		}
		damages[fmt.Sprintf("page %d", at/page)] = bad
	}
	for name, damage := range damages {
		for _, when := range []string{"at start", "at work"} {
			dir := t.TempDir()
			o.Path = filepath.Join(dir, "notes.db")
			if err := os.WriteFile(o.Path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if when == "at start" {
				if err := os.WriteFile(o.Path, damage, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f := create(t, o)
			if when == "at work" {
				wantCount(t, f, notes)
				overwrite(t, o.Path, damage)
			}
			for n := range 3 { // the first may fail
				if err := add(f, 100+n); err != nil && !errors.Is(err, ErrDamaged) {
					t.Errorf("%s %s: %v", name, when, err)
				}
			}
			if err := add(f, 200); err != nil {
				t.Errorf("%s %s: %v", name, when, err)
			}
			// The second page leads to all rows. A row has a thousand bytes, so that any other
			// page but the first has four.
			least := 1
			if strings.HasPrefix(name, "page ") && name != "page 1" {
				least = notes - 4
			}
			if n, err := count(f); err != nil || n < least {
				t.Errorf("%s %s: %d notes, %v", name, when, n, err)
			}
			f.Close()
			if n, err := count(create(t, o)); err != nil || n < least {
				t.Errorf("%s %s, after a restart: %d notes, %v", name, when, n, err)
			}
		}
	}
}

// overwrite changes a file as a faulty disk would: it stays the same file.
func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(int64(len(content))), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatWasRemovedOrReplacedIsOpenedAnew(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	f := create(t, o)
	if err := add(f, 1); err != nil {
		t.Fatal(err)
	}
	if err := Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	if err := add(f, 2); err != nil {
		t.Fatal(err)
	}
	wantCount(t, f, 1)
	wantCount(t, Open(o), 1)
}

// Whatever happens to the files beside it, what was added since then, and said to be, is there.
func TestWhatLiesBesideTheFileMayBeCutOrRemoved(t *testing.T) {
	harms := map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
		"overwritten": func(path string) error {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteAt([]byte(strings.Repeat("x", 32<<10)), 0)
			return errors.Join(err, file.Close())
		},
	}
	for _, suffix := range []string{"-shm", "-wal"} {
		for name, harm := range harms {
			if suffix == "-wal" && name == "overwritten" {
				continue // as on a disk that loses what was written last
			}
			f := create(t, notes(filepath.Join(t.TempDir(), "notes.db")))
			if err := errors.Join(add(f, 1), harm(f.Path()+suffix)); err != nil {
				t.Fatal(err)
			}
			added := 0
			for n := range 5 {
				if add(f, 10+n) == nil {
					added++
				}
			}
			if n, err := count(f); err != nil || n < added || added < 4 {
				t.Errorf("with its %s %s, %d of 5 were added, and there are %d notes (%v)", suffix, name, added, n, err)
			}
			f.Close()
			if n, err := count(create(t, notes(f.Path()))); err != nil || n < added {
				t.Errorf("with its %s %s, after a restart there are %d notes (%v), and %d were added", suffix, name, n, err, added)
			}
		}
	}
}

func TestAFileThatIsReadWhileItGrowsIsNotTakenForDamaged(t *testing.T) {
	f := create(t, notes(filepath.Join(t.TempDir(), "notes.db")))
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 6 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := count(f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 100 {
		if err := add(f, n); err != nil {
			t.Error(err)
		}
	}
	cancel()
	readers.Wait()
	if aside, _ := filepath.Glob(f.Path() + aside + "*"); len(aside) > 0 {
		t.Errorf("set aside: %q", aside)
	}
}

func TestAMendingThatWasBrokenOffIsEnded(t *testing.T) {
	for step, want := range map[string]int{"begun": 0, "copied": 2, "set aside": 1} {
		o := notes(filepath.Join(t.TempDir(), "notes.db"))
		f := create(t, o)
		if err := add(f, 1); err != nil {
			t.Fatal(err)
		}
		f.Close()
		var err error
		switch step {
		case "begun":
			err = errors.Join(os.WriteFile(o.Path+fresh, []byte("x"), 0o600), os.WriteFile(o.Path, []byte("damaged, and longer than nothing"), 0o600))
		case "copied": // and then changed by a command
			var content []byte
			content, err = os.ReadFile(o.Path)
			err = errors.Join(err, os.WriteFile(o.Path+mended, content, 0o600), add(Open(o), 2))
		case "set aside":
			err = errors.Join(os.Rename(o.Path, o.Path+mended), os.WriteFile(o.Path+"-wal", []byte("damaged"), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		wantCount(t, create(t, o), want)
		if left, _ := filepath.Glob(o.Path + ".[nm]*"); len(left) > 0 {
			t.Errorf("%s: %q are left", step, left)
		}
	}
}

// Pages of a file of notes.
const (
	rootPage = 1 // leads to all of them
	leafPage = 2 // has four of them, not the last
)

// damaged makes a file of notes, and damages a page of it.
func damaged(t *testing.T, o Options, page int, ids ...int) {
	t.Helper()
	f := create(t, o)
	if err := f.Update(t.Context(), func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec("INSERT INTO notes VALUES (?, ?)", id, strings.Repeat("x", 1000)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	content, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	clear(content[page*pageSize : (page+1)*pageSize])
	overwrite(t, o.Path, content)
}

// numbered are so many IDs, each so far from the one before.
func numbered(n, distance int) (ids []int) {
	for i := range n {
		ids = append(ids, i*distance)
	}
	return ids
}

func TestWhatACommandChangesWhileAFileIsMendedIsNotLost(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	damaged(t, o, leafPage, numbered(20, 1)...)
	o.Patience = 50 * time.Millisecond
	command := Open(o)
	t.Cleanup(func() { command.Close() })
	if err := add(command, 100); err != nil {
		t.Fatal(err)
	}
	added := 1
	o.Mended = func(*sql.Tx) (string, error) {
		if err := add(command, 101); err == nil {
			added++
		} else if !errors.Is(err, ErrBusy) {
			t.Errorf("the command was told %v", err)
		}
		return "", nil
	}
	f := create(t, o)
	if err := f.View(t.Context(), func(tx *sql.Tx) (err error) {
		var n int
		err = tx.QueryRow("SELECT count(*) FROM notes WHERE id >= 100").Scan(&n)
		if n != added {
			t.Errorf("%d were added, and there are %d", added, n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := add(command, 102); err != nil {
		t.Errorf("in the end the command was told %v", err)
	}
}

func TestOfTwoDaemonsOneMendsAFile(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	damaged(t, o, leafPage, numbered(20, 1)...)
	other := New(o)
	t.Cleanup(func() { other.Close() })
	o.Mended = func(*sql.Tx) (string, error) {
		if err := other.Ready(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("the other was told %v", err)
		}
		return "", nil
	}
	for n, f := range []*File{create(t, o), other} {
		if err := add(f, 100+n); err != nil {
			t.Error(err)
		}
	}
	if n, err := count(other); err != nil || n < 16+2 {
		t.Errorf("there are %d notes (%v)", n, err)
	}
	if aside, _ := filepath.Glob(o.Path + aside + "*[0-9]"); len(aside) != 1 {
		t.Errorf("set aside: %q", aside)
	}
}

func TestAFileThatCannotBeReadAsYetIsLeftAsItIs(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	o.Patience = 50 * time.Millisecond
	damaged(t, o, leafPage, numbered(20, 1)...)
	other, err := sql.Open("sqlite", dataSource(o.Path, []string{"locking_mode(EXCLUSIVE)"}, "immediate"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("INSERT INTO notes VALUES (100, '')"); err != nil {
		t.Fatal(err)
	}
	before, errBefore := os.ReadFile(o.Path)
	if _, _, err := New(o).replace(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("the error is %v", err)
	}
	if after, err := os.ReadFile(o.Path); string(after) != string(before) || errors.Join(errBefore, err) != nil {
		t.Error("the file was changed", errBefore, err)
	}
}

func TestACommandSeesThatAFileWasMended(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	command := Open(o)
	t.Cleanup(func() { command.Close() })
	damaged(t, o, leafPage, numbered(20, 1)...)
	if _, err := count(command); !errors.Is(err, ErrDamaged) {
		t.Errorf("of a damaged file it was told %v", err)
	}
	f := create(t, o)
	if n, err := count(f); err != nil || n < 16 {
		t.Errorf("there are %d notes (%v)", n, err)
	}
	if n, err := count(command); err != nil || n < 16 {
		t.Errorf("the command finds %d notes (%v)", n, err)
	}
}

// However far apart keys are, what cannot be read of them is soon known.
func TestALargeFileIsMendedSoonAndInLittleRoom(t *testing.T) {
	t.Parallel()
	const many = 10_000
	for page, lost := range map[int]int{rootPage: many, leafPage: 4} {
		o := notes(filepath.Join(t.TempDir(), "notes.db"))
		damaged(t, o, page, numbered(many, 1<<20)...)
		o.Mended = func(*sql.Tx) (string, error) {
			if info, err := os.Stat(o.Path + fresh + "-wal"); err != nil || info.Size() > 6<<20 {
				t.Errorf("the log of the new file has %v (%v)", info.Size(), err)
			}
			return "", nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f := New(o)
		t.Cleanup(func() { f.Close() })
		if err := f.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		wantCount(t, f, many-lost)
	}
}

func TestTheLogStaysSmallUnderChangesWithoutEnd(t *testing.T) {
	t.Parallel()
	f := create(t, notes(filepath.Join(t.TempDir(), "notes.db")))
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for n := range 1000 {
				if err := add(f, worker*1000+n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	// 4,000 changes write three pages each at the least.
	if info, err := os.Stat(f.Path() + "-wal"); err != nil || info.Size() > 5*checkpointPages*4096 {
		t.Errorf("the log has %v, %v", info.Size(), err)
	}
}

// A command that is stopped while it reads keeps the log from beginning anew, and nothing else.
func TestAReaderThatHangsKeepsNoChangeWaiting(t *testing.T) {
	t.Parallel()
	f := create(t, notes(filepath.Join(t.TempDir(), "notes.db")))
	command := Open(f.options)
	t.Cleanup(func() { command.Close() })
	begun, end := make(chan struct{}), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		if err := command.View(context.Background(), func(tx *sql.Tx) error {
			var n int
			err := tx.QueryRow("SELECT count(*) FROM notes").Scan(&n)
			close(begun)
			<-end
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	<-begun
	goOn := sync.OnceFunc(func() { close(end); reader.Wait() })
	defer goOn()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a slow disk takes its time
	defer cancel()
	for n := 0; n < 3*checkpointPages && ctx.Err() == nil; n++ {
		if err := add(f, n); err != nil {
			t.Fatal(err)
		}
	}
	if ctx.Err() != nil {
		t.Error("changes wait for the reader")
	}
	goOn()
	// Once it goes on, the log begins anew.
	for n := 0; ctx.Err() == nil; n++ {
		if err := add(f, 3*checkpointPages+n); err != nil {
			t.Fatal(err)
		}
		if pages, _ := checkpoint(t.Context(), f.opened.readers, "NOOP"); pages < checkpointPages {
			return
		}
	}
	t.Error("the log never begins anew")
}

// Large changes leave little to do while others wait for their turn.
func TestTheLogHasLittleMoreThanOneLargeChange(t *testing.T) {
	f := create(t, notes(filepath.Join(t.TempDir(), "notes.db")))
	const large = 2 << 20
	for n := range 20 {
		if err := f.Update(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO notes VALUES (?, ?)", n, strings.Repeat("x", large))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		f.Settle(t.Context())
	}
	if info, err := os.Stat(f.Path() + "-wal"); err != nil || info.Size() > checkpointPages*pageSize+large*3/2 {
		t.Errorf("the log has %v, %v", info.Size(), err)
	}
}

func TestAProcessThatHangsIsNotWaitedForForEver(t *testing.T) {
	o := notes(filepath.Join(t.TempDir(), "notes.db"))
	o.Patience = 50 * time.Millisecond
	f := create(t, o)
	other, err := sql.Open("sqlite", dataSource(o.Path, nil, "immediate"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := add(f, n); !errors.Is(err, ErrBusy) {
			t.Errorf("the error is %v", err)
		}
	}
	wantCount(t, f, 0)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := add(f, 1); err != nil {
		t.Error(err)
	}
	given := errors.New("given up")
	if err := f.Update(t.Context(), func(*sql.Tx) error { return given }); !errors.Is(err, given) {
		t.Errorf("the error is %v", err)
	}
	if c := f.Changes(); c.Asked != 5 || c.Failed != 3 || c.Took < 3*o.Patience {
		t.Errorf("the changes are %+v", c)
	}
}
