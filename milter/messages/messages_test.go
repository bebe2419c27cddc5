package messages

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"coexistd/milter/record"
	"coexistd/milter/store"
	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func options(path string, log *logged) Options {
	return Options{Path: path, Keep: 14 * 24 * time.Hour, Delimiters: "+", Log: slog.New(slog.NewTextHandler(log, nil))}
}

// begin makes an Index in a folder of its own.
func begin(t *testing.T) (*Index, Options, *logged) {
	t.Helper()
	log := &logged{}
	o := options(filepath.Join(t.TempDir(), "messages.db"), log)
	x := New(o)
	t.Cleanup(x.Stop)
	return x, o, log
}

// numbered is the nth message: ten kinds, in turn.
func numbered(n int) *record.Record {
	r := &record.Record{
		Time: time.Now().Add(-time.Hour + time.Duration(n)*time.Millisecond), QueueID: fmt.Sprintf("4Q%d", n), Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 7)}),
		Sender: fmt.Sprintf("From%d@Example.org", n%50), MessageID: fmt.Sprintf(" <%d@example.org>", n), Subject: fmt.Sprintf(" Minutes %d of the meeting", n%20),
		Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept}, Ended: true, Count: 1,
	}
	to := policy.Ruling{
		Address: fmt.Sprintf("Alice%d+tag@acmecorp.com", n%30), Verdict: verdict.Accept, Residence: route.Residence{Kind: route.There, Platform: "office365"},
		Ways: route.Ways{{route.Ours(verdict.S0), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD}}, Elsewhere: fmt.Sprintf("alice%d+tag@acmecorp-com.onmicrosoft.com", n%30),
	}
	switch n % 10 {
	case 1:
		r.Login, r.Decision.Checkpoint = "Bob", verdict.S2
	case 2:
		why := verdict.Why(verdict.VirusFound, "Eicar")
		r.Decision.Verdict, r.Decision.Check, r.Decision.Reasons, r.Decision.Reply = verdict.Reject, verdict.CheckVirus, verdict.Because(why), why.Reply()
	case 3:
		to.Verdict, to.Held, r.Held, r.Decision.Verdict = verdict.Quarantine, []string{verdict.CheckSpam}, []string{"held1"}, verdict.Quarantine
	}
	r.Decision.Recipients = []policy.Ruling{to}
	return r
}

