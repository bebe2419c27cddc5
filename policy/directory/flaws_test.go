package directory

import (
	"fmt"
	"strings"
	"testing"
)

// outside is a source outside this host.
func outside() Source {
	s := usual
	s.Path, s.Copy, s.Limits = "source:people", "people", []string{"hourly"}
	s.MaxLossFloor = 20
	return s
}

const outsideColumns = "address,residence,login,target,kind,origin,hourly\n"

func TestABadRowOfASourceIsToldAndOnlyItsOwnAddressIsPutOff(t *testing.T) {
	for about, c := range map[string]struct {
		rows string
		told string // the flaw, or its beginning
		how  string // what mail for x is told
	}{
		"no residence": {"x@acmecorp.com,,x,,,uid=x,",
			"the row has no residence; source.people.residence says what its entry's value means, or the default of all; mail for x@acmecorp.com is put off (uid=x)", "failed"},
		"no such residence": {"x@acmecorp.com,nowhere,x,,,uid=x,", `residence "nowhere" is not known for acmecorp.com; it would be here`, "failed"},
		"a target of ours": {"x@acmecorp.com,office365,x,x@bücher.example,,uid=x,",
			"the target x@xn--bcher-kva.example would come back: xn--bcher-kva.example is one of our domains; it would be of acmecorp-com.onmicrosoft.com; mail for x@acmecorp.com is put off (uid=x)", "failed"},
		"a target that is not used":    {"x@acmecorp.com,here,x,x@bücher.example,,uid=x,", "of x@acmecorp.com, which does not live elsewhere, the target x@xn--bcher-kva.example would come back", "here"},
		"a group on both sides":        {"x@acmecorp.com,both,,,group,cn=x,", "the group x@acmecorp.com lives on both sides", "failed"},
		"a limit that is none":         {"x@acmecorp.com,here,x,,,uid=x,many", `of x@acmecorp.com the column "hourly" holds "many"; a limit is a whole number from 1 to 1000000000000, or unlimited, or nothing for that of the rule; that of the rule counts (uid=x)`, "here"},
		"no address":                   {",here,x,,,uid=x,", "the row has no address (uid=x)", "no x"},
		"two addresses in one":         {"x@acmecorp.com y@acmecorp.com,here,x,,,uid=x,", `"x@acmecorp.com y@acmecorp.com" is not one address`, "no x"},
		"two entries that contradict":  {"x@acmecorp.com,here,a,,,uid=a,\nx@acmecorp.com,office365,b,,,uid=b,", "x@acmecorp.com is the address of two entries, uid=a and uid=b, of which one lives here and the other office365; mail for it is put off; take it from the one that does not own it", "failed"},
		"two entries of two targets":   {"x@acmecorp.com,office365,a,a@acmecorp-com.onmicrosoft.com,,uid=a,\nx@acmecorp.com,office365,b,b@acmecorp-com.onmicrosoft.com,,uid=b,", "x@acmecorp.com is the address of two entries, uid=a and uid=b, of which one lives office365 as a@acmecorp-com.onmicrosoft.com and the other office365 as b@", "failed"},
		"two entries that agree":       {"x@acmecorp.com,here,a,,,uid=a,\nx@acmecorp.com,here,b,,,uid=b,", `x@acmecorp.com is the address of two entries, uid=a and uid=b, of which the first counts, with its login "a"; take it from the one that does not own it`, "here"},
		"two entries, the second bad":  {"x@acmecorp.com,here,a,,,uid=a,\nx@acmecorp.com,,b,,,uid=b,", "x@acmecorp.com is the address of two entries, uid=a and uid=b, of which the second is wrong: the row has no residence", "failed"},
		"two entries, the first bad":   {"x@acmecorp.com,,a,,,uid=a,\nx@acmecorp.com,here,b,,,uid=b,", "the row has no residence", "failed"},
		"a row that is a line of junk": {"junk", "the row has 1 fields and the header line 7", "no x"},
	} {
		list, err := build(outside(), outsideColumns+"alice@acmecorp.com,here,alice,,,uid=alice,\n"+c.rows)
		if err != nil {
			t.Errorf("%s: the list is refused: %v", about, err)
			continue
		}
		flaws := list.Flaws()
		if len(flaws.Rows) == 0 || !strings.HasPrefix(flaws.Rows[0].Problem, c.told) || flaws.Rows[0].Line < 3 || flaws.Rows[0].PutOff != (c.how == "failed") || flaws.PutOff > 1 {
			t.Errorf("%s: told are %+v\nnot %q", about, flaws, c.told)
		}
		set := NewSet(map[string][]*Snapshot{acme.Name: {list}, twin.Name: {list}}, nil)
		if got := set.List(parse(t, "alice+news@acmecorp.com")); !got.Found || got.Failed {
			t.Errorf("%s: alice is not found", about)
		}
		got := set.List(parse(t, "x+news@acmecorp.com"))
		how := "no x"
		switch {
		case got.Failed:
			how = "failed"
		case got.Found:
			how = got.Residence.String()
		}
		if how != c.how || got.Failed != set.Row(parse(t, "x@acmecorp.com")).Failed {
			t.Errorf("%s: mail for x is told %q; right is %q", about, how, c.how)
		}
	}
}

