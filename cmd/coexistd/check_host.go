package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/config"
)

// What check tells of this host stands here: what the configuration cannot know, and what
// would keep a daemon from starting.

// refuseUnreadableSecret refuses a secret_file that the daemon's user may not read. Only
// root can tell what another user may, and only where that user exists.
func refuseUnreadableSecret(conf *config.Config) error {
	if conf.SecretFile == "" || os.Geteuid() != 0 {
		return nil
	}
	found, err := user.Lookup(serviceUser)
	if err != nil {
		return nil
	}
	account, err := newAccount(found)
	if err != nil || account.uid == 0 {
		return err
	}
	barring, err := barredBy(conf.SecretFile, account)
	if err != nil || barring == "" {
		return err
	}
	remedy := fmt.Sprintf("run: chgrp %s %s; chmod 0640 %s", account.name, barring, barring)
	if barring != conf.SecretFile {
		remedy = "let it enter that folder, or put the file elsewhere"
	}
	return errors.New(config.Problem{File: conf.Path, Key: "secret_file", Text: fmt.Sprintf(
		"%q cannot be read by the user %s, as whom the daemon runs: the owner and the mode of %s do not allow it; %s",
		conf.SecretFile, account.name, barring, remedy)}.String())
}

// barredBy returns what keeps a user from reading a file by its owner and mode: the file, or
// a folder on the way to it. Nothing does: "".
func barredBy(path string, who *account) (string, error) {
	need := fs.FileMode(0o4) // to read; a folder must be entered
	for at := path; ; at, need = filepath.Dir(at), 0o1 {
		info, err := os.Stat(at)
		if err != nil {
			return "", err
		}
		owner := info.Sys().(*syscall.Stat_t)
		mode := info.Mode().Perm()
		switch {
		case int(owner.Uid) == who.uid:
			mode >>= 6
		case int(owner.Gid) == who.gid || slices.Contains(who.groups, int(owner.Gid)):
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

// takenPorts tells of each port that a listener wants and another program has. Ours reports
// that an address is the running daemon's, and is asked only of what is taken.
func takenPorts(conf *config.Config, ours func(address string) bool) (notes []string) {
	for _, l := range slices.Concat(conf.Listeners, conf.Lookups) {
		network, address, err := config.ParseListen(l.Address)
		if err != nil || network != "tcp" {
			continue
		}
		listener, err := net.Listen(network, address)
		switch {
		case err == nil:
			listener.Close()
		case errors.Is(err, syscall.EADDRINUSE) && !ours(l.Address):
			notes = append(notes, fmt.Sprintf("%s is taken by another program, or by systemd where coexistd.socket listens: see who has it (ss -ltnp), or write another address", l.Address))
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			notes = append(notes, fmt.Sprintf("%s cannot be listened on: this host does not have that address; write one of its own", l.Address))
		}
	}
	return notes
}

// runningListens reports that the running daemon of a configuration listens on an address.
// A daemon that may not be asked is taken to do so.
func runningListens(conf *config.Config) func(address string) bool {
	return func(address string) bool {
		const patience = 2 * time.Second
		conn, err := net.DialTimeout("unix", daemon.ControlPath(conf), patience)
		if err != nil {
			return errors.Is(err, fs.ErrPermission)
		}
		conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		status, err := control.NewClient(daemon.ControlPath(conf)).Status(ctx)
		return err == nil && slices.ContainsFunc(status.Listeners, func(l control.Listener) bool { return l.Address == address })
	}
}
