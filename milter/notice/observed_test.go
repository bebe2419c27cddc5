package notice

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// seen is the record of a message so long after noon, with rulings on recipients who are observed.
func seen(after time.Duration, sender string, rulings ...policy.Ruling) *record.Record {
	r := &record.Record{Time: noon.Add(after), Sender: sender, Decision: policy.Decision{Verdict: verdict.Accept, Observed: &policy.Outcome{Verdict: verdict.Accept}}}
	for _, one := range rulings {
		one.Observed = true
		r.Decision.Recipients = append(r.Decision.Recipients, one)
	}
	return r
}

func newObserved(t testing.TB, s Settings) (o *Observed, log *fake.Log) {
	t.Helper()
	log = fake.NewLog()
	teller := New(log.Logger)
	teller.Configure(s)
	o = NewObserved(teller)
	morning := 7 * time.Hour
	o.Configure(Observing{Path: filepath.Join(t.TempDir(), "observed.json"), Any: true, Ready: Ready{2 * aDay, usual}, At: &morning})
	return o, log
}

// usual are the checks that are expected unless the configuration says otherwise.
var usual = []string{verdict.CheckVirus, verdict.CheckMalware, verdict.CheckDDoS, verdict.CheckSpam}

// The rulings of the tests.
var (
	passes   = policy.Ruling{Verdict: verdict.Accept}
	moves    = policy.Ruling{Verdict: verdict.Accept, Elsewhere: "alice@acmecorp-com.onmicrosoft.com"}
	spammy   = policy.Ruling{Verdict: verdict.Quarantine, Check: verdict.CheckSpam}
	spoofs   = policy.Ruling{Verdict: verdict.Reject, Check: verdict.CheckSpoof}
	unlisted = policy.Ruling{Verdict: verdict.Reject, Reasons: verdict.Because(verdict.Why(verdict.Unlisted, "acmecorp.com", "x@acmecorp.com"))}
	unknown  = policy.Ruling{Verdict: verdict.Tempfail, Reasons: verdict.Because(verdict.Why(verdict.DirectoryFailed, "acmecorp.com"))}
)

func TestEachMessageCountsOnceForEachThingThatWouldBeDone(t *testing.T) {
	t.Parallel()
	enforced := seen(0, "", spammy)
	enforced.Decision.Recipients[0].Observed = false
	refused := seen(0, "")
	refused.Refused = []policy.Ruling{unlisted, unlisted}
	for i := range refused.Refused {
		refused.Refused[i].Observed = true
	}
	whole := seen(0, "")
	whole.Decision.Observed = &policy.Outcome{Verdict: verdict.Tempfail, Check: verdict.CheckRate}
	away := seen(0, "", passes)
	away.Decision.Findings = []verdict.Finding{{Check: verdict.CheckSpam}, {Check: verdict.CheckSpoof}, {Check: verdict.CheckMalware}, verdict.Passed(verdict.CheckVirus)}
	for about, c := range map[string]struct {
		record *record.Record
		want   string
	}{
		"it passes":                 {seen(0, "", passes, passes), "nothing"},
		"elsewhere and here":        {seen(0, "", moves, passes), "rewritten; nothing"},
		"spam":                      {seen(0, "", spammy), "held by spam"},
		"a virus":                   {seen(0, "", policy.Ruling{Verdict: verdict.Reject, Check: verdict.CheckVirus}), "refused by virus"},
		"a flood":                   {seen(0, "", policy.Ruling{Verdict: verdict.Tempfail, Check: verdict.CheckDDoS}), "put off by ddos"},
		"a program":                 {seen(0, "", policy.Ruling{Verdict: verdict.Quarantine, Check: verdict.CheckMalware}), "held by malware"},
		"a spoofed one":             {seen(0, "", spoofs), "refused by spoof (unexpected)"},
		"a loop":                    {seen(0, "", policy.Ruling{Verdict: verdict.Discard, Check: verdict.CheckLoop}), "dropped by loop (unexpected)"},
		"a mark":                    {seen(0, "", policy.Ruling{Verdict: verdict.Tag, Check: verdict.CheckSpoof}), "marked by spoof"},
		"no directory":              {seen(0, "", unknown), "put off (unexpected); directory could not answer (unexpected)"},
		"no rspamd":                 {away, "nothing; spam could not answer (unexpected)"},
		"who would be refused":      {refused, "refused (unexpected)"},
		"the whole":                 {whole, "put off by rate (unexpected)"},
		"beside others who are not": {enforced, "nothing"},
	} {
		var got []string
		for _, k := range kindsOf(c.record) {
			got = append(got, (&CountedKind{Effect: k.Effect, Check: k.Check, Unexpected: Ready{Expected: usual}.isUnexpected(k)}).String())
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s: it counts as %q; right is %q", about, text, c.want)
		}
	}
}

