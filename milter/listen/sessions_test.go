package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/fake"
)

// served are sessions at work. A client says a letter and hears it when it was done:
// "b" begins something, "r" ends it, "h" is heard.
type served struct {
	*Sessions
	listener net.Listener
	log      *fake.Log
	ended    chan error
}

func serveSessions(t *testing.T, s *Sessions) *served {
	t.Helper()
	one := &served{Sessions: s, log: fake.NewLog(), ended: make(chan error, 2)}
	s.Log = one.log.Logger
	one.listener = open(t, Options{Address: "unix:" + filepath.Join(t.TempDir(), "s")})
	go func() { one.ended <- s.Serve(one.listener, converse) }()
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ended)
		s.serving.Wait()
	})
	return one
}

func converse(c *Conn) {
	defer c.Close()
	var said [1]byte
	for {
		c.SetReadDeadline(time.Now().Add(deadline))
		if _, err := c.Read(said[:]); err != nil {
			return
		}
		switch said[0] {
		case 'b':
			if !c.Begin() {
				return
			}
		case 'r':
			c.Rest()
		case 'h':
			c.Heard()
		}
		if _, err := c.Write(said[:]); err != nil {
			return
		}
	}
}

// say says letters, one after the other, and reports whether all were answered.
func say(c net.Conn, letters string) bool {
	c.SetDeadline(time.Now().Add(deadline))
	for i := range letters {
		if _, err := io.WriteString(c, letters[i:i+1]); err != nil {
			return false
		}
		var heard [1]byte
		if _, err := io.ReadFull(c, heard[:]); err != nil || heard[0] != letters[i] {
			return false
		}
	}
	return true
}

func (s *served) mustHear(t *testing.T, c net.Conn, letters string) {
	t.Helper()
	if !say(c, letters) {
		t.Fatalf("%q was not answered; the connections are %+v", letters, s.Connections())
	}
}

// mustEnd expects that a connection is closed by the server.
func mustEnd(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(deadline))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("the connection is still open: %v", err)
	}
}

// until waits for what comes by itself.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s did not come in time", what)
		}
	}
}

func TestTheBoundHoldsForAllListenersTogether(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 1})
	other := open(t, Options{Address: "unix:" + filepath.Join(t.TempDir(), "s")})
	go func() { s.ended <- s.Serve(other, converse) }()
	first := dial(t, s.listener)
	s.mustHear(t, first, "b")
	second := dial(t, other)
	until(t, "a line of the log", func() bool {
		return strings.Contains(s.log.String(), "a connection waits: max_connections are open") && strings.Contains(s.log.String(), "max_connections=1")
	})
	if open := s.Connections(); len(open) != 1 {
		t.Fatalf("a second connection was let in: %+v", open)
	}
	first.Close()
	s.mustHear(t, second, "b")
	// A shutdown ends the wait for room.
	third := dial(t, s.listener)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	mustEnd(t, third)
	s.mustHear(t, second, "r")
	mustEnd(t, second)
	for _, c := range []chan error{s.ended, s.ended, done} {
		if err := wait(t, c); err != nil {
			t.Error(err)
		}
	}
}

func TestWhoHasBegunNothingGivesWayFirstAndThenWhoRests(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 5, Grace: time.Nanosecond})
	rested, busy, fresh, heard, restedLater := dial(t, s.listener), dial(t, s.listener), dial(t, s.listener), dial(t, s.listener), dial(t, s.listener)
	for _, c := range []struct {
		net.Conn
		says string
	}{{rested, "br"}, {busy, "brb"}, {fresh, "h"}, {heard, "hh"}, {restedLater, "brh"}} {
		s.mustHear(t, c, c.says)
	}
	for _, first := range []net.Conn{fresh, heard, rested, restedLater} {
		s.mustHear(t, dial(t, s.listener), "b")
		mustEnd(t, first)
	}
	s.mustHear(t, busy, "r")
	s.mustHear(t, dial(t, s.listener), "b")
	mustEnd(t, busy)
	if n := strings.Count(s.log.String(), "a connection gives way"); n != 1 {
		t.Errorf("the log has %d lines; one is right: %s", n, s.log)
	}
}

// A crowd that comes back at once has always been silent for less time than an MTA whose
// client thinks.
func TestWhoHasSaidNothingGivesWayBeforeWhoHas(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 4, Grace: time.Nanosecond})
	fresh, idle := dial(t, s.listener), dial(t, s.listener)
	s.mustHear(t, fresh, "h")
	s.mustHear(t, idle, "br")
	crowd := []net.Conn{dial(t, s.listener), dial(t, s.listener)}
	for range 50 {
		back := dial(t, s.listener)
		mustEnd(t, crowd[0])
		crowd = append(crowd[1:], back)
	}
	s.mustHear(t, fresh, "h")
	s.mustHear(t, idle, "b")
}

