package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/milter/sources"
)

// deadline is a context that outlasts any test that is not stuck.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// file makes a database of SQLite by statements, and returns its path.
func file(t testing.TB, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mail.db")
	fill(t, path, append(statements, "CREATE TABLE last (x)")...)
	return path
}

func fill(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.ExecContext(deadline(t), s); err != nil {
			t.Fatalf("%v: %s", err, s)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func reader(t testing.TB, o Options) *Reader {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// collect reads a list into lines.
func collect(t testing.TB, o Options) ([]string, error) {
	t.Helper()
	var lines []string
	err := reader(t, o).Read(deadline(t), func(row sources.Row) error {
		lines = append(lines, line(row))
		return nil
	})
	return lines, err
}

// list reads a list that nothing is wrong with, and returns its lines in their order as
// texts.
func list(t testing.TB, o Options) []string {
	t.Helper()
	lines, err := collect(t, o)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func line(row sources.Row) string {
	words := []string{row.Address, row.Residence, row.Login, row.Target, row.Kind}
	for _, name := range slices.Sorted(maps.Keys(row.Further)) {
		words = append(words, name+"="+row.Further[name])
	}
	return strings.Join(words, " | ")
}

func compare(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantWords checks that an error has all of some words.
func wantWords(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %v\nwant one with %q", err, w)
		}
	}
}

func mark(t testing.TB, o Options) sources.Mark {
	t.Helper()
	m, err := reader(t, o).Mark(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var errEnough = errors.New("enough")

// many is a query that gives so many rows of a thousand bytes, in SQLite's and MariaDB's
// words.
func many(rows int) string {
	return fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
SELECT CONCAT('user', i, '@acmecorp.com') AS address, 'here' AS residence, 'group' AS kind, REPLACE('aaaaaaaaaa', 'a', 'hundred bytes of text, hundred bytes of text, hundred bytes of text, hundred bytes of text, 0123456789') AS further FROM n`, rows)
}