// counted says what a summary has: "WHAT DAY WEEK; ...".
func counted(s Summary) string {
	var all []string
	for i := range s.Kinds {
		all = append(all, fmt.Sprintf("%s %d %d", s.Kinds[i].String(), s.Kinds[i].Day, s.Kinds[i].Week))
	}
	return strings.Join(all, "; ")
}

func TestTheSummaryIsReadyOnceNothingUnexpectedCameForSoLong(t *testing.T) {
	t.Parallel()
	o, _ := newObserved(t, settings(""))
	ready := Ready{2 * aDay, usual}
	mustSay := func(after time.Duration, want, readiness string) {
		t.Helper()
		s := o.kept.summary(noon.Add(after), ready)
		if got := counted(s); got != want {
			t.Errorf("after %v the counts are %q; right is %q", after, got, want)
		}
		text := s.Readiness(func(at time.Time) string { return at.Sub(noon).String() })
		if !strings.HasPrefix(text, readiness) || s.Ready != strings.HasPrefix(readiness, "Ready") {
			t.Errorf("after %v it is ready: %v: %s; right is %s", after, s.Ready, text, readiness)
		}
	}
	mustSay(0, "", "Not ready to enforce: no message was observed yet")
	o.Record(&record.Record{Time: noon, Decision: policy.Decision{Verdict: verdict.Reject}}) // nobody is observed
	mustSay(9*aDay, "", "Not ready to enforce: no message")
	for i := range 3 {
		o.Record(seen(time.Duration(i)*aDay, "x@example.net", moves))
	}
	mustSay(2*aDay-time.Hour, "rewritten 2 3", "Not ready to enforce: mail is observed only since 0s, and not for 2 days")
	mustSay(2*aDay, "rewritten 2 3", "Ready to enforce: for 2 days nothing unexpected would have been done")
	o.Record(seen(3*aDay, "x@example.net", spoofs, spammy))
	mustSay(4*aDay, "refused by spoof (unexpected) 1 1; rewritten 0 3; held by spam 1 1", "Not ready to enforce: something unexpected would have been done last at 72h0m0s, and it is to be 2 days without")
	mustSay(5*aDay, "refused by spoof (unexpected) 0 1; rewritten 0 3; held by spam 0 1", "Ready to enforce: ")
	ready.After = 30 * aDay
	mustSay(20*aDay, "", "Not ready to enforce: something unexpected would have been done last at 72h0m0s, and it is to be 30 days without")
	ready = Ready{2 * aDay, append(usual, verdict.CheckSpoof)}
	mustSay(4*aDay, "rewritten 0 3; held by spam 1 1; refused by spoof 1 1", "Ready to enforce: ")
}

