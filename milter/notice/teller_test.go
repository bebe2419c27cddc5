package notice

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gomail "github.com/emersion/go-message/mail"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/milter/ownmail"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// patience is how long a test waits for what must happen. Only what hangs takes so
// long, on a machine that does other things as well.
const patience = 5 * time.Minute

// run starts a Teller that tries again at once, with its log.
func run(t *testing.T, s Settings) (*Teller, *fake.Log) {
	t.Helper()
	log := fake.NewLog()
	teller := New(log.Logger)
	for i := range teller.pauses {
		teller.pauses[i] = time.Millisecond
	}
	teller.Configure(s)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { teller.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return teller, log
}

func startSink(t *testing.T, c lab.SinkConfig) *lab.Sink {
	t.Helper()
	sink, err := lab.StartSink(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

// arrived waits for so many mails.
func arrived(t *testing.T, sink *lab.Sink, n int) []lab.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all, err := sink.WaitCount(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// read takes a mail apart.
func read(t *testing.T, content []byte) (gomail.Header, string) {
	t.Helper()
	reader, err := gomail.CreateReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	part, err := reader.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(part.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.NextPart(); err != io.EOF {
		t.Errorf("the mail has more than one part (%v)", err)
	}
	return reader.Header, strings.ReplaceAll(string(text), "\r\n", "\n")
}

func TestEachAdministratorIsToldByAMailThatOurOwnChecksLetPast(t *testing.T) {
	t.Parallel()
	sink := startSink(t, lab.SinkConfig{})
	s := settings(sink.Addr())
	teller, _ := run(t, s)
	m := bobs(1, 0)
	m.Time = time.Now()
	teller.ledger.record("bob", m)
	teller.Tell(bobsEvent())
	for i, delivery := range arrived(t, sink, 2) {
		to := s.To[i]
		if delivery.From != "" || !slices.Equal(delivery.To(), []string{to}) {
			t.Errorf("a mail came from %q to %q", delivery.From, delivery.To())
		}
		header, text := read(t, delivery.Data)
		names := make(map[string]int)
		for fields := header.Fields(); fields.Next(); {
			names[fields.Key()]++
		}
		for _, name := range []string{seal.PassHeader, "Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "X-Auto-Response-Suppress"} {
			if names[name] != 1 {
				t.Errorf("the header has %d fields %s", names[name], name)
			}
			delete(names, name)
		}
		if len(names) > 0 {
			t.Errorf("the header has %v besides", names)
		}
		kind, parameters, err := header.ContentType()
		if kind != "text/plain" || parameters["charset"] != "utf-8" || err != nil {
			t.Errorf("the mail is %s with %v (%v)", kind, parameters, err)
		}
		if subject, _ := header.Subject(); subject != "Limit reached: bob (per user)" || header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("the subject is %q, Auto-Submitted %q", subject, header.Get("Auto-Submitted"))
		}
		if from, err := header.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != s.From {
			t.Errorf("From is %v (%v)", from, err)
		}
		if !strings.Contains(text, "Subject  Einladung für 1\n") || !strings.Contains(text, ": 1 message to 5 recipients, 2.0 KB.") {
			t.Errorf("the text is\n%s", text)
		}
		passesSpamCheck(t, s.Post, header, to)
	}
}

// passesSpamCheck sees that a mail to an address is past our spam check, and past
// no other scanner.
func passesSpamCheck(t *testing.T, post ownmail.Post, header gomail.Header, to string) {
	t.Helper()
	address, err := mail.ParseAddress(to, post.Delimiters)
	if err != nil {
		t.Fatal(err)
	}
	made := mail.Header{}
	for fields := header.Fields(); fields.Next(); {
		made.Add([]byte(fields.Key()), []byte(fields.Value()))
	}
	checks := []policy.Check{{Name: verdict.CheckRate}, {Name: verdict.CheckSpam}, {Name: verdict.CheckVirus}}
	guarded := policy.New(&policy.Rules{Points: policy.Points{verdict.S2: {Checks: checks}}}, post.Keys, nil)
	m := policy.Message{
		Entry: policy.Entry{Point: verdict.S2}, Header: &made, Now: time.Now().Unix(),
		Recipients: []route.Recipient{{Path: to, Address: address}},
	}
	if asks := guarded.Open(m).Asks(); !slices.Equal(asks.Scans, []string{verdict.CheckVirus}) || asks.Rate {
		t.Errorf("the mail to %s is checked for %v, its rate: %v", to, asks.Scans, asks.Rate)
	}
}

func TestTheLogSaysItAtOnce(t *testing.T) {
	t.Parallel()
	log := fake.NewLog()
	teller := New(log.Logger)
	teller.Configure(settings("127.0.0.1:1"))
	teller.ledger.record("bob", bobs(0, 30))
	teller.tellNoon(bobsEvent(), bobs(1, 10))
	quiet := Event{Account: "x\ny", Rule: perDay, Key: "192.0.2.1", Wait: rate.Never, Client: netip.MustParseAddr("192.0.2.1"), Point: verdict.S0}
	teller.tell(quiet, noon)
	for i, want := range []string{
		`level=WARN msg="limit reached" account=bob rule="per user" by=user key=bob unit=recipients limit=200 burst=50 per=1h0m0s point=S2 verdict=tempfail client=10.1.2.3 wait=18m0s sent_messages=2 sent_recipients=9 sent_bytes=3000 since=2026-11-23T11:30:00Z mail=queued`,
		`level=WARN msg="limit reached" account="x\ny" rule="bytes a day" by=client key=192.0.2.1 unit=bytes limit=0 burst=0 per=24h0m0s point=S0 verdict=reject client=192.0.2.1 wait=never sent_messages=0 sent_recipients=0 sent_bytes=0 since="" mail=none`,
	} {
		lines := strings.Split(log.String(), "\n")
		if _, line, _ := strings.Cut(lines[i], " "); line != want {
			t.Errorf("the log says\n%s\nright is\n%s", line, want)
		}
	}
	if len(teller.waiting) != 0 {
		t.Error("a mail waits that nobody asked for")
	}
}

func TestAMailIsTriedAgainWhileTheMTAIsAwayAndGoesWhereAReloadSays(t *testing.T) {
	t.Parallel()
	away := startSink(t, lab.SinkConfig{})
	away.Close()
	teller, log := run(t, settings(away.Addr()))
	teller.pauses = slices.Repeat([]time.Duration{time.Millisecond}, 1_000_000)
	teller.Tell(bobsEvent())
	log.Wait(t, "cannot be reached")
	sink := startSink(t, lab.SinkConfig{})
	teller.Configure(settings(sink.Addr()))
	arrived(t, sink, 2)
}

func TestOnlyThoseAreTriedAgainWhoHaveNoMailYet(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	tries := map[string]int{}
	sink := startSink(t, lab.SinkConfig{Refuse: func(recipient string) *lab.Reply {
		mu.Lock()
		defer mu.Unlock()
		tries[recipient]++
		switch {
		case recipient == "gone@acmecorp.com":
			return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}
		case recipient == "later@acmecorp.com" && tries[recipient] < 3:
			return &lab.Reply{Code: 451, Enhanced: "4.3.0", Text: "try again"}
		case recipient == "never@acmecorp.com":
			return &lab.Reply{Code: 452, Enhanced: "4.2.2", Text: "mailbox full"}
		}
		return nil
	}})
	s := settings(sink.Addr())
	s.To = []string{"later@acmecorp.com", "gone@acmecorp.com", "never@acmecorp.com", "admin@acmecorp.com"}
	teller, log := run(t, s)
	teller.Tell(bobsEvent())
	text := log.Wait(t, "limit notice not sent")
	for _, part := range []string{"refused for good", "550 5.1.1 no such user", "452 4.2.2 mailbox full", "to=[never@acmecorp.com]"} {
		if !strings.Contains(text, part) {
			t.Errorf("the log does not say %q:\n%s", part, text)
		}
	}
	var got []string
	for _, delivery := range sink.All() {
		got = append(got, delivery.To()...)
	}
	if !slices.Equal(got, []string{"admin@acmecorp.com", "later@acmecorp.com"}) {
		t.Errorf("mails went to %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if tries["gone@acmecorp.com"] != 1 || tries["later@acmecorp.com"] != 3 || tries["admin@acmecorp.com"] != 1 || tries["never@acmecorp.com"] != 5 {
		t.Errorf("the tries are %v", tries)
	}
}

func TestWhatIsTooMuchToSendIsCountedAndTold(t *testing.T) {
	t.Parallel()
	sink := startSink(t, lab.SinkConfig{})
	log := fake.NewLog()
	teller := New(log.Logger)
	s := settings(sink.Addr())
	s.To = s.To[:1]
	teller.Configure(s)
	for i := range maxWaiting + 3 {
		teller.Tell(eventOf(i))
	}
	if n := strings.Count(log.Wait(t, "limit reached"), "mail=dropped"); n != 3 {
		t.Errorf("%d mails are dropped", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { teller.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for i, delivery := range arrived(t, sink, maxWaiting) {
		if _, text := read(t, delivery.Data); strings.Contains(text, "that 3 of them were dropped") != (i == 0) {
			t.Errorf("mail %d says\n%s", i, text)
		}
	}
}

// eventOf is an event like bob's of another account.
func eventOf(i int) Event {
	e := bobsEvent()
	e.Account = fmt.Sprint("user", i)
	return e
}

func TestAnAccountIsToldOfOnceInTheRulesPeriodWhateverTheKeys(t *testing.T) {
	t.Parallel()
	teller := newTeller(t, settings("127.0.0.1:1"))
	hourly := &rate.Rule{Name: "per sender", By: rate.BySender, Per: 3600}
	tell := func(about string, e Event, after time.Duration, want int) {
		t.Helper()
		teller.tell(e, noon.Add(after))
		if got := len(teller.waiting); got != want {
			t.Errorf("%s: %d mails wait, right is %d", about, got, want)
		}
	}
	e := bobsEvent()
	e.Rule, e.Key = hourly, "a@acmecorp.com"
	quiet := e
	quiet.Mail = false
	tell("a line without a mail", quiet, 0, 0)
	tell("the first key", e, 0, 1)
	e.Key = "b@acmecorp.com"
	tell("another key at once", e, 0, 1)
	tell("another key later", e, 59*time.Minute, 1)
	other := e
	other.Account = "carol"
	tell("another account", other, 59*time.Minute, 2)
	other = bobsEvent()
	tell("another rule", other, 59*time.Minute, 3)
	tell("the next period, by a clock that is a little behind", e, time.Hour-time.Second, 4)
	tell("at once after that", e, time.Hour, 4)
	tell("the clock is put back by a day", e, -23*time.Hour, 5)
}

func TestWhatWasToldRecentlyIsBounded(t *testing.T) {
	t.Parallel()
	var r recently
	for i := range 10 * maxTold {
		s := subject{account: fmt.Sprint(i)}
		if !r.isFirst(s, noon, time.Hour) || r.isFirst(s, noon, time.Hour) {
			t.Fatalf("subject %d is not told of once", i)
		}
	}
	if n := len(r.newer) + len(r.older); n > 2*maxTold {
		t.Errorf("%d are remembered", n)
	}
	if r.isFirst(subject{account: fmt.Sprint(9*maxTold + 1)}, noon, time.Hour) {
		t.Error("one of the last is forgotten")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	away := startSink(t, lab.SinkConfig{})
	away.Close()
	log := fake.NewLog()
	teller := New(log.Logger)
	teller.Configure(settings(away.Addr()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { teller.Run(ctx); close(ended) }()
	teller.Tell(bobsEvent())
	teller.Tell(eventOf(1))
	log.Wait(t, "tried again")
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	text := log.Wait(t, "limit notice not sent")
	if !strings.Contains(text, `msg="limit notices are not sent, since the daemon stops" count=1`) {
		t.Errorf("the log does not say what is lost:\n%s", text)
	}
}

func TestManyMayTellAndRecordAtOnce(t *testing.T) {
	t.Parallel()
	sink := startSink(t, lab.SinkConfig{})
	teller, _ := run(t, settings(sink.Addr()))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				m := bobs(i, 0)
				m.Time = time.Now()
				teller.ledger.record("bob", m)
				switch {
				case j%50 == i:
					teller.Tell(eventOf(200*i + j))
				case j%100 == 60:
					teller.Configure(settings(sink.Addr()))
				}
			}
		})
	}
	all.Wait()
	if sum, recent := teller.ledger.sent("bob", time.Now()); sum.messages != 1600 || len(recent) != maxRecent {
		t.Errorf("%d messages are known, %d of them by name", sum.messages, len(recent))
	}
	arrived(t, sink, 8*4*2)
}

func FuzzTheMail(f *testing.F) {
	f.Add("bob", "bob", "a@b", "c@d", "x\r\nBcc: y\r\n\r\n.", "4Zx")
	f.Add("10.1.2.3", "\u202E\r\n", "", "http://x", "=?utf-8?q?a=0D=0ABcc:_x@y?=", "\xff")
	f.Fuzz(func(t *testing.T, account, key, sender, recipient, subject, id string) {
		s := settings("")
		teller := newTeller(t, s)
		e := bobsEvent()
		e.Account, e.Key = account, key
		n := teller.tellNoon(e, Message{Time: noon, QueueID: id, Sender: sender, Recipients: []string{recipient}, Count: 1, Subject: subject})
		letter, err := s.letter(n, 0, "admin@acmecorp.com", noon)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(letter.Text, "\nSubject  "); n != 1 {
			t.Errorf("it shows %d messages:\n%s", n, letter.Text)
		}
		for _, bad := range []string{"://", "\u202E", "\nBcc"} {
			if strings.Contains(letter.Text, bad) {
				t.Errorf("%q stands in\n%s", bad, letter.Text)
			}
		}
		var content bytes.Buffer
		if err := s.Post.Write(&content, letter); err != nil {
			t.Fatal(err)
		}
		header, text := read(t, content.Bytes())
		if got, err := header.Subject(); err != nil || got != letter.Subject || text != letter.Text || header.Has("Bcc") {
			t.Errorf("it reads %q (%v)\n%s\nbut was\n%q\n%s", got, err, text, letter.Subject, letter.Text)
		}
	})
}
