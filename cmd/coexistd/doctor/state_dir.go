package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/config/files"
)

// lookAtState sees to what the daemon keeps beside the quarantine.
func lookAtState(_ context.Context, x *examination) []Finding {
	dir := x.conf.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{failure("%s does not exist", dir).do("run: install -d -o %s -m 0750 %s; the daemon makes the rest when it starts", account.OwnName(), dir)}
	case err != nil:
		return []Finding{failure("%s cannot be looked at: %v", dir, because(err)).do("let %s into the folders above it", account.OwnName())}
	case !info.IsDir():
		return []Finding{failure("%s is not a folder", dir).do("remove it, or name another state_dir in %s", x.conf.Path)}
	}
	findings := []Finding{lookAtOwner(dir, info), lookAtKey(x)}
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

func lookAtOwner(dir string, info fs.FileInfo) Finding {
	owner, mode := info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm()
	switch {
	case int(owner) != os.Geteuid():
		return failure("%s belongs to %s, and the daemon runs as %s", dir, account.Name(owner), account.OwnName()).do("run: chown -R %s: %s", account.OwnName(), dir)
	case mode&0o007 != 0:
		return warning("%s is open to everybody (mode %04o)", dir, mode).do("run: chmod 0750 %s", dir)
	}
	return fine("%s belongs to %s", dir, account.OwnName())
}

// lookAtKey looks at the key that signs trace headers.
func lookAtKey(x *examination) Finding {
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
		return failure("the key %s cannot be read: %v", path, because(err)).do("run: chgrp %s %s; chmod 0640 %s", account.OwnName(), path, path)
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
		return fmt.Sprintf("run: chown -R %s: %s", account.OwnName(), dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("mount the file system of %s for writing, or give the service ReadWritePaths=%s", dir, dir)
	}
	return "see what the kernel's log says of the disk of " + dir
}
