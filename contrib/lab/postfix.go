package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// stopTime is how long an instance may take to go after a SIGTERM, and the threads
// of a program after a signal; they take some milliseconds.
const stopTime = time.Minute

// Postfix is a running private instance: its own configuration, queue,
// processes and log. Its methods may be called side by side.
type Postfix struct {
	// Dir is the instance's folder: etc, queue and data are below it.
	Dir string

	programs  *Programs
	layout    *layout
	addresses map[string]string
	auth      *authServer
	log       *logbook

	mu     sync.Mutex // held while processes are started or ended
	config Config
	master *exec.Cmd
	guard  *guard
	gone   chan struct{} // closed when no process of the instance is left
}

// Start starts an instance and returns when its services accept connections.
// The error holds what Postfix said. ctx bounds the start only; Stop ends the
// instance.
func (p *Programs) Start(ctx context.Context, c Config) (_ *Postfix, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: only root can start Postfix's master process: run as root")
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	m := &Postfix{Dir: dir, programs: p, log: newLogbook(), config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Stop())
		}
	}()
	if m.layout, err = newLayout(dir); err != nil {
		return nil, err
	}
	if m.addresses, err = addressesOf(c.Services); err != nil {
		return nil, err
	}
	if err := m.layout.write(p, c, m.addresses); err != nil {
		return nil, err
	}
	if err := m.log.listen(m.layout.path("queue", logSocket)); err != nil {
		return nil, err
	}
	if c.Users != nil {
		if m.auth, err = startAuthServer(m.layout.path("queue", authSocket), c.Users); err != nil {
			return nil, err
		}
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

var startedLine = regexp.MustCompile(`/master\[\d+\]: daemon started`)

// begin starts the master process in the foreground, in a process group of
// its own. All of the instance's processes inherit its standard output, so
// the end of that is the end of the last of them.
func (m *Postfix) begin(ctx context.Context) error {
	cmd := exec.Command(m.programs.daemons+"/master", "-s")
	// The last two are how the postfix command has the master process log
	// before that has read main.cf.
	cmd.Env = append(m.programs.environment(), "MAIL_CONFIG="+m.layout.path("etc"),
		"POSTLOG_SERVICE="+m.layout.path("queue", logSocket), "POSTLOG_HOSTNAME=mta.lab.test")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = m.log, m.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = stopTime
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: starting Postfix: %w", err)
	}
	from := m.log.len()
	m.master, m.gone = cmd, make(chan struct{})
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
	var err error
	if m.guard, err = startGuard(cmd.Process.Pid, m.Dir, "TERM"); err != nil {
		return err
	}
	if _, err := m.log.wait(ctx, from, startedLine); err != nil {
		return fmt.Errorf("lab: Postfix did not start: %w; it said:\n%s", err, m.log)
	}
	return nil
}

// Addr is the address, HOST:PORT, of the service of that name. An unknown
// name panics: it is a slip of the caller's.
func (m *Postfix) Addr(service string) string {
	a, ok := m.addresses[service]
	if !ok {
		panic(fmt.Sprintf("lab: no service is called %q", service))
	}
	return a
}

// Restart ends the instance's processes, changes main.cf settings, and starts
// it again with the same addresses, queue and log. Sessions under way break
// off; mail in the queue stays. (What postfix reload does is no good to a
// test: a process of before may still take the next connection.)
func (m *Postfix) Restart(ctx context.Context, changes map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.config
	c.Main = maps.Clone(c.Main)
	if c.Main == nil {
		c.Main = map[string]string{}
	}
	maps.Copy(c.Main, changes)
	m.end()
	if err := m.layout.writeMain(m.programs, c); err != nil {
		return err
	}
	m.config = c
	return m.begin(ctx)
}

// Stop ends the instance at once, with whatever is in its queue, and returns
// when no process, socket and file of it is left. A second call does nothing.
func (m *Postfix) Stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end()
	if m.auth != nil {
		m.auth.close()
	}
	if m.log.socket != nil {
		m.log.socket.Close()
	}
	if err := os.RemoveAll(m.Dir); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// end returns when no process of the instance is left.
func (m *Postfix) end() {
	if m.master == nil {
		return
	}
	m.master.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.gone:
	case <-time.After(2 * stopTime):
		syscall.Kill(-m.master.Process.Pid, syscall.SIGKILL)
		<-m.gone
	}
	if m.guard != nil {
		m.guard.dismiss()
		m.guard = nil
	}
}
