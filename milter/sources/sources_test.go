package sources

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// two are the directories of a domain each, of which the second has no file.
func two(t *testing.T) []directory.Source {
	first, second := source(write(t, rows(0, 10, "here"))), source(filepath.Join(t.TempDir(), "twin.csv"))
	first.Domains = map[string]*route.Domain{acme.Name: acme}
	second.Domains = map[string]*route.Domain{twin.Name: twin}
	return []directory.Source{first, second}
}

// listing says what the directories hold of an address.
func listing(t *testing.T, d Directories, address string) route.Listing {
	t.Helper()
	a, err := mail.ParseAddress(address, "+")
	if err != nil {
		t.Fatal(err)
	}
	return d.Set().List(a)
}

func TestADirectoryThatCannotBeReadFailsForItsOwnDomainUntilItCan(t *testing.T) {
	list := two(t)
	d := Open(list, nil)
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), list[1].Path+" does not exist") {
		t.Errorf("the error is %v", err)
	}
	if !listing(t, d, "user1@acmecorp.com").Found || !listing(t, d, "dora@bücher.example").Failed {
		t.Error("the domain of the directory that can be read is not answered for, or the other is")
	}
	if loaded := d.Poll(time.Now()); len(loaded) != 0 {
		t.Errorf("%d were loaded", len(loaded))
	}
	rewrite(t, list[1].Path, "address,residence\ndora@bücher.example,here\n", time.Minute)
	if loaded := d.Poll(time.Now()); len(loaded) != 1 || loaded[0] != d[1] || d.Err() != nil {
		t.Errorf("%d were loaded; the error is %v", len(loaded), d.Err())
	}
	if !listing(t, d, "dora@bücher.example").Found {
		t.Error("dora is not found")
	}
}

func TestPollTakesASoundChangeAndKeepsTheListAtABadOne(t *testing.T) {
	d := Open(two(t)[:1], nil)
	path, was := d[0].Source.Path, d[0].Snapshot
	rewrite(t, path, rows(0, 10, "nowhere"), time.Minute)
	if loaded := d.Poll(time.Now()); len(loaded) != 0 || d[0].Snapshot != was || d.Err() == nil {
		t.Errorf("a bad list was taken: %v", d.Err())
	}
	rewrite(t, path, rows(5, 10, "here"), 50*time.Second)
	if loaded := d.Poll(time.Now()); len(loaded) != 0 || d[0].Snapshot != was || !strings.Contains(d.Err().Error(), "lacks 5 of 10") {
		t.Errorf("a list that lacks too much was taken: %v", d.Err())
	}
	rewrite(t, path, rows(0, 11, "here"), 40*time.Second)
	if loaded := d.Poll(time.Now()); len(loaded) != 1 || d[0].Snapshot.Len() != 11 || d.Err() != nil {
		t.Errorf("a sound list was not taken: %v", d.Err())
	}
}

func TestPollLeavesAFileAloneThatIsBeingWrittenButNotForEver(t *testing.T) {
	d := Open(two(t)[:1], nil)
	written, begun := 10, time.Now()
	for _, c := range []struct {
		changed, polled time.Duration // since begun
		loaded          bool
	}{
		{0, time.Second, false},
		{0, 2 * time.Second, true},
		{10 * time.Second, 11 * time.Second, false},
		{39 * time.Second, 40 * time.Second, false},
		{41 * time.Second, 42 * time.Second, true},
		{43 * time.Second, 44 * time.Second, false},
		{time.Hour, time.Minute, true}, // in the future
	} {
		written++
		rewrite(t, d[0].Source.Path, rows(0, written, "here"), 0)
		then := begun.Add(c.changed)
		if err := os.Chtimes(d[0].Source.Path, then, then); err != nil {
			t.Fatal(err)
		}
		if loaded := d.Poll(begun.Add(c.polled)); len(loaded) == 1 != c.loaded || d.Err() != nil {
			t.Errorf("changed after %s, looked at after %s: loaded is %v, want %v; %v", c.changed, c.polled, !c.loaded, c.loaded, d.Err())
		}
	}
}

func TestEachFailureIsToldOnce(t *testing.T) {
	d := Open(two(t), nil)
	path := d[1].Source.Path
	told := func(about string, want bool) {
		t.Helper()
		d.Poll(time.Now())
		if failed := d.Untold(); len(failed) > 1 || len(failed) == 1 != want || want && failed[0] != d[1] {
			t.Errorf("%s: %d are told", about, len(failed))
		}
	}
	told("without a file", true)
	told("still without", false)
	rewrite(t, path, "address,residence\nx,here\n", time.Minute)
	told("with a bad row", true)
	told("still with it", false)
	rewrite(t, path, "address,residence\ndora@bücher.example,here\n", 50*time.Second)
	told("with a list", false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	told("gone again", true)
}
