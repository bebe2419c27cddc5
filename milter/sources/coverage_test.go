package sources

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"coexistd/policy/directory"
	"coexistd/policy/route"
)

// twins are rows of so many users of the other domain.
func twins(from, to int) (rows []Row) {
	for i := from; i < to; i++ {
		rows = append(rows, Row{Address: fmt.Sprintf("twin%d@bücher.example", i), Residence: "here", Login: fmt.Sprint("twin", i)})
	}
	return rows
}

// text is a directory file with rows.
func text(rows []Row) string {
	var b strings.Builder
	b.WriteString("address,residence,login\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "%s,%s,%s\n", row.Address, row.Residence, row.Login)
	}
	return b.String()
}

// of is a source with these domains alone.
func of(s directory.Source, domains ...*route.Domain) directory.Source {
	s.Domains = make(map[string]*route.Domain)
	for _, domain := range domains {
		s.Domains[domain.Name] = domain
	}
	return s
}

// answers tells what is said of an address: found, none, or later.
func answers(t *testing.T, d Directories, address, want string) {
	t.Helper()
	got := "none"
	switch l := listing(t, d, address); {
	case l.Failed:
		got = "later"
	case l.Found:
		got = "found"
	}
	if got != want {
		t.Errorf("%s: %s; right is %s", address, got, want)
	}
}

func TestADomainThatMovesFromAListThatStaysIsJudgedAgainstIt(t *testing.T) {
	f := follow(t)
	file := source(write(t, text(append(users(0, 100), twins(0, 100)...))))
	before := Open([]directory.Source{file}, nil)
	f.source = of(f.source, twin)
	f.begin(t)
	f.lists = Open([]directory.Source{f.source, of(file, acme)}, before)
	f.must(t, "not read yet", 100, "source:people has not been read yet")
	answers(t, f.lists, "user3@acmecorp.com", "found")
	answers(t, f.lists, "nobody@acmecorp.com", "none")
	answers(t, f.lists, "twin3@bücher.example", "found")
	answers(t, f.lists, "nobody@bücher.example", "later")
	f.rows = twins(0, 50)
	f.turn(t)
	f.must(t, "half of them", 100, "source:people: the new list lacks 50 of 100 addresses")
	answers(t, f.lists, "twin77@bücher.example", "found")
	// Another reload keeps what is known.
	f.lists = Open([]directory.Source{f.source, of(file, acme)}, f.lists)
	f.must(t, "after a reload", 100, "source:people: the new list lacks 50 of 100 addresses")
	f.rows = twins(0, 95)
	f.turn(t)
	f.must(t, "nearly all", 95, "")
	answers(t, f.lists, "twin97@bücher.example", "none")
}

func TestADomainThatMovesToASourceThatStaysIsJudgedBeforeItCounts(t *testing.T) {
	f := follow(t)
	f.source = of(f.source, twin)
	f.begin(t)
	file := of(source(write(t, text(users(0, 100)))), acme)
	other := of(source(write(t, "address,residence\n")), &route.Domain{Name: "third.example", Unlisted: route.Residence{Kind: route.Here}})
	f.lists = Open([]directory.Source{f.source, file}, nil)
	f.mark, f.rows = Mark{"a": "1"}, twins(0, 100)
	f.turn(t)
	f.must(t, "one domain", 100, "")

	f.source = of(f.source, twin, acme)
	file.Domains = other.Domains
	f.lists = Open([]directory.Source{f.source, file}, f.lists)
	f.must(t, "both domains", 200, "")
	for address, want := range map[string]string{
		"user3@acmecorp.com": "found", "nobody@acmecorp.com": "later", "twin3@bücher.example": "found", "nobody@bücher.example": "none",
	} {
		answers(t, f.lists, address, want)
	}
	// What the Poller from before leaves is of its domain alone.
	f.rows = twins(0, 99)
	f.mark = Mark{"a": "2"}
	f.turn(t)
	f.must(t, "the one domain once more", 199, "")
	answers(t, f.lists, "user3@acmecorp.com", "found")
	f.begin(t)
	f.rows = append(users(0, 50), twins(0, 100)...)
	f.turn(t)
	f.must(t, "half of the new domain", 199, "lacks 50 of 199 addresses")
	f.mark, f.rows = Mark{"a": "3"}, append(users(0, 99), twins(0, 100)...)
	f.turn(t)
	f.must(t, "nearly all", 199, "")
	answers(t, f.lists, "user99@acmecorp.com", "none")
}

func TestADomainThatMovesFromFileToFileIsJudged(t *testing.T) {
	all := source(write(t, text(append(users(0, 100), twins(0, 100)...))))
	before := Open([]directory.Source{all}, nil)
	one := of(source(write(t, text(twins(0, 50)))), twin)
	lists := Open([]directory.Source{of(all, acme), one}, before)
	if err := lists[1].Err; err == nil || !strings.Contains(err.Error(), "lacks 50 of 100 addresses") || !lists[1].Lost() {
		t.Errorf("the error is %v", err)
	}
	answers(t, lists, "twin77@bücher.example", "found")
	answers(t, lists, "nobody@bücher.example", "none")
	rewrite(t, one.Path, text(twins(0, 100)), time.Minute)
	if lists.Poll(time.Now()); lists[1].Err != nil || lists[1].Snapshot.Len() != 100 {
		t.Errorf("%v", lists[1].Err)
	}
}

