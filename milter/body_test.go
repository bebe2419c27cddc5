package milter

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// reader is a scanner that keeps what it read, and finds what it is told to.
type reader struct {
	find verdict.Finding

	mu   sync.Mutex
	seen []byte
	of   scanners.Message
}

func (r *reader) Check() string { return verdict.CheckVirus }

func (r *reader) Scan(_ context.Context, m *scanners.Message) verdict.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of = *m
	var err error
	if r.seen, err = io.ReadAll(m.Reader()); err != nil {
		return scanners.Unknown(verdict.CheckVirus, err.Error())
	}
	return r.find
}

func (r *reader) last() (string, scanners.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.seen), r.of
}

// newChecked is newRuntime with the check virus at S0 and S2, made by r.
func newChecked(t *testing.T, r *reader) *transaction.Runtime {
	t.Helper()
	rt := newRuntime(t)
	point := policy.Point{Report: true, Checks: []policy.Check{{Name: verdict.CheckVirus, OnHit: verdict.Quarantine, OnError: verdict.Tempfail}}}
	rt.Policy.Points = policy.Points{verdict.S0: point, verdict.S2: point}
	live(rt).Scanners = scanners.NewRunner(scanners.NewGuard(slog.New(slog.DiscardHandler), scanners.Guarded{Scanner: r, Timeout: time.Minute, MaxScans: 10}))
	rt.SpoolDir = t.TempDir()
	return rt
}

// withStore gives a runtime a quarantine.
func withStore(t *testing.T, rt *transaction.Runtime) *transaction.Runtime {
	t.Helper()
	return withStoreIn(t, rt, t.TempDir())
}

func withStoreIn(t *testing.T, rt *transaction.Runtime, dir string) *transaction.Runtime {
	t.Helper()
	o := quarantine.Options{Dir: dir, Keep: time.Hour, MaxBytes: 1 << 30, Log: slog.New(slog.DiscardHandler)}
	file := store.New(quarantine.FileOptions(o.Dir, o.Log))
	t.Cleanup(func() { file.Close() })
	live(rt).Quarantine = quarantine.New(file, o)
	return rt
}

// body sends pieces of a body, each answered unless it was agreed that none is,
// until the server wants no more.
func (m *mta) body(pieces ...string) {
	m.t.Helper()
	for _, piece := range pieces {
		m.put('B', piece)
		if m.agreed&gomilter.OptNoBodyReply != 0 {
			continue
		}
		if f := m.get(); f == (frame{byte(gomilter.ActSkip), ""}) {
			return
		} else if f != proceed {
			m.t.Fatalf("a piece of the body was answered by %v", f)
		}
	}
}

