package milter

import (
	"runtime"
	"testing"
	"time"

	"coexistd/milter/listen"
)

// crowded is a lab with room for so many connections.
func crowded(t *testing.T, most int) *lab {
	return newLab(t, newRuntime(t), func(s *Server) { s.Sessions = listen.Sessions{Max: most, Log: s.Log, Grace: time.Nanosecond} })
}

func TestSilentConnectionsDoNotStopMail(t *testing.T) {
	const most = 200
	l := crowded(t, most)
	for range most / 2 {
		l.dial(t)
		l.postfix(t).flush()
	}
	for range 3 {
		l.postfix(t).exchange()
	}
	// One MTA alone has room again and again.
	for range 2 * most {
		m := l.postfix(t)
		m.exchange()
		m.put('Q', "")
		m.flush()
		m.wantEnd()
	}
}

func TestOneWithAMessageUnderWayNeverGivesWay(t *testing.T) {
	const most = 4
	l := crowded(t, most)
	begun, named, resting, silent := l.postfix(t), l.postfix(t), l.postfix(t), l.postfix(t)
	resting.exchange()
	resting.put('A', "")
	resting.flush()
	begun.mail("<x@example.org>")
	named.mail("<x@example.org>")
	if reply := named.rcpt("<bob@acmecorp.com>"); reply != "" {
		t.Fatal(reply)
	}
	silent.flush()
	for _, goes := range []*mta{silent, resting} {
		newcomer := l.postfix(t)
		newcomer.mail("<x@example.org>")
		goes.wantEnd()
	}
	// All are under way now. What the one that waits for room says is answered when
	// somebody has ended.
	waiting := l.dial(t)
	for end := time.Now().Add(patience); len(l.log.Lines("a connection waits: max_connections are open")) == 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("no connection waits")
		}
	}
	if reply := begun.rcpt("<bob@acmecorp.com>"); reply != "" {
		t.Fatal(reply)
	}
	begun.wantEOM(proceed)
	named.wantEOM(proceed)
	named.put('Q', "")
	named.flush()
	waiting.negotiate(6, allActions, waitsAtMail)
	waiting.exchange()
}

// An aborted message is over, and so is one whose changes the MTA has made.
func TestConnectionsBetweenMessagesGiveWay(t *testing.T) {
	for name, ends := range map[string]func(*mta){
		"an abort":         func(m *mta) { m.mail("<x@example.org>"); m.put('A', ""); m.flush() },
		"an end":           func(m *mta) { m.exchange() },
		"a new connection": func(m *mta) { m.exchange(); m.put('K', ""); m.flush() },
	} {
		t.Run(name, func(t *testing.T) {
			l := crowded(t, 1)
			m := l.postfix(t)
			ends(m)
			l.postfix(t).exchange()
			m.wantEnd()
		})
	}
}

func TestAMessageThatBeginsInTheInstantOfGivingWayIsWhole(t *testing.T) {
	l := crowded(t, 1)
	var wentOn, closed int
	for range 300 {
		m := l.postfix(t)
		m.flush()
		newcomer := l.dial(t)
		newcomer.put('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")
		go newcomer.flushAll()
		m.put('M', "<x@example.org>\x00")
		m.put('R', "<bob@acmecorp.com>\x00")
		m.flushAll()
		m.out = m.out[:0]
		if _, err := m.read(); err != nil {
			closed++
		} else {
			wentOn++
			m.want('c', "")
			m.wantEOM(proceed)
			m.put('Q', "")
			m.flush()
		}
		if _, err := newcomer.read(); err != nil {
			t.Fatalf("the newcomer was not let in: %v", err)
		}
		newcomer.conn.Close()
	}
	t.Logf("%d messages went on, %d were not begun", wentOn, closed)
}
