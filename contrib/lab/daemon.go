package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
)

// Daemon is a running coexistd.
type Daemon struct {
	cmd  *exec.Cmd
	log  *logbook
	gone chan struct{} // closed when it has ended
	err  error         // how it ended; read after gone
}

// StartDaemon starts "PROGRAM serve -c CONFIG FLAGS" and returns when the daemon tells
// that it is ready, as it tells systemd (sd_notify(3)). The error holds what it
// said.
func StartDaemon(ctx context.Context, program, config string, flags ...string) (*Daemon, error) {
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	defer notify.Close()

	d := &Daemon{log: newLogbook(), gone: make(chan struct{})}
	d.cmd = exec.Command(program, append([]string{"serve", "-c", config}, flags...)...)
	// A program built with the race detector waits for a second at its end,
	// unless it is told not to.
	d.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lab: starting coexistd: %w", err)
	}
	go func() {
		d.err = d.cmd.Wait()
		d.log.end()
		close(d.gone)
	}()
	ready := make(chan error, 1)
	go func() {
		_, err := notify.Read(make([]byte, 1024))
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-d.gone:
		return nil, fmt.Errorf("lab: coexistd did not start; it said:\n%s", d.log)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab: coexistd did not become ready: %w; it said:\n%s", err, d.log), d.Kill())
	}
	return d, nil
}

var reloadLine = regexp.MustCompile(`msg=reloaded|msg="reload refused`)

// Reload has the daemon read its configuration anew, and returns the log line
// with which it took or refused it.
func (d *Daemon) Reload(ctx context.Context) (string, error) {
	from := d.log.len()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return "", fmt.Errorf("lab: reloading coexistd: %w", err)
	}
	return d.log.wait(ctx, from, reloadLine)
}

// Hangup has the daemon read its configuration anew, and does not wait for it.
// A daemon that is gone has an error of os.ErrProcessDone.
func (d *Daemon) Hangup() error { return d.cmd.Process.Signal(syscall.SIGHUP) }

// Stop ends the daemon as systemd does, and returns how it ended.
func (d *Daemon) Stop() error {
	d.cmd.Process.Signal(syscall.SIGTERM)
	<-d.gone
	return d.err
}

// Kill ends the daemon with SIGKILL, and returns when it is gone.
func (d *Daemon) Kill() error {
	err := d.cmd.Process.Kill()
	<-d.gone
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return err
}

// Pid is the daemon's process ID.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Log is all that the daemon has logged.
func (d *Daemon) Log() string { return d.log.String() }

// WaitLog returns the first line of the log that matches.
func (d *Daemon) WaitLog(ctx context.Context, re *regexp.Regexp) (string, error) {
	return d.WaitLogAfter(ctx, 0, re)
}

// LogLines is how many lines the daemon has logged.
func (d *Daemon) LogLines() int { return d.log.len() }

// WaitLogAfter is WaitLog behind so many lines.
func (d *Daemon) WaitLogAfter(ctx context.Context, lines int, re *regexp.Regexp) (string, error) {
	line, err := d.log.wait(ctx, lines, re)
	if err != nil {
		err = fmt.Errorf("lab: coexistd has not logged %s: %w; it said:\n%s", re, err, d.log)
	}
	return line, err
}