func TestScannersSeeTheMessageAsItStoodOnTheWire(t *testing.T) {
	long := strings.Repeat(strings.Repeat("0123456789abcdef", 4)+"\r\n", 1000)
	for _, c := range []struct {
		name     string
		protocol gomilter.OptProtocol
		values   [2]string // as the MTA gives them
		pieces   []string
		last     string // comes with end of message
	}{
		{"exact values", allProtocol, [2]string{" one", "  folded\n\twith a tab"}, []string{"hello\r\n"}, ""},
		{"values without the space", allProtocol &^ gomilter.OptHeaderLeadingSpace, [2]string{"one", " folded\n\twith a tab"}, []string{"hello\r\n"}, ""},
		{"folded with CRLF", allProtocol, [2]string{" one", "  folded\r\n\twith a tab"}, []string{"hello\r\n"}, ""},
		{"no body", allProtocol, [2]string{" one", "  folded\n\twith a tab"}, nil, ""},
		{"a piece with the end", allProtocol, [2]string{" one", "  folded\n\twith a tab"}, []string{"hello\r\n"}, "the end\r\n"},
		{"answers to each piece", waitsAtMail &^ gomilter.OptNoBodyReply, [2]string{" one", "  folded\n\twith a tab"}, []string{"a", "b\x00\r\n", "c"}, ""},
		{"a body in a file", allProtocol, [2]string{" one", "  folded\n\twith a tab"}, []string{long, long, long, long, long, "x", long}, ""},
		{"a body that fills the file", allProtocol, [2]string{" one", "  folded\n\twith a tab"}, []string{strings.Repeat("x", transaction.SpoolMemory/2), strings.Repeat("y", transaction.SpoolMemory/2)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reader{find: verdict.Passed(verdict.CheckVirus)}
			rt := newChecked(t, r)
			l := newLab(t, rt, nil)
			m := l.dial(t)
			m.negotiate(6, allActions, c.protocol)
			m.connect('4', 4711, "192.0.2.1")
			m.put('H', "client.example\x00")
			for range 2 {
				m.mail("<x@example.org>")
				m.rcpt("<bob@acmecorp.com>")
				m.header("Subject", c.values[0])
				m.header("X-Long", c.values[1])
				m.body(c.pieces...)
				m.macro('E', "i", "4QID")
				m.put('E', c.last)
				if f := m.get(); f != proceed {
					t.Fatalf("got %v", f)
				}
				want := "Subject: one\r\nX-Long:  folded\r\n\twith a tab\r\n\r\n" + strings.Join(c.pieces, "") + c.last
				got, of := r.last()
				if got != want {
					t.Errorf("the scanner read %d bytes %.300q, want %d bytes %.300q", len(got), got, len(want), want)
				}
				if of.Sender != "x@example.org" || of.Helo != "client.example" || of.ClientName != "client.example" || of.QueueID != "4QID" ||
					len(of.Recipients) != 1 || of.Client.String() != "192.0.2.1" {
					t.Errorf("the scanner was told %+v", of)
				}
			}
			if left, err := os.ReadDir(rt.SpoolDir); err != nil || len(left) > 0 {
				t.Errorf("the spool holds %v, %v", left, err)
			}
		})
	}
}

func TestBodiesAreAskedForAsTheChecksNeedThem(t *testing.T) {
	const replies = gomilter.OptNoBody | gomilter.OptNoBodyReply
	none := newRuntime(t)
	some := newChecked(t, &reader{})
	all := newChecked(t, &reader{})
	all.Policy.Points[verdict.S1] = all.Policy.Points[verdict.S0]
	all.Policy.PastMX = all.Policy.Points[verdict.S0]
	for name, c := range map[string]struct {
		rt   *transaction.Runtime
		want gomilter.OptProtocol
	}{"no check": {none, gomilter.OptNoBody}, "some points": {some, 0}, "all points": {all, gomilter.OptNoBodyReply}} {
		_, protocol := newLab(t, c.rt, nil).dial(t).negotiate(6, allActions, allProtocol)
		if protocol&replies != c.want {
			t.Errorf("%s: agreed to %x, want %x", name, protocol&replies, c.want)
		}
	}
}

func TestTheRestOfABodyThatNobodyReadsIsSkipped(t *testing.T) {
	rt := newChecked(t, &reader{find: verdict.Passed(verdict.CheckVirus)})
	rt.Policy.Points[verdict.S2] = policy.Point{}
	l := newLab(t, rt, nil)
	m := l.dial(t)
	m.negotiate(6, allActions, allProtocol)
	m.connect('4', 4711, "10.1.2.3")
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.put('B', "hello\r\n")
	m.want(byte(gomilter.ActSkip), "")
	m.wantEOM(proceed)
}

func TestTheResultNamesTheQueueIDThatIsToldAfterTheBody(t *testing.T) {
	rt := newChecked(t, &reader{find: verdict.Passed(verdict.CheckVirus)})
	rt.Policy.Header = "X-Coexist"
	remake(rt)
	m := newLab(t, rt, nil).postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.header("Subject", " x")
	m.body("hello\r\n")
	m.macro('E', "i", "4QID")
	m.wantEOM(frame{'i', "\x00\x00\x00\x00X-Coexist\x00 point=S0; verdict=accept; id=4QID\x00"}, proceed)
}

