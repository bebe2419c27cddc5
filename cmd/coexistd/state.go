package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"coexistd/policy/config"
	"coexistd/policy/directory"
)

// keyBytes is the length of a key that coexistd makes: that of the HMAC's hash.
const keyBytes = 32

// keyPath names the file with the key that signs trace headers.
func keyPath(conf *config.Config) string {
	if conf.SecretFile != "" {
		return conf.SecretFile
	}
	return filepath.Join(conf.StateDir, "secret.key")
}

// makeKey returns the key, which it makes in state_dir when the configuration
// names no secret_file and no earlier start has made one.
func makeKey(conf *config.Config) ([]byte, error) {
	path := keyPath(conf)
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) < keyBytes:
		return nil, fmt.Errorf("the key in %s has %d bytes; it must have %d at least. Remove the file to have a new one made", path, len(key), keyBytes)
	case err == nil:
		return key, nil
	case !errors.Is(err, fs.ErrNotExist) || conf.SecretFile != "":
		return nil, fmt.Errorf("the key that signs trace headers cannot be read: %w", err)
	}
	if err := os.MkdirAll(conf.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state_dir cannot be made: %w", err)
	}
	key = make([]byte, keyBytes)
	rand.Read(key)
	if err := writeKey(path, key); errors.Is(err, fs.ErrExist) {
		return os.ReadFile(path) // another process has made it meanwhile
	} else if err != nil {
		return nil, fmt.Errorf("the key that signs trace headers cannot be made: %w; state_dir must be a folder that coexistd may write to, or secret_file must name a key", err)
	}
	return key, nil
}

// writeKey puts the whole key at path, or nothing.
func writeKey(path string, key []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".secret-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(key)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path)
}

// readKey returns the key for a command that only looks. Without a key, because
// the daemon was never started, no trace header is genuine.
func readKey(conf *config.Config) ([]byte, error) {
	key, err := os.ReadFile(keyPath(conf))
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keyBytes)
		rand.Read(key)
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs trace headers cannot be read: %w", err)
	}
	return key, nil
}

// openDirectories loads every directory of the configuration, by domain. One
// that takes the place of a list in old is judged by max_loss. The domains of a
// directory that cannot be loaded have a nil list, and all errors are told.
func openDirectories(conf *config.Config, old map[string]*directory.File) (map[string]*directory.File, error) {
	files := make(map[string]*directory.File)
	var errs []error
	for _, source := range conf.Directories {
		file, err := openDirectory(source, old)
		if err != nil {
			errs = append(errs, err)
		}
		for domain := range source.Domains {
			files[domain] = file
		}
	}
	return files, errors.Join(errs...)
}

func openDirectory(source directory.Source, old map[string]*directory.File) (*directory.File, error) {
	for _, before := range old {
		if before == nil || before.Source().Path != source.Path {
			continue
		}
		if !reflect.DeepEqual(before.Source(), source) {
			return before.Replace(source)
		}
		fresh, err := before.Reload()
		if fresh == nil && err == nil {
			fresh = before
		}
		return fresh, err
	}
	return directory.Load(source)
}

// A changed file is left alone for settleTime before it is loaded, since its
// writer may be at work on it, and for longestWait at most.
const (
	settleTime  = 2 * time.Second
	longestWait = 30 * time.Second
)

// isBeingWritten reports a file that was changed a moment ago. A time in the
// future tells nothing.
func (d *running) isBeingWritten(path string) bool {
	age := -time.Second
	if info, err := os.Stat(path); err == nil {
		age = time.Since(info.ModTime())
	}
	since, waits := d.waiting[path]
	switch {
	case age < 0 || age >= settleTime || waits && time.Since(since) > longestWait:
		delete(d.waiting, path)
		return false
	case !waits:
		d.waiting[path] = time.Now()
	}
	return true
}

// refreshDirectories loads the directories whose files have changed, and those
// that could not be loaded before, save those that wait says to leave alone.
// Changed tells how many addresses each new list has, by path; failed, which
// could not be loaded.
func refreshDirectories(conf *config.Config, old map[string]*directory.File, wait func(path string) bool) (files map[string]*directory.File, changed map[string]int, failed map[string]error) {
	files, changed, failed = make(map[string]*directory.File), make(map[string]int), make(map[string]error)
	for _, source := range conf.Directories {
		var before *directory.File
		for domain := range source.Domains {
			before = old[domain]
		}
		fresh, err := before, error(nil)
		if !wait(source.Path) {
			fresh, err = openDirectory(source, old)
		}
		switch {
		case err != nil:
			failed[source.Path] = err
			fresh = before
		case fresh != before:
			changed[source.Path] = fresh.Len()
		}
		for domain := range source.Domains {
			files[domain] = fresh
		}
	}
	return files, changed, failed
}

// errorLines takes a joined error apart, one line each.
func errorLines(err error) []string { return strings.Split(err.Error(), "\n") }
