package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/policy/config"
)

// Backup writes copies of all that must survive a restart into a folder, which it makes: what
// is held, the records of messages, the key that signs, and the saved lists of sources and of
// networks. A daemon may run meanwhile. The folder has its name when it is whole, so that one of
// that name must not exist. Its files have the places that they have in state_dir; store.db is
// there also where [quarantine] dir is another folder.
func Backup(ctx context.Context, conf *config.Config, folder string) (err error) {
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s exists; name a folder that does not", folder)
		}
		return err
	}
	part := folder + ".part"
	if err := os.Mkdir(part, 0o700); err != nil {
		return fmt.Errorf("%w; %s must be writable by the user who runs the daemon, and no other backup may be under way", err, filepath.Dir(folder))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	if err := copyState(ctx, conf.StateDir, part); err != nil {
		return err
	}
	if dir := conf.Quarantine.Dir; dir != conf.StateDir {
		err := store.Copy(ctx, filepath.Join(dir, quarantine.FileName), filepath.Join(part, quarantine.FileName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(os.Rename(part, folder), syncFolder(filepath.Dir(folder)))
}

// copyState copies what is in a folder of the state.
func copyState(ctx context.Context, from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		was, is := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case isPassing(e.Name()):
		case e.IsDir():
			err = errors.Join(os.Mkdir(is, 0o700), copyState(ctx, was, is))
		case !e.Type().IsRegular(): // a socket
		case strings.HasSuffix(e.Name(), ".db"):
			err = store.Copy(ctx, was, is)
		default:
			err = copyFile(was, is)
		}
		if err != nil {
			return err
		}
	}
	return syncFolder(to)
}

// isPassing reports the names of what is of no use after a restart: messages under way, files
// that are being written, and what lies beside a file of SQLite, damaged ones among them.
func isPassing(name string) bool {
	return name == spoolName || strings.HasPrefix(name, ".") || strings.Contains(name, ".db-") || strings.Contains(name, ".db.")
}

// copyFile copies a file that is replaced as a whole when it changes.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was removed meanwhile
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// syncFolder has the names in a folder on disk.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