func TestOnAConnectionFromBeforeAReloadMailWithoutItsBodyIsPutOffAndNotHeld(t *testing.T) {
	var current atomic.Pointer[transaction.Runtime]
	current.Store(newRuntime(t))
	l := newLab(t, nil, func(s *Server) { s.Runtime = current.Load })
	m := l.postfix(t)
	after := withStore(t, newChecked(t, &reader{find: verdict.Passed(verdict.CheckVirus)}))
	after.Policy.Points[verdict.S0].Checks[0].OnError = verdict.Quarantine
	l.adopt(after)
	current.Store(after)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	if got := m.eom(); len(got) != 1 || !strings.HasPrefix(got[0].payload, "451 4.3.0 ") {
		t.Errorf("got %v", got)
	}
	if line := l.message(t); line["held"] != "" || !strings.Contains(line["reason"].(string), "before a reload") {
		t.Errorf("the log says %v", line)
	}
}

func TestHeldMailOfTheHostStillReachesRecipientsThatOnlyTheMTAUnderstands(t *testing.T) {
	rt := withStore(t, newChecked(t, &reader{find: scanners.Hit(verdict.CheckVirus, "Eicar", "clamd found Eicar")}))
	m := newLab(t, rt, nil).dial(t)
	m.negotiate(6, allActions, waitsAtMail)
	m.connect('4', 0, "127.0.0.1")
	m.mail("<bob@acmecorp.com>")
	m.rcpt("<alice@acmecorp.com>")
	m.rcpt("<x@a..b>")
	m.body("body\r\n")
	m.wantEOM(deleteAlice, deleteBare, proceed)
	if entries, err := live(rt).Quarantine.List(quarantine.Query{}); err != nil || len(entries) != 1 {
		t.Errorf("the quarantine has %v, %v", entries, err)
	}
}

