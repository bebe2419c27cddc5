package quarantine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// childVariable has the test binary be a child process of its own test; the
// variable's value is what the child is to do.
const childVariable = "COEXISTD_QUARANTINE_TEST"

// childOf runs a test once more in a process of its own. It returns what that has
// said on standard output, and whether it was killed.
func childOf(t *testing.T, parent string, task ...string) (said string, killed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+parent+"$")
	cmd.Env = append(os.Environ(), childVariable+"="+strings.Join(task, " "))
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	if ctx.Err() != nil || err != nil && !killed {
		t.Fatalf("the child process for %q ended with %v: %s", task, err, output)
	}
	return string(output), killed
}

// task is what this process is to do as a child.
func task() []string { return strings.Fields(os.Getenv(childVariable)) }

// killAt has a store kill its process at a step.
func (s *Store) killAt(chosen string) {
	s.fault = func(step string) {
		if strings.ReplaceAll(step, " ", "_") == chosen {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

func TestAKilledProcessHasStoredAMessageWhollyOrNotAtAll(t *testing.T) {
	if task := task(); len(task) > 0 {
		s := open(t, options(task[0]))
		s.killAt(task[1])
		fmt.Println("stored", put(t, s, 1, "alice@acmecorp.com", "bob@acmecorp.com"))
		return
	}
	_, content := spam(1)
	for _, c := range []struct {
		step   string
		stored bool
	}{
		{"put:_before_writing", false}, {"put:_written", false}, {"put:_synced", false}, {"put:_renamed", false},
		{"put:_folder_synced", false}, {"put:_before_commit", false}, {"put:_committed", true}, {"none", true},
	} {
		t.Run(c.step, func(t *testing.T) {
			parent := strings.Split(t.Name(), "/")[0]
			dir := filepath.Join(t.TempDir(), "quarantine")
			said, killed := childOf(t, parent, dir, c.step)
			if killed != (c.step != "none") || strings.Contains(said, "stored") == killed {
				t.Fatalf("the child was killed: %v; it said %q", killed, said)
			}
			s := open(t, options(dir))
			check := func(want int) {
				t.Helper()
				entries := listed(t, s, Query{All: true})
				if len(entries) != want {
					t.Fatalf("there are %d entries, want %d", len(entries), want)
				}
				for _, e := range entries {
					if got := contentOf(t, s, e.ID); got != content || e.State != Held {
						t.Errorf("%s is %s with %q", e.ID, e.State, got)
					}
				}
				wantFiles(t, s, min(want, 1))
			}
			if c.stored {
				check(2)
			} else {
				check(0)
			}
			// The MTA got no answer, so it sends the message again.
			put(t, s, 1, "alice@acmecorp.com", "bob@acmecorp.com")
			check(2)
		})
	}
}

func TestAKilledReleaseIsNeitherForgottenNorRepeated(t *testing.T) {
	if task := task(); len(task) > 0 {
		s := open(t, options(task[0]))
		s.killAt(task[1])
		_, err := s.Release(t.Context(), newReleaser(task[2]), task[3], false)
		fmt.Println("released", err)
		return
	}
	for _, c := range []struct {
		step  string
		state State
		sent  int
	}{{"release:_claimed", Releasing, 0}, {"release:_sent", Releasing, 1}, {"release:_committed", Released, 1}} {
		t.Run(c.step, func(t *testing.T) {
			sink, err := lab.StartSink(lab.SinkConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer sink.Close()
			s := newTestStore(t)
			id := put(t, s, 1, "alice@acmecorp.com")[0]
			if said, killed := childOf(t, strings.Split(t.Name(), "/")[0], s.dir, c.step, sink.Addr(), id); !killed {
				t.Fatalf("the child was not killed; it said %q", said)
			}
			s = open(t, options(s.dir))
			if got := state(t, s, id); got != c.state || len(sink.All()) != c.sent {
				t.Fatalf("it is %s after %d deliveries, want %s after %d", got, len(sink.All()), c.state, c.sent)
			}
			r := newReleaser(sink.Addr())
			if _, err := s.Release(t.Context(), r, id, false); err == nil || len(sink.All()) != c.sent {
				t.Errorf("released once more: %v, %d deliveries", err, len(sink.All()))
			}
			if c.state == Released {
				return
			}
			if e, err := s.Release(t.Context(), r, id, true); err != nil || e.State != Released || len(sink.All()) != c.sent+1 {
				t.Errorf("released again: %s, %v, %d deliveries", e.State, err, len(sink.All()))
			}
			wantFiles(t, s, 0)
		})
	}
}

func TestTwoProcessesStoreSideBySide(t *testing.T) {
	t.Parallel()
	const each = 30
	if task := task(); len(task) > 0 {
		s := open(t, options(task[0]))
		for n := range each {
			put(t, s, 1000+n, "alice@acmecorp.com")
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "quarantine")
	done := make(chan struct{})
	go func() {
		defer close(done)
		childOf(t, t.Name(), dir)
	}()
	n := 0
	for ; ; n++ {
		// Every start reconciles, and must spare what the other is storing.
		put(t, open(t, options(dir)), n, "alice@acmecorp.com")
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	s := open(t, options(dir))
	entries := listed(t, s, Query{})
	if len(entries) != n+1+each {
		t.Errorf("%d entries are held, want %d and %d", len(entries), n+1, each)
	}
	for _, e := range entries {
		contentOf(t, s, e.ID)
	}
	wantFiles(t, s, n+1+each)
}

func TestALostIndexIsMadeFromTheMessages(t *testing.T) {
	s := newTestStore(t)
	ids := append(put(t, s, 1, "alice@acmecorp.com", "bob@acmecorp.com"), put(t, s, 2, "carol@acmecorp.com")...)
	before := listed(t, s, Query{})
	if err := os.Remove(s.path(indexFile)); err != nil {
		t.Fatal(err)
	}
	s = open(t, options(s.dir))
	after := listed(t, s, Query{})
	if len(after) != 3 || !slices.Equal(idsOf(after), idsOf(before)) {
		t.Fatalf("there are %q, want %q", idsOf(after), idsOf(before))
	}
	for i := range after {
		if after[i].Address != before[i].Address || after[i].Message != before[i].Message || after[i].Size != before[i].Size {
			t.Errorf("the entry is %+v, was %+v", after[i], before[i])
		}
	}
	if again := put(t, s, 1, "alice@acmecorp.com"); again[0] != ids[0] {
		t.Errorf("the same message is stored anew, as %q", again)
	}
	// One that is lost at work is made anew, too, and nothing goes with it.
	if err := os.Remove(s.path(indexFile)); err != nil {
		t.Fatal(err)
	}
	put(t, s, 3, "dave@acmecorp.com")
	if got := listed(t, open(t, options(s.dir)), Query{}); len(got) != 4 {
		t.Errorf("%d entries are held, want 4", len(got))
	}
	wantFiles(t, s, 3)
}

func TestADamagedIndexIsSetAsideAndMadeAnew(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	for n := range 20 {
		put(t, s, n, "alice@acmecorp.com")
	}
	good, err := os.ReadFile(s.path(indexFile))
	if err != nil {
		t.Fatal(err)
	}
	const page = pageSize
	damages := map[string][]byte{
		"empty":     {},
		"text":      []byte("this is no index\n"),
		"truncated": good[:len(good)/2],
		"one page":  good[:page],
		"two pages": good[:2*page],
	}
	for at := 0; at < len(good); at += page {
		filling := []byte{0, 0xff, '{'}[at/page%3]
		bad := slices.Clone(good)
		for i := range page {
			bad[at+i] = filling
		}
		damages[fmt.Sprintf("page %d with %#x", at/page, filling)] = bad
	}
	for name, damage := range damages {
		if err := os.WriteFile(s.path(indexFile), damage, 0o600); err != nil {
			t.Fatal(err)
		}
		restarted := open(t, options(s.dir))
		if got := len(listed(t, restarted, Query{})); got != 20 {
			t.Errorf("%s: %d entries are held, want 20", name, got)
		}
		// At work, the daemon fails for now at the most.
		if err := os.WriteFile(s.path(indexFile), damage, 0o600); err != nil {
			t.Fatal(err)
		}
		item, content := spam(0)
		s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content))
		put(t, s, 0, "alice@acmecorp.com")
		if got := len(listed(t, s, Query{})); got != 20 {
			t.Errorf("%s at work: %d entries are held, want 20", name, got)
		}
	}
	if aside, _ := filepath.Glob(s.path(indexFile + badSuffix + "-*")); len(aside) == 0 {
		t.Error("no index was set aside")
	}
	if messages, _ := files(t, s); messages != 20 {
		t.Errorf("%d messages are left", messages)
	}
}

func TestADamagedMessageIsSetAside(t *testing.T) {
	s := newTestStore(t)
	put(t, s, 1, "alice@acmecorp.com")
	kept := put(t, s, 2, "bob@acmecorp.com")
	e := listed(t, s, Query{To: "alice@acmecorp.com"})[0]
	path := s.messagePath(e.Message)
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path(indexFile)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = open(t, options(s.dir))
		if got := idsOf(listed(t, s, Query{})); !slices.Equal(got, kept) {
			t.Errorf("%q are held, want %q", got, kept)
		}
		if _, err := os.Stat(path + badSuffix); err != nil {
			t.Error(err)
		}
	}
}

func TestAStartMendsWhatACrashLeaves(t *testing.T) {
	s := newTestStore(t)
	gone, kept := put(t, s, 1, "alice@acmecorp.com")[0], put(t, s, 2, "bob@acmecorp.com")[0]
	e, err := s.entry(gone)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.messagePath(e.Message)); err != nil {
		t.Fatal(err)
	}
	// The MTA sends again what the store has lost: it is stored.
	if again := put(t, s, 1, "alice@acmecorp.com")[0]; again == gone {
		t.Error("an entry without a message holds it")
	}
	item, content := spam(3)
	working, err := s.newDraft(item, recipients("carol@acmecorp.com"), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer working.discard()
	for _, leftover := range []string{filepath.Join(s.dir, draftsFolder, "leftover"), s.messagePath("unknown")} {
		os.Mkdir(filepath.Dir(leftover), 0o700)
		if err := os.WriteFile(leftover, []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, options(s.dir))
	if messages, drafts := files(t, s); messages != 2 || drafts != 1 {
		t.Errorf("there are %d messages and %d drafts, want 2 and the 1 that is worked on", messages, drafts)
	}
	if state(t, s, gone) != Deleted || state(t, s, kept) != Held {
		t.Errorf("they are %s and %s", state(t, s, gone), state(t, s, kept))
	}
	if _, err := s.insert(working); err != nil {
		t.Errorf("what was worked on: %v", err)
	}
}