func TestTheCountsAreKeptForTheNextStartAndForgottenWhenNothingIsObserved(t *testing.T) {
	t.Parallel()
	o, log := newObserved(t, Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	for range 8 {
		running.Go(func() {
			for i := range 100 {
				o.Record(seen(0, fmt.Sprintf("X%d@example.net", i%2), spoofs))
			}
		})
	}
	running.Go(func() { o.Record(seen(0, "y@example.net", moves)); cancel() })
	running.Wait()
	o.save()
	path := o.settings.Path
	s, err := ReadObserved(path, noon, Ready{aDay, usual})
	if err != nil || counted(s) != "refused by spoof (unexpected) 800 800; rewritten 1 1" || !s.Since.Equal(noon) {
		t.Errorf("the file says %+v, %v", s, err)
	}
	if want := []Sender{{"x0@example.net", 400}, {"x1@example.net", 400}}; !slices.Equal(s.Kinds[0].Senders, want) {
		t.Errorf("the senders are %v", s.Kinds[0].Senders)
	}

	next := NewObserved(o.teller)
	next.Configure(o.settings)
	next.Record(seen(time.Hour, "y@example.net", moves))
	if got := counted(next.kept.summary(noon.Add(time.Hour), Ready{aDay, usual})); got != "refused by spoof (unexpected) 800 800; rewritten 2 2" {
		t.Errorf("after a restart the counts are %q", got)
	}
	settings := o.settings
	settings.Any = false
	next.Configure(settings)
	next.Record(seen(2*time.Hour, "y@example.net", moves))
	if _, err := os.Stat(path); !os.IsNotExist(err) || !next.kept.Since.IsZero() {
		t.Errorf("when nothing is observed, the file is still there (%v), or the counts are: %+v", err, next.kept)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadObserved(path, noon, Ready{aDay, usual}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("of a damaged file the error is %v", err)
	}
	next.Configure(o.settings)
	log.Wait(t, "they begin anew")
}

func TestCommonSendersStayWhereThereAreVeryMany(t *testing.T) {
	t.Parallel()
	o, _ := newObserved(t, settings(""))
	for i := range 50 * maxSenders {
		o.Record(seen(0, fmt.Sprintf("%d@example.net", i), spoofs))
		o.Record(seen(0, "often@example.net", spoofs))
	}
	s := o.kept.summary(noon, Ready{aDay, usual})
	if n := len(o.kept.Kinds[Kind{Refused, verdict.CheckSpoof}].Senders); n > maxSenders {
		t.Errorf("%d senders are counted", n)
	}
	if s.Kinds[0].Senders[0].Address != "often@example.net" || len(s.Kinds[0].Senders) > shownSenders {
		t.Errorf("the senders are %v", s.Kinds[0].Senders)
	}
}

func TestASummaryIsDueOnceADay(t *testing.T) {
	t.Parallel()
	o, _ := newObserved(t, settings("")) // at 07:00 CET, which is 06:00 UTC; noon is in UTC
	o.Record(seen(0, "x@example.net", moves))
	for _, c := range []struct {
		after time.Duration
		due   bool
		fails bool
	}{
		{time.Minute, false, false}, // what came since the last time of day is told at the next
		{18*time.Hour - time.Minute, false, false},
		{18 * time.Hour, true, true},
		{18*time.Hour + 30*time.Minute, false, false},
		{19 * time.Hour, true, false},
		{30 * time.Hour, false, false},
		{42 * time.Hour, true, false},
		{5 * aDay, true, false},
		{2 * aDay, true, false}, // the clock is put back
	} {
		now := noon.Add(c.after)
		if due := o.isDue(now); due != c.due {
			t.Errorf("after %v it is due: %v", c.after, due)
		} else if due {
			o.told(now, !c.fails)
		}
	}
	for about, change := range map[string]func(*Observing, *Settings){
		"never":               func(o *Observing, _ *Settings) { o.At = nil },
		"to nobody":           func(_ *Observing, s *Settings) { s.To = nil },
		"nothing is observed": func(o *Observing, _ *Settings) { o.Any = false },
	} {
		o, _ := newObserved(t, settings(""))
		o.Record(seen(0, "x@example.net", moves))
		mails, observing := settings(""), o.settings
		change(&observing, &mails)
		o.Configure(observing)
		o.teller.Configure(mails)
		if o.isDue(noon.Add(3 * aDay)) {
			t.Errorf("%s: it is due", about)
		}
	}
}

func TestTheSummaryLooksAsItsGoldenFileSays(t *testing.T) {
	t.Parallel()
	o, _ := newObserved(t, settings(""))
	hostileEvent, _ := hostile()
	o.Record(seen(-3*aDay, "news@example.net", spammy))
	for i := range 12 {
		o.Record(seen(-time.Hour, fmt.Sprintf("bob%d@acmecorp.com", i%3), spoofs))
		o.Record(seen(-time.Hour, "news@example.net", moves, passes))
	}
	o.Record(seen(-time.Minute, "", unlisted))
	o.Record(seen(0, hostileEvent.Account, unknown))
	letter, err := o.letter(o.teller.settings.Load(), "admin@acmecorp.com", noon)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/observed.txt", "Subject: "+letter.Subject+"\n\n"+letter.Text)
}

func TestEachAdministratorGetsTheSummaryOnce(t *testing.T) {
	t.Parallel()
	sink := startSink(t, lab.SinkConfig{})
	s := settings(sink.Addr())
	teller, log := run(t, s)
	o := NewObserved(teller)
	midnight := time.Duration(0)
	o.Configure(Observing{Path: filepath.Join(t.TempDir(), "observed.json"), Any: true, Ready: Ready{time.Hour, usual}, At: &midnight})
	r := seen(0, "x@example.net", moves)
	r.Time = time.Now().Add(-aDay)
	o.Record(r)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	for i, delivery := range arrived(t, sink, 2) {
		if !slices.Equal(delivery.To(), []string{s.To[i]}) || delivery.From != "" {
			t.Errorf("a mail came from %q to %q", delivery.From, delivery.To())
		}
		header, text := read(t, delivery.Data)
		if subject, _ := header.Subject(); subject != "Observed mail: ready to enforce" || !strings.Contains(text, "- rewritten: ") {
			t.Errorf("the mail says %s\n%s", subject, text)
		}
		passesSpamCheck(t, s.Post, header, s.To[i])
	}
	log.Wait(t, `msg="observe notice sent" to=`+s.To[1])
	cancel()
	running.Wait()
	if o.kept.Told.IsZero() {
		t.Error("it is due once more")
	}
}
