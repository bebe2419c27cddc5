package lab

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"syscall"
)

// Postfix is a running private instance: its own configuration, queue,
// processes and log. Its methods may be called side by side.
type Postfix struct {
	instance // etc, queue and data are below Dir

	layout *layout
	config Config
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
	m := &Postfix{instance: instance{Dir: dir, programs: p, log: newLogbook(), signal: syscall.SIGTERM}, config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Stop())
		}
	}()
	if err := m.log.copyTo(c.LogFile); err != nil {
		return nil, err
	}
	if m.layout, err = newLayout(dir); err != nil {
		return nil, err
	}
	if m.addresses, err = addressesOf(c.Services); err != nil {
		return nil, err
	}
	if err := m.layout.write(p, c, m.addresses); err != nil {
		return nil, err
	}
	if err := m.log.listen(m.path("queue", logSocket)); err != nil {
		return nil, err
	}
	if c.Users != nil {
		auth, err := startAuthServer(m.path("queue", authSocket), c.Users)
		if err != nil {
			return nil, err
		}
		m.auth = auth.server
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

var startedLine = regexp.MustCompile(`/master\[\d+\]: daemon started`)

// begin starts the master process.
func (m *Postfix) begin(ctx context.Context) error {
	cmd := exec.Command(m.programs.daemons+"/master", "-s")
	// The last two are how the postfix command has the master process log
	// before that has read main.cf.
	cmd.Env = append(m.programs.environment(), "MAIL_CONFIG="+m.path("etc"),
		"POSTLOG_SERVICE="+m.path("queue", logSocket), "POSTLOG_HOSTNAME=mta.lab.test")
	return m.launch(ctx, "Postfix", cmd, startedLine)
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

// Again ends the instance's processes, and starts it with its configuration as that is by now.
func (m *Postfix) Again(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end()
	return m.begin(ctx)
}
