package quarantine

import (
	"database/sql"
	"strings"
	"sync"
	"testing"

	"coexistd/contrib/lab"
)

// another opens a store as another process does.
func another(t *testing.T, s *Store) *Store {
	t.Helper()
	return OpenExisting(options(dir(s)))
}

func TestAMessageThatIsBeingReleasedIsNotDeleted(t *testing.T) {
	for name, process := range map[string]func(*testing.T, *Store) *Store{
		"in one process":  func(_ *testing.T, s *Store) *Store { return s },
		"of two commands": another,
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestStore(t)
			begun, end := make(chan struct{}), make(chan struct{})
			m := startMTA(t, &mta{taken: func(string) { begun <- struct{}{}; <-end }})
			ids := put(t, s, 1, "alice@acmecorp.com", "bob@acmecorp.com")
			released := make(chan error, 1)
			go func() {
				_, err := s.Release(t.Context(), newReleaser(m.Addr().String()), ids[0], false)
				released <- err
			}()
			<-begun
			other := process(t, s)
			if err := other.Delete(ids[0]); err == nil || !strings.Contains(err.Error(), "is being released by another process, so it is not deleted") {
				t.Errorf("deleting it: %v", err)
			}
			// It is the entry of one recipient alone that must stay.
			if err := other.Delete(ids[1]); err != nil {
				t.Errorf("deleting the other recipient's: %v", err)
			}
			close(end)
			if err := <-released; err != nil || state(t, s, ids[0]) != Released || state(t, s, ids[1]) != Deleted {
				t.Errorf("it is %s, and the other %s: %v", state(t, s, ids[0]), state(t, s, ids[1]), err)
			}
			if err := other.Delete(ids[0]); err == nil || !strings.Contains(err.Error(), "is not held any more: it is released since") {
				t.Errorf("deleting what was released: %v", err)
			}
			wantContents(t, s, 0)
		})
	}
}

func TestAReleaseThatWasBrokenOffCanBeDeleted(t *testing.T) {
	s, m := newTestStore(t), startMTA(t, &mta{answers: map[string]string{".": ""}})
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	if _, err := s.Release(t.Context(), newReleaser(m.Addr().String()), id, false); err == nil || state(t, s, id) != Releasing {
		t.Fatalf("it is %s: %v", state(t, s, id), err)
	}
	if err := another(t, s).Delete(id); err != nil || state(t, s, id) != Deleted {
		t.Errorf("it is %s: %v", state(t, s, id), err)
	}
}

// After the machine was started again, a process may have the number and the start of one that
// has ended.
func TestAReleaseThatEndedWithItsMachineIsBrokenOff(t *testing.T) {
	s := newTestStore(t)
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	fields := strings.Fields(thisProcess())
	if len(fields) != 3 {
		t.Fatalf("this process is named %q", thisProcess())
	}
	fields[2] = "another start"
	if _, err := s.updateEntry(id, func(tx *sql.Tx, r *row) error {
		_, err := set(tx, r, Releasing, strings.Join(fields, " "), noon)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(id); err != nil || state(t, s, id) != Deleted {
		t.Errorf("it is %s: %v", state(t, s, id), err)
	}
}

// What is deleted at the instant when a release has found it is not sent, and the release
// says what became of it, not that a file is missing.
func TestAMessageThatIsDeletedIsNotReleased(t *testing.T) {
	s, sink := newTestStore(t), startSink(t, lab.SinkConfig{})
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	other := another(t, s)
	s.fault = func(step string) {
		if step == "release: found" {
			if err := other.Delete(id); err != nil {
				t.Error(err)
			}
		}
	}
	e, err := s.Release(t.Context(), newReleaser(sink.Addr()), id, false)
	if err == nil || !strings.Contains(err.Error(), "is not held any more: it is deleted since") || e.State != Deleted || len(sink.All()) != 0 {
		t.Errorf("it is %s, with %d deliveries: %v", e.State, len(sink.All()), err)
	}
}

func TestOfAReleaseAndADeletionAtOnceOneWins(t *testing.T) {
	s, sink := newTestStore(t), startSink(t, lab.SinkConfig{})
	sent := 0
	for i := range 50 {
		id := put(t, s, i, "alice@acmecorp.com")[0]
		releaser, deleter := another(t, s), another(t, s)
		var both sync.WaitGroup
		var releasing, deleting error
		both.Go(func() { _, releasing = releaser.Release(t.Context(), newReleaser(sink.Addr()), id, false) })
		both.Go(func() { deleting = deleter.Delete(id) })
		both.Wait()
		want, loser := Deleted, releasing
		if releasing == nil {
			want, loser = Released, deleting
			sent++
		}
		if got := state(t, s, id); got != want || (releasing == nil) == (deleting == nil) || len(sink.All()) != sent {
			t.Fatalf("it is %s after a release (%v) and a deletion (%v), with %d of %d deliveries", got, releasing, deleting, len(sink.All()), sent)
		}
		if text := loser.Error(); !strings.Contains(text, "is being released by another process") && !strings.Contains(text, "is not held any more") {
			t.Errorf("the second was told: %s", text)
		}
	}
	wantContents(t, s, 0)
}
