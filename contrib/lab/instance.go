package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// stopTime is how long an instance may take to go after a signal, and the threads
// of a program; they take some milliseconds.
const stopTime = time.Minute

// instance is what the running MTAs have in common: a folder of their own, processes and
// a log.
type instance struct {
	// Dir is the instance's folder.
	Dir string

	programs  *Programs
	addresses map[string]string
	auth      *server // knows the users' passwords; nil: there are none
	log       *logbook
	signal    syscall.Signal // ends the first process, and with it all others

	mu      sync.Mutex // held while processes are started or ended
	process *exec.Cmd  // the first one
	guard   *guard
	gone    chan struct{} // closed when no process of the instance is left
}

func (m *instance) path(elem ...string) string {
	return filepath.Join(append([]string{m.Dir}, elem...)...)
}

// launch starts the first process in the foreground, in a process group of its own, and
// returns when the log has a line that matches. All of the instance's processes inherit
// its standard output, so the end of that is the end of the last of them.
func (m *instance) launch(ctx context.Context, name string, cmd *exec.Cmd, started *regexp.Regexp) error {
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = m.log, m.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = stopTime
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: starting %s: %w", name, err)
	}
	from := m.log.len()
	m.process, m.gone = cmd, make(chan struct{})
	go func() {
		if errors.Is(cmd.Wait(), exec.ErrWaitDelay) {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		m.log.finish()
	}()
	gone := m.gone
	m.log.open()
	go func() {
		m.log.read()
		close(gone)
	}()
	signal := "TERM"
	if m.signal == syscall.SIGKILL {
		signal = "KILL"
	}
	var err error
	if m.guard, err = startGuard(cmd.Process.Pid, m.Dir, signal); err != nil {
		return err
	}
	if _, err := m.log.wait(ctx, from, started); err != nil {
		return fmt.Errorf("lab: %s did not start: %w; it said:\n%s", name, err, m.log)
	}
	return nil
}

// Addr is the address, HOST:PORT, of the service of that name. An unknown name panics:
// it is a slip of the caller's.
func (m *instance) Addr(service string) string {
	a, ok := m.addresses[service]
	if !ok {
		panic(fmt.Sprintf("lab: no service is called %q", service))
	}
	return a
}

// Log is all that the instance has logged.
func (m *instance) Log() string { return m.log.String() }

// WaitLog returns the first line of the log, from the start of the instance on, that
// matches. When ctx ends first, the error has the last lines.
func (m *instance) WaitLog(ctx context.Context, re *regexp.Regexp) (string, error) {
	return m.log.waitLine(ctx, re)
}

// waitFor is WaitLog for who does not need the line.
func (m *instance) waitFor(ctx context.Context, pattern string) error {
	_, err := m.WaitLog(ctx, regexp.MustCompile(pattern))
	return err
}

// WaitConnect returns once a client has connected.
func (m *instance) WaitConnect(ctx context.Context, client string) error {
	return m.waitFor(ctx, "connect from .*"+regexp.QuoteMeta(client))
}

// Stop ends the instance at once, with whatever is in its queue, and returns when no
// process, socket and file of it is left. A second call does nothing.
func (m *instance) Stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end()
	if m.auth != nil {
		m.auth.close()
	}
	if m.log.socket != nil {
		m.log.socket.Close()
	}
	if m.log.copy != nil {
		m.log.copy.Close()
	}
	if err := os.RemoveAll(m.Dir); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// end returns when no process of the instance is left.
func (m *instance) end() {
	if m.process == nil {
		return
	}
	m.process.Process.Signal(m.signal)
	select {
	case <-m.gone:
	case <-time.After(2 * stopTime):
		syscall.Kill(-m.process.Process.Pid, syscall.SIGKILL)
		<-m.gone
	}
	if m.guard != nil {
		m.guard.dismiss()
		m.guard = nil
	}
}
