package sources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/fake"
	"coexistd/policy/directory"
	"coexistd/policy/route"
)

// told is a Reader that says what a test has it say.
type told struct {
	mark   Mark
	rows   []Row
	fails  error // after the rows
	asked  int   // how often it was read
	closed bool
}

func (r *told) Mark(context.Context) (Mark, error) { return r.mark, nil }
func (r *told) Close()                             { r.closed = true }
func (r *told) Read(_ context.Context, add func(Row) error) error {
	r.asked++
	for _, row := range r.rows {
		if err := add(row); err != nil {
			return err
		}
	}
	return r.fails
}

// users are rows of so many users here.
func users(from, to int) (rows []Row) {
	for i := from; i < to; i++ {
		rows = append(rows, Row{Origin: fmt.Sprintf("uid=user%d", i), Address: fmt.Sprintf("user%d@acmecorp.com", i), Residence: "here", Login: fmt.Sprint("user", i), Further: map[string]string{"hourly": "7"}})
	}
	return rows
}

// followed is a source with its Poller and its list.
type followed struct {
	*told
	*Poller
	source directory.Source
	lists  Directories
	full   time.Time
	log    *fake.Log
}

func follow(t *testing.T) *followed {
	t.Helper()
	f := &followed{told: &told{}, source: source("source:people"), log: fake.NewLog()}
	f.source.Copy = filepath.Join(t.TempDir(), "directories", "people")
	f.source.Limits = []string{"hourly"}
	f.restart(t)
	return f
}

// restart makes all anew, as a start of the daemon does.
func (f *followed) restart(t *testing.T) {
	t.Helper()
	f.begin(t)
	f.lists = Open([]directory.Source{f.source}, nil)
}

// begin makes the Poller anew.
func (f *followed) begin(t *testing.T) {
	t.Helper()
	f.Poller = NewPoller(Polling{
		Name: f.source.Path, Copy: f.source.Copy, Columns: f.source.Limits, Domains: slices.Sorted(maps.Keys(f.source.Domains)),
		Interval: time.Minute, FullInterval: time.Hour, FullTimeout: time.Hour,
	}, func() (Reader, error) { return f.told, nil }, f.log.Logger)
	f.full = time.Time{}
	if err := f.recall(); err != nil {
		t.Fatal(err)
	}
}

// turn polls once, and has the list judged.
func (f *followed) turn(t *testing.T) (loaded bool) {
	t.Helper()
	if f.poll(t.Context(), &f.full) {
		f.succeeded()
	}
	return len(f.lists.Poll(time.Now())) > 0
}

// accept takes the list that waits, as it is now.
func (f *followed) accept(t *testing.T) (found bool, err error) {
	t.Helper()
	_, digest, err := f.lists[0].Waiting()
	if err != nil {
		t.Fatal(err)
	}
	return f.lists[0].Accept(digest)
}

func (f *followed) must(t *testing.T, about string, addresses int, problem string) {
	t.Helper()
	got := 0
	if f.lists[0].Snapshot != nil {
		got = f.lists[0].Snapshot.Len()
	}
	if got != addresses {
		t.Errorf("%s: the list has %d addresses; right is %d", about, got, addresses)
	}
	if err := f.lists[0].Err; problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
		t.Errorf("%s: the list's error is %v; it must say %q", about, err, problem)
	}
}

