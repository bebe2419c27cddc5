package messages

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// mta is an Index that follows a log, which the test writes.
type mta struct {
	*Index
	options Options
	log     string
	records *Records
}

func beginMTA(t *testing.T) *mta {
	t.Helper()
	folder := t.TempDir()
	m := &mta{log: filepath.Join(folder, "mail.log"), options: options(filepath.Join(folder, "messages.db"), &logged{})}
	m.options.Keep, m.options.MTALog = 90*24*time.Hour, m.log
	m.write(t, "")
	m.start(t)
	return m
}

func (m *mta) start(t *testing.T) {
	m.Index = New(m.options)
	t.Cleanup(m.Stop)
}

func (m *mta) write(t *testing.T, text string) {
	t.Helper()
	file, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// say writes lines with a time before them.
func (m *mta) say(t *testing.T, at time.Time, lines ...string) {
	t.Helper()
	m.write(t, stamped(at, lines...))
}

func stamped(at time.Time, lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		if !strings.HasPrefix(line, "sendmail[") {
			line = "postfix/" + line
		}
		fmt.Fprintf(&b, "%s mx1 %s\n", at.Format(time.RFC3339), line)
	}
	return b.String()
}

// wait waits until the log was read so far.
func (m *mta) wait(t *testing.T) {
	t.Helper()
	m.await(t, m.mark(t))
}

// mark writes what await waits for.
func (m *mta) mark(t *testing.T) (mark string) {
	t.Helper()
	mark = fmt.Sprintf("MARK%d", rand.Uint64())
	m.say(t, time.Now(), "smtp[1]: "+mark+": to=<x@example.net>, relay=none, delay=1, delays=0/0/0/1, dsn=4.0.0, status=deferred (mark)")
	return mark
}

func (m *mta) await(t *testing.T, mark string) {
	t.Helper()
	r := Open(m.options)
	defer r.Close()
	for limit := time.After(2 * time.Minute); ; {
		list, err := r.Deliveries(context.Background(), &Message{QueueID: mark, Time: time.Now()})
		// It may not be made yet, in which case err says so.
		if err == nil && len(list) > 0 {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatalf("the log is not read: %+v, %v", m.MTALog(), err)
		}
	}
}

