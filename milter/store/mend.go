package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// What the name of a file ends in while it is mended.
const (
	// fresh is being filled with what can be read of the damaged one.
	fresh = ".new"
	// mended has all of it, and is to take the other's place. It is whole: nothing lies
	// beside it.
	mended = ".mended"
	// aside is what a damaged one gets, before the time.
	aside = ".bad-"
)

// mend makes a new file, has what can be read of the damaged one copied into it, and sets
// that aside. A crash loses nothing of it: the damaged one has its place until the other is
// whole. Of several daemons one mends. The caller has the lock whole.
func (f *File) mend(ctx context.Context, damaged fs.FileInfo, why error) (*opened, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, fmt.Errorf("%w; it cannot be mended: %w", why, err)
	}
	defer unlock()
	if now, err := os.Stat(f.options.Path); err != nil || !os.SameFile(now, damaged) {
		return f.connect(ctx, f.options.Path) // another daemon was quicker
	}
	told, name, err := f.replace(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; it cannot be mended: %w", why, err)
	}
	f.options.Log.Error("a damaged file was set aside and made anew", slog.String("file", f.options.Path), slog.String("aside", name),
		slog.String("lost", told), slog.String("error", why.Error()))
	return f.connect(ctx, f.options.Path)
}

// lock keeps other processes from mending files of this folder.
func (f *File) lock() (unlock func(), err error) {
	folder, err := os.Open(f.folder())
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process mends a file in %s: %w", f.folder(), ErrBusy), folder.Close())
	}
	return func() { folder.Close() }, nil
}

// replace makes the file that is to take the place of the damaged one, and has it do so. It
// tells what was lost, and under which name the damaged one is then.
func (f *File) replace(ctx context.Context) (told, name string, err error) {
	path := f.options.Path + fresh
	if err := errors.Join(Remove(path), makeFile(path)); err != nil {
		return "", "", err
	}
	to, err := f.connect(ctx, path)
	if err != nil {
		return "", "", err
	}
	// What commands would change from here on would not be copied any more. When they may
	// again, they find that the file is no longer at its path.
	from, hold, err := f.openDamaged(ctx, to)
	if err == nil {
		defer func() {
			hold()
			err = errors.Join(err, from.Close())
		}()
		told, err = f.salvage(ctx, from, to)
	}
	// Closing brings the log into the file, and removes it.
	if err := errors.Join(err, to.close()); err != nil {
		return "", "", err
	}
	if err := errors.Join(syncFile(path), os.Rename(path, f.options.Path+mended), syncFile(f.folder())); err != nil {
		return "", "", err
	}
	name, err = f.takePlace()
	return told, name, err
}

// takePlace sets the file aside, if there is one, and has the mended one take its place. It
// returns the name under which the old one is then.
func (f *File) takePlace() (name string, err error) {
	path := f.options.Path
	name = path + aside + time.Now().UTC().Format("20060102T150405.000000000")
	// Once the file itself has gone, nobody begins to use what lies beside it.
	for _, one := range [...]struct{ from, to string }{{path, name}, {path + "-wal", name + "-wal"}, {path + mended, path}} {
		if err := os.Rename(one.from, one.to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return name, err
		}
		if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return name, err
		}
	}
	return name, syncFile(f.folder())
}

// endMending ends what a crash has broken off. A mended file takes the place of one that is
// set aside. One that still has its place may have been changed by commands since then, so
// that it is mended anew.
func (f *File) endMending() error {
	if _, err := os.Stat(f.options.Path + mended); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(f.options.Path); err == nil {
		return Remove(f.options.Path + mended)
	}
	name, err := f.takePlace()
	if err == nil {
		f.options.Log.Error("a damaged file was set aside and made anew", slog.String("file", f.options.Path), slog.String("aside", name))
	}
	return err
}

// Remove removes a file and those beside it, if there are any.
func Remove(path string) error {
	for _, suffix := range [...]string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// makeFile makes a file that is missing. SQLite gives those beside it the same mode.
func makeFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// syncFile has a file, or the names in a folder, on disk.
func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