func TestSeveralListsThatTakeThePlaceOfOneAreJudgedTogether(t *testing.T) {
	f := follow(t)
	file := source(write(t, text(append(users(0, 100), twins(0, 10)...))))
	before := Open([]directory.Source{file}, nil)
	rewrite(t, file.Path, text(twins(0, 10)), time.Minute)
	here := of(source(write(t, text(users(80, 100)))), acme)
	f.source = of(f.source, acme)
	f.begin(t)
	f.lists = Open([]directory.Source{f.source, here, of(file, twin)}, before)
	f.must(t, "not read yet", 100, "source:people has not been read yet")
	if one := f.lists[1]; one.Err != nil || one.Snapshot.Len() != 20 {
		t.Errorf("the file: %v", one.Err)
	}
	answers(t, f.lists, "user3@acmecorp.com", "found")
	answers(t, f.lists, "user83@acmecorp.com", "found")
	f.rows = users(0, 60)
	f.turn(t)
	f.must(t, "some are nowhere", 100, "lacks 20 of 100 addresses (20.00 %), user60@acmecorp.com for one")
	answers(t, f.lists, "user77@acmecorp.com", "found")
	rewrite(t, here.Path, text(users(60, 100)), time.Minute)
	f.lists.Poll(time.Now())
	f.turn(t)
	f.must(t, "the others list them", 60, "")
	answers(t, f.lists, "nobody@acmecorp.com", "none")
	// From now on each is judged alone.
	f.rows = users(0, 40)
	f.turn(t)
	f.must(t, "alone", 60, "lacks 20 of 60 addresses")

	// Files that are read one after the other.
	rest := of(source(write(t, text(users(0, 49)))), acme)
	lists := Open([]directory.Source{here, rest, of(file, twin)}, before)
	if err := lists.Err(); err == nil || !strings.Contains(err.Error(), "lacks 11 of 100 addresses") {
		t.Errorf("the error is %v", err)
	}
	answers(t, lists, "user55@acmecorp.com", "found")
	rewrite(t, rest.Path, text(users(0, 80)), time.Minute)
	if lists.Poll(time.Now()); lists.Err() != nil {
		t.Errorf("with all, the error is %v", lists.Err())
	}
	if before[0].inherits != nil || before[0].Snapshot.Len() != 110 {
		t.Error("the list from before has changed")
	}
}

func TestACopyFromBeforeALimitWasAskedForDoesForResidences(t *testing.T) {
	f := follow(t)
	f.source.Limits = nil
	f.restart(t)
	f.mark, f.rows = Mark{"a": "1"}, users(0, 10)
	f.turn(t)
	limit := func(about, want string) {
		t.Helper()
		if value, failed := f.lists.Set().Limit("user3", "hourly"); value != want || failed {
			t.Errorf("%s: the limit is %q, failed: %v; right is %q", about, value, failed, want)
		}
	}
	f.source.Limits = []string{"hourly"}
	for _, old := range []Directories{f.lists, nil} {
		f.lists = Open([]directory.Source{f.source}, old)
		f.must(t, "the copy lacks the column", 10, "")
		answers(t, f.lists, "user3@acmecorp.com", "found")
		answers(t, f.lists, "nobody@acmecorp.com", "none")
		limit("the copy lacks the column", "")
	}
	f.begin(t)
	f.turn(t)
	f.must(t, "read", 10, "")
	limit("read", "7")
}

func TestLeanListsAreJoinedWithAllThatMailIsDecidedBy(t *testing.T) {
	f := follow(t)
	f.source.Lean = true
	both := f.source
	f.source = of(both, twin)
	f.begin(t)
	file := of(source(write(t, "address,residence,room,login,target,hourly\nalice@acmecorp.com,office365,12,al,a@acmecorp-com.onmicrosoft.com,7\n")), acme)
	file.Limits, file.Lean = both.Limits, true
	f.lists = Open([]directory.Source{f.source, file}, nil)
	f.mark, f.rows = Mark{"a": "1"}, twins(0, 10)
	f.turn(t)
	f.lists = Open([]directory.Source{both}, f.lists)
	f.must(t, "joined", 11, "")
	e, _ := f.lists[0].Snapshot.Lookup("alice@acmecorp.com")
	if e.Residence().Platform != "office365" || e.Login() != "al" || e.Target() != "a@acmecorp-com.onmicrosoft.com" || e.Column("room") != "" {
		t.Errorf("of alice it holds %v, %q, %q, %q", e.Residence(), e.Login(), e.Target(), e.Column("room"))
	}
	if value, failed := f.lists.Set().Limit("al", "hourly"); value != "7" || failed {
		t.Errorf("the limit of al is %q, failed: %v", value, failed)
	}
	answers(t, f.lists, "nobody@bücher.example", "none")
	answers(t, f.lists, "nobody@acmecorp.com", "later")
}

func TestAListThatHasAnothersDomainIsNotReadOnceMoreWhenOthersChange(t *testing.T) {
	f := follow(t)
	f.source = of(f.source, twin)
	f.begin(t)
	file := of(source(write(t, text(users(0, 100)))), acme)
	f.lists = Open([]directory.Source{f.source, file}, nil)
	f.mark, f.rows = Mark{"a": "1"}, twins(0, 100)
	f.turn(t)
	third := &route.Domain{Name: "third.example", Unlisted: route.Residence{Kind: route.Here}}
	other := of(source(write(t, "address,residence\nbob@third.example,here\n")), third)
	f.lists = Open([]directory.Source{of(f.source, twin, acme), other}, f.lists)
	f.must(t, "both domains", 200, "")
	rewrite(t, other.Path, "address,residence\nbob@third.example,here\ncarol@third.example,here\n", time.Minute)
	for n, want := range []int{1, 0, 0} {
		if loaded := f.lists.Poll(time.Now()); len(loaded) != want || want > 0 && loaded[0].Source.Path != other.Path {
			t.Errorf("poll %d: %d lists were loaded; right is %d", n, len(loaded), want)
		}
	}
}