// send records some messages, and waits until each is written or lost.
func send(t *testing.T, x *Index, list ...*record.Record) {
	t.Helper()
	for part := range slices.Chunk(list, mostQueued/2) {
		before := x.Status()
		for _, r := range part {
			x.Record(r)
		}
		for s := before; s.Records-before.Records+s.Lost-before.Lost < int64(len(part)); s = x.Status() {
			select {
			case <-t.Context().Done():
				t.Fatal("the records are not written")
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func all(t testing.TB, o Options, q Query) (list []*Message) {
	t.Helper()
	r := Open(o)
	defer r.Close()
	for m, err := range r.All(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func TestEachKeyFindsTheMessagesThatHaveItAndNoOthers(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	const count = 2*spanSize + 300 // spans that are indexed, and one that is not
	var sent []*record.Record
	for n := range count {
		sent = append(sent, numbered(n))
	}
	send(t, x, sent...)
	is := func(test func(n int) bool) (ids []string) {
		for n := range count {
			if n = count - 1 - n; test(n) {
				ids = append(ids, sent[n].QueueID)
			}
		}
		return ids
	}
	one := func(n int) []string { return []string{sent[n].QueueID} }
	for name, c := range map[string]struct {
		query Query
		want  []string
	}{
		"all":                         {Query{}, is(func(int) bool { return true })},
		"Message-Id":                  {Query{ID: "<17@example.org>"}, one(17)},
		"Message-Id, bare":            {Query{ID: "2100@example.org"}, one(2100)},
		"queue id":                    {Query{ID: "4Q1500"}, one(1500)},
		"nothing":                     {Query{ID: "4Q15000"}, nil},
		"from":                        {Query{From: "from7@example.org"}, is(func(n int) bool { return n%50 == 7 })},
		"from a domain":               {Query{From: "@EXAMPLE.org"}, is(func(int) bool { return true })},
		"from a local part":           {Query{From: "FROM7"}, is(func(n int) bool { return n%50 == 7 })},
		"to, as written":              {Query{To: "<alice5+TAG@acmecorp.com>"}, is(func(n int) bool { return n%30 == 5 })},
		"to, without the tag":         {Query{To: "alice5@acmecorp.com"}, is(func(n int) bool { return n%30 == 5 })},
		"to, as rewritten":            {Query{To: "alice5+tag@acmecorp-com.onmicrosoft.com"}, is(func(n int) bool { return n%30 == 5 })},
		"to a local part":             {Query{To: "alice5"}, is(func(n int) bool { return n%30 == 5 })},
		"to a part of a local part":   {Query{To: "lice5"}, nil},
		"from is not to":              {Query{From: "alice5@acmecorp.com"}, nil},
		"subject":                     {Query{Subject: "MEETING 11"}, is(func(n int) bool { return n%20 == 11 })},
		"client":                      {Query{Client: netip.MustParseAddr("::ffff:192.0.2.3")}, is(func(n int) bool { return n%7 == 3 })},
		"login":                       {Query{Login: "bob"}, is(func(n int) bool { return n%10 == 1 })},
		"verdict":                     {Query{Verdict: verdict.Reject}, is(func(n int) bool { return n%10 == 2 })},
		"verdict on a recipient":      {Query{Verdict: verdict.Quarantine}, is(func(n int) bool { return n%10 == 3 })},
		"point":                       {Query{Point: verdict.S2}, is(func(n int) bool { return n%10 == 1 })},
		"check that decided":          {Query{Check: verdict.CheckVirus}, is(func(n int) bool { return n%10 == 2 })},
		"check that holds":            {Query{Check: verdict.CheckSpam}, is(func(n int) bool { return n%10 == 3 })},
		"time":                        {Query{Since: sent[1000].Time, Until: sent[1100].Time}, is(func(n int) bool { return n >= 1000 && n <= 1100 })},
		"all together":                {Query{From: "from2@example.org", To: "alice2", Verdict: verdict.Reject, Since: sent[200].Time}, is(func(n int) bool { return n%50 == 2 && n%30 == 2 && n >= 200 })},
		"what is never true together": {Query{Login: "bob", Verdict: verdict.Reject}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, m := range all(t, o, c.query) {
				got = append(got, m.QueueID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%d are found, not %d: %.200q", len(got), len(c.want), got)
			}
		})
	}
	some := all(t, o, Query{ID: "4Q1500"})[0]
	if again := all(t, o, Query{ID: strings.ToUpper(some.ID.String())}); len(again) != 1 || !reflect.DeepEqual(again[0], some) {
		t.Errorf("by its own ID, %s is %+v", some.ID, again)
	}
}

// All that a record says comes back, with its texts.
func TestARecordComesBackAsItWas(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	r := numbered(3)
	found := verdict.Finding{Check: verdict.CheckSpam, State: verdict.Hit, Name: "GTUBE", Reasons: verdict.Because(verdict.Why(verdict.ProofLacks, "x")), Score: 15, Scored: true, Proposed: verdict.Tag, Detail: "<S>"}
	r.Size, r.Decision.Platform, r.Decision.Findings, r.Decision.Passed = 4711, "office365", []verdict.Finding{found}, []string{"rate"}
	r.Proof = tenant.Proof{Reasons: verdict.Because(verdict.Why(verdict.EnteredByStranger).Of(r.Client))}
	r.Refused, r.Count = []policy.Ruling{policy.Refuse("nobody@acmecorp.com", verdict.Why(verdict.BadRecipient))}, 2
	send(t, x, r)
	m := all(t, o, Query{})[0]
	if !m.Time.Equal(r.Time.Truncate(time.Microsecond)) || m.QueueID != "4Q3" || m.Client != r.Client || m.Sender != "From3@Example.org" || m.MessageID != "<3@example.org>" ||
		m.Subject != "Minutes 3 of the meeting" || m.Size != 4711 || m.Point != verdict.S0 || m.Platform != "office365" || m.Verdict != verdict.Quarantine || m.Count != 2 {
		t.Errorf("got %+v", m)
	}
	if len(m.Findings) != 1 || !reflect.DeepEqual(m.Findings[0], found) || m.Proof.String() != r.Proof.Reasons.String() || !slices.Equal(m.Passed, []string{"rate"}) {
		t.Errorf("the facts are %+v", m)
	}
	want := []Recipient{
		{Address: "nobody@acmecorp.com", Verdict: r.Refused[0].Verdict, Reply: r.Refused[0].Reply, Reasons: r.Refused[0].Reasons, Refused: true},
		{Address: "Alice3+tag@acmecorp.com", Owner: "alice3@acmecorp.com", Residence: "office365", Flow: "S0=>S4=>O1=>LD", Side: "O", Rewritten: "alice3+tag@acmecorp-com.onmicrosoft.com",
			Verdict: verdict.Quarantine, HeldBy: []string{"spam"}, Held: "held1"},
	}
	if !reflect.DeepEqual(m.Recipients, want) {
		t.Errorf("the recipients are\n%+v, right is\n%+v", m.Recipients, want)
	}
}

func TestStrangersTextsAreBoundedAndValid(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	long := strings.Repeat("\xff\x00é<", 5000)
	r := numbered(2)
	r.QueueID, r.Login, r.Sender, r.MessageID, r.Subject = long, long, long, long, long
	r.Decision.Reasons = verdict.Because(verdict.Why(verdict.VirusFound, long, long, long, long, long))
	r.Decision.Findings = []verdict.Finding{{Check: "spam", Name: long, Detail: long, Reasons: r.Decision.Reasons}}
	to := policy.Ruling{Address: long, Elsewhere: long, Reasons: r.Decision.Reasons}
	r.Decision.Recipients, r.Count = slices.Repeat([]policy.Ruling{to}, 4096), 4096
	send(t, x, r)
	m := all(t, o, Query{Verdict: verdict.Reject})[0]
	if len(m.Recipients) != mostRecipients || m.Count != 4096 {
		t.Errorf("%d recipients of %d are kept", len(m.Recipients), m.Count)
	}
	texts := []string{m.QueueID, m.Login, m.Sender, m.MessageID, m.Subject, m.Findings[0].Name, m.Findings[0].Detail}
	for _, reasons := range []verdict.Reasons{m.Reasons, m.Findings[0].Reasons, m.Recipients[0].Reasons} {
		texts = append(texts, reasons.List()[0].Args[:]...)
	}
	for i := range m.Recipients {
		texts = append(texts, m.Recipients[i].Address, m.Recipients[i].Rewritten)
	}
	for i, text := range texts {
		// The replacement is longer than a byte.
		if text == "" || len(text) > 4*longestText || !utf8.ValidString(text) {
			t.Errorf("text %d has %d bytes: %.50q", i, len(text), text)
		}
	}
	if size := x.file.Size(); size > mostRecipients*20_000 {
		t.Errorf("the file has %d bytes", size)
	}
}

func TestWhatWasWrittenIsFoundAfterARestart(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	for n := range 3 {
		for i := range spanSize - 100 {
			x.Record(numbered(n*spanSize + i))
		}
		x.Stop() // which writes what waits
		x = New(o)
		t.Cleanup(x.Stop)
	}
	for n := range 3 {
		for _, i := range []int{0, spanSize / 2, spanSize - 101} {
			id := fmt.Sprintf("4Q%d", n*spanSize+i)
			if list := all(t, o, Query{ID: id}); len(list) != 1 || list[0].QueueID != id {
				t.Errorf("%s is %v", id, list)
			}
		}
	}
	if s := x.Status(); s.Records != 3*(spanSize-100) || s.Lost != 0 || s.Failed != "" || s.Bytes == 0 {
		t.Errorf("the status is %+v", s)
	}
}

// sums returns what the table of counts has, by some of its columns.
func sums(t *testing.T, o Options, columns string) map[string]int {
	t.Helper()
	f := store.Open(file(o.Path, o.Log))
	defer f.Close()
	got := make(map[string]int)
	err := f.View(context.Background(), func(tx *sql.Tx) error {
		rows, err := tx.Query(`SELECT ` + columns + `, sum(messages) FROM counts GROUP BY 1`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var by string
			var n int
			if err := rows.Scan(&by, &n); err != nil {
				return err
			}
			got[by] = n
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTheCountsAreWhatWasSent(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	var all sync.WaitGroup
	const senders, each = 4, 500
	minutes := make(map[string]int)
	for n := range senders {
		for i := range each {
			minutes[fmt.Sprint(numbered(n*each+i).Time.Truncate(time.Minute).Unix())]++
		}
	}
	for n := range senders {
		all.Go(func() {
			for i := range each {
				x.Record(numbered(n*each + i))
			}
		})
	}
	all.Wait()
	x.Stop()
	const sent = senders * each
	for columns, want := range map[string]map[string]int{
		"point":    {"S0": sent * 9 / 10, "S2": sent / 10},
		"verdict":  {"accept": sent * 8 / 10, "reject": sent / 10, "quarantine": sent / 10},
		"deciding": {"": sent * 9 / 10, "virus": sent / 10},
		"flow":     {"S0=>S4=>O1=>LD": sent},
	} {
		if got := sums(t, o, columns); !reflect.DeepEqual(got, want) {
			t.Errorf("by %s: %v; right is %v", columns, got, want)
		}
	}
	total := 0
	for minute, n := range sums(t, o, "minute") {
		total += n
		if n > minutes[minute]+each {
			t.Errorf("minute %s has %d, not %d", minute, n, minutes[minute])
		}
	}
	if total != sent {
		t.Errorf("%d are counted, not %d", total, sent)
	}
}

// Whoever records never waits, however long the file cannot be written to.
func TestWhatTheDiskDoesNotTakeIsLostAndCounted(t *testing.T) {
	t.Parallel()
	x, o, log := begin(t)
	send(t, x, numbered(0))
	other, err := sql.Open("sqlite", "file:"+o.Path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	const sent = 2 * mostQueued
	for n := range sent {
		x.Record(numbered(1 + n))
	}
	if lost := x.Status().Lost; lost < sent-mostQueued-batchSize || lost > sent-mostQueued {
		t.Errorf("%d of %d are lost", lost, sent)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	x.Stop()
	lost := x.Status().Lost
	if written := len(all(t, o, Query{})); int64(written)+lost != 1+sent {
		t.Errorf("%d are written, %d are lost", written, lost)
	}
	if counted := sums(t, o, "1")["1"]; int64(counted)+lost != 1+sent {
		t.Errorf("%d are counted, %d are lost", counted, lost)
	}
	if told := log.String(); !strings.Contains(told, "records of messages are lost") || !strings.Contains(told, fmt.Sprintf("lost=%d", lost)) {
		t.Errorf("the log says %s", told)
	}
}

// What is taken makes room for others, also while more wait, and a record of many recipients
// takes the room of several.
func TestWhatWaitsIsBoundedByItsRecipients(t *testing.T) {
	t.Parallel()
	x := &Index{options: Options{Keep: time.Hour}, begun: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	many := numbered(0)
	many.Decision.Recipients = slices.Repeat(many.Decision.Recipients, 99*recipientsAsOne)
	const heavy = mostQueued / 100
	for range heavy + 10 {
		x.Record(many)
	}
	if len(x.queue) != heavy || x.status.Lost != 10 {
		t.Fatalf("%d wait, and %d are lost", len(x.queue), x.status.Lost)
	}
	x.take()
	for range mostQueued {
		x.Record(numbered(1))
	}
	x.take()
	before := x.status.Lost
	for range batchSize {
		x.Record(numbered(1))
	}
	if lost := x.status.Lost - before; lost != 0 {
		t.Errorf("with room for them, %d are lost", lost)
	}
	if x.Record(numbered(1)); x.status.Lost != before+1 {
		t.Error("more wait than may")
	}
}

func TestADamagedFileIsSetAsideAndBegunAnew(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"at start", "at work"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			x, o, log := begin(t)
			for n := range 50 {
				x.Record(numbered(n))
			}
			if when == "at start" {
				x.Stop()
			} else {
				send(t, x, numbered(50))
			}
			damage(t, o.Path)
			if when == "at start" {
				x = New(o)
				t.Cleanup(x.Stop)
			}
			// What is in SQLite's memory of the file is not damaged: that it is, who reads it
			// for the first time finds.
			for n := 60; ; n++ {
				x.Record(numbered(n))
				x.Status()
				if aside, _ := filepath.Glob(o.Path + ".bad-*"); len(aside) > 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			for n := range 5 {
				x.Record(numbered(100 + n))
			}
			x.Stop()
			if list := all(t, o, Query{}); len(list) < 5 || list[0].QueueID != "4Q104" || len(all(t, o, Query{ID: "4Q1"})) > 0 {
				t.Errorf("there are %d records", len(list))
			}
			if !strings.Contains(log.String(), "all records of messages") {
				t.Errorf("the log says %s", log)
			}
		})
	}
}

// damage overwrites a file and what lies beside it, as a faulty disk would.
func damage(t *testing.T, path string) {
	t.Helper()
	for _, name := range []string{path, path + "-wal"} {
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte(strings.Repeat("damaged ", int(info.Size())/8)), 0); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
}

// mount mounts a small file system of its own.
func mount(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); errors.Is(err, syscall.EPERM) && testing.Short() {
		t.Skip("who may not mount a small file system, which the quick tests do without")
	} else if err != nil {
		t.Fatalf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestAFullDiskCostsRecordsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	dir := mount(t)
	log := &logged{}
	o := options(filepath.Join(dir, "messages.db"), log)
	x := New(o)
	t.Cleanup(x.Stop)
	send(t, x, numbered(0))
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	var many []*record.Record
	for n := range batchSize {
		many = append(many, numbered(1+n))
	}
	send(t, x, many...)
	if s := x.Status(); s.Lost == 0 || !strings.Contains(s.Failed, store.ErrFull.Error()) || s.LastLost.IsZero() {
		t.Errorf("the status is %+v", s)
	}
	if told := log.String(); !strings.Contains(told, "cannot be written") || !strings.Contains(told, store.ErrFull.Error()) {
		t.Errorf("the log says %s", told)
	}
	if len(all(t, o, Query{ID: "4Q0"})) != 1 {
		t.Error("what was written before is not found")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	send(t, x, numbered(5000))
	if s := x.Status(); s.Failed != "" || len(all(t, o, Query{ID: "4Q5000"})) != 1 || !strings.Contains(log.String(), "can be written again") {
		t.Errorf("with room again, the status is %+v", s)
	}
}

func TestAReadOnlyDiskCostsRecordsUntilItCanBeWrittenTo(t *testing.T) {
	t.Parallel()
	dir := mount(t)
	o := options(filepath.Join(dir, "messages.db"), &logged{})
	remount := func(flags uintptr) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, "size=2m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	x := New(o)
	t.Cleanup(x.Stop)
	x.Record(numbered(0))
	for x.Status().Lost == 0 {
		time.Sleep(time.Millisecond)
	}
	if s := x.Status(); s.Lost != 1 || !strings.Contains(s.Failed, "read-only") {
		t.Errorf("the status is %+v", s)
	}
	remount(0)
	send(t, x, numbered(1))
	if len(all(t, o, Query{ID: "4Q1"})) != 1 {
		t.Error("it is not found")
	}
}

func TestWhatIsTooOldIsDeletedAndNothingElse(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	const old, young = 3*spanSize + 50, 500
	var list []*record.Record
	for n := range old + young {
		r := numbered(n)
		if n < old {
			r.Time = time.Now().Add(-o.Keep - time.Hour)
		}
		list = append(list, r)
	}
	list[7].Time = time.Now().Add(1000 * time.Hour) // the clock was wrong
	send(t, x, list...)
	if n := len(all(t, o, Query{Until: time.Now()})); n != young {
		t.Errorf("before they are deleted, %d are found", n)
	}
	x.Stop()
	x = New(o) // which begins with that
	t.Cleanup(x.Stop)
	indexed := func() (rows int) {
		f := store.Open(file(o.Path, o.Log))
		defer f.Close()
		err := f.View(context.Background(), func(tx *sql.Tx) error {
			return tx.QueryRow(`SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM spans)`).Scan(&rows)
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for x.Status().Records != young || indexed() > 0 || sums(t, o, "1")["1"] != young+1 { // the one that no clock explains
		time.Sleep(time.Millisecond)
	}
	x.Stop()
	if n := len(all(t, o, Query{})); n != young {
		t.Errorf("%d are left", n)
	}
}

func TestNothingIsKeptWhenNothingIsToBe(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	send(t, x, numbered(0))
	x.Stop()
	o.Keep = 0
	x = New(o)
	t.Cleanup(x.Stop)
	x.Record(numbered(1))
	x.Stop()
	if left, _ := filepath.Glob(o.Path + "*"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	if s := x.Status(); s != (Status{}) {
		t.Errorf("the status is %+v", s)
	}
}

func TestWithoutAFileNothingIsFoundAndNoneIsMade(t *testing.T) {
	t.Parallel()
	o := options(filepath.Join(t.TempDir(), "messages.db"), &logged{})
	r := Open(o)
	defer r.Close()
	if n, err := r.Count(context.Background()); n != 0 || err != nil || len(all(t, o, Query{})) != 0 {
		t.Errorf("there are %d, %v", n, err)
	}
	if left, _ := filepath.Glob(o.Path + "*"); len(left) > 0 {
		t.Errorf("%q are there", left)
	}
}

// A term's entry is found among those of other terms, at all its places, each once.
func TestABlockHasEachTermAtItsPlaces(t *testing.T) {
	t.Parallel()
	var blocks [spanBlocks][]byte
	add := func(of term, place int) mark {
		m := markOf(of)
		blocks[m.block] = m.appendTo(blocks[m.block], uint32(place))
		return m
	}
	numbered := func(n int) term { return term{ofRecipient, fmt.Sprint(n)} }
	accept := term{ofVerdict, "accept"}
	for place := range spanSize {
		add(numbered(place%100), place)
		add(accept, place)
		add(term{ofVerdict, "tag"}, place)
		add(accept, place)
	}
	for n := range 100 {
		var want []int
		for place := n; place < spanSize; place += 100 {
			want = append(want, place)
		}
		m := markOf(numbered(n))
		if got := m.placesIn(blocks[m.block], nil); !slices.Equal(got, want) {
			t.Errorf("%d is at %v", n, got)
		}
	}
	m := markOf(accept)
	if got := m.placesIn(blocks[m.block], nil); len(got) != spanSize {
		t.Errorf("a term that all have is at %d places", len(got))
	}
	if got := m.placesIn(nil, nil); got != nil {
		t.Errorf("nothing is at %v", got)
	}
}

// What many messages of very many recipients have in common with strangers' texts is that both
// take room: rows and the index have bounds in bytes, too.
func TestRowsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	var sent []*record.Record
	const count = 160
	for n := range count {
		r := numbered(n)
		to := r.Decision.Recipients[0]
		r.Decision.Recipients = nil
		for i := range mostRecipients {
			to.Address = fmt.Sprintf("alice%d+%d@%s.example", n, i, strings.Repeat("x", 100))
			r.Decision.Recipients = append(r.Decision.Recipients, to)
		}
		r.Count = mostRecipients
		sent = append(sent, r)
	}
	for part := range slices.Chunk(sent, 40) {
		send(t, x, part...)
	}
	f := store.Open(file(o.Path, o.Log))
	defer f.Close()
	var longest, entries int
	err := f.View(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT (SELECT max(length(messages)) FROM runs), (SELECT max(bytes) FROM (SELECT sum(length(entries)) AS bytes FROM blocks JOIN spans ON blocks.id / ? = spans.id GROUP BY spans.id) AS all_spans)`, spanBlocks).Scan(&longest, &entries)
	})
	if err != nil {
		t.Fatal(err)
	}
	if longest > runBytes+mostRecipients*1000 || entries < spanBytes || entries > spanBytes+mostRecipients*50 {
		t.Errorf("a run has %d bytes, and a span %d", longest, entries)
	}
	for _, n := range []int{0, 1, count / 2, count - 1} {
		if list := all(t, o, Query{To: fmt.Sprintf("alice%d+999", n)}); len(list) != 1 || list[0].QueueID != sent[n].QueueID {
			t.Errorf("message %d is %d messages", n, len(list))
		}
	}
	if list := all(t, o, Query{}); len(list) != count {
		t.Errorf("there are %d", len(list))
	}
}
