package milter

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/milter/record"
	"coexistd/milter/transaction"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

func TestFramesOutOfBoundsEndTheirConnectionOnly(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	neighbour := l.postfix(t)
	long := func(code byte, n int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n+1)), code)
	}
	cases := map[string][]byte{
		"no length":           {0, 0, 0, 0},
		"4 GiB":               {0xff, 0xff, 0xff, 0xff, 'M'},
		"1 byte too long":     long('L', maxFrame),
		"long command":        long('R', bufferSize),
		"long macros":         long('D', maxMacros+1),
		"macros of nothing":   long('D', 0),
		"empty CONNECT":       long('C', 0),
		"CONNECT, no port":    append(long('C', 3), "h\x004"...),
		"short offer":         append(long('O', 2), "ab"...),
		"ancient offer":       append(long('O', 12), "\x00\x00\x00\x01\x00\x00\x01\xff\x00\x1f\xff\xff"...),
		"header, no value":    append(long('L', 3), "abc"...),
		"an unknown command":  long('Z', 0),
		"a command of 0 byte": long(0, 0),
	}
	for name, bytes := range cases {
		m := l.dial(t)
		m.conn.Write(bytes)
		m.wantEnd()
		if got := len(l.log.Lines("a milter connection is closed: the peer does not speak the protocol")); got == 0 {
			t.Errorf("%s: no line in the log", name)
		}
	}
	if got := len(l.log.Lines("a milter connection is closed: the peer does not speak the protocol")); got != len(cases) {
		t.Errorf("%d lines for %d connections", got, len(cases))
	}
	if strings.Contains(l.log.String(), "ERROR") {
		t.Error("a stranger can cause an error line")
	}
	neighbour.exchange()
}

func TestHeaderBeyondTheLimitsIsRefusedAtTheEnd(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	for name, fill := range map[string]func(){
		"number": func() {
			for range mail.MaxHeaderFields + 1 {
				m.header("X", " y")
			}
		},
		"bytes": func() {
			for range 3 {
				m.header("X", strings.Repeat("y", 900_000))
			}
		},
	} {
		m.mail("<x@example.org>")
		m.rcpt("<alice@acmecorp.com>")
		fill()
		if got := m.eom(); len(got) != 1 || !strings.HasPrefix(got[0].payload, "552 5.3.4 ") {
			t.Errorf("%s: got %v", name, got)
		}
		m.exchange()
	}
}

func TestHeaderWithinTheLimitsIsKeptToTheByte(t *testing.T) {
	r := &reader{find: verdict.Passed(verdict.CheckVirus)}
	m := newLab(t, newChecked(t, r), nil).postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	want := ""
	for i := range 300 {
		name, value := fmt.Sprintf("X-%d", i%7), fmt.Sprintf(" %s\n\tfolded %d  ", strings.Repeat("v", i*30), i)
		m.header(name, value)
		want += name + ":" + strings.ReplaceAll(value, "\n", "\r\n") + "\r\n"
	}
	m.body("body\r\n")
	m.wantEOM(proceed)
	if got, _ := r.last(); got != want+"\r\nbody\r\n" {
		t.Errorf("%d bytes of header and body differ from the %d sent", len(got), len(want))
	}
}

func TestOneRecipientTooMany(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	for _, onHost := range []bool{false, true} {
		m := l.dial(t)
		m.negotiate(6, allActions, allProtocol)
		if onHost {
			m.onHost()
		}
		m.mail("<x@example.org>")
		for range transaction.MaxRecipients {
			m.put('R', "<bob@acmecorp.com>\x00")
		}
		go m.flushAll()
		for range transaction.MaxRecipients {
			if f, err := m.read(); err != nil || f.code != 'c' {
				t.Fatalf("got %v, %v", f, err)
			}
		}
		m.out = nil
		reply := m.rcpt("<bob@acmecorp.com>")
		end := m.eom()[0]
		if onHost && (reply != "" || !strings.HasPrefix(end.payload, "554 5.5.3 ")) {
			t.Errorf("made on this host: %q, then %v", reply, end)
		}
		if !onHost && (!strings.HasPrefix(reply, "452 4.5.3 ") || end.code != 'c') {
			t.Errorf("by SMTP: %q, then %v", reply, end)
		}
	}
}