func TestAListIsTakenAndOutlivesTheSourceAndTheDaemon(t *testing.T) {
	f := follow(t)
	f.must(t, "before", 0, "source:people has not been read yet")
	f.mark, f.rows = Mark{"a": "1"}, users(0, 10)
	if !f.turn(t) {
		t.Error("nothing was loaded")
	}
	f.must(t, "read", 10, "")
	e, _ := f.lists[0].Snapshot.Lookup("user3@acmecorp.com")
	if e.Login() != "user3" || e.Column("origin") != "uid=user3" || e.Column("hourly") != "7" {
		t.Errorf("the row has the login %q, the origin %q, hourly %q", e.Login(), e.Column("origin"), e.Column("hourly"))
	}
	if f.turn(t) || f.asked != 1 {
		t.Errorf("with the same mark it was read %d times", f.asked)
	}
	f.fails = errors.New("the server has gone")
	f.mark = Mark{"a": "2"}
	f.rows = users(0, 5)
	f.turn(t)
	f.must(t, "cut short", 10, "")
	if s := f.State(); s.Failed != "the server has gone" || s.Rows != 10 {
		t.Errorf("the state is %+v", s)
	}
	f.restart(t)
	f.must(t, "after a restart", 10, "")
	f.turn(t)
	f.must(t, "still away", 10, "")
	if n := strings.Count(f.log.String(), "a source cannot be read"); n != 2 {
		t.Errorf("the log tells %d times that it cannot be read; right is once for each start:\n%s", n, f.log)
	}
	f.fails, f.rows = nil, users(0, 11)
	f.turn(t)
	f.must(t, "back", 11, "")
	for _, file := range []string{".csv", ".json"} {
		if info, err := os.Stat(f.source.Copy + file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

func TestAListThatLostTooMuchWaitsAndIsTakenOnceItMay(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 100)
	f.turn(t)
	f.rows = users(50, 100)
	f.turn(t)
	const lost = "source:people: the new list lacks 50 of 100 addresses"
	f.must(t, "lost", 100, lost)
	if !f.lists[0].Lost() {
		t.Error("it is not told as a loss")
	}
	f.restart(t)
	f.must(t, "after a restart", 100, "")
	f.turn(t)
	f.must(t, "judged again", 100, lost)
	// A reload with the same settings keeps what it knows; one that allows it has it taken.
	f.lists = Open([]directory.Source{f.source}, f.lists)
	f.must(t, "after a reload", 100, lost)
	f.source.MaxLoss = 0.5
	f.lists = Open([]directory.Source{f.source}, f.lists)
	f.turn(t)
	f.must(t, "allowed", 50, "")
	f.restart(t)
	f.must(t, "after another restart", 50, "")
}

func TestAListThatRecoversIsTakenAgain(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 100)
	f.turn(t)
	f.rows = nil
	f.turn(t)
	f.must(t, "emptied", 100, "source:people lists no address")
	f.rows = users(0, 100)
	f.turn(t)
	f.must(t, "recovered", 100, "")
	f.rows = append(users(0, 99), Row{Origin: "uid=bad", Address: "user99@acmecorp.com", Residence: "nowhere"})
	f.turn(t)
	f.must(t, "a bad row", 100, "")
	const told = `residence "nowhere" is not known for acmecorp.com; it would be here, both, moving or one of office365; mail for user99@acmecorp.com is put off (uid=bad)`
	for range 2 {
		if flaws := f.lists[0].Snapshot.Flaws(); flaws.PutOff != 1 || len(flaws.Rows) != 1 || flaws.Rows[0].Problem != told {
			t.Errorf("of a bad row is told %+v\nnot %s", flaws, told)
		}
		if !listing(t, f.lists, "user99@acmecorp.com").Failed || !listing(t, f.lists, "user98@acmecorp.com").Found {
			t.Error("the address of a bad row is not put off, or another is")
		}
		f.restart(t)
	}
}

// Whatever is in a value, it is of its own row and of no other.
func TestABadValueOfASourceConcernsItsOwnRowAlone(t *testing.T) {
	f := follow(t)
	row := func(change func(*Row)) Row {
		r := Row{Origin: "uid=bad", Address: "bad@acmecorp.com", Residence: "here", Login: "bad"}
		change(&r)
		return r
	}
	for about, c := range map[string]struct {
		row    Row
		told   string
		putOff bool
	}{
		"a NUL in the login":    {row(func(r *Row) { r.Login = "b\x00d" }), "the row holds the control character 0x00 at byte 24; it is that of bad@acmecorp.com, for which mail is put off", true},
		"a NUL in the address":  {row(func(r *Row) { r.Address = "b\x00d@acmecorp.com" }), "the row holds the control character 0x00 at byte 2; it begins", false},
		"no UTF-8":              {row(func(r *Row) { r.Origin = "\xff" }), "the row is not UTF-8", true},
		"70 KB":                 {row(func(r *Row) { r.Origin = strings.Repeat("x", 70_000) }), "the row has 70", true},
		"a row within a value":  {row(func(r *Row) { r.Login = "x\nuser1@acmecorp.com,office365,,,,,\n" }), "", false},
		"a row within a target": {row(func(r *Row) { r.Target = "x\r\nuser1@acmecorp.com,office365,,,,," }), "of bad@acmecorp.com, which does not live elsewhere, the target", false},
	} {
		f.rows = append(users(0, 10), c.row)
		f.turn(t)
		if f.lists[0].Err != nil {
			t.Errorf("%s: %v", about, f.lists[0].Err)
		}
		flaws := f.lists[0].Snapshot.Flaws()
		told := ""
		if len(flaws.Rows) > 0 {
			told = flaws.Rows[0].Problem
		}
		if !strings.HasPrefix(told, c.told) || (told == "") != (c.told == "") || listing(t, f.lists, "bad@acmecorp.com").Failed != c.putOff {
			t.Errorf("%s: told is %q, %d are put off", about, told, flaws.PutOff)
		}
		if one := listing(t, f.lists, "user1@acmecorp.com"); !one.Found || one.Residence.Kind != route.Here {
			t.Errorf("%s: user1 is %+v", about, one)
		}
	}
}

func TestARowThatCannotBeReadPutsItsOwnAddressOffHoweverThatIsWritten(t *testing.T) {
	for _, address := range []string{"plain@acmecorp.com", `"a, b"@acmecorp.com`, `"a\"b"@acmecorp.com`} {
		f := follow(t)
		f.rows = append(users(0, 10), Row{Origin: "uid=x", Address: address, Residence: "here", Login: "x"})
		f.turn(t)
		f.must(t, "whole", 11, "")
		f.rows[10].Login = "x\x07"
		f.turn(t)
		f.must(t, "with a control character", 11, "")
		if one := listing(t, f.lists, address); !one.Failed {
			t.Errorf("%s is %+v; its mail must be put off", address, one)
		}
	}
}

func TestASourceThatWentBackIsNotBelievedUntilItIsAsFarAgain(t *testing.T) {
	f := follow(t)
	f.mark, f.rows = Mark{"a": "5", "b": "1"}, users(0, 100)
	f.turn(t)
	f.mark, f.rows = Mark{"a": "3", "b": "2"}, users(0, 99)
	f.turn(t)
	f.must(t, "restored", 100, "source:people lists what it did at an earlier time")
	f.restart(t)
	f.turn(t)
	f.must(t, "after a restart", 100, "at an earlier time")
	f.mark, f.rows = Mark{"a": "6", "b": "2"}, users(0, 100)
	f.turn(t)
	f.must(t, "as far again", 100, "")
	f.rows = users(0, 99)
	f.mark = Mark{"a": "7", "b": "2"}
	f.turn(t)
	f.must(t, "somebody goes", 99, "")
	// A server that forgot its counter, and nothing else.
	f.mark = Mark{"a": "4", "b": "2"}
	f.turn(t)
	f.must(t, "the counter alone", 99, "")
}

func TestTheCopiesHaveWhatTheSourceSays(t *testing.T) {
	f := follow(t)
	f.rows = []Row{{Origin: `uid="x", y`, Address: `"a, b"@acmecorp.com`, Residence: "office365", Login: "one two", Target: "a@acmecorp-com.onmicrosoft.com", Kind: "user"}}
	f.turn(t)
	f.must(t, "quoted", 1, "")
	for e := range f.lists[0].Snapshot.All() {
		got := []string{e.Address(), e.Login(), e.Target(), e.Column("kind"), e.Column("origin")}
		if want := []string{`"a, b"@acmecorp.com`, "one two", "a@acmecorp-com.onmicrosoft.com", "user", `uid="x", y`}; !slices.Equal(got, want) {
			t.Errorf("the row is %q; right is %q", got, want)
		}
	}
	f.rows = []Row{{Address: "a@acmecorp.com\nb@acmecorp.com,here", Residence: "here"}}
	f.turn(t)
	if f.lists[0].Err == nil {
		t.Error("a line break within an address makes a row")
	}
}

func TestTheReaderIsClosedWhenThePollerEnds(t *testing.T) {
	f := follow(t)
	f.turn(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Run(ctx, nil)
	if !f.closed {
		t.Error("it is open")
	}
}

func TestAFailureThatDiffersInThePortItCameFromIsToldOnce(t *testing.T) {
	f := follow(t)
	for port := range 3 {
		f.fails = fmt.Errorf("read tcp 192.0.2.1:4900%d->192.0.2.2:389: connection reset by peer", port)
		f.turn(t)
		if s := f.State(); s.Failed != f.fails.Error() {
			t.Errorf("the state is %+v; want %v", s, f.fails)
		}
	}
	for page := range 2 {
		f.fails = fmt.Errorf("reading page %d: no answer within 30s", page)
		f.turn(t)
	}
	if n := f.log.Count("a source cannot be read"); n != 3 {
		t.Errorf("the log tells %d times that it cannot be read; right is 3:\n%s", n, f.log)
	}
}

func TestAReaderThatCannotBeMadeIsAFailureUntilItCan(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 10)
	f.turn(t)
	f.restart(t)
	open, wrong := f.Poller.open, errors.New("the ca_file ca.pem does not exist")
	f.Poller.open = func() (Reader, error) { return nil, wrong }
	for range 2 {
		f.turn(t)
	}
	f.must(t, "the copy", 10, "")
	if s := f.State(); s.Failed != wrong.Error() || s.Since.IsZero() {
		t.Errorf("the state is %+v", s)
	}
	if n := strings.Count(f.log.String(), wrong.Error()); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, f.log)
	}
	f.Poller.open, f.rows = open, users(0, 11)
	f.turn(t)
	f.must(t, "mended", 11, "")
	if s := f.State(); s.Failed != "" {
		t.Errorf("the state is %+v", s)
	}
}