func TestWhoHasSpokenGivesWayOnceNobodyIsLeftWhoHasNot(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 2, Grace: 2 * deadline})
	idle, mute := dial(t, s.listener), dial(t, s.listener)
	s.mustHear(t, idle, "br")
	until(t, "the other one", func() bool { return len(s.Connections()) == 2 })
	s.mu.Lock()
	for c := range s.open {
		c.mu.Lock()
		if c.state == Idle {
			c.since = c.since.Add(-3 * deadline)
		}
		c.mu.Unlock()
	}
	s.mu.Unlock()
	newcomer := dial(t, s.listener)
	until(t, "a line of the log", func() bool { return strings.Contains(s.log.String(), "a connection waits") })
	s.mustHear(t, mute, "b")
	mustEnd(t, idle)
	s.mustHear(t, newcomer, "b")
}

func TestAThousandSilentConnectionsDoNotKeepOthersOut(t *testing.T) {
	const most = 1000
	s := serveSessions(t, &Sessions{Max: most})
	silent := make([]net.Conn, most)
	for i := range silent {
		silent[i] = dial(t, s.listener)
	}
	until(t, "the last of them", func() bool { return len(s.Connections()) == most })
	for range 3 {
		s.mustHear(t, dial(t, s.listener), "brb")
	}
	mustEnd(t, silent[0])
	if n := len(s.Connections()); n != most {
		t.Errorf("%d connections are open; %d are right", n, most)
	}
}

func TestWhoWasHeardAMomentAgoDoesNotGiveWay(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 2, Grace: 2 * deadline})
	first, second := dial(t, s.listener), dial(t, s.listener)
	s.mustHear(t, first, "h")
	s.mustHear(t, second, "br")
	third := dial(t, s.listener)
	until(t, "a line of the log", func() bool { return strings.Contains(s.log.String(), "a connection waits") })
	s.mustHear(t, first, "h")
	second.Close()
	s.mustHear(t, third, "h")
	s.mustHear(t, first, "h")
}

// A connection that is chosen to give way in the instant in which its peer begins
// something is closed without an answer, or is let be until that is over.
func TestWhatBeginsInTheInstantOfGivingWayIsNotCutOff(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 1, Grace: time.Nanosecond})
	var wentOn, closed int
	for round := range 300 {
		c := dial(t, s.listener)
		s.mustHear(t, c, "h")
		newcomer := make(chan net.Conn)
		go func() {
			other, err := net.Dial("unix", s.listener.Addr().String())
			if err != nil {
				t.Error(err)
			}
			newcomer <- other
		}()
		if round%2 == 0 {
			runtime.Gosched()
		}
		if say(c, "b") {
			wentOn++
			s.mustHear(t, c, "hhh")
			say(c, "r") // It may give way before it is answered.
		} else {
			closed++
		}
		other := <-newcomer
		s.mustHear(t, other, "b")
		other.Close()
		c.Close()
	}
	t.Logf("%d went on, %d were closed", wentOn, closed)
}

func TestTellsOfEachConnectionWhoHasItAndWhatItDoes(t *testing.T) {
	s := serveSessions(t, &Sessions{})
	inet := open(t, Options{Address: "inet:" + freePort(t)})
	go func() { s.ended <- s.Serve(inet, converse) }()
	if open := s.Connections(); len(open) != 0 {
		t.Errorf("before any came: %+v", open)
	}
	begun := time.Now()
	overUnix := dial(t, s.listener)
	s.mustHear(t, overUnix, "h")
	overInet := dial(t, inet)
	s.mustHear(t, overInet, "b")
	want := []Connection{
		{On: s.listener, PID: os.Getpid(), State: Fresh},
		{On: inet, Remote: overInet.LocalAddr().String(), State: Busy},
	}
	got := s.Connections()
	for i := range got {
		if since := got[i].Since; since.Before(begun) || since.After(time.Now()) {
			t.Errorf("since %v, though the test began at %v", since, begun)
		}
		got[i].Since = time.Time{}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.mustHear(t, overInet, "r")
	if got := s.Connections()[1].State; got != Idle {
		t.Errorf("after its end, the connection is %v", got)
	}
	overUnix.Close()
	until(t, "its end", func() bool { return len(s.Connections()) == 1 })
}

func TestAListenerThatIsClosedKeepsItsConnections(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 1})
	first := dial(t, s.listener)
	s.mustHear(t, first, "b")
	waiting := dial(t, s.listener)
	until(t, "a line of the log", func() bool { return strings.Contains(s.log.String(), "a connection waits") })
	s.listener.Close()
	s.mustHear(t, first, "rb")
	first.Close()
	s.mustHear(t, waiting, "b")
	if err := wait(t, s.ended); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestConnectionsThatComeAndGoCanBeListed(t *testing.T) {
	s := serveSessions(t, &Sessions{Max: 3, Grace: time.Nanosecond})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 50 {
				c, err := net.Dial("unix", s.listener.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				say(c, "hbr")
				c.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		default:
			if open := s.Connections(); len(open) > 3 {
				t.Fatalf("%d connections are open", len(open))
			}
		}
	}
}
