package quarantine

import (
	"context"
	"database/sql"
	"errors"
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
		{"put:_before_writing", false}, {"put:_before_commit", false}, {"put:_committed", true}, {"none", true},
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
				wantContents(t, s, min(want, 1))
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
			if said, killed := childOf(t, strings.Split(t.Name(), "/")[0], dir(s), c.step, sink.Addr(), id); !killed {
				t.Fatalf("the child was not killed; it said %q", said)
			}
			s = open(t, options(dir(s)))
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
			wantContents(t, s, 0)
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
	wantContents(t, s, n+1+each)
}

// large is a message that is written in several changes.
func large() (Item, string) {
	item, content := spam(1)
	return item, content + strings.Repeat("0123456789abcdef", 3*chunksAtOnce*chunkSize/16) + "\r\n"
}

// Whatever becomes of what was written of a message, it is held whole or not at all.
func TestAMessageOfWhichPartIsGoneIsNotHeld(t *testing.T) {
	item, content := large()
	clear := func(t *testing.T, s *Store) {
		if _, err := s.Prune(item.Time.Add(2 * draftTime)); err != nil {
			t.Error(err)
		}
	}
	for name, harm := range map[string]func(*testing.T, *Store){
		"cleared out": clear,
		"its number is another's": func(t *testing.T, s *Store) {
			clear(t, s)
			other, _ := spam(2)
			if err := s.update(func(tx *sql.Tx) error { return insertMessage(tx, 1, draft, other) }); err != nil {
				t.Error(err)
			}
		},
		"lost in a damaged file": func(t *testing.T, s *Store) {
			if err := s.update(func(tx *sql.Tx) error { _, err := mended(tx); return err }); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestStore(t)
			s.fault = func(step string) {
				if step == "put: begun" {
					s.fault = func(string) {}
					harm(t, s)
				}
			}
			if ids, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), "was cleared out before its end came") {
				t.Errorf("it is held as %q: %v", ids, err)
			}
			clear(t, s)
			wantContents(t, s, 0)
			ids, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content))
			if err != nil || contentOf(t, s, ids[0]) != content {
				t.Errorf("the next try: %v", err)
			}
		})
	}
}

func TestALargeMessageOfAKilledProcessLeavesNothing(t *testing.T) {
	item, content := large()
	if task := task(); len(task) > 0 {
		s := open(t, options(task[0]))
		s.killAt(task[1])
		s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content))
		return
	}
	for _, step := range []string{"put:_begun", "put:_before_commit"} {
		folder := t.TempDir()
		if said, killed := childOf(t, t.Name(), folder, step); !killed {
			t.Fatalf("the child was not killed; it said %q", said)
		}
		s := open(t, options(folder))
		if entries := listed(t, s, Query{All: true}); len(entries) > 0 {
			t.Errorf("%s: there are %d entries", step, len(entries))
		}
		// Another process may be at work on it.
		if _, err := s.Prune(item.Time.Add(draftTime - time.Minute)); err != nil {
			t.Error(err)
		}
		if _, drafts := contents(t, s); drafts != 1 {
			t.Errorf("%s: there are %d drafts, want 1", step, drafts)
		}
		if _, err := s.Prune(item.Time.Add(draftTime + time.Minute)); err != nil {
			t.Error(err)
		}
		wantContents(t, s, 0)
		ids, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if got := contentOf(t, s, ids[0]); got != content {
			t.Errorf("%s: %d bytes came back as %d", step, len(content), len(got))
		}
	}
}

// What can be read of a damaged store is kept: no entry is there whose message is not what it
// was, and nothing keeps the daemon from holding more.
func TestADamagedStoreIsSetAsideAndWhatCanBeReadIsKept(t *testing.T) {
	t.Parallel()
	const messages = 8
	s := newTestStore(t)
	want := make(map[string]string)
	for n := range messages {
		id := put(t, s, n, "alice@acmecorp.com")[0]
		want[id] = contentOf(t, s, id)
	}
	s.file.Close()
	good, err := os.ReadFile(s.file.Path())
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	damages := map[string][]byte{
		"text":      []byte(strings.Repeat("this is no store\n", 1000)),
		"truncated": good[:len(good)/2], "one page": good[:page], "two pages": good[:2*page],
	}
	for at := 0; at < len(good); at += page {
		bad := slices.Clone(good)
		for i := range page {
			bad[at+i] = []byte{0, 0xff, '{'}[at/page%3]
		}
		damages[fmt.Sprintf("page %d", at/page)] = bad
	}
	full := 0
	for name, damage := range damages {
		for _, atWork := range []bool{false, true} {
			s := holding(t, good, damage, atWork)
			item, content := spam(100)
			for range 2 { // at work, one may fail: that which finds the damage
				s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content))
			}
			id := put(t, s, 100, "alice@acmecorp.com")[0]
			kept, known := 0, false
			for _, e := range listed(t, s, Query{}) {
				if e.ID == id {
					known = true
					continue
				}
				kept++
				if got := contentOf(t, s, e.ID); got != want[e.ID] {
					t.Errorf("%s, at work: %v: %s has %q, not %q", name, atWork, e.ID, got, want[e.ID])
				}
			}
			if kept == messages {
				full++
			}
			if !known {
				t.Errorf("%s, at work: %v: what was stored since then is lost", name, atWork)
			}
			if u, err := s.Usage(); err != nil || u.Entries != kept+1 {
				t.Errorf("%s: the usage is %+v, %v, with %d entries", name, u, err, kept+1)
			}
			s.file.Close()
		}
	}
	if full < len(damages)/2 {
		t.Errorf("only %d of %d damages left all messages: many pages have none", full, 2*len(damages))
	}
}

