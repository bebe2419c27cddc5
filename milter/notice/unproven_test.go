package notice

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// aDay is the time between two mails.
const aDay = 24 * time.Hour

// lacking is the record of a message that is put off, so long after noon.
func lacking(after time.Duration, sender string, platforms ...string) *record.Record {
	return &record.Record{
		Time: noon.Add(after), Client: netip.MustParseAddr("192.0.2.7"), Sender: sender, Proof: tenant.Proof{Absent: platforms},
		Decision: policy.Decision{Verdict: verdict.Tempfail, Findings: []verdict.Finding{
			verdict.Passed(verdict.CheckVirus),
			{Check: verdict.CheckSpoof, Reasons: verdict.Because(verdict.Why(verdict.TenantNotProven, "the From field", "acmecorp.com", "", "office365"))},
		}},
	}
}

// newUnproven has its file in a folder of its own, and a log.
func newUnproven(t testing.TB, s Settings) (u *Unproven, log *fake.Log) {
	t.Helper()
	log = fake.NewLog()
	teller := New(log.Logger)
	teller.Configure(s)
	u = NewUnproven(teller)
	u.Configure(filepath.Join(t.TempDir(), "unproven.json"))
	return u, log
}

// mustCount compares the counts of so long after noon: "PLATFORM DAY WEEK, ...".
func mustCount(t *testing.T, about string, list []Counted, want string) {
	t.Helper()
	var got []string
	for _, one := range list {
		got = append(got, fmt.Sprintf("%s %d %d", one.Platform, one.Day, one.Week))
	}
	if got := strings.Join(got, ", "); got != want {
		t.Errorf("%s: the counts are %q; right are %q", about, got, want)
	}
}

func TestMailWithoutProofIsCountedByPlatformDayAndWeek(t *testing.T) {
	t.Parallel()
	u, _ := newUnproven(t, settings(""))
	for _, r := range []*record.Record{
		lacking(0, "alice@acmecorp.com", "office365"), lacking(time.Minute, "alice@acmecorp.com", "office365"),
		lacking(2*time.Hour, "gail@globex.example", "google", "office365"), lacking(3*aDay, "gail@globex.example", "google"),
	} {
		u.Record(r)
	}
	// What is refused, or only held, and what is put off for something else, is none of it.
	for _, change := range []func(*record.Record){
		func(r *record.Record) { r.Decision.Verdict = verdict.Reject },
		func(r *record.Record) { r.Decision.Verdict = verdict.Quarantine },
		func(r *record.Record) { r.Decision.Verdict = verdict.None },
		func(r *record.Record) {
			r.Decision.Findings[1].Reasons = verdict.Because(verdict.Why(verdict.OwnDomainNotAsked))
		},
		func(r *record.Record) { r.Decision.Findings = nil },
	} {
		r := lacking(3*aDay, "x", "office365")
		change(r)
		u.Record(r)
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{2 * time.Hour, "google 2 2, office365 3 3"}, {aDay + time.Hour, "google 2 2, office365 1 3"},
		{3 * aDay, "google 1 2, office365 0 3"}, {7*aDay + 2*time.Hour, "google 0 2, office365 0 1"}, {7*aDay + 5*time.Hour, "google 0 1"}, {11 * aDay, ""},
	} {
		mustCount(t, c.after.String(), u.kept.putOff(noon.Add(c.after)), c.want)
	}
	u.Record(lacking(11*aDay, "x", "other"))
	if len(u.kept.Platforms) != 1 {
		t.Errorf("what is long ago is kept: %v", u.kept.Platforms)
	}
	u.Record(lacking(-aDay, "x", "office365"))
	mustCount(t, "the clock is put back", u.kept.putOff(noon.Add(-aDay)), "office365 1 1")
}