// drip is a Reader whose list has no end.
type drip struct {
	told
	given chan struct{} // waited for after the first row, twice
}

func (r *drip) Read(_ context.Context, add func(Row) error) error {
	for {
		if err := add(Row{Address: "user@acmecorp.com", Residence: "here"}); err != nil {
			return err
		}
		if r.given != nil {
			r.given <- struct{}{}
			r.given <- struct{}{}
			r.given = nil
		}
		time.Sleep(time.Millisecond) // a drip
	}
}

func TestAListThatNeverComesToItsEndIsAFailure(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 10)
	f.turn(t)
	begun := make(chan struct{})
	f.Poller.reader = &drip{told: told{mark: Mark{"a": "2"}}, given: begun}
	ended := make(chan struct{})
	f.Poller.FullTimeout = 100 * time.Millisecond
	go func() {
		defer close(ended)
		f.turn(t)
	}()
	<-begun
	if f.State().Reading.IsZero() {
		t.Error("nobody sees that it is being read")
	}
	<-begun
	<-ended
	f.must(t, "the last list", 10, "")
	s := f.State()
	if !s.Reading.IsZero() || !regexp.MustCompile(`^its list did not come whole within full_timeout, 100ms: of it came [0-9]+ rows; `).MatchString(s.Failed) {
		t.Errorf("the state is %+v", s)
	}
}

