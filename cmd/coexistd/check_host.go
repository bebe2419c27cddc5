package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/sockets"
)

// What check tells of this host stands here: what the configuration cannot know, and what
// would keep a daemon from starting.

// unreadable tells which files of the configuration the daemon's user may not read. Only
// root can tell what another user may, and only where that user is known.
func unreadable(conf *config.Config) (errs []string) {
	if os.Geteuid() != 0 {
		return nil
	}
	who, err := account.Daemon(conf)
	if err != nil || who == nil || who.IsRoot() {
		return nil // The doctor tells more of that.
	}
	for _, file := range append([]config.File{{Path: conf.Path}}, conf.Files...) {
		barring, err := who.BarredFrom(file.Path, account.Reading)
		if err != nil || barring == "" {
			continue
		}
		remedy := fmt.Sprintf("run: chgrp %s %s; chmod 0640 %s", who.Name, barring, barring)
		if barring != file.Path {
			remedy = "let it enter that folder, or put the file elsewhere"
		}
		errs = append(errs, mistakes.Problem{Place: mistakes.Place{File: conf.Path, Key: file.Key}, Text: fmt.Sprintf(
			"%q cannot be read by the user %s, as whom the daemon runs: the owner and the mode of %s do not allow it; %s",
			file.Path, who.Name, barring, remedy)}.String())
	}
	return errs
}

// running is what the daemon of a configuration says of itself; nil: none runs. Barred is
// set when it may not be asked.
func running(conf *config.Config) (status *control.Status, barred bool) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := control.NewClient(daemon.ControlPath(conf)).Status(ctx)
	if err != nil {
		return nil, errors.Is(err, fs.ErrPermission)
	}
	return &answer, false
}

// refusedByRunning tells which directories the running daemon does not take although
// nothing is wrong with their rows: they lack too many of the addresses that it has.
func refusedByRunning(conf *config.Config, status *control.Status, directories sources.Directories) (errs []string) {
	if status == nil || status.Configuration.Path != conf.Path {
		return nil
	}
	for _, d := range status.Directories {
		sound := func(one *sources.List) bool { return one.Source.Path == d.Source && one.Err == nil }
		if slices.ContainsFunc(directories, sound) {
			for _, text := range d.Refused {
				errs = append(errs, "the running daemon refuses a directory: "+text)
			}
		}
	}
	return errs
}

// takenPorts tells of each port that a listener wants and another program has.
func takenPorts(conf *config.Config, status *control.Status) (errs []string) {
	var ours []string
	if status != nil {
		for _, l := range status.Listeners {
			ours = append(ours, l.Address)
		}
	}
	for _, l := range conf.Sockets() {
		network, address, err := sockets.Parse(l.Address)
		if err != nil || network != "tcp" {
			continue
		}
		listener, err := net.Listen(network, address)
		switch {
		case err == nil:
			listener.Close()
		case errors.Is(err, syscall.EADDRINUSE) && !slices.Contains(ours, l.Address) && !systemdListens():
			if own := sockets.SamePort(l.Address, ours); own != "" {
				errs = append(errs, fmt.Sprintf("%s is taken by the running daemon itself, which listens on %s, so that a reload is refused: run systemctl restart coexistd", l.Address, own))
				continue
			}
			errs = append(errs, fmt.Sprintf("%s is taken by another program: see who has it (ss -ltnp), or write another address", l.Address))
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			errs = append(errs, fmt.Sprintf("%s cannot be listened on: this host does not have that address; write one of its own", l.Address))
		}
	}
	return errs
}

// systemdListens reports that systemd has the sockets, for a daemon that need not run.
func systemdListens() bool {
	return exec.Command("systemctl", "is-active", "--quiet", "coexistd.socket").Run() == nil
}