// flushAll writes what was gathered while another goroutine reads.
func (m *mta) flushAll() {
	m.conn.SetDeadline(time.Now().Add(patience))
	m.conn.Write(m.out)
}

func TestSilentMTALosesItsConnection(t *testing.T) {
	l := newLab(t, newRuntime(t), func(s *Server) { s.timing.idle = 50 * time.Millisecond })
	l.dial(t).wantEnd()
	l.postfix(t).wantEnd()
}

func TestAConnectionMustNegotiateSoon(t *testing.T) {
	l := newLab(t, newRuntime(t), func(s *Server) { s.timing.fresh = 50 * time.Millisecond })
	for _, says := range []string{"", "\x00", "\x00\x00\x00\x0dO\x00\x00\x00", "\x00\x00\x00\x02DC"} {
		m := l.dial(t)
		m.conn.Write([]byte(says))
		m.wantEnd()
	}
	// One that says something again and again does not win time.
	m := l.dial(t)
	m.conn.SetDeadline(time.Now().Add(patience))
	for err := error(nil); err == nil; {
		_, err = m.conn.Write([]byte("\x00\x00\x00\x02DC"))
	}
}

func TestAnMTAThatHasNegotiatedMayTakeItsTime(t *testing.T) {
	const fresh = 50 * time.Millisecond
	l := newLab(t, newRuntime(t), func(s *Server) { s.timing.fresh = fresh })
	for { // On a slow machine the first of them may be too slow.
		m, silent := l.dial(t), l.dial(t)
		m.put('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00")
		m.flush()
		if _, err := m.read(); err != nil {
			continue
		}
		silent.wantEnd()
		m.agreed = 0
		m.exchange()
		return
	}
}

func TestFrameThatDoesNotEndLosesItsConnection(t *testing.T) {
	l := newLab(t, newRuntime(t), func(s *Server) {
		s.timing.frame = 50 * time.Millisecond
	})
	for _, begun := range []string{"\x00", "\x00\x00\x00\x09", "\x00\x00\x00\x09M<x@", "\x00\x00\x40\x00Lname\x00"} {
		m := l.dial(t)
		m.conn.Write([]byte(begun))
		m.wantEnd()
	}
}

func TestMTAThatDoesNotReadLosesItsConnection(t *testing.T) {
	l := newLab(t, newRuntime(t), func(s *Server) {
		s.timing.write = 50 * time.Millisecond
	})
	m := l.dial(t)
	m.conn.SetDeadline(time.Now().Add(patience))
	for {
		for range 1000 {
			m.put('N', "")
		}
		if _, err := m.conn.Write(m.out); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatal("the connection is still open")
			}
			return
		}
		m.out = m.out[:0]
	}
}

// slowLog is a log that takes its time for a message's line.
type slowLog struct {
	slog.Handler
	proceed chan struct{}
}

func (h slowLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "message" {
		<-h.proceed
	}
	return h.Handler.Handle(ctx, r)
}

func TestSlowEndOfMessageShowsProgress(t *testing.T) {
	slow := slowLog{slog.DiscardHandler, make(chan struct{})}
	l := newLab(t, newRuntime(t), func(s *Server) {
		s.Log = slog.New(enabled{slow})
		s.timing.progress = 5 * time.Millisecond
	})
	m := l.postfix(t)
	for range 2 {
		m.mail("<x@example.org>")
		m.rcpt("<bob@acmecorp.com>")
		m.put('E', "")
		for range 3 {
			m.want('p', "")
		}
		slow.proceed <- struct{}{}
		for _, f := range m.verdict() {
			if f.code != 'p' && f.code != 'c' {
				t.Errorf("got %v", f)
			}
		}
	}
}

// enabled makes a handler of every level.
type enabled struct{ slog.Handler }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }

func TestDrainClosesIdleConnectionsAndLetsMessagesEnd(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	idle, rested, busy := l.postfix(t), l.postfix(t), l.postfix(t)
	idle.flush()
	rested.exchange()
	rested.put('A', "")
	rested.flush()
	busy.mail("<x@example.org>")
	done := make(chan error, 1)
	go func() { done <- l.Shutdown(t.Context()) }()
	idle.wantEnd()
	rested.wantEnd()
	if reply := busy.rcpt("<alice@acmecorp.com>"); reply != "" {
		t.Fatal(reply)
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v with a message under way", err)
	default:
	}
	busy.wantEOM(deleteAlice, addAlice, addTrace, proceed)
	// The MTA looks the new recipients up now. Its next frame says that it has.
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v while the MTA makes the changes", err)
	default:
	}
	busy.put('A', "")
	busy.flush()
	busy.wantEnd()
	for _, c := range []chan error{done, l.served} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("unix", l.address); err == nil {
		t.Error("the server still takes connections")
	}
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Serve(listener, verdict.S2); err != nil {
		t.Error(err)
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Shutdown(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	m.wantEnd()
}

func TestDrainDoesNotWaitLongForAnMTAThatIsSilentAfterAMessage(t *testing.T) {
	l := newLab(t, newRuntime(t), func(s *Server) {
		s.timing.settle = 50 * time.Millisecond
	})
	m := l.postfix(t)
	m.mail("<x@example.org>")
	done := make(chan error, 1)
	go func() { done <- l.Shutdown(t.Context()) }()
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(deleteAlice, addAlice, addTrace, proceed)
	m.wantEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNoFurtherMessageBeginsInADrain(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	idle, m := l.postfix(t), l.postfix(t)
	idle.flush()
	m.mail("<x@example.org>")
	done := make(chan error, 1)
	go func() { done <- l.Shutdown(t.Context()) }()
	idle.wantEnd()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Serve(closed, verdict.Undecided) // waits until Shutdown has told all connections
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(deleteAlice, addAlice, addTrace, proceed)
	// Postfix sends what follows on a message, ABORT, with the next one's MAIL.
	m.put('A', "")
	m.put('M', "<y@example.org>\x00")
	m.flush()
	m.wantEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAbortedMessageDoesNotHoldUpADrain(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.put('A', "")
	m.flush()
	if err := l.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	m.wantEnd()
}

func TestFailureOfOneSessionIsItsOwn(t *testing.T) {
	rt := newRuntime(t)
	var fail atomic.Bool
	l := newLab(t, nil, func(s *Server) {
		s.Runtime = func() *transaction.Runtime {
			if fail.Swap(false) {
				panic("a mistake")
			}
			return rt
		}
	})
	m := l.postfix(t)
	fail.Store(true)
	m.put('M', "<x@example.org>\x00")
	m.flush()
	m.wantEnd()
	l.postfix(t).exchange()
	if !strings.Contains(l.log.String(), "a mistake") {
		t.Error("the log does not tell of it")
	}
}

// breaks is a sink that fails.
type breaks struct{}

func (breaks) Record(*record.Record) { panic("a sink's mistake") }

func TestASinkThatFailsEndsItsConnectionOnly(t *testing.T) {
	rt := newRuntime(t)
	l := newLab(t, rt, nil)
	rt.Sinks = append(rt.Sinks, breaks{})
	for name, end := range map[string]func(*mta){
		"the end of a message":    func(m *mta) { m.rcpt("<bob@acmecorp.com>"); m.put('E', "") },
		"the end of a connection": func(m *mta) { m.put('Q', "") },
	} {
		m := l.postfix(t)
		m.mail("<x@example.org>")
		m.rcpt("<nobody@acmecorp.com>")
		end(m)
		m.flush()
		m.wantEnd()
		if got := len(l.log.Lines("message")); got != 1 {
			t.Errorf("%s: %d message lines", name, got)
		}
		if !strings.Contains(l.log.String(), "a sink's mistake") {
			t.Errorf("%s: the log does not tell of it", name)
		}
		l.log.Take()
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNoRuntimeYetIsATemporaryFailure(t *testing.T) {
	m := newLab(t, nil, nil).postfix(t)
	m.mail("<x@example.org>")
	if reply := m.rcpt("<bob@acmecorp.com>"); !strings.HasPrefix(reply, "451 4.3.5 ") {
		t.Errorf("got %q", reply)
	}
}

func TestClosedConnectionsLeaveNothingBehind(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	before := runtime.NumGoroutine()
	for range 20 {
		m := l.postfix(t)
		m.exchange()
		m.put('Q', "")
		m.flush()
		m.wantEnd()
	}
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		if runtime.NumGoroutine() <= before {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left, %d before", runtime.NumGoroutine(), before)
		}
	}
}