func TestASourceThatTakesAnothersPlaceIsJudgedAgainstIt(t *testing.T) {
	f := follow(t)
	file := source(write(t, rows(0, 100, "here")))
	file.Limits = nil
	f.lists = Open([]directory.Source{f.source}, Open([]directory.Source{file}, nil))
	f.must(t, "not read yet", 100, "source:people has not been read yet")
	f.rows = users(0, 50)
	f.turn(t)
	f.must(t, "half of them", 100, "source:people: the new list lacks 50 of 100 addresses")
	f.rows = users(0, 99)
	f.turn(t)
	f.must(t, "nearly all", 99, "")

	// One that stays, beside a new one, is not replaced.
	f.lists = Open([]directory.Source{f.source, file}, f.lists)
	if f.lists[1].Snapshot.Len() != 100 || f.lists[1].Err != nil {
		t.Errorf("the new file has %d addresses, %v", f.lists[1].Snapshot.Len(), f.lists[1].Err)
	}
}

func TestAListThatComesWhileAnotherWaitsTakesItsPlace(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 100)
	f.turn(t)
	for n, c := range []struct {
		mark    Mark
		to      int
		problem string
	}{{Mark{"a": "5"}, 10, "lacks 90 of 100"}, {Mark{"a": "3"}, 20, "at an earlier time"}, {Mark{"a": "6"}, 30, "lacks 70 of 100"}} {
		f.mark, f.rows = c.mark, users(0, c.to)
		f.turn(t)
		f.must(t, fmt.Sprint("step ", n), 100, c.problem)
		if waits, _, err := f.lists[0].Waiting(); err != nil || waits.Len() != c.to {
			t.Errorf("step %d: %v waits, %v", n, waits, err)
		}
		all, err := filepath.Glob(f.source.Copy + ".*")
		if err != nil || len(all) != 3 {
			t.Errorf("step %d: there are %q", n, all)
		}
	}
	if found, err := f.accept(t); !found || err != nil {
		t.Errorf("accepted: %v, %v", found, err)
	}
	f.must(t, "accepted", 30, "")
	if found, err := f.accept(t); found || err != nil {
		t.Errorf("accepted once more: %v, %v", found, err)
	}
}

