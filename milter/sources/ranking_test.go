package sources

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/policy/directory"
	"coexistd/policy/route"
)

// ranked are sources of acmecorp.com in the order of these rows, each of them at one and the
// next by turns a file and a source outside this host. One without rows cannot be read.
func ranked(t *testing.T, rows ...string) Directories {
	t.Helper()
	var list []directory.Source
	for rank, text := range rows {
		s := source(filepath.Join(t.TempDir(), fmt.Sprintf("%d.csv", rank)))
		s.Domains, s.Rank = map[string]*route.Domain{acme.Name: acme}, map[string]int{acme.Name: rank}
		header, path := "address,residence,login,origin", s.Path
		if rank%2 == 1 {
			s.Path, s.Copy = fmt.Sprintf("source:%d", rank), strings.TrimSuffix(path, ".csv")
			header += "," + coverageColumn(s.Path, []string{acme.Name})
			text = strings.ReplaceAll(text, "\n", ",\n")
		}
		if text != "" {
			rewrite(t, path, header+"\n"+text, time.Hour)
		}
		list = append(list, s)
	}
	return Open(list, nil)
}

// The first that lists an address counts, and while one that is asked before can say nothing,
// neither do those behind it.
func TestOfThreeSourcesNoneDecidesBehindOneThatCannotBeRead(t *testing.T) {
	rows := []string{
		"a@acmecorp.com,here,,\nall@acmecorp.com,here,,\n",
		"b@acmecorp.com,office365,,\nall@acmecorp.com,office365,,\nlate@acmecorp.com,office365,,\n",
		"c@acmecorp.com,moving,,\nall@acmecorp.com,moving,,\nlate@acmecorp.com,moving,,\n",
	}
	for missing, want := range map[int]string{
		-1: "a here, b office365, c moving, all here, late office365, a+x here, nobody none",
		0:  "a 451, b 451, c 451, all 451, late 451, a+x 451, nobody 451",
		1:  "a here, b 451, c 451, all here, late 451, a+x here, nobody 451",
		2:  "a here, b office365, c 451, all here, late office365, a+x here, nobody 451",
	} {
		now := append([]string{}, rows...)
		if missing >= 0 {
			now[missing] = ""
		}
		d := ranked(t, now...)
		var got []string
		for _, name := range []string{"a", "b", "c", "all", "late", "a+x", "nobody"} {
			l := listing(t, d, name+"@acmecorp.com")
			lives := l.Residence.String()
			switch {
			case l.Failed:
				lives = "451"
			case !l.Found:
				lives = "none"
			}
			got = append(got, name+" "+lives)
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("without source %d: %s\nright is %s", missing, got, want)
		}
		for _, one := range d {
			if one.Snapshot == nil {
				continue
			}
			ranking := d.Ranking(one)
			for e := range one.Snapshot.All() {
				standing, by := ranking.Standing(e)
				if l := listing(t, d, e.Address()); (standing == Counts) != (!l.Failed && l.Residence == e.Residence()) || (standing == Undecided) != (missing >= 0 && by == d[missing]) {
					t.Errorf("without source %d: the standing of %s in %s is %d", missing, e.Address(), one.Source.Path, standing)
				}
			}
		}
	}
}

func TestASubaddressIsShadowedByItsOwnerInAListBefore(t *testing.T) {
	d := ranked(t, "alice@acmecorp.com,here,,\n", "alice+vip@acmecorp.com,office365,,\nbob+vip@acmecorp.com,office365,,\n")
	if l := listing(t, d, "alice+vip@acmecorp.com"); l.Residence.Kind != route.Here {
		t.Errorf("alice+vip is %+v", l)
	}
	ranking := d.Ranking(d[1])
	for address, want := range map[string]Standing{"alice+vip@acmecorp.com": Shadowed, "bob+vip@acmecorp.com": Counts} {
		e, _ := d[1].Snapshot.Lookup(address)
		if standing, _ := ranking.Standing(e); standing != want {
			t.Errorf("the standing of %s is %d; right is %d", address, standing, want)
		}
	}
}

func TestMistakesAreToldWithBothEntriesAndWhatWouldBeRight(t *testing.T) {
	d := ranked(t,
		"bob@acmecorp.com,here,bob,\ncarl@acmecorp.com,here,,\n",
		"bob@acmecorp.com,office365,bob,uid=bob\ncarl@acmecorp.com,here,,uid=carl\nuid1@acmecorp.com,here,twin,\"uid=twin,ou=a\"\nalias1@acmecorp.com,here,twin,\"uid=twin,ou=a\"\n"+
			"uid2@acmecorp.com,here,TWIN,\"uid=twin,ou=b\"\nalias2@acmecorp.com,here,TWIN,\"uid=twin,ou=b\"\ninfo@acmecorp.com,here,twin carl,cn=info\nlost@acmecorp.com,,,uid=lost\n")
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	if all := d.Mistakes(d[0]); len(all) != 0 {
		t.Errorf("of the first list is told %+v", all)
	}
	file := d[0].Source.Path
	want := []Mistake{
		{"source:1:9: the row has no residence; source.1.residence says what its entry's value means, or the default of all; mail for lost@acmecorp.com is put off (uid=lost)", "correct the entry there; the daemon takes it at its next reading", true},
		{"bob@acmecorp.com lives here by " + file + ":2, which counts, and office365 by source:1 (uid=bob)", "take the one out that is wrong, or leave it to the first: coexistd directory find ADDRESS tells which counts", false},
		{`source:1: the login "TWIN" has two owners: uid=twin,ou=a with uid1@acmecorp.com, and uid=twin,ou=b with uid2@acmecorp.com; either may write as the other`, "give each a login of its own, or the kind shared to what several people use", false},
	}
	got := d.Mistakes(d[1])
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("told is\n%+v\nright is\n%+v", got, want)
		}
	}
}

func TestSinceWhenAListIsSoIsNeverTooEarly(t *testing.T) {
	begun := time.Now().Add(-time.Second) // the clock of a file system ticks more slowly
	f := follow(t)
	if since := f.lists[0].Since(); !since.IsZero() {
		t.Errorf("without a list it is so since %v", since)
	}
	f.rows = users(0, 3)
	f.turn(t)
	first := f.lists[0].Since()
	if first.Before(begun) || first.After(time.Now()) {
		t.Errorf("a list that was read after %v is so since %v", begun, first)
	}
	f.restart(t)
	if since := f.lists[0].Since(); !since.Equal(first) {
		t.Errorf("after a restart it is so since %v, not %v", since, first)
	}
	// A file that was moved to its place brings an old time of modification along.
	path := write(t, rows(0, 3, "here"))
	if info, err := os.Stat(path); err != nil || info.ModTime().After(begun) {
		t.Fatal("the file is not old", err)
	}
	if since := load(t, source(path)).Since(); since.Before(begun) {
		t.Errorf("a file that was written after %v is so since %v", begun, since)
	}
}
