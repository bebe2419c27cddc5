// Package account finds the user who runs the daemon, and lets a command that root has started
// become them.
package account

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"coexistd/policy/config"
	"coexistd/policy/config/files"
)

// serviceUser is the user that the systemd unit runs the daemon as.
const serviceUser = "coexistd"

// Account is a user as whom a process can run.
type Account struct {
	// Name is the user's name, or their number where there is none.
	Name string

	uid, gid int
	groups   []int
}

// BecomeDaemon gives up root's powers for those of the user who runs the daemon of a
// configuration file, so that a command sees what the daemon sees and leaves no file of
// root's behind. Another user's eyes are no good: the error says so.
func BecomeDaemon(path string) error {
	// The mistakes of the configuration are told later, as that user sees it.
	conf := config.Load(path).Config
	if conf == nil {
		if _, _, err := files.Read(path, files.MiB); errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			return fmt.Errorf("%s %w; run it as root, or as the user who runs the daemon", path, err)
		}
		return nil
	}
	daemon, err := Daemon(conf)
	if err != nil || daemon == nil || daemon.uid == os.Geteuid() {
		return err
	}
	switch {
	case daemon.uid == 0:
		return errors.New("run it as root, who runs the daemon")
	case os.Geteuid() != 0:
		return fmt.Errorf("run it as root, or as %s, who runs the daemon", daemon.Name)
	}
	if err := errors.Join(syscall.Setgroups(daemon.groups), syscall.Setgid(daemon.gid), syscall.Setuid(daemon.uid)); err != nil {
		return fmt.Errorf("it cannot become %s, who runs the daemon: %w", daemon.Name, err)
	}
	return nil
}

// Daemon finds out who runs the daemon: the owner of state_dir, or, when
// that is root's or missing, the service's usual user where there is one. Nil:
// nobody can tell.
func Daemon(conf *config.Config) (*Account, error) {
	info, stateErr := os.Stat(conf.StateDir)
	if stateErr == nil {
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 {
			found, err := user.LookupId(strconv.FormatUint(uint64(owner.Uid), 10))
			if err != nil {
				return &Account{Name: Name(owner.Uid), uid: int(owner.Uid), gid: int(owner.Gid), groups: []int{int(owner.Gid)}}, nil
			}
			return newAccount(found)
		}
	}
	found, err := service()
	if found == nil && err == nil && stateErr == nil {
		return &Account{Name: "root"}, nil
	}
	return found, err
}

// service is the account that the systemd unit runs the daemon as, or nil where there is no
// such user.
func service() (*Account, error) {
	found, err := user.Lookup(serviceUser)
	if err != nil {
		return nil, nil // Whatever keeps it from being found, it cannot be used.
	}
	return newAccount(found)
}

// IsRoot reports the account that may read everything.
func (a *Account) IsRoot() bool { return a.uid == 0 }

// What BarredFrom asks for.
const (
	Reading fs.FileMode = 0o4
	Writing fs.FileMode = 0o2 // as a socket must be for who connects to it
)

// Named is the account of a user.
func Named(name string) (*Account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	return newAccount(found)
}

// BarredFrom returns what keeps the account from reading or writing a file by its owner and
// mode: the file, or a folder on the way to it. Nothing does: "".
func (a *Account) BarredFrom(path string, need fs.FileMode) (string, error) {
	for at := path; ; at, need = filepath.Dir(at), 0o1 {
		info, err := os.Stat(at)
		if err != nil {
			return "", err
		}
		owner := info.Sys().(*syscall.Stat_t)
		mode := info.Mode().Perm()
		switch {
		case int(owner.Uid) == a.uid:
			mode >>= 6
		case int(owner.Gid) == a.gid || slices.Contains(a.groups, int(owner.Gid)):
			mode >>= 3
		}
		if mode&need == 0 {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", nil
		}
	}
}

func newAccount(u *user.User) (*Account, error) {
	names, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of %s cannot be told: %w", u.Username, err)
	}
	var ids []int
	for _, text := range append([]string{u.Uid, u.Gid}, names...) {
		id, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return &Account{u.Username, ids[0], ids[1], ids[2:]}, nil
}

// OwnName is the name of the user as whom this process runs, as chown(1) takes it.
func OwnName() string { return Name(uint32(os.Geteuid())) }

// Name is the name of a user by their number, or the number of one who has none.
func Name(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