func TestOnlyTheListThatSomebodyHasSeenIsAccepted(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 100)
	f.turn(t)
	f.rows = users(0, 50)
	f.turn(t)
	_, seen, err := f.lists[0].Waiting()
	if err != nil || len(seen) != 12 {
		t.Fatalf("the digest is %q, %v", seen, err)
	}
	f.rows = users(0, 10)
	f.turn(t)
	for _, digest := range []string{seen, "", "3f9a0c1b22d4"} {
		if found, err := f.lists[0].Accept(digest); !found || !errors.Is(err, ErrOther) {
			t.Errorf("by the digest %q: %v, %v", digest, found, err)
		}
		f.must(t, "refused", 100, "lacks 90 of 100")
	}
	// The same list once more has the same digest, over a restart as well.
	f.rows = users(0, 50)
	f.turn(t)
	f.restart(t)
	f.turn(t)
	f.must(t, "the one that was seen", 100, "lacks 50 of 100")
	if found, err := f.lists[0].Accept(seen); !found || err != nil {
		t.Errorf("accepted: %v, %v", found, err)
	}
	f.must(t, "accepted", 50, "")
}

func TestACopyThatWasRefusedIsNotTakenForTheListThatCounts(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 50)
	f.turn(t)
	file := source(write(t, rows(0, 100, "here")))
	f.lists = Open([]directory.Source{f.source}, Open([]directory.Source{file}, nil))
	const lost = "source:people: the new list lacks 50 of 100 addresses"
	f.must(t, "the copy from before", 100, lost)
	f.begin(t)
	f.turn(t)
	f.must(t, "the same once more", 100, lost)
	if found, err := f.accept(t); !found || err != nil {
		t.Errorf("accepted: %v, %v", found, err)
	}
	f.must(t, "accepted", 50, "")
}