func TestTheAdministratorsAreToldOfMailWithoutProofOnceADay(t *testing.T) {
	t.Parallel()
	u, log := newUnproven(t, settings(""))
	for _, c := range []struct {
		after time.Duration
		tells bool
		fails bool
	}{
		{0, true, false}, {time.Minute, false, false}, {aDay - time.Second, false, false},
		{aDay, true, true}, {aDay + time.Hour, true, false}, {2 * aDay, false, false}, {5 * aDay, true, false},
		{-aDay, true, false}, // the clock is put back
		{0, true, false},
	} {
		u.Record(lacking(c.after, "alice@acmecorp.com", "office365"))
		u.Record(lacking(c.after, "alice@acmecorp.com", "google"))
		if got := len(u.due) == 1; got != c.tells {
			t.Errorf("after %v there is a mail: %v", c.after, got)
		}
		if c.tells {
			u.told(<-u.due, !c.fails)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 6 {
		t.Errorf("the log has %d lines; right are 6:\n%s", n, log)
	}
	line, _, _ := strings.Cut(log.String(), "\n")
	if _, line, _ = strings.Cut(line, " "); line != `level=WARN msg="mail in our own name is put off, since it bears no proof of its tenant" platform=office365 client=192.0.2.7 sender=alice@acmecorp.com mail=queued` {
		t.Errorf("the log says %s", line)
	}
}

func TestWithoutAdministratorsTheLogSaysOnceADayThatMailLacksProof(t *testing.T) {
	t.Parallel()
	s := settings("")
	s.To = nil
	u, log := newUnproven(t, s)
	for hour := range 49 {
		u.Record(lacking(time.Duration(hour)*time.Hour, "a\r\nb\u202E", "office365"))
	}
	if n := strings.Count(log.String(), "mail=none\n"); n != 3 || n != strings.Count(log.String(), "\n") || len(u.due) != 0 {
		t.Errorf("the log says\n%s", log)
	}
}

func TestTheCountsAreSavedOnceAMinuteAndAtTheEndAndSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unproven.json")
	synctest.Test(t, func(t *testing.T) {
		s := settings("")
		s.To = nil
		start := func() (u *Unproven, log *fake.Log, stop func()) {
			u, log = newUnproven(t, s)
			u.Configure(path)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { u.Run(ctx) })
			return u, log, func() { cancel(); running.Wait() }
		}
		saved := func(about, want string) {
			t.Helper()
			synctest.Wait()
			list, err := ReadPutOff(path, noon)
			if err != nil {
				t.Fatal(err)
			}
			mustCount(t, about, list, want)
		}
		u, _, stop := start()
		record := func() { u.Record(lacking(0, "alice@acmecorp.com", "office365")) }
		saved("before the first", "")
		record()
		saved("the first", "office365 1 1")
		record()
		record()
		time.Sleep(saveInterval - time.Second)
		saved("two more in the minute", "office365 1 1")
		time.Sleep(time.Second)
		saved("a minute later", "office365 3 3")
		record()
		stop()
		saved("at the end", "office365 4 4")
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file is %v (%v)", info, err)
		}
		next, log, stop := start()
		u = next
		record()
		stop()
		saved("after a restart", "office365 5 5")
		if log.String() != "" {
			t.Errorf("the restart tells again: %s", log)
		}
		if names, err := filepath.Glob(filepath.Dir(path) + "/*"); err != nil || !slices.Equal(names, []string{path}) {
			t.Errorf("the folder has %q (%v)", names, err)
		}
	})
}

func TestAReloadMayMoveTheCounts(t *testing.T) {
	t.Parallel()
	u, _ := newUnproven(t, settings(""))
	u.Record(lacking(0, "alice@acmecorp.com", "office365"))
	path := filepath.Join(t.TempDir(), "unproven.json")
	u.Configure(path)
	u.save()
	list, err := ReadPutOff(path, noon)
	if err != nil {
		t.Fatal(err)
	}
	mustCount(t, "the new file", list, "office365 1 1")
}

func TestCountsThatCannotBeReadBeginAnew(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "[]", `{"platforms":{"office365":{"hours":{"x":1}}}}`, `{"platforms":"` + strings.Repeat("x", maxKept)} {
		u, log := newUnproven(t, settings(""))
		path := filepath.Join(t.TempDir(), "unproven.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPutOff(path, noon); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q is read: %v", text, err)
		}
		u.Configure(path)
		u.Record(lacking(0, "alice@acmecorp.com", "office365"))
		u.save()
		if list, err := ReadPutOff(path, noon); err != nil || len(list) != 1 || list[0].Week != 1 || !strings.Contains(log.String(), "they begin anew") {
			t.Errorf("after %.20q there are %v (%v), and the log says %s", text, list, err, log)
		}
	}
	for _, text := range []string{"null", "{}", `{"platforms":{"office365":null}}`, `{"platforms":{"office365":{"hours":null}}}`} {
		u, _ := newUnproven(t, settings(""))
		if err := os.WriteFile(u.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		path := u.path
		u.path = ""
		u.Configure(path)
		u.Record(lacking(0, "alice@acmecorp.com", "office365"))
		mustCount(t, text, u.kept.putOff(noon), "office365 1 1")
	}
}

