package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
)

// mortal is the coexistd under test, built so that it kills itself at the step of
// storing or releasing that COEXISTD_FAULT names.
var mortal = sync.OnceValues(func() (string, error) {
	path := filepath.Join(builds, "coexistd-mortal")
	return path, build(path, commandPath, "-race", "-tags", "faults")
})

// mortalSite is a site whose daemon may be killed at a step.
type mortalSite struct {
	*site
	step string // the file that names the step
}

func startMortalSite(t *testing.T, toml string) mortalSite {
	t.Helper()
	path, err := mortal()
	if err != nil {
		t.Fatal(err)
	}
	// The tests share an environment, so that each gives its daemon another by a
	// file.
	dir := t.TempDir()
	wrapper, step := filepath.Join(dir, "coexistd"), filepath.Join(dir, "step")
	script := fmt.Sprintf("#!/bin/sh\nexport COEXISTD_FAULT=\"$(cat '%s')\"\nexec '%s' \"$@\"\n", step, path)
	if err := errors.Join(os.WriteFile(step, nil, 0o644), os.WriteFile(wrapper, []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	return mortalSite{startSite(t, lab.SiteConfig{Program: wrapper, TOML: toml}), step}
}

// restart ends the daemon and starts it again, to be killed at a step.
func (s mortalSite) restart(step string) {
	s.t.Helper()
	if err := errors.Join(s.Daemon.Stop(), os.WriteFile(s.step, []byte(step), 0o644), s.StartDaemon(deadline(s.t))); err != nil {
		s.t.Fatal(err)
	}
}

// restartKilled starts the daemon again, which must have been killed.
func (s mortalSite) restartKilled() {
	s.t.Helper()
	if err := s.Daemon.Stop(); !wasKilled(err) {
		s.t.Fatalf("the daemon was not killed: %v", err)
	}
	if strings.Contains(s.Daemon.Log(), "DATA RACE") {
		s.t.Errorf("coexistd has a data race:\n%s", s.Daemon.Log())
	}
	if err := errors.Join(os.WriteFile(s.step, nil, 0o644), s.StartDaemon(deadline(s.t))); err != nil {
		s.t.Fatal(err)
	}
}

func wasKilled(err error) bool {
	exit, is := errors.AsType[*exec.ExitError](err)
	if !is {
		return false
	}
	status, is := exit.Sys().(syscall.WaitStatus)
	return is && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func TestADaemonKilledWhileItStoresLosesNothingAndStoresNothingTwice(t *testing.T) {
	t.Parallel()
	rspamd := startRspamd(t, lab.RspamdConfig{})
	s := startMortalSite(t, checkedTOML("", rspamd.URL(), neverReport))
	to := []string{"bob@acmecorp.com", "alice@acmecorp.com"}
	for step, stored := range map[string]int{
		"put: before writing": 0, "put: before commit": 0, "put: committed": len(to),
	} {
		s.restart(step)
		m := spamFor("bob@acmecorp.com", step)
		r := s.fromEve(m, to...)
		s.restartKilled()
		if got := len(s.entriesOf(m)); got != stored {
			t.Errorf("%s: %d entries are held, want %d", step, got, stored)
		}
		// Postfix has told the client to send the message again, so he has it.
		if r.Data.Code/100 != 4 {
			t.Errorf("%s: the client was told %s", step, r.Data)
		}
		for range 2 {
			for i, e := range s.hold(m, to...) {
				if raw, _ := s.quarantine("show", e.ID, "--raw"); raw != string(m) || e.Address != to[i] {
					t.Errorf("%s: for %s there is held %q", step, e.Address, raw)
				}
			}
		}
		s.mustArrive(m)
	}
	// All of them are whole, and go where they should.
	s.release(s.entries()[0].ID, "released", "")
}

// releaseKilled releases an entry with a command that is killed at a step.
func (s *site) releaseKilled(id, step string) {
	s.t.Helper()
	path, err := mortal()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "quarantine", "release", "-c", s.Config(), id)
	cmd.Env = append(slices.Clone(os.Environ()), "COEXISTD_FAULT="+step)
	if out, err := cmd.CombinedOutput(); !wasKilled(err) || ctx.Err() != nil {
		s.t.Fatalf("%s: the release was not killed: %v\n%s", step, err, out)
	}
}

func TestAReleaseThatIsKilledIsNotRepeatedUnasked(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		for _, c := range []struct {
			step    string
			state   quarantine.State
			arrives []string // before anybody says --again
		}{
			{"release: claimed", quarantine.Releasing, nil},
			{"release: sent", quarantine.Releasing, []string{"here bob@acmecorp.com"}},
			{"release: committed", quarantine.Released, []string{"here bob@acmecorp.com"}},
		} {
			m := programFor("bob@acmecorp.com", c.step, 0)
			id := s.hold(m, "bob@acmecorp.com")[0].ID
			s.releaseKilled(id, c.step)
			s.mustArrive(m, c.arrives...)
			if got := s.state(id); got != c.state {
				t.Errorf("%s: the entry is %s, want %s", c.step, got, c.state)
			}
			if c.state == quarantine.Released {
				s.release(id, "failed", "is not held any more: it is released since")
				s.release(id, "failed", "is not held any more: it is released since", "--again")
				s.mustArrive(m, c.arrives...)
				continue
			}
			s.release(id, "uncertain", "was broken off")
			s.mustArrive(m, c.arrives...)
			if out, _ := s.quarantine("list"); !strings.Contains(out, id) || !strings.Contains(out, string(quarantine.Releasing)) {
				t.Errorf("%s: the list does not tell that it is uncertain:\n%s", c.step, out)
			}
			if _, out, _ := runDoctor(t, t.TempDir(), nil, "-c", s.Config()); !strings.Contains(out, id) {
				t.Errorf("%s: doctor does not tell of %s:\n%s", c.step, id, out)
			}
			s.release(id, "released", "", "--again")
			s.mustArrive(m, append(slices.Clone(c.arrives), "here bob@acmecorp.com")...)
			s.release(id, "failed", "is not held any more: it is released since", "--again")
		}
		// What is uncertain can be deleted instead.
		m := programFor("bob@acmecorp.com", "deleted", 0)
		id := s.hold(m, "bob@acmecorp.com")[0].ID
		s.releaseKilled(id, "release: sent")
		if out, status := s.quarantine("delete", id); status != exitYes {
			t.Errorf("delete ended with %d and %s", status, out)
		}
		s.release(id, "failed", "is not held any more: it is deleted since", "--again")
		s.mustArrive(m, "here bob@acmecorp.com")
	})
}
