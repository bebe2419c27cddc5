// Package milter speaks the milter protocol with the MTA: it takes in one message after
// the other, hands what it hears of each to a transaction, and tells the MTA what came of
// it.
//
// It reads frames itself, with go-milter's names for what is in them: that library
// answers at the oldest version of the protocol, and does not know macros by stage, ESMTP
// arguments, exact headers, deadlines and progress. Any input is safe: a peer that does
// not speak the protocol loses its connection, nothing else.
package milter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"coexistd/milter/record"
	"coexistd/milter/transaction"
	"coexistd/policy/verdict"
)

// Server serves the milter protocol on any number of listeners. Runtime and
// Log must be set before Serve and not be changed after. Runtime is called at
// each MAIL by any number of goroutines, and what it returns holds for that
// message; while it returns nil, mail is put off with a temporary failure.
type Server struct {
	Runtime func() *transaction.Runtime
	Log     *slog.Logger

	timing  timing    // zero: defaultTiming
	readers sync.Pool // of *bufio.Reader; see newConn

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	closing   bool
	empty     chan struct{} // closed when the last session ends while closing
}

// runtime returns what the next message is decided with: where there is nothing, one
// that only tells of it.
func (s *Server) runtime() *transaction.Runtime {
	if rt := s.Runtime(); rt != nil {
		return rt
	}
	return &transaction.Runtime{Sinks: []record.Sink{record.Log{Logger: s.Log}}}
}

// Serve takes the MTA's connections from l until l is closed, and closes it.
// What comes on l enters at checkpoint; with verdict.Undecided, the point is
// decided for each message. The error is nil when l was closed, by Shutdown or
// by its owner, and else says why no more connections can be taken.
func (s *Server) Serve(l net.Listener, checkpoint verdict.Checkpoint) error {
	if !s.begin(l) {
		return l.Close()
	}
	defer s.end(l)
	defer l.Close()
	for {
		socket, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		go s.open(socket, checkpoint).serve()
	}
}

// Shutdown closes all listeners and drains the connections: idle ones are
// closed at once, the others when their message has been answered. It returns
// when all are closed. When ctx ends before that, the rest is closed at once
// and the error is that of ctx; the MTA has the messages that were not answered
// and tries again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		s.empty = make(chan struct{})
		if len(s.sessions) == 0 {
			close(s.empty)
		}
	}
	for l := range s.listeners {
		l.Close()
	}
	for session := range s.sessions {
		session.conn.drain()
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for session := range s.sessions {
		session.conn.socket.Close()
	}
	return ctx.Err()
}

func (s *Server) begin(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	if s.listeners == nil {
		s.listeners, s.sessions = map[net.Listener]struct{}{}, map[*session]struct{}{}
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) end(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// open makes the session of a new connection. One that was accepted in the
// moment of a shutdown is closed at once.
func (s *Server) open(socket net.Conn, checkpoint verdict.Checkpoint) *session {
	t := s.timing
	if t == (timing{}) {
		t = defaultTiming
	}
	fresh := &session{server: s, conn: newConn(socket, t, &s.readers), checkpoint: checkpoint}
	fresh.mail = transaction.New(&fresh.visitor)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		socket.Close()
	} else {
		s.sessions[fresh] = struct{}{}
	}
	return fresh
}

func (s *Server) forget(old *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sessions[old]; !known {
		return
	}
	delete(s.sessions, old)
	if s.closing && len(s.sessions) == 0 {
		close(s.empty)
	}
}
