package quarantine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/policy/verdict"
)

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// queried are the entries that the tests look among. In Berlin, c came on the
// day after b.
var queried = []Entry{
	{ID: "a", State: Held, Item: Item{Time: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), Sender: "News@Partner.example", Point: verdict.S0,
		From: "=?utf-8?q?Jos=C3=A9?= <jose@brand.example>", Subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?= past due invoice"},
		Recipient: Recipient{Address: "Alice+shop@acmecorp.com", Owner: "alice@acmecorp.com", Checks: []string{"spam"}, Found: []string{""}}},
	{ID: "b", State: Releasing, Item: Item{Time: time.Date(2026, 11, 22, 22, 59, 0, 0, time.UTC), Point: verdict.S1, Subject: "hello"},
		Recipient: Recipient{Address: "bob@acmecorp.com", Owner: "bob@acmecorp.com", Checks: []string{"spam", "virus"}, Found: []string{"", "Eicar-Test-Signature"}}},
	{ID: "c", State: Held, Item: Item{Time: time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC), Sender: "x@evil.example", Point: verdict.S2, Subject: "Re: due past"},
		Recipient: Recipient{Address: "alice@acmecorp.com", Owner: "alice@acmecorp.com", Checks: []string{"malware"}, Found: []string{"executable"}}},
	{ID: "d", State: Released, Item: Item{Time: time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC), Sender: "x@evil.example", Point: verdict.S0},
		Recipient: Recipient{Address: "dora@acmecorp.com", Owner: "dora@acmecorp.com", Checks: []string{"spam"}, Found: []string{""}}},
}

func TestAQueryChoosesWhatAllOfItsPartsName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query Query
		want  string
	}{
		{Query{}, "abc"},
		{Query{All: true}, "abcd"},
		{Query{IDs: []string{"c", "d", "x"}}, "c"},
		{Query{IDs: []string{"c", "d", "x"}, All: true}, "cd"},
		{Query{To: "ALICE@acmecorp.com"}, "ac"},
		{Query{To: "<alice+shop@acmecorp.com>"}, "a"},
		{Query{To: "lice@acmecorp.com"}, ""},
		{Query{Words: []string{"partner"}}, "a"},
		{Query{Words: []string{"josé"}}, "a"},
		{Query{Words: []string{"GRÜSSE"}}, ""},
		{Query{Words: []string{"grüße"}}, "a"},
		{Query{Words: []string{"bob"}}, "b"},
		{Query{Words: []string{"past", "due"}}, "ac"},
		{Query{Words: []string{"past due"}}, "a"},
		{Query{Words: []string{"subject:Re: due"}}, "c"},
		{Query{Words: []string{"from:brand.example"}}, "a"},
		{Query{Words: []string{"from:bob"}}, ""},
		{Query{Words: []string{"to:+shop"}}, "a"},
		{Query{Words: []string{"CHECK:Virus"}}, "b"},
		{Query{Words: []string{"check:spam", "point:s0"}}, "a"},
		{Query{Words: []string{"found:eicar"}}, "b"},
		{Query{Words: []string{"before:2026-11-23"}}, "ab"},
		{Query{Words: []string{"after:2026-11-23"}, All: true}, "cd"},
		{Query{Words: []string{"after:2026-11-20", "before:2026-11-21"}}, "a"},
		{Query{Words: []string{"after:2026-11-23T10:30"}, All: true}, "d"},
		{Query{Words: []string{"before:2026-11-23T10:30", "after:2026-11-23"}, All: true}, "c"},
	} {
		matches, err := c.query.matcher(berlin(t))
		if err != nil {
			t.Errorf("%+v: %v", c.query, err)
			continue
		}
		got := ""
		for i := range queried {
			if matches(&queried[i]) {
				got += queried[i].ID
			}
		}
		if got != c.want {
			t.Errorf("%+v chooses %q, right is %q", c.query, got, c.want)
		}
	}
}

func TestWordsOfAQueryThatMeanNothingAreAllTold(t *testing.T) {
	t.Parallel()
	q := Query{Words: []string{"before:yesterday", "invoice", "after:23.11.2026", "form:x", "check:", "http://x"}}
	_, err := q.matcher(time.UTC)
	if err == nil {
		t.Fatal("there is no error")
	}
	want := []string{
		`"before:yesterday" does not name a date`, `"after:23.11.2026" does not name a date`,
		`"form:x" begins with a name that is not known`, `"check:" lacks`, `"subject:http://x"`,
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d mistakes are told: %v", len(lines), err)
	}
	for i, part := range want {
		if !strings.Contains(lines[i], part) {
			t.Errorf("the mistake is told as %q, without %q", lines[i], part)
		}
	}
}

func TestSpacesInQuotesBelongToAWord(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                                    nil,
		"  a\tb\n c ":                         {"a", "b", "c"},
		`subject:"past due" after:2026-11-01`: {"subject:past due", "after:2026-11-01"},
		`"a b"c "" d`:                         {"a bc", "d"},
	} {
		if got, err := SplitWords(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is split into %q (%v), right is %q", line, got, err, want)
		}
	}
	if _, err := SplitWords(`subject:"past due`); err == nil {
		t.Error("a quote that does not end is taken")
	}
}