func TestTheCountsOfMailWithoutProofAreBounded(t *testing.T) {
	t.Parallel()
	u, log := newUnproven(t, settings(""))
	var platforms []string
	for i := range maxPlatforms + 50 {
		platforms = append(platforms, fmt.Sprint("platform", i))
	}
	sender := strings.Repeat("\x00", 5000)
	for hour := range 1000 {
		u.Record(lacking(time.Duration(hour)*time.Hour, sender, platforms...))
	}
	u.save()
	info, err := os.Stat(u.path)
	if err != nil || info.Size() > maxKept {
		t.Errorf("the file has %v bytes (%v)", info.Size(), err)
	}
	list, err := ReadPutOff(u.path, noon.Add(999*time.Hour))
	if err != nil || len(list) != maxPlatforms || list[0].Day != 25 || list[0].Week != 169 {
		t.Errorf("it has %+v (%v)", list[:min(1, len(list))], err)
	}
	if len(log.String()) > 1000*(maxText*4+2000) || strings.Contains(log.String(), "\x00") {
		t.Errorf("the log has %d bytes", len(log.String()))
	}
}

func TestTheMailAboutMailWithoutProofLooksAsItsGoldenFileSays(t *testing.T) {
	t.Parallel()
	hostileEvent, _ := hostile()
	for name, senders := range map[string][]string{
		"unproven":         {"alice@acmecorp.com", "", "bob@acmecorp.com"},
		"unproven_hostile": {hostileEvent.Account + strings.Repeat("x", 1000)},
	} {
		s := settings("")
		u, _ := newUnproven(t, s)
		u.Record(lacking(-3*aDay, "", "google"))
		for i, sender := range senders {
			u.Record(lacking(time.Duration(i-3)*time.Hour, sender, "office365"))
		}
		u.Record(lacking(0, senders[0], "office365"))
		letter, err := u.letter(u.teller.settings.Load(), "admin@acmecorp.com", noon)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/"+name+".txt", "Subject: "+letter.Subject+"\n\n"+letter.Text)
	}
}

func TestEachAdministratorGetsTheMailAboutMailWithoutProof(t *testing.T) {
	t.Parallel()
	sink := startSink(t, lab.SinkConfig{})
	s := settings(sink.Addr())
	teller, log := run(t, s)
	u := NewUnproven(teller)
	u.Configure(filepath.Join(t.TempDir(), "unproven.json"))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { u.Run(ctx) })
	defer running.Wait()
	defer cancel()
	r := lacking(0, "alice@acmecorp.com", "office365")
	for range 3 {
		r.Time = time.Now()
		u.Record(r)
	}
	for i, delivery := range arrived(t, sink, 2) {
		if !slices.Equal(delivery.To(), []string{s.To[i]}) || delivery.From != "" {
			t.Errorf("a mail came from %q to %q", delivery.From, delivery.To())
		}
		header, text := read(t, delivery.Data)
		if subject, _ := header.Subject(); subject != "Put off: mail in our own name without proof, from office365" || !strings.Contains(text, "Platform  office365") {
			t.Errorf("the mail says %s\n%s", subject, text)
		}
		passesSpamCheck(t, s.Post, header, s.To[i])
	}
	log.Wait(t, `msg="proof notice sent" to=`+s.To[1])
}

func TestAMailIsDoneWithOnceItReachedAnAdministrator(t *testing.T) {
	t.Parallel()
	full := func(recipient string) *lab.Reply {
		if recipient == "admin@acmecorp.com" {
			return nil
		}
		return &lab.Reply{Code: 452, Enhanced: "4.2.2", Text: "mailbox full"}
	}
	sink, away := startSink(t, lab.SinkConfig{Refuse: full}), startSink(t, lab.SinkConfig{})
	away.Close()
	for mta, want := range map[string]bool{sink.Addr(): true, away.Addr(): false} {
		teller, log := run(t, settings(mta))
		u := NewUnproven(teller)
		u.count([]string{"office365"}, Example{Time: noon})
		if got := teller.deliver(t.Context(), notice{kind: "proof", write: u.letter}); got != want {
			t.Errorf("it is done with: %v", got)
		}
		log.Wait(t, `msg="proof notice not sent" to=`)
	}
}

func TestManyMayRecordMailWithoutProofAtOnce(t *testing.T) {
	t.Parallel()
	s := settings("")
	s.To = nil
	u, _ := newUnproven(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { u.Run(ctx) })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				u.Record(lacking(0, "alice@acmecorp.com", "office365"))
			}
		})
	}
	all.Wait()
	cancel()
	running.Wait()
	list, err := ReadPutOff(u.path, noon)
	if err != nil {
		t.Fatal(err)
	}
	mustCount(t, "all", list, "office365 1600 1600")
}
