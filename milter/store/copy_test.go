package store

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A file is copied again and again while rows are added to it: each copy has all rows that were
// there before it began, none after a gap, and is whole.
func TestACopyIsWholeWhileTheFileChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := create(t, notes(filepath.Join(dir, "notes.db")))
	const rows = 300
	var mu sync.Mutex
	added := 0
	done := make(chan error, 1)
	go func() {
		for id := 1; id <= rows; id++ {
			if err := add(f, id); err != nil {
				done <- err
				return
			}
			mu.Lock()
			added = id
			mu.Unlock()
		}
		done <- nil
	}()
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
		}
		mu.Lock()
		before := added
		mu.Unlock()
		path := filepath.Join(dir, "copy.db")
		if err := Copy(t.Context(), f.Path(), path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the copy has the mode %v (%v)", info.Mode(), err)
		}
		copied := create(t, notes(path))
		if n, err := count(copied); err != nil || n < before || ended && n != rows {
			t.Fatalf("the copy has %d notes (%v); %d were there before it began", n, err, before)
		}
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