func TestASourceWhoseEarlierListWasAcceptedIsFollowedFromThere(t *testing.T) {
	for _, asked := range []bool{false, true} {
		f := follow(t)
		f.mark, f.rows = Mark{"a": "5"}, users(0, 100)
		f.turn(t)
		f.mark, f.rows = Mark{"a": "3"}, users(0, 99)
		f.turn(t)
		f.must(t, "restored", 100, "at an earlier time")
		if found, err := f.accept(t); !found || err != nil {
			t.Errorf("accepted: %v, %v", found, err)
		}
		if asked {
			f.turn(t)
		}
		f.must(t, "accepted", 99, "")
		f.mark, f.rows = Mark{"a": "4"}, users(0, 101)
		f.turn(t)
		f.must(t, "a new user", 101, "")
		f.mark, f.rows = Mark{"a": "3"}, users(0, 100)
		f.turn(t)
		f.must(t, "restored once more", 101, "at an earlier time")
	}
}

func TestADomainThatACopyIsNotOfIsPutOffAndNotRefused(t *testing.T) {
	f := follow(t)
	both := f.source.Domains
	f.source.Domains = map[string]*route.Domain{acme.Name: acme}
	f.restart(t)
	f.mark, f.rows = Mark{"a": "1"}, users(0, 10)
	f.turn(t)
	told := func(about, address string, found, failed bool) {
		t.Helper()
		if l := listing(t, f.lists, address); l.Found != found || l.Failed != failed {
			t.Errorf("%s: %s is found: %v, failed: %v", about, address, l.Found, l.Failed)
		}
	}
	told("one domain", "nobody@acmecorp.com", false, false)

	f.source.Domains = both
	for _, old := range []Directories{f.lists, nil} {
		f.lists = Open([]directory.Source{f.source}, old)
		told("one more", "user3@acmecorp.com", true, false)
		told("one more", "nobody@acmecorp.com", false, false)
		told("one more", "dora@bücher.example", false, true)
	}
	f.begin(t)
	f.turn(t)
	told("read", "dora@bücher.example", false, false)

	f.source.Path, f.source.Copy = "source:others", f.source.Copy+"-others"
	f.lists = Open([]directory.Source{f.source}, f.lists)
	told("another source", "user3@acmecorp.com", true, false)
	told("another source", "nobody@acmecorp.com", false, true)
}

func TestACopyOfMoreDomainsThanTheSourceHasNowIsTakenWithoutThem(t *testing.T) {
	f := follow(t)
	f.rows = append(users(0, 3), Row{Address: "dora@bücher.example", Residence: "here"})
	f.turn(t)
	f.must(t, "two domains", 4, "")
	f.source.Domains = map[string]*route.Domain{acme.Name: acme}
	f.lists = Open([]directory.Source{f.source}, nil)
	f.must(t, "one domain", 3, "")
}

// broken is a Reader that does not bear what it reads.
type broken struct{ told }

func (r *broken) Read(context.Context, func(Row) error) error { panic("no such thing") }

func TestAReaderThatPanicsIsAFailure(t *testing.T) {
	f := follow(t)
	f.Poller.reader = &broken{}
	f.turn(t)
	if s := f.State(); s.Failed != "unforeseen: no such thing" {
		t.Errorf("the state is %+v", s)
	}
}

func TestACopyIsNotReadOnceMoreWhenItsListWasTaken(t *testing.T) {
	f := follow(t)
	f.rows = users(0, 10)
	f.turn(t)
	copied := f.source.Copy + taken
	text, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(copied)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing but the content tells that it is another.
	if err := os.WriteFile(copied, []byte(strings.Replace(string(text), "user7@", "user0@", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(copied, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if f.lists.Poll(time.Now()); f.lists.Err() != nil || f.lists[0].Snapshot.Len() != 10 {
		t.Errorf("it was: %v", f.lists.Err())
	}
}
