package audit

import (
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"coexistd/milter/store"
)

// newBook returns a book of so many events, one an hour, the last of them at that time.
func newBook(t *testing.T, count int, last time.Time) *Book {
	t.Helper()
	file := store.New(store.Options{Path: filepath.Join(t.TempDir(), "store.db"), Migrations: []string{Schema}, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { file.Close() })
	err := file.Update(t.Context(), func(tx *sql.Tx) error {
		for i := range count {
			number, err := Add(tx, Event{Who: fmt.Sprint("user", i%2), Way: Command, What: Whats()[i%3], Object: fmt.Sprint(i), Outcome: Done})
			if err != nil {
				return err
			}
			at := last.Add(-time.Duration(count-1-i) * time.Hour)
			if _, err := tx.Exec("UPDATE audit SET time = ? WHERE number = ?", at.UnixNano(), number); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return New(file)
}

// objects are those of the events that a query chooses.
func objects(t *testing.T, b *Book, q Query) (list []string) {
	t.Helper()
	for e, err := range b.All(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Object)
	}
	return list
}

func TestEventsAreReadTheNewestFirstPageByPage(t *testing.T) {
	t.Parallel()
	const count = 2*pageSize + 7
	last := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	b := newBook(t, count, last)
	all := objects(t, b, Query{})
	if len(all) != count {
		t.Fatalf("there are %d events", len(all))
	}
	for i, object := range all {
		if object != fmt.Sprint(count-1-i) {
			t.Fatalf("at place %d stands %s", i, object)
		}
	}
	for want, q := range map[string]Query{
		"[1006 1005]": {Since: last.Add(-time.Hour)},
		"[1 0]":       {Until: last.Add(-time.Hour * (count - 3))},
		"[1005]":      {Since: last.Add(-3 * time.Hour), Until: last, Who: "user1", What: Whats()[0]},
		"[]":          {Who: "nobody"},
	} {
		if got := fmt.Sprint(objects(t, b, q)); got != want {
			t.Errorf("%+v chooses %s; right is %s", q, got, want)
		}
	}
}

func TestEventsAreForgottenAfterAYear(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	b := newBook(t, 2*forgotAtOnce+10, last)
	if err := b.Prune(t.Context(), last.Add(Keep-3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left := objects(t, b, Query{}); len(left) != 4 {
		t.Errorf("%d are left: %v", len(left), left)
	}
}