// told is what is known of a message that had a queue id at a time.
func (m *mta) told(t *testing.T, queueID string, at time.Time) (told []string) {
	t.Helper()
	if m.records == nil {
		m.records = Open(m.options)
		t.Cleanup(func() { m.records.Close() })
	}
	list, err := m.records.Deliveries(context.Background(), &Message{QueueID: queueID, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		text := fmt.Sprintf("%s %s %s %s", d.QueueID, d.Kind, d.Recipient, d.Answer)
		if d.Tries > 1 {
			text += fmt.Sprintf(" (%d)", d.Tries)
		}
		told = append(told, text)
	}
	return told
}

func (m *mta) wants(t *testing.T, queueID string, at time.Time, want ...string) {
	t.Helper()
	if got := m.told(t, queueID, at); !slices.Equal(got, want) {
		t.Errorf("of %s at %s it tells\n%s\nwant\n%s", queueID, at.Format(time.RFC3339), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAMessageIsJoinedWithWhatTheMTADidWithItAndNothingElse(t *testing.T) {
	t.Parallel()
	m := beginMTA(t)
	// The same queue id, two months before; and one message whose end the log lacks.
	long := time.Now().Add(-60 * 24 * time.Hour)
	m.say(t, long,
		"smtp[1]: A07C99BADF1: to=<old@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 old)",
		"qmgr[1]: A07C99BADF1: removed",
		"smtp[1]: B07C99BADF1: to=<old@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=4.0.0, status=deferred (451 old)")
	// An hour ago it was put off three times, for one of two; and the id was given again since.
	now := time.Now().Truncate(time.Second)
	at := now.Add(-time.Hour)
	m.say(t, at,
		"smtp[1]: A07C99BADF1: to=<bob@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=4.7.1, status=deferred (451 first)",
		"smtp[1]: A07C99BADF1: to=<carol@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)")
	m.wait(t)
	m.say(t, at.Add(10*time.Minute), "smtp[1]: A07C99BADF1: to=<bob@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=601, delays=0/0/0/1, dsn=4.7.1, status=deferred (451 second)")
	m.say(t, at.Add(20*time.Minute),
		"smtp[1]: A07C99BADF1: to=<bob@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1201, delays=0/0/0/1, dsn=4.7.1, status=deferred (451 third)",
		"smtp[1]: A07C99BADF1: to=<bob@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1202, delays=0/0/0/1, dsn=2.0.0, status=sent (250 at last)",
		"qmgr[1]: A07C99BADF1: removed")
	m.say(t, now,
		"smtp[1]: A07C99BADF1: to=<new@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 new)",
		"qmgr[1]: A07C99BADF1: removed",
		"smtp[1]: B07C99BADF1: to=<new@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 new)")
	m.wait(t)
	m.wants(t, "A07C99BADF1", long.Add(time.Second), "A07C99BADF1 sent old@example.net 250 old")
	m.wants(t, "A07C99BADF1", at.Add(time.Second/2), "A07C99BADF1 deferred bob@example.net 451 third (3)", "A07C99BADF1 sent carol@example.net 250 ok", "A07C99BADF1 sent bob@example.net 250 at last")
	m.wants(t, "A07C99BADF1", now.Add(time.Second/2), "A07C99BADF1 sent new@example.net 250 new")
	m.wants(t, "B07C99BADF1", long, "B07C99BADF1 deferred old@example.net 451 old")
	m.wants(t, "B07C99BADF1", now, "B07C99BADF1 sent new@example.net 250 new")
	m.wants(t, "C07C99BADF1", now)
}

func TestAMessageIsFollowedFromOneQueueIDToTheNext(t *testing.T) {
	t.Parallel()
	m := beginMTA(t)
	now := time.Now().Truncate(time.Second)
	m.say(t, now,
		// Through a filter, which hands it in again, to a remote that names its own queue id.
		"smtp[1]: AAAAAAA001: to=<bob@example.net>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as BBBBBBB001)",
		"qmgr[1]: AAAAAAA001: removed",
		"smtp[1]: BBBBBBB001: to=<bob@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as CCCCCCC001)",
		"smtp[1]: CCCCCCC001: to=<eve@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 another message of ours)",
		// A forward, of which one way bounces, and the notification.
		"local[1]: AAAAAAA002: to=<list@acmecorp.com>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (forwarded as BBBBBBB002)",
		"smtp[1]: BBBBBBB002: to=<nobody@example.net>, orig_to=<list@acmecorp.com>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host mx.example.net[192.0.2.25] said: 550 5.1.1 No)",
		"bounce[1]: BBBBBBB002: sender non-delivery notification: CCCCCCC002",
		"smtp[1]: CCCCCCC002: to=<carol@example.org>, relay=mx.example.org[192.0.2.26]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 told)",
		// A loop of names.
		"smtp[1]: AAAAAAA003: to=<x@example.net>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as AAAAAAA003)",
		// From Sendmail's submission queue to its daemon.
		"sendmail[1]: 6217FgZk000098: to=bob@example.net, ctladdr=alice (1000/1000), delay=00:00:01, xdelay=00:00:00, mailer=relay, pri=30219, relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (6217FgZk000099 Message accepted for delivery)",
		"sendmail[1]: 6217FgZk000099: to=<bob@example.net>,<carol@example.net>, delay=00:00:01, xdelay=00:00:00, mailer=esmtp, pri=30219, relay=mx.example.net. [192.0.2.25], dsn=5.1.1, reply=550 5.1.1 no, stat=User unknown",
		"sendmail[1]: 6217FgZk000099: 6217FgZk000100: DSN: User unknown",
	)
	m.wait(t)
	m.wants(t, "AAAAAAA001", now, "AAAAAAA001 sent bob@example.net 250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as BBBBBBB001",
		"BBBBBBB001 sent bob@example.net 250 2.0.0 Ok: queued as CCCCCCC001")
	m.wants(t, "AAAAAAA002", now, "AAAAAAA002 sent list@acmecorp.com forwarded as BBBBBBB002",
		"BBBBBBB002 bounced nobody@example.net host mx.example.net[192.0.2.25] said: 550 5.1.1 No", "BBBBBBB002 notified  sender non-delivery notification",
		"CCCCCCC002 sent carol@example.org 250 told")
	m.wants(t, "AAAAAAA003", now, "AAAAAAA003 sent x@example.net 250 2.0.0 Ok: queued as AAAAAAA003")
	m.wants(t, "6217FgZk000098", now, "6217FgZk000098 sent bob@example.net Sent (6217FgZk000099 Message accepted for delivery)",
		"6217FgZk000099 bounced bob@example.net 550 5.1.1 no", "6217FgZk000099 bounced carol@example.net 550 5.1.1 no", "6217FgZk000099 notified  User unknown")
}

func TestWhatTheMTARefusesItselfIsFound(t *testing.T) {
	t.Parallel()
	m := beginMTA(t)
	now := time.Now()
	m.say(t, now,
		"smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 <nobody@acmecorp.com>: Recipient address rejected: User unknown; from=<eve@example.org> to=<nobody@acmecorp.com> proto=ESMTP helo=<h.example.org>",
		"smtpd[1]: NOQUEUE: reject: CONNECT from unknown[192.0.2.8]: 450 4.7.1 <unknown[192.0.2.8]>: Client host rejected: later; proto=SMTP",
		"cleanup[1]: AAAAAAA001: reject: header Subject: x from unknown[192.0.2.9]; from=<eve@example.org> to=<bob@acmecorp.com> proto=ESMTP helo=<h.example.org>: 5.7.1 no such subject",
		"smtpd[1]: NOQUEUE: discard: RCPT from unknown[192.0.2.10]: <bob@acmecorp.com>: Recipient address gone; from=<eve@example.org> to=<bob@acmecorp.com> proto=ESMTP helo=<h.example.org>",
		"smtpd[1]: NOQUEUE: milter-reject: RCPT from unknown[192.0.2.11]: 550 5.1.1 ours; from=<eve@example.org> to=<bob@acmecorp.com> proto=ESMTP helo=<h.example.org>",
		// Sendmail says who the sender is behind it, before it, or never.
		"sendmail[1]: 6217FgZk000001: ruleset=check_rcpt, arg1=<x@relayed.example>, relay=[192.0.2.12], reject=550 5.7.1 <x@relayed.example>... Relaying denied",
		"sendmail[1]: 6217FgZk000001: <nouser@acmecorp.com>... User unknown",
		"sendmail[1]: 6217FgZk000001: from=<mallory@example.org>, size=0, class=0, nrcpts=0, proto=ESMTP, daemon=MTA, relay=[192.0.2.12]",
		"sendmail[1]: 6217FgZk000002: from=<mallory@example.org>, size=6194, class=0, nrcpts=1, msgid=<1@x>, proto=ESMTP, daemon=MTA, relay=[192.0.2.13]",
		"sendmail[1]: 6217FgZk000002: to=<big@acmecorp.com>, delay=00:00:00, pri=36194, stat=Message exceeds maximum fixed size (4000)",
		"sendmail[1]: 6217FgZk000003: <late@acmecorp.com>... User unknown",
		// A milter's refusals have records of their own.
		"sendmail[1]: 6217FgZk000004: from=<mallory@example.org>, size=6194, class=0, nrcpts=1, msgid=<2@x>, proto=ESMTP, daemon=MTA, relay=[192.0.2.14]",
		"sendmail[1]: 6217FgZk000004: Milter: data, reject=550 5.7.1 spam",
		"sendmail[1]: 6217FgZk000004: to=<ours@acmecorp.com>, delay=00:00:00, pri=36194, stat=550 5.7.1 spam",
		"sendmail[1]: 6217FgZk000005: from=<mallory@example.org>, size=6194, class=0, nrcpts=1, msgid=<3@x>, proto=ESMTP, daemon=MTA, relay=[192.0.2.15]",
		"sendmail[1]: 6217FgZk000005: Milter: data, discard",
		"sendmail[1]: 6217FgZk000005: to=<ours@acmecorp.com>, delay=00:00:00, pri=36194, stat=discarded",
		"sendmail[1]: 6217FgZk000006: from=<mallory@example.org>, size=6194, class=0, nrcpts=1, msgid=<4@x>, proto=ESMTP, daemon=MTA, relay=[192.0.2.16]",
		"sendmail[1]: 6217FgZk000006: to=<dropped@acmecorp.com>, delay=00:00:00, pri=36194, stat=discarded",
	)
	m.wait(t)
	m.wants(t, "6217FgZk000004", now, "6217FgZk000004 filtered  550 5.7.1 spam")
	m.wants(t, "6217FgZk000005", now, "6217FgZk000005 filtered  discard")
	m.Stop() // which ends the waiting for senders
	for query, want := range map[*Query][]string{
		{To: "nobody@acmecorp.com", From: "eve@example.org", Client: netip.MustParseAddr("192.0.2.7"), Verdict: verdict.Reject}: {"rejected eve@example.org nobody@acmecorp.com h.example.org 550 5.1.1 <nobody@acmecorp.com>: Recipient address rejected: User unknown"},
		{Client: netip.MustParseAddr("192.0.2.8"), Verdict: verdict.Tempfail}:                                                   {"rejected    450 4.7.1 <unknown[192.0.2.8]>: Client host rejected: later"},
		{ID: "AAAAAAA001"}: {"rejected eve@example.org bob@acmecorp.com h.example.org "},
		{Client: netip.MustParseAddr("192.0.2.10"), Verdict: verdict.Discard}: {"discarded eve@example.org bob@acmecorp.com h.example.org "},
		{Client: netip.MustParseAddr("192.0.2.11")}:                           nil,
		{From: "mallory@example.org", To: "@relayed.example"}:                 {"rejected mallory@example.org x@relayed.example nouser@acmecorp.com  550 5.7.1 <x@relayed.example>... Relaying denied"},
		{To: "big@acmecorp.com", Client: netip.MustParseAddr("192.0.2.13")}:   {"rejected mallory@example.org big@acmecorp.com  "},
		{To: "late@acmecorp.com"}:                                             {"rejected  late@acmecorp.com  "},
		{To: "ours@acmecorp.com"}:                                             nil,
		{To: "dropped@acmecorp.com", Verdict: verdict.Discard}:                {"discarded mallory@example.org dropped@acmecorp.com  "},
		{}: make([]string, 8),
	} {
		var got []string
		for _, one := range all(t, m.options, *query) {
			var to []string
			for i := range one.Recipients {
				to = append(to, one.Recipients[i].Address)
			}
			got = append(got, fmt.Sprintf("%s %s %s %s %s", one.MTA, one.Sender, strings.Join(to, " "), one.Hello, one.Reply))
		}
		if len(got) != len(want) || len(want) < 8 && !slices.Equal(got, want) {
			t.Errorf("%+v finds %q, want %q", *query, got, want)
		}
	}
}

func TestRefusalsOfTheMTAAreNotCountedAsMail(t *testing.T) {
	t.Parallel()
	m := beginMTA(t)
	m.say(t, time.Now(), "smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 No; from=<eve@example.org> to=<nobody@acmecorp.com> proto=ESMTP helo=<h.example.org>")
	m.wait(t)
	send(t, m.Index, numbered(0))
	counted := 0
	if err := m.file.View(context.Background(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT sum(messages) FROM counts`).Scan(&counted)
	}); err != nil || counted != 1 || len(all(t, m.options, Query{})) != 2 {
		t.Errorf("%d are counted, %v", counted, err)
	}
}

// After a reload, the Index of before is there until its last message has ended.
func TestOfTwoOneFollowsTheLog(t *testing.T) {
	t.Parallel()
	m := beginMTA(t)
	m.wait(t)
	first := m.Index
	m.start(t)
	now := time.Now()
	m.say(t, now, "smtp[1]: AAAAAAA001: to=<bob@example.net>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (one)")
	m.wait(t)
	first.Stop()
	m.say(t, now, "smtp[1]: AAAAAAA001: to=<carol@example.net>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (two)")
	m.wait(t)
	m.wants(t, "AAAAAAA001", now, "AAAAAAA001 sent bob@example.net one", "AAAAAAA001 sent carol@example.net two")
}

// month is a busy month of an MTA, whose queue ids are given again and again.
type month struct {
	*mta
	t      *testing.T
	random *rand.Rand
	sent   []fate
}

// fate is what the log says became of a message.
type fate struct {
	queueID string
	at      time.Time
	want    []string
}

func TestABusyMonthOfALogThatIsRotatedDailyAndHasGapsIsJoinedCompletely(t *testing.T) {
	t.Parallel()
	const days, daily = 30, batchSize // which no record waits for others
	m := &month{mta: beginMTA(t), t: t, random: rand.New(rand.NewPCG(1, 2))}
	m.Stop()
	begun := time.Now().Add(-days * 24 * time.Hour)
	for day := range days {
		running := day%10 == 5 // the log is rotated while it is followed
		if running {
			m.start(t)
		}
		var records []*record.Record
		m.write(t, m.day(begun.Add(time.Duration(day)*24*time.Hour), daily, day%7 == 3, &records))
		mark := m.mark(t)
		if !running {
			m.start(t)
		}
		send(t, m.Index, records...)
		if day%3 > 0 || day == 0 { // or it goes on with what was renamed, once it has begun
			m.await(t, mark)
		}
		if running {
			m.rotate(day)
			m.wait(t)
		}
		m.Stop()
		if !running {
			m.rotate(day)
		}
	}
	m.start(t)
	m.wait(t)
	wrong := 0
	for _, one := range m.sent {
		if got := m.told(t, one.queueID, one.at); !slices.Equal(got, one.want) && wrong < 5 {
			wrong++
			t.Errorf("of %s at %s it tells\n%s\nwant\n%s", one.queueID, one.at.Format(time.RFC3339), strings.Join(got, "\n"), strings.Join(one.want, "\n"))
		}
	}
	if s := m.MTALog(); !s.Gap.IsZero() || s.Failed != "" {
		t.Errorf("%+v", s)
	}
	if len(m.sent) != days*daily {
		t.Error(len(m.sent))
	}
}

// rotate does what logrotate does each day: the last one stays as it is, what is older is
// packed.
func (m *month) rotate(day int) {
	if err := os.Remove(m.log + ".1"); err == nil {
		if err := os.WriteFile(fmt.Sprintf("%s.%d.gz", m.log, day), []byte("packed"), 0o640); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.Rename(m.log, m.log+".1"); err != nil {
		m.t.Fatal(err)
	}
	m.write(m.t, "")
}

// day writes the log of a day, and the records of its messages. On one with a gap, an hour's
// lines are lost.
func (m *month) day(begun time.Time, daily int, gap bool, records *[]*record.Record) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for n := range daily {
		at := begun.Add(time.Duration(n) * 24 * time.Hour / time.Duration(daily)).Truncate(time.Second)
		// There are far fewer names than messages.
		one := fate{queueID: fmt.Sprintf("%05X9BA%03X", n%97*4099, n%13), at: at.Add(300 * time.Millisecond)}
		*records = append(*records, &record.Record{
			Time: one.at, QueueID: one.queueID, Client: netip.MustParseAddr("192.0.2.1"), Sender: "carol@example.org", Ended: true, Count: 1,
			Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept},
		})
		lost := gap && n%24 == 7
		say := func(after time.Duration, text string) {
			if !lost {
				lines = append(lines, line{at.Add(after), text})
			}
		}
		want := func(text string) {
			if !lost {
				one.want = append(one.want, one.queueID+" "+text)
			}
		}
		to := fmt.Sprintf("bob%d@example.net", n)
		deliver := func(after time.Duration, dsn, status, answer string) {
			say(after, fmt.Sprintf("postfix/smtp[21105]: %s: to=<%s>, relay=mx.example.net[192.0.2.25]:25, delay=%d, delays=0/0/0/1, dsn=%s, status=%s (%s)", one.queueID, to, after/time.Second, dsn, status, answer))
		}
		say(0, "postfix/smtpd[21104]: "+one.queueID+": client=unknown[192.0.2.1]")
		say(0, "postfix/cleanup[21102]: "+one.queueID+": message-id=<"+fmt.Sprint(n)+"@example.org>")
		say(0, "postfix/qmgr[21098]: "+one.queueID+": from=<carol@example.org>, size=403, nrcpt=1 (queue active)")
		switch n % 10 {
		case 1, 2:
			deliver(time.Second, "4.7.1", "deferred", "host mx.example.net[192.0.2.25] said: 451 4.7.1 later")
			deliver(5*time.Minute, "4.7.1", "deferred", "host mx.example.net[192.0.2.25] said: 451 4.7.1 later")
			deliver(15*time.Minute, "2.0.0", "sent", "250 2.0.0 Ok: queued as 9C3E4D2F5B")
			want("deferred " + to + " host mx.example.net[192.0.2.25] said: 451 4.7.1 later (2)")
			want("sent " + to + " 250 2.0.0 Ok: queued as 9C3E4D2F5B")
			say(15*time.Minute, "postfix/qmgr[21098]: "+one.queueID+": removed")
		case 3:
			deliver(0, "5.1.1", "bounced", "host mx.example.net[192.0.2.25] said: 550 5.1.1 no")
			want("bounced " + to + " host mx.example.net[192.0.2.25] said: 550 5.1.1 no")
			notice := "F" + one.queueID
			say(0, "postfix/bounce[21101]: "+one.queueID+": sender non-delivery notification: "+notice)
			want("notified  sender non-delivery notification")
			say(0, "postfix/qmgr[21098]: "+one.queueID+": removed")
			say(time.Second, "postfix/smtp[21105]: "+notice+": to=<carol@example.org>, relay=mx.example.org[192.0.2.26]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 kept)")
			say(time.Second, "postfix/qmgr[21098]: "+notice+": removed")
			if !lost {
				one.want = append(one.want, notice+" sent carol@example.org 250 kept")
			}
		default:
			deliver(0, "2.0.0", "sent", "250 2.0.0 kept")
			want("sent " + to + " 250 2.0.0 kept")
			say(0, "postfix/qmgr[21098]: "+one.queueID+": removed")
		}
		m.sent = append(m.sent, one)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, one := range lines {
		fmt.Fprintf(&b, "%s mx1 %s\n", one.at.Format(time.Stamp), one.text)
	}
	return b.String()
}
