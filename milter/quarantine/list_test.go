package quarantine

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTenThousandEntriesComeInPagesNewestFirst(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	const total = 10_000
	const batch = 500
	for first := 0; first < total; first += batch {
		err := s.update(func(tx *sql.Tx) error {
			for n := first; n < first+batch; n++ {
				item, _ := spam(n)
				item.Size = 1
				one := named{heldForSpam(fmt.Sprintf("user%d@acmecorp.com", n)), fmt.Sprintf("id%08d", n), []byte{1}}
				if err := errors.Join(insertMessage(tx, int64(n+1), whole, item), insertEntries(tx, int64(n+1), item, []named{one}), addFact(tx, bytesFact, 1)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	entries := listed(t, s, Query{})
	if len(entries) != total {
		t.Fatalf("%d entries are listed, want %d", len(entries), total)
	}
	for i := range entries {
		if want := fmt.Sprintf("id%08d", total-1-i); entries[i].ID != want {
			t.Fatalf("entry %d is %s, want %s", i, entries[i].ID, want)
		}
	}
	if got := listed(t, s, Query{To: "user77@acmecorp.com", All: true}); len(got) != 1 || got[0].ID != "id00000077" {
		t.Errorf("user 77 has %q", idsOf(got))
	}
	if got := idsOf(listed(t, s, Query{IDs: []string{"id00000001", "none", "id00000002", "id00000001"}})); !slices.Equal(got, []string{"id00000002", "id00000001"}) {
		t.Errorf("by ID there are %q", got)
	}
	for e, err := range s.All(Query{}) { // the store is free between entries
		if err != nil {
			t.Fatal(err)
		}
		if err := s.MarkReported([]string{e.ID, "none"}); err != nil {
			t.Fatal(err)
		}
		break
	}
	if e, err := s.entry(entries[0].ID); err != nil || !e.Reported {
		t.Errorf("the newest entry is %+v, %v", e, err)
	}
	u, err := s.Usage()
	if err != nil || u.Entries != total || u.Bytes != total || !u.Oldest.Equal(noon) {
		t.Errorf("the usage is %+v, %v", u, err)
	}
}

func TestOldEntriesExpireAndAreForgottenLater(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "quarantine"))
	o.Keep = time.Hour
	s := open(t, o)
	old, fresh := put(t, s, 1, "alice@acmecorp.com")[0], put(t, s, 30, "alice@acmecorp.com")[0]
	prune := func(at time.Time, want int) {
		t.Helper()
		if expired, err := s.Prune(at); err != nil || expired != want {
			t.Errorf("%d have expired, %v; want %d", expired, err, want)
		}
	}
	prune(noon.Add(61*time.Minute), 0)
	prune(noon.Add(62*time.Minute), 1)
	if state(t, s, old) != Expired || state(t, s, fresh) != Held {
		t.Errorf("they are %s and %s", state(t, s, old), state(t, s, fresh))
	}
	wantContents(t, s, 1)
	prune(noon.Add(24*time.Hour), 1)
	if _, err := s.entry(old); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old entry: %v", err)
	}
	if state(t, s, fresh) != Expired {
		t.Errorf("the other is %s", state(t, s, fresh))
	}
	wantContents(t, s, 0)
	if again := put(t, s, 1, "alice@acmecorp.com"); again[0] == old {
		t.Error("a forgotten entry holds a message")
	}
}

func TestTheOldestGoFirstWhenTheStoreIsFull(t *testing.T) {
	s := newTestStore(t)
	var ids []string
	for n := range 10 {
		ids = append(ids, put(t, s, n, "alice@acmecorp.com", "bob@acmecorp.com")...)
	}
	u, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	s.maxBytes = u.Bytes / 2
	if expired, err := s.Prune(noon); err != nil || expired != 10 {
		t.Errorf("%d have expired, %v; want 10", expired, err)
	}
	if got := idsOf(listed(t, s, Query{})); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(ids[10:]))) {
		t.Errorf("%q are held, want %q", got, ids[10:])
	}
	wantContents(t, s, 5)
	s.maxBytes = 1
	last := put(t, s, 20, "alice@acmecorp.com")
	if got := idsOf(listed(t, s, Query{})); !slices.Equal(got, last) {
		t.Errorf("%q are held, want the new %q alone", got, last)
	}
}

// What must go for a message goes at once, however many its recipients are.
func TestTheBoundOfTheSizeHoldsAtOnce(t *testing.T) {
	s := newTestStore(t)
	var many []string
	for n := range 3*changesAtOnce - 1 {
		many = append(many, fmt.Sprintf("user%d@acmecorp.com", n))
	}
	put(t, s, 1, many...)
	_, content := spam(1)
	s.maxBytes = int64(len(content))
	ids := put(t, s, 2, "alice@acmecorp.com")
	if u, err := s.Usage(); err != nil || u.Bytes > s.maxBytes || u.Entries != 1 {
		t.Errorf("of %d bytes it has %+v, %v", s.maxBytes, u, err)
	}
	if got := contentOf(t, s, ids[0]); !strings.Contains(got, "Buy 2") {
		t.Errorf("what is held is %q", got)
	}
	wantContents(t, s, 1)
}

// Clearing out is done every few minutes, and room is made with every message.
func TestClearingOutReadsNoMoreThanItChanges(t *testing.T) {
	s := newTestStore(t)
	for query, want := range map[string]string{
		selectEntries + dueByAge: "entries_open (time<?)", selectEntries + dueBySize: "entries_to_expire (<expr>=?)",
		selectEntries + dueSettled: "entries_settled (changed<?)", leftDrafts: "messages_drafts (time<?)", nextUnkept: "messages_unkept",
	} {
		if err := s.view(func(tx *sql.Tx) error {
			plan, err := tx.Query("EXPLAIN QUERY PLAN "+query, 1, 1, 1)
			if err != nil {
				return err
			}
			defer plan.Close()
			said := ""
			for plan.Next() {
				var id, parent, unused int
				var detail string
				if err := plan.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				said += detail + "; "
			}
			if !strings.Contains(said, want) || strings.Contains(said, "SCAN") || strings.Contains(said, "TEMP B-TREE") {
				t.Errorf("%s: %s, not %s", query, said, want)
			}
			return plan.Err()
		}); err != nil {
			t.Error(err)
		}
	}
}
