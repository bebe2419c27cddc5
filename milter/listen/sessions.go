package listen

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// defaultGrace is enough for the client of an SMTP session between two commands.
	defaultGrace = time.Second
	// tellEvery is the time from one line of the log about a lack of room to the next.
	tellEvery = time.Minute
)

// Sessions are the connections that a server has open, on any number of listeners. The zero
// Sessions are none. The exported fields are set before Serve and not changed after.
//
// When Max connections are open and one more comes, one of those gives way whose peer has
// been silent: one that is Fresh, or else one that is Idle, and of these the one that has
// been silent the longest. While all are Busy, or were heard a moment ago, the new one waits.
// It also waits while there is one whose peer has said nothing at all, until that speaks or
// gives way: an MTA speaks as soon as it has connected, and a crowd that comes back at once
// would always have been silent for less time than an MTA.
type Sessions struct {
	// Max bounds the connections that are open at once. 0: there is no bound.
	Max int
	// Log is told of connections that wait or give way. It is needed with Max.
	Log *slog.Logger
	// Grace is for how long a peer must have been silent before its connection gives way.
	// 0: a second.
	Grace time.Duration

	serving sync.WaitGroup
	door    sync.Mutex // of all connections that wait for room, the one that is next has it

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]bool
	open      map[*Conn]bool
	left      chan struct{}        // holds one token when a connection has ended
	told      map[string]time.Time // the lines of the log about a lack of room
}

// Serve takes the connections that come on a listener until that is closed, by its owner
// or by Shutdown, and closes it. The error is nil then, and else says why no more
// connections can be taken. For each connection serve is called, which does all that is to be done
// for it and closes it. Connections that are open may outlive Serve; Shutdown ends them.
func (s *Sessions) Serve(l net.Listener, serve func(*Conn)) error {
	if !s.add(l) {
		return l.Close()
	}
	defer s.remove(l)
	for {
		socket, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		c := &Conn{Conn: socket, on: l, spoke: s.wake, ack: acknowledger(socket), mute: true}
		if !s.admit(c) {
			socket.Close()
			continue
		}
		go func() {
			defer s.leave(c)
			serve(c)
		}()
	}
}

// Shutdown closes all listeners and ends the connections: at once where nothing is under
// way, and else when that is over. It returns when all have ended. When ctx ends before
// that, the rest is closed at once and the error is that of ctx.
func (s *Sessions) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.open {
		c.drain()
	}
	s.wake()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Conn.Close()
	}
	return ctx.Err()
}

// Connections returns what is known of the open connections, those first whose peers have
// been silent the longest.
func (s *Sessions) Connections() []Connection {
	s.mu.Lock()
	open := make([]*Conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	all := make([]Connection, 0, len(open))
	for _, c := range open {
		all = append(all, c.describe())
	}
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Remote, b.Remote)) })
	return all
}

// add reports false when no more connections are taken.
func (s *Sessions) add(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if s.listeners == nil {
		s.listeners, s.open = make(map[net.Listener]bool), make(map[*Conn]bool)
		s.left, s.told = make(chan struct{}, 1), make(map[string]time.Time)
	}
	s.listeners[l] = true
	return true
}

func (s *Sessions) remove(l net.Listener) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// admit waits for room. It reports false when no more connections are taken.
func (s *Sessions) admit(c *Conn) bool {
	s.door.Lock()
	defer s.door.Unlock()
	for {
		admitted, wait := s.tryAdmit(c, time.Now())
		if admitted || wait == 0 {
			return admitted
		}
		again := time.NewTimer(wait)
		select {
		case <-s.left:
		case <-again.C:
		}
		again.Stop()
	}
}

// tryAdmit takes a connection in, or says how long to wait for another try unless a
// connection ends before. To wait for no time is not to be admitted at all.
func (s *Sessions) tryAdmit(c *Conn, now time.Time) (admitted bool, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false, 0
	}
	if s.Max > 0 && len(s.open) >= s.Max {
		if wait := s.makeRoom(now); wait > 0 {
			s.tell(now, "a connection waits: max_connections are open", slog.Int("max_connections", s.Max))
			return false, wait
		}
	}
	c.since = now
	s.open[c] = true
	s.serving.Add(1)
	return true, 0
}

// makeRoom has a connection give way. Where none can, it says after what time one may.
func (s *Sessions) makeRoom(now time.Time) (wait time.Duration) {
	for {
		first, again := s.first(now)
		if first == nil {
			return again
		}
		state, since, _ := first.now()
		if first.giveWay() { // It may have begun something since it was looked at.
			delete(s.open, first)
			s.tell(now, "a connection gives way to a new one: max_connections are open", slog.Int("max_connections", s.Max),
				slog.String("client", first.RemoteAddr().String()), slog.String("state", state.String()),
				slog.Duration("silent", now.Sub(since).Round(time.Second)))
			return 0
		}
	}
}

// first returns the connection that is the first to give way, or after what time there may be
// one.
func (s *Sessions) first(now time.Time) (first *Conn, wait time.Duration) {
	grace := cmp.Or(s.Grace, defaultGrace)
	// Whoever rests from now on gives way after that time.
	wait = grace
	var firstState State
	var firstSince time.Time
	anyMute := false
	for c := range s.open {
		state, since, mute := c.now()
		if state == Busy || anyMute && !mute {
			continue
		}
		if mute && !anyMute {
			first, wait, anyMute = nil, grace, true
		}
		if silent := now.Sub(since); silent < grace {
			wait = min(wait, grace-silent)
			continue
		}
		if first == nil || cmp.Or(cmp.Compare(state, firstState), since.Compare(firstSince)) < 0 {
			first, firstState, firstSince = c, state, since
		}
	}
	return first, wait
}

// tell writes a line into the log, unless it did so a moment ago.
func (s *Sessions) tell(now time.Time, text string, attrs ...slog.Attr) {
	if last := s.told[text]; last.IsZero() || now.Sub(last) >= tellEvery {
		s.told[text] = now
		s.Log.LogAttrs(context.Background(), slog.LevelWarn, text, attrs...)
	}
}

// leave notes that a connection has been served.
func (s *Sessions) leave(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	s.wake()
	s.serving.Done()
}

// wake has the connection that waits for room look again. It needs no lock.
func (s *Sessions) wake() {
	select {
	case s.left <- struct{}{}:
	default:
	}
}
