// Package milter speaks the milter protocol with the MTA: it takes in one
// message after the other, lets the policy decide, and turns the decision into
// changes of the envelope.
//
// The protocol's server is go-milter's. It reads from a connection of ours that
// bounds every frame, keeps to itself those that need no decision, and holds
// what go-milter does not know: macros by stage, ESMTP arguments, exact
// headers, deadlines, progress. Any input is safe: a peer that does not speak
// the protocol loses its connection, nothing else.
package milter

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/flood"
	"coexistd/milter/notice"
	"coexistd/milter/quarantine"
	"coexistd/policy"
	"coexistd/policy/directory"
	"coexistd/scanners"
	"coexistd/scanners/limits"
	"coexistd/scanners/sender"
)

// Runtime is everything that one message is decided with. It is never changed
// once it is in use; a reload swaps it whole.
type Runtime struct {
	Policy    *policy.Policy
	Directory *directory.Set
	// Scanners make the checks that read a message's content, and Resolver is asked
	// who sent it.
	Scanners *scanners.Runner
	Resolver *sender.Resolver
	// Limits counts for the check rate, Flood for the check ddos, and Notices tells
	// of accounts that reach a limit. They outlive a reload.
	Limits  *limits.Keeper
	Flood   *flood.Guard
	Notices *notice.Teller
	// Quarantine takes the messages that are held.
	Quarantine *quarantine.Store
	// SpoolDir is the folder for the temporary files of long messages.
	SpoolDir string
	// Header names the header that tells the result in each accepted message.
	// Empty: none.
	Header string
}

// Server serves the milter protocol on any number of listeners. Runtime and
// Log must be set before Serve and not be changed after. Runtime is called at
// each MAIL by any number of goroutines, and what it returns holds for that
// message; while it returns nil, mail is put off with a temporary failure.
type Server struct {
	Runtime func() *Runtime
	Log     *slog.Logger

	timing  timing    // zero: defaultTiming
	readers sync.Pool // of *bufio.Reader; see newConn

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	closing   bool
	empty     chan struct{} // closed when the last session ends while closing
}

// Serve takes the MTA's connections from l until l is closed, and closes it.
// What comes on l enters at checkpoint; with policy.Undecided, the point is
// decided for each message. The error is nil when l was closed, by Shutdown or
// by its owner, and else says why no more connections can be taken.
func (s *Server) Serve(l net.Listener, checkpoint policy.Checkpoint) error {
	if !s.begin(l) {
		return l.Close()
	}
	defer s.end(l)
	a := &acceptor{Listener: l, server: s, checkpoint: checkpoint}
	// go-milter asks for the milter right after Accept in the same goroutine.
	wire := gomilter.Server{NewMilter: func() gomilter.Milter { return a.accepted }}
	if err := wire.Serve(a); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
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
func (s *Server) open(socket net.Conn, checkpoint policy.Checkpoint) *session {
	t := s.timing
	if t == (timing{}) {
		t = defaultTiming
	}
	fresh := &session{server: s, conn: newConn(socket, t, &s.readers), checkpoint: checkpoint}
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

// acceptor hands go-milter connections of ours.
type acceptor struct {
	net.Listener
	server     *Server
	checkpoint policy.Checkpoint
	accepted   *session
}

func (a *acceptor) Accept() (net.Conn, error) {
	socket, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	a.accepted = a.server.open(socket, a.checkpoint)
	return &bridge{Conn: socket, session: a.accepted}, nil
}

// bridge is a session's connection as go-milter sees it: only the frames that
// session.receive leaves to it.
type bridge struct {
	net.Conn
	session *session
	left    []byte // what go-milter has not yet read of a frame
}

// Read returns io.EOF for every end, orderly or not, so that go-milter has
// nothing to log.
func (b *bridge) Read(p []byte) (int, error) {
	defer b.session.recovered()
	if b.session.broken {
		return 0, io.EOF
	}
	if len(b.left) == 0 {
		frame, err := b.session.receive()
		if err != nil {
			b.session.logEnd(err)
			b.session.broken = true
			return 0, io.EOF
		}
		b.left = frame
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// Close ends the session. What was to be answered is written first.
func (b *bridge) Close() error {
	b.session.endMessage()
	b.session.leave()
	err := b.session.conn.close()
	b.session.server.forget(b.session)
	return err
}