func TestAListOfWhichNoRowCanBeUsedIsRefused(t *testing.T) {
	_, err := build(outside(), outsideColumns+"x@acmecorp.com,,x,,,uid=x,\n,here,y,,,uid=y,")
	for _, want := range []string{"source:people:2: the row has no residence", "source:people:3: the row has no address"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v; it must say %q", err, want)
		}
	}
	var rows strings.Builder
	rows.WriteString(outsideColumns + "alice@acmecorp.com,here,alice,,,,\n")
	for i := range maxUnclear + 1 {
		fmt.Fprintf(&rows, "user%d@acmecorp.com,,,,,,\n", i)
	}
	if _, err := build(outside(), rows.String()); err == nil || !strings.Contains(err.Error(), "and 99901 more") {
		t.Errorf("too many bad rows: %.200v", err)
	}
}

// A value that the configuration does not know, in every entry, must not put all mail off.
func TestAListThatLeavesTooManyUnclearIsGuardedAgainst(t *testing.T) {
	list := func(bad int) *Snapshot {
		var text strings.Builder
		text.WriteString(outsideColumns)
		for i := range 100 {
			residence := "here"
			if i < bad {
				residence = "elsewhere"
			}
			fmt.Fprintf(&text, "user%d@acmecorp.com,%s,,,,uid=user%d,\n", i, residence, i)
		}
		l, err := build(outside(), text.String())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if err := Guard(list(0), list(20), nil, nil); err != nil {
		t.Errorf("20 of 100: %v", err)
	}
	err := Guard(list(0), list(21), nil, nil)
	for _, want := range []string{"lacks 21 of 100 addresses (21.00 %), user0@acmecorp.com for one", `of 21 of them it has an entry that does not say where they live: residence "elsewhere" is not known`, "(uid=user0)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("21 of 100: the error is %v; it must say %q", err, want)
		}
	}
	if err := Guard(list(90), list(90), nil, nil); err != nil {
		t.Errorf("as many as before: %v", err)
	}
}

func TestABadRowOfAFileRefusesItAndTwiceAnAddressNamesBothLogins(t *testing.T) {
	_, err := build(usual, "address,residence,login\nx@acmecorp.com,here,a\nx@acmecorp.com,here,b\n")
	if want := `users.csv:3: the address x@acmecorp.com is on line 2 already, as one of "a", and here of "b"; it would be that of one of them`; err == nil || err.Error() != want {
		t.Errorf("the error is %v\nnot %s", err, want)
	}
}

func TestAnUnclearAddressIsAskedForWithoutAllocating(t *testing.T) {
	list, err := build(outside(), outsideColumns+"alice@acmecorp.com,here,alice,,,uid=alice,\nx@acmecorp.com,,x,,,uid=x,")
	if err != nil {
		t.Fatal(err)
	}
	set, x := NewSet(map[string][]*Snapshot{acme.Name: {list}}, nil), parse(t, "x@acmecorp.com")
	if n := testing.AllocsPerRun(100, func() { set.List(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAFlawOfWhoIsToldPutsNoMailOff(t *testing.T) {
	list, err := build(outside(), "address,residence,origin,report_to\nx@acmecorp.com,here,uid=x,alice\n")
	if err != nil {
		t.Fatal(err)
	}
	flaws, told := list.Flaws(), `of x@acmecorp.com the column "report_to": the address "alice" has no domain; `
	if len(flaws.Rows) != 1 || !strings.HasPrefix(flaws.Rows[0].Problem, told) || !strings.HasSuffix(flaws.Rows[0].Problem, "; it is not used (uid=x)") || flaws.Rows[0].PutOff {
		t.Errorf("told is %+v", flaws)
	}
	row := NewSet(map[string][]*Snapshot{acme.Name: {list}}, nil).Row(parse(t, "x@acmecorp.com"))
	if to, owner := row.Told(); len(to) > 0 || !owner {
		t.Errorf("told are %v, %v", to, owner)
	}
}
