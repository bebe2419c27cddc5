package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/config/files"
	"coexistd/policy/route"
)

// serviceUser is the user that the systemd unit runs the daemon as.
const serviceUser = "coexistd"

// account is a user as whom a process can run.
type account struct {
	name     string
	uid, gid int
	groups   []int
}

// becomeDaemon gives up root's powers for those of the daemon's user, so that
// the doctor sees what the daemon sees and leaves no file of root's behind.
// Another user's eyes are no good: the error says so.
func becomeDaemon(path string) error {
	// The mistakes of the configuration are told later, as that user sees it.
	conf := config.Load(path).Config
	if conf == nil {
		if _, _, err := files.Read(path, files.MiB); errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			return fmt.Errorf("%s %w; run it as root, or as the user who runs the daemon", path, err)
		}
		return nil
	}
	daemon, err := daemonUser(conf)
	if err != nil || daemon == nil || daemon.uid == os.Geteuid() {
		return err
	}
	switch {
	case daemon.uid == 0:
		return errors.New("run it as root, who runs the daemon")
	case os.Geteuid() != 0:
		return fmt.Errorf("run it as root, or as %s, who runs the daemon", daemon.name)
	}
	if err := errors.Join(syscall.Setgroups(daemon.groups), syscall.Setgid(daemon.gid), syscall.Setuid(daemon.uid)); err != nil {
		return fmt.Errorf("it cannot become %s, who runs the daemon: %w", daemon.name, err)
	}
	return nil
}

// daemonUser finds out who runs the daemon: the owner of state_dir, or, when
// that is root's or missing, the service's usual user where there is one. Nil:
// nobody can tell.
func daemonUser(conf *config.Config) (*account, error) {
	info, stateErr := os.Stat(conf.StateDir)
	if stateErr == nil {
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 {
			found, err := user.LookupId(strconv.FormatUint(uint64(owner.Uid), 10))
			if err != nil {
				return &account{name: userName(owner.Uid), uid: int(owner.Uid), gid: int(owner.Gid), groups: []int{int(owner.Gid)}}, nil
			}
			return newAccount(found)
		}
	}
	found, err := user.Lookup(serviceUser)
	switch {
	case err == nil:
		return newAccount(found)
	case stateErr == nil:
		return &account{name: "root"}, nil
	}
	return nil, nil
}

func newAccount(u *user.User) (*account, error) {
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
	return &account{u.Username, ids[0], ids[1], ids[2:]}, nil
}

// ownName is the user who looks, as chown(1) takes them.
func ownName() string { return userName(uint32(os.Geteuid())) }

// userName is a user's name, or the number of one who has none.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// lookAtState sees to what the daemon keeps beside the quarantine.
func lookAtState(_ context.Context, x *examination) []finding {
	dir := x.conf.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{failure("%s does not exist", dir).do("run: install -d -o %s -m 0750 %s; the daemon makes the rest when it starts", ownName(), dir)}
	case err != nil:
		return []finding{failure("%s cannot be looked at: %v", dir, because(err)).do("let %s into the folders above it", ownName())}
	case !info.IsDir():
		return []finding{failure("%s is not a folder", dir).do("remove it, or name another state_dir in %s", x.conf.Path)}
	}
	findings := []finding{lookAtOwner(dir, info), lookAtKey(x)}
	spool := daemon.SpoolDir(x.conf)
	switch err := tryWriting(spool); {
	case errors.Is(err, fs.ErrNotExist):
		findings = append(findings, failure("%s does not exist", spool).do("start the daemon, which makes it: systemctl restart coexistd"))
	case err != nil:
		findings = append(findings, failure("nothing can be written to %s: %v", spool, err).do("%s", writeRemedy(err, spool)))
	default:
		findings = append(findings, fine("%s takes the spool of long messages", spool))
	}
	return findings
}

func lookAtOwner(dir string, info fs.FileInfo) finding {
	owner, mode := info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm()
	switch {
	case int(owner) != os.Geteuid():
		return failure("%s belongs to %s, and the daemon runs as %s", dir, userName(owner), ownName()).do("run: chown -R %s: %s", ownName(), dir)
	case mode&0o007 != 0:
		return warning("%s is open to everybody (mode %04o)", dir, mode).do("run: chmod 0750 %s", dir)
	}
	return fine("%s belongs to %s", dir, ownName())
}

// lookAtKey looks at the key that signs trace headers.
func lookAtKey(x *examination) finding {
	path := daemon.KeyPath(x.conf)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && x.conf.SecretFile == "" {
		return failure("there is no key yet in %s", path).do("start the daemon, which makes it: systemctl start coexistd")
	}
	var key string
	if err == nil {
		key, _, err = files.Read(path, files.MiB)
	}
	switch {
	case err != nil:
		return failure("the key %s cannot be read: %v", path, because(err)).do("run: chgrp %s %s; chmod 0640 %s", ownName(), path, path)
	case len(key) < daemon.KeyBytes:
		return failure("the key %s has %d bytes; it must have %d at least", path, len(key), daemon.KeyBytes).do("remove it; the daemon makes a new one when it starts")
	case info.Mode().Perm()&^0o640 != 0:
		return failure("the key %s has the mode %04o, and others could forge trace headers", path, info.Mode().Perm()).do("run: chmod 0640 %s", path)
	}
	return fine("the key %s can be read", path)
}

// tryWriting writes a small file to a folder, down to the disk, and removes it.
func tryWriting(dir string) error {
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return because(err)
	}
	_, err = file.Write(make([]byte, 4<<10))
	return because(errors.Join(err, file.Sync(), file.Close(), os.Remove(file.Name())))
}

// writeRemedy says what to do about an error of writing to a folder.
func writeRemedy(err error, dir string) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the file system of " + dir
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("run: chown -R %s: %s", ownName(), dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("mount the file system of %s for writing, or give the service ReadWritePaths=%s", dir, dir)
	}
	return "see what the kernel's log says of the disk of " + dir
}

// lookAtDirectories loads every directory as the daemon would at its start.
func lookAtDirectories(_ context.Context, x *examination) []finding {
	var findings []finding
	for _, one := range sources.Open(x.directories, nil) {
		findings = append(findings, lookAtDirectory(x, one)...)
	}
	if findings == nil {
		findings = append(findings, fine("no domain has a directory"))
	}
	return findings
}

func lookAtDirectory(x *examination, d *sources.CSV) []finding {
	if d.Err != nil {
		var findings []finding
		for _, line := range strings.Split(d.Err.Error(), "\n") {
			findings = append(findings, failure("%s", line))
		}
		const remedy = "correct %s; the daemon takes it as soon as it is right, and until then keeps the list that it has, or answers 451 when it has none"
		findings[len(findings)-1] = findings[len(findings)-1].do(remedy, d.Source.Path)
		return findings
	}
	moving := 0
	for entry := range d.Snapshot.All() {
		if entry.Residence().Kind == route.Moving {
			moving++
		}
	}
	changed := "at a time that cannot be told"
	if info, err := os.Stat(d.Source.Path); err == nil {
		changed = ageText(x.now.Sub(info.ModTime()))
	}
	findings := []finding{fine("%s has %d addresses, %d of them moving; it was changed %s", d.Source.Path, d.Snapshot.Len(), moving, changed)}
	if note := loginNote(x.conf, d); note != "" {
		findings = append(findings, warning("%s", note).do(`fill in the column login, or take "spoof" out of the checks of S2`))
	}
	return findings
}
