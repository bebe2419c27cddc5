package quarantine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// newReleaser releases through an MTA at an address.
func newReleaser(address string) Releaser {
	return Releaser{
		Keys:    seal.NewKeys([]byte("0123456789abcdef0123456789abcdef")),
		Address: address, Hostname: "mail.acmecorp.com",
	}
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

// mta is an SMTP server that answers as a script says.
type mta struct {
	net.Listener
	// answers maps a command's verb, "." for a message's end, or "greeting", to
	// what is answered instead of the usual. Empty: the connection is closed.
	answers map[string]string
	// taken is called with each message before its end is answered.
	taken func(message string)

	mu    sync.Mutex
	lines []string // the commands that have come
}

func startMTA(t *testing.T, m *mta) *mta {
	t.Helper()
	var err error
	if m.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := m.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				m.serve(bufio.NewReader(conn), conn)
			})
		}
	})
	t.Cleanup(func() { m.Close(); serving.Wait() })
	return m
}

func (m *mta) serve(r *bufio.Reader, w io.Writer) {
	say := func(verb, usual string) bool {
		answer, scripted := m.script(verb)
		if !scripted {
			answer = usual
		}
		_, err := io.WriteString(w, answer+"\r\n")
		return answer != "" && err == nil
	}
	if !say("greeting", "220 mta.lab.test ESMTP") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		m.mu.Lock()
		m.lines = append(m.lines, line)
		m.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		usual := "250 ok"
		if verb == "DATA" {
			usual = "354 go on"
		}
		if !say(verb, usual) {
			return
		}
		if _, refused := m.script(verb); verb == "DATA" && !refused {
			var message strings.Builder
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				message.WriteString(line)
			}
			if m.taken != nil {
				m.taken(strings.TrimSuffix(message.String(), ".\r\n"))
			}
			if !say(".", "250 taken") {
				return
			}
		}
	}
}

func (m *mta) script(verb string) (answer string, scripted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answer, scripted = m.answers[verb]
	return answer, scripted
}

// answer changes the script to one answer.
func (m *mta) answer(verb, answer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = map[string]string{verb: answer}
}

func (m *mta) commands() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines, "\n")
}