// holding opens a store on a file that is damaged before that, or after.
func holding(t *testing.T, good, damage []byte, atWork bool) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), FileName)
	first, then := damage, []byte(nil)
	if atWork {
		first, then = good, damage
	}
	if err := os.WriteFile(path, first, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, options(filepath.Dir(path)))
	if atWork {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt(then, 0)
		if err := errors.Join(err, file.Truncate(int64(len(then))), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestAPieceThatIsNotAsItWasWrittenIsNotReleased(t *testing.T) {
	s, sink := newTestStore(t), startSink(t, lab.SinkConfig{})
	bad, kept := put(t, s, 1, "alice@acmecorp.com")[0], put(t, s, 2, "bob@acmecorp.com")[0]
	harmPiece(t, s, bad)
	e, err := s.Release(t.Context(), newReleaser(sink.Addr()), bad, false)
	if err == nil || !strings.Contains(err.Error(), "its checksum is wrong") || e.State != Held || len(sink.All()) != 0 {
		t.Errorf("it is %s, with %d deliveries: %v", e.State, len(sink.All()), err)
	}
	if _, err := s.Release(t.Context(), newReleaser(sink.Addr()), kept, false); err != nil {
		t.Error(err)
	}
	if err := s.Delete(bad); err != nil {
		t.Error(err)
	}
}

// harmPiece changes the first piece of an entry's message.
func harmPiece(t *testing.T, s *Store, id string) {
	t.Helper()
	if err := s.update(func(tx *sql.Tx) error {
		changed, err := change(tx, "UPDATE chunks SET data = replace(data, 'Buy', 'Bye') WHERE number = (SELECT message * ? FROM entries WHERE id = ?)", maxChunks, id)
		if err == nil && changed != 1 {
			err = fmt.Errorf("%d pieces were changed", changed)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedMessageThatComesAgainIsHeldAnew(t *testing.T) {
	short, content := spam(1)
	long, much := large()
	for want, item := range map[string]Item{content: short, much: long} {
		s := newTestStore(t)
		hold := func(addresses ...string) []string {
			ids, err := s.Put(item, recipients(addresses...), strings.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			return ids
		}
		bad, bobs := hold("alice@acmecorp.com")[0], hold("bob@acmecorp.com")[0]
		harmPiece(t, s, bad)
		for range 2 {
			both := hold("alice@acmecorp.com", "bob@acmecorp.com")
			if both[0] == bad || both[1] != bobs || contentOf(t, s, both[0]) != want {
				t.Errorf("it is held as %q, after %q and %q", both, bad, bobs)
			}
			wantContents(t, s, 3)
		}
		sink := startSink(t, lab.SinkConfig{})
		if e, err := s.Release(t.Context(), newReleaser(sink.Addr()), hold("alice@acmecorp.com")[0], false); err != nil {
			t.Errorf("the release of %s: %v", e.ID, err)
		}
	}
}

// A file that was mended may have no more of a message than its entries.
func TestAMessagesNumberHasNoEntriesOfAnother(t *testing.T) {
	s := newTestStore(t)
	lost := put(t, s, 1, "alice@acmecorp.com")[0]
	if err := s.Delete(lost); err != nil {
		t.Fatal(err)
	}
	if err := s.update(func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM messages")
		if err == nil {
			_, err = mended(tx)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	id := put(t, s, 2, "bob@acmecorp.com")[0]
	if got := idsOf(listed(t, s, Query{All: true})); !slices.Equal(got, []string{id}) {
		t.Errorf("there are %q, not %q alone", got, id)
	}
}