func TestAMessageThatCannotBeSpooledIsPutOff(t *testing.T) {
	rt := newChecked(t, &reader{find: verdict.Passed(verdict.CheckVirus)})
	rt.SpoolDir = filepath.Join(t.TempDir(), "gone")
	l := newLab(t, rt, nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.body(strings.Repeat("x", 200_000), strings.Repeat("x", 200_000), strings.Repeat("x", 200_000))
	if got := m.eom(); len(got) != 1 || !strings.HasPrefix(got[0].payload, "452 4.3.1 ") {
		t.Errorf("got %v", got)
	}
	m.exchange()
}

func TestAMessageIsHeldForThoseConcernedAndTheOthersGetIt(t *testing.T) {
	r := &reader{find: scanners.Hit(verdict.CheckVirus, "Eicar", "clamd found Eicar")}
	rt := withStore(t, newChecked(t, r))
	rt.Policy.Allow = []policy.Allowance{{Name: "lab", Checks: []string{verdict.CheckVirus}, Recipients: []string{"alice@acmecorp.com"}}}
	l := newLab(t, rt, nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.rcpt("<bob@acmecorp.com>")
	m.header("Subject", " hello")
	m.body("body\r\n")
	m.wantEOM(deleteAlice, frame{'-', "<bob@acmecorp.com>\x00"}, addAlice, addTrace, proceed)
	entries, err := live(rt).Quarantine.List(quarantine.Query{})
	if err != nil || len(entries) != 1 {
		t.Fatalf("the quarantine has %v, %v", entries, err)
	}
	e := entries[0]
	if e.Address != "bob@acmecorp.com" || e.Sender != "x@example.org" || e.Subject != "hello" || e.Checks[0] != "virus" || e.Found[0] != "Eicar" || !e.Report {
		t.Errorf("the entry is %+v", e)
	}
	content, err := live(rt).Quarantine.Content(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if text, err := io.ReadAll(content); err != nil || string(text) != "Subject: hello\r\n\r\nbody\r\n" {
		t.Errorf("it holds %q, %v", text, err)
	}
	line := l.message(t)
	if line["held"] != e.ID || !strings.Contains(line["findings"].(string), "virus hit Eicar") {
		t.Errorf("the log says %v", line)
	}
}

func TestAMessageHeldForAllIsDroppedByTheMTAOnceItIsStored(t *testing.T) {
	r := &reader{find: scanners.Hit(verdict.CheckVirus, "Eicar", "clamd found Eicar")}
	rt := withStore(t, newChecked(t, r))
	m := newLab(t, rt, nil).postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.rcpt("<bob@acmecorp.com>")
	m.body("body\r\n")
	m.wantEOM(frame{byte(gomilter.ActDiscard), ""})
	if entries, err := live(rt).Quarantine.List(quarantine.Query{}); err != nil || len(entries) != 2 {
		t.Errorf("the quarantine has %v, %v", entries, err)
	}
}

func TestWhatCannotBeHeldIsPutOff(t *testing.T) {
	r := &reader{find: scanners.Hit(verdict.CheckVirus, "Eicar", "clamd found Eicar")}
	l := newLab(t, withStoreIn(t, newChecked(t, r), "/proc/none"), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.body("body\r\n")
	if got := m.eom(); len(got) != 1 || !strings.HasPrefix(got[0].payload, "451 4.3.0 ") {
		t.Errorf("got %v", got)
	}
	if line := l.message(t); line["verdict"] != "tempfail" || line["held"] != "" {
		t.Errorf("the log says %v", line)
	}
}

func TestAPassLetsOneMessagePastItsCheckAndIsRemoved(t *testing.T) {
	r := &reader{find: scanners.Hit(verdict.CheckVirus, "Eicar", "clamd found Eicar")}
	rt := withStore(t, newChecked(t, r))
	l := newLab(t, rt, nil)
	// Without a mark in its header, it is known by its body.
	body, err := seal.ReadBody(strings.NewReader("\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	pass := seal.Pass{ID: "entry", Checks: []string{verdict.CheckVirus}, Point: verdict.S0, Until: time.Now().Unix() + 60}
	value := " " + rt.Policy.Keys.SignPass(pass, "bob@acmecorp.com", seal.MarksOf(&mail.Header{}).And(body))
	send := func(to, body string) []frame {
		m := l.postfix(t)
		m.mail("<x@example.org>")
		m.rcpt(to)
		m.header(seal.PassHeader, value)
		m.header("Subject", " hello")
		m.header("Message-Id", " <added@mta>")
		m.body(body)
		return m.eom()
	}
	removal := frame{byte(gomilter.ActChangeHeader), "\x00\x00\x00\x01" + seal.PassHeader + "\x00\x00"}
	if got := send("<bob@acmecorp.com>", "body\r\n"); len(got) != 2 || got[0] != removal || got[1] != proceed {
		t.Errorf("the message with the pass got %v", got)
	}
	if got := send("<alice@acmecorp.com>", "body\r\n"); len(got) != 1 || got[0].code != byte(gomilter.ActDiscard) {
		t.Errorf("another recipient with the pass got %v", got)
	}
	entries, err := live(rt).Quarantine.List(quarantine.Query{})
	if err != nil || len(entries) != 1 {
		t.Fatalf("the quarantine has %v, %v", entries, err)
	}
	if got := send("<bob@acmecorp.com>", "another body\r\n"); len(got) != 1 || got[0].code != byte(gomilter.ActDiscard) {
		t.Errorf("another message with the pass got %v", got)
	}
	content, err := live(rt).Quarantine.Content(entries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if text, err := io.ReadAll(content); err != nil || bytes.Contains(text, []byte(seal.PassHeader)) {
		t.Errorf("the held message holds its pass: %q, %v", text, err)
	}
}