func TestAReleasedMessageArrivesByteForByteWithItsPass(t *testing.T) {
	t.Parallel()
	s, sink := newTestStore(t), startSink(t, lab.SinkConfig{})
	r := newReleaser(sink.Addr())
	for i, content := range []string{
		"Message-Id: <1@x>\r\nSubject: x\r\n\r\nbody\r\n",
		"Message-Id : <2@x>\r\n\tfolded\r\n\r\n.\r\n..\r\n.dot\r\n\r\n.\r\n",
		".\r\n",
		"Date: today\r\n\r\nno end of line",
		"From: x\r\n\r\nends with CR\r",
		"\r\n\r\n",
		"Subject: long\r\n\r\n" + strings.Repeat("long line ", 10_000) + "\r\n.\r\n" + strings.Repeat("y", 64<<10-9) + "\r\n.\r\n",
		"Subject: bare\r\n\r\nbare\rCR\r.x\r\rand bare\nLF, NUL \x00 and \xff\r\n",
		"Received: a\r\nFrom: a\r\nFrom: b\r\nMESSAGE-ID:<3@x>\r\nno header\r\nDate: no mark\r\n",
		"",
	} {
		item, _ := spam(i)
		item.Point, item.Platform = verdict.S1, "office365"
		ids, err := s.Put(item, recipients(fmt.Sprintf("user%d@acmecorp.com", i)), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := s.Release(t.Context(), r, ids[0], false); err != nil || e.State != Released || e.ID != ids[0] {
			t.Fatalf("%.40q: %s, %v", content, e.State, err)
		}
		d := sink.All()[i]
		got := string(lab.Below(d.Data, seal.PassHeader))
		want := content
		if strings.HasSuffix(want, "\r") {
			want += "\n"
		} else if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got != want {
			t.Errorf("%.60q (%d bytes) arrived as %.60q (%d bytes)", want, len(want), got, len(got))
		}
		if d.From != item.Sender || len(d.To()) != 1 || d.To()[0] != fmt.Sprintf("user%d@acmecorp.com", i) {
			t.Errorf("it came from %q to %q", d.From, d.To())
		}
		value := strings.TrimSuffix(string(d.Data), got)
		_, value, _ = strings.Cut(value, ":")
		header, _, err := examine(strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		marks, err := marksOf(header, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Unix()
		pass, ok := r.Keys.OpenPass([]string{value}, marks, now)
		if !ok || pass.ID != ids[0] || strings.Join(pass.Checks, " ") != "spam" || pass.Point != verdict.S1 || pass.Platform != "office365" || pass.Until > now+700 || pass.Until < now+500 {
			t.Errorf("the pass %q is %+v, %v", value, pass, ok)
		}
		if _, err := s.Release(t.Context(), r, ids[0], true); err == nil || !strings.Contains(err.Error(), "it is released since") {
			t.Errorf("released twice: %v", err)
		}
	}
	wantContents(t, s, 0)
}

func TestReleaseSaysWhatTheFirstEnvelopeSaid(t *testing.T) {
	const offers = "250-mta.lab.test\r\n250-SIZE 100\r\n250-8bitmime\r\n250-SMTPUTF8\r\n250 DSN"
	for name, c := range map[string]struct {
		ehlo, sender, address, notify, orcpt, content string
		want                                          string
	}{
		"plain": {offers, "x@example.org", "alice@acmecorp.com", "", "", "a\r\n",
			"MAIL FROM:<x@example.org>\nRCPT TO:<alice@acmecorp.com>"},
		"bounce": {offers, "", "alice@acmecorp.com", "NEVER", "rfc822;Alice+40x@acmecorp.com", "é\r\n",
			"MAIL FROM:<> BODY=8BITMIME\nRCPT TO:<alice@acmecorp.com> NOTIFY=NEVER ORCPT=rfc822;Alice+40x@acmecorp.com"},
		"no offers": {"250 mta.lab.test", "é@example.org", "alice@acmecorp.com", "NEVER", "rfc822;x", "é\r\n",
			"MAIL FROM:<é@example.org>\nRCPT TO:<alice@acmecorp.com>"},
		"SMTPUTF8": {offers, "x@example.org", "é@acmecorp.com", "", "utf-8;é@acmecorp.com", "a\r\n",
			"MAIL FROM:<x@example.org> SMTPUTF8\nRCPT TO:<é@acmecorp.com> ORCPT=utf-8;é@acmecorp.com"},
		"quoted": {offers, `"a b>"@example.org`, `"x y"@acmecorp.com`, "", "", "a\r\n",
			"MAIL FROM:<\"a b>\"@example.org>\nRCPT TO:<\"x y\"@acmecorp.com>"},
	} {
		t.Run(name, func(t *testing.T) {
			s, m := newTestStore(t), startMTA(t, &mta{answers: map[string]string{"EHLO": c.ehlo}})
			item, _ := spam(1)
			item.Sender = c.sender
			recipient := heldForSpam(c.address)
			recipient.Notify, recipient.ORcpt = c.notify, c.orcpt
			ids, err := s.Put(item, []Recipient{recipient}, strings.NewReader(c.content))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Release(t.Context(), newReleaser(m.Addr().String()), ids[0], false); err != nil {
				t.Fatal(err)
			}
			if got := m.commands(); !strings.HasPrefix(got, "EHLO mail.acmecorp.com\n"+c.want+"\nDATA") {
				t.Errorf("the commands were\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	s := newTestStore(t)
	item, _ := spam(1)
	item.Sender = "x@example.org>\r\nRSET"
	ids, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Release(t.Context(), newReleaser("127.0.0.1:1"), ids[0], false); err == nil || !strings.Contains(err.Error(), "control character") {
		t.Errorf("an address with a line end: %v", err)
	}
}

func TestAMessageThatIsNotTakenIsHeldAsBefore(t *testing.T) {
	for at, c := range map[string]struct{ answer, want string }{
		"greeting": {"554 no service", "the connection with 554 no service"},
		"EHLO":     {"421 closing", "EHLO with 421 closing"},
		"MAIL":     {"450 4.7.1 slowly", "MAIL with 450 4.7.1 slowly"},
		"RCPT":     {"550-5.1.1 no such\r\n550 5.1.1 user", "RCPT with 550 5.1.1 no such 5.1.1 user"},
		"DATA":     {"", "did not answer DATA"},
		".":        {"554 5.7.1 Virus found", "the message with 554 5.7.1 Virus found"},
	} {
		t.Run(at, func(t *testing.T) {
			s, m := newTestStore(t), startMTA(t, &mta{answers: map[string]string{at: c.answer}})
			id := put(t, s, 1, "alice@acmecorp.com")[0]
			e, err := s.Release(t.Context(), newReleaser(m.Addr().String()), id, false)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUncertain) || e.State != Held {
				t.Errorf("it is %s: %v; want an error with %q", e.State, err, c.want)
			}
			if got := state(t, s, id); got != Held {
				t.Errorf("it is %s", got)
			}
			contentOf(t, s, id)
		})
	}
	s, m := newTestStore(t), startMTA(t, &mta{})
	m.Close()
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	if e, err := s.Release(t.Context(), newReleaser(m.Addr().String()), id, false); err == nil || !strings.Contains(err.Error(), "cannot be reached") || e.State != Held {
		t.Errorf("without an MTA it is %s: %v", e.State, err)
	}
}

func TestAReleaseWithoutAnAnswerIsUncertain(t *testing.T) {
	hung := make(chan struct{})
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	for name, m := range map[string]*mta{
		"closed": {answers: map[string]string{".": ""}},
		"hung":   {taken: func(string) { giveUp(); <-hung }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestStore(t)
			listener := startMTA(t, m)
			if name == "hung" {
				t.Cleanup(func() { close(hung) })
			}
			id := put(t, s, 1, "alice@acmecorp.com")[0]
			during := ctx
			if name == "closed" {
				during = t.Context()
			}
			e, err := s.Release(during, newReleaser(listener.Addr().String()), id, false)
			if !errors.Is(err, ErrUncertain) || e.State != Releasing || state(t, s, id) != Releasing {
				t.Fatalf("it is %s: %v", e.State, err)
			}
			sink := startSink(t, lab.SinkConfig{})
			r := newReleaser(sink.Addr())
			if _, err := s.Release(t.Context(), r, id, false); !errors.Is(err, ErrUncertain) || len(sink.All()) != 0 {
				t.Errorf("the next release: %v, %d deliveries", err, len(sink.All()))
			}
			if e, err := s.Release(t.Context(), r, id, true); err != nil || e.State != Released || len(sink.All()) != 1 {
				t.Errorf("once more: %s, %v, %d deliveries", e.State, err, len(sink.All()))
			}
		})
	}
}

func TestOfTwoReleasesAtOnceOneSends(t *testing.T) {
	s, sink := newTestStore(t), startSink(t, lab.SinkConfig{})
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	var all sync.WaitGroup
	results := make(chan error, 10)
	for range cap(results) {
		all.Go(func() {
			// Each has a store of its own, as processes have.
			_, err := another(t, s).Release(t.Context(), newReleaser(sink.Addr()), id, true)
			results <- err
		})
	}
	all.Wait()
	close(results)
	released := 0
	for err := range results {
		if err == nil {
			released++
		}
	}
	if released != 1 || len(sink.All()) != 1 {
		t.Errorf("%d releases sent %d messages", released, len(sink.All()))
	}
}

func TestAReleaseUnderWayIsWaitedForAsLongAsTheCallerLikes(t *testing.T) {
	s := newTestStore(t)
	begun, end := make(chan struct{}, 2), make(chan struct{})
	m := startMTA(t, &mta{taken: func(string) { begun <- struct{}{}; <-end }})
	ids := put(t, s, 1, "alice@acmecorp.com")
	first := make(chan error, 1)
	go func() {
		_, err := s.Release(t.Context(), newReleaser(m.Addr().String()), ids[0], false)
		first <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Release(ctx, newReleaser(m.Addr().String()), ids[0], true); err == nil || !strings.Contains(err.Error(), "being released by another process") {
		t.Errorf("the second release: %v", err)
	}
	// The store is free meanwhile.
	put(t, s, 2, "bob@acmecorp.com")
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestAMessageThatIsHeldAgainIsTold(t *testing.T) {
	s := newTestStore(t)
	item, content := spam(1)
	m := startMTA(t, &mta{taken: func(message string) {
		again := heldForSpam("alice@acmecorp.com")
		again.Checks = []string{verdict.CheckMalware}
		if _, err := s.Put(item, []Recipient{again}, strings.NewReader(message)); err != nil {
			t.Error(err)
		}
	}})
	ids, err := s.Put(item, recipients("alice@acmecorp.com", "bob@acmecorp.com"), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Release(t.Context(), newReleaser(m.Addr().String()), ids[0], false)
	var held *HeldAgainError
	if !errors.As(err, &held) || e.State != Released || held.Entry.ID == ids[0] || err.Error() != "held again as "+held.Entry.ID+" by malware" {
		t.Fatalf("it is %s: %v", e.State, err)
	}
	if state(t, s, held.Entry.ID) != Held || state(t, s, ids[1]) != Held {
		t.Error("the others are not held")
	}
	wantContents(t, s, 2)
}

// patiently bounds one wait. Only what hangs takes so long, on a machine that does
// other things as well.
func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestPostfixTakesAReleasedMessageAsItIs(t *testing.T) {
	t.Parallel()
	programs := lab.Lend(t)
	sink := startSink(t, lab.SinkConfig{})
	postfix, err := programs.Start(patiently(t), lab.Config{
		Services: []lab.Service{{Name: "released", Settings: map[string]string{
			"mynetworks": "127.0.0.0/8",
			// Or Postfix would add header fields that a message lacks.
			"local_header_rewrite_clients": "",
		}}},
		Routes: map[string]string{"acmecorp.com": sink.NextHop()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Log(postfix.Log())
		}
		if err := postfix.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := newTestStore(t)
	eightBit := string(lab.EightBit("x@example.org", "alice@acmecorp.com", "8 bit")) + "\r\n.\r\n..dots\r\n"
	for i, c := range []struct{ content, want string }{
		{eightBit, eightBit},
		// To Postfix, a bare LF ends a line.
		{"Subject: x\r\n\r\na\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@acmecorp.com>\r\nDATA\r\nevil\r\n.\r\n",
			"Subject: x\r\n\r\na\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@acmecorp.com>\r\nDATA\r\nevil\r\n.\r\n"},
	} {
		item, _ := spam(i)
		recipient := heldForSpam("Alice+tag@acmecorp.com")
		recipient.Notify, recipient.ORcpt = "NEVER", "rfc822;Alice+2Btag@acmecorp.com"
		ids, err := s.Put(item, []Recipient{recipient}, strings.NewReader(c.content))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Release(patiently(t), newReleaser(postfix.Addr("released")), ids[0], false); err != nil {
			t.Fatal(err)
		}
		all, err := sink.WaitCount(patiently(t), i+1)
		if err != nil {
			t.Fatal(err)
		}
		d := all[i]
		if got := string(lab.Below(d.Data, "Received", seal.PassHeader)); got != c.want {
			t.Errorf("%q arrived as %q", c.want, got)
		}
		if len(d.Recipients) != 1 || d.Recipients[0] != (lab.Recipient{Address: recipient.Address, Notify: "NEVER", ORCPT: recipient.ORcpt}) || d.From != item.Sender {
			t.Errorf("it came from %q to %+v", d.From, d.Recipients)
		}
	}
}

func TestReleasingNeedsAKey(t *testing.T) {
	s := newTestStore(t)
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	r := newReleaser("127.0.0.1:1")
	r.Keys = seal.Keys{}
	if _, err := s.Release(t.Context(), r, id, false); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("the error is %v", err)
	}
}

func FuzzExamine(f *testing.F) {
	f.Add("Message-Id: <1@x>\r\n\tfolded\r\n\r\nb\xff")
	f.Fuzz(func(t *testing.T, content string) {
		_, eightBit, err := examine(strings.NewReader(content))
		if err != nil {
			t.Error(err)
		}
		if want := strings.ContainsFunc(content, func(c rune) bool { return c >= 0x80 }); eightBit != want {
			t.Errorf("%q has bytes beyond US-ASCII: %v", content, eightBit)
		}
	})
}
