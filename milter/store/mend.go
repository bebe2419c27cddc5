package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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
// whole. The caller has the lock whole.
func (f *File) mend(ctx context.Context, why error) (*opened, error) {
	told, err := f.makeMended(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; what it holds cannot be copied: %w", why, err)
	}
	name, err := f.takePlace()
	if err != nil {
		return nil, fmt.Errorf("%w; it cannot be set aside: %w", why, err)
	}
	f.options.Log.Error("a damaged file was set aside and made anew", slog.String("file", f.options.Path), slog.String("aside", name),
		slog.String("lost", told), slog.String("error", why.Error()))
	return f.connect(ctx, f.options.Path)
}

// makeMended makes the file that is to take the place of the damaged one, and tells what
// was lost.
func (f *File) makeMended(ctx context.Context) (told string, err error) {
	path := f.options.Path + fresh
	if err := errors.Join(Remove(path), makeFile(path)); err != nil {
		return "", err
	}
	o, err := f.connect(ctx, path)
	if err != nil {
		return "", err
	}
	told, err = f.salvage(ctx, o.writer)
	// Closing brings the log into the file, and removes it.
	if err := errors.Join(err, o.close()); err != nil {
		return "", err
	}
	return told, errors.Join(syncFile(path), os.Rename(path, f.options.Path+mended), syncFile(f.folder()))
}

// takePlace sets the file aside, if there is one, and has the mended one take its place. It
// returns the name under which the old one is then.
func (f *File) takePlace() (name string, err error) {
	path := f.options.Path
	name = path + aside + time.Now().UTC().Format("20060102T150405.000000000")
	if err := Remove(path + "-shm"); err != nil {
		return name, err
	}
	for _, one := range [...]struct{ from, to string }{{path + "-wal", name + "-wal"}, {path, name}, {path + mended, path}} {
		if err := os.Rename(one.from, one.to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return name, err
		}
	}
	return name, syncFile(f.folder())
}

// endMending ends what a crash has broken off.
func (f *File) endMending() error {
	if _, err := os.Stat(f.options.Path + mended); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
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

// syncFile has a file, or the names in a folder, on disk.
func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
