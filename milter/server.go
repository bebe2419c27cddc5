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
	"log/slog"
	"net"
	"sync"

	"coexistd/milter/listen"
	"coexistd/milter/record"
	"coexistd/milter/transaction"
	"coexistd/policy/verdict"
)

// Server serves the milter protocol on any number of listeners. Runtime and
// Log must be set before Serve and not be changed after. Runtime is called at
// each MAIL by any number of goroutines, and what it returns holds for that
// message; while it returns nil, mail is put off with a temporary failure.
//
// At Shutdown, idle connections are closed at once, the others when their message has been
// answered. The MTA has the messages that were not answered when ctx ends, and tries again.
type Server struct {
	Runtime func() *transaction.Runtime
	Log     *slog.Logger

	listen.Sessions
	timing  timing    // zero: defaultTiming
	readers sync.Pool // of *bufio.Reader; see newConn
}

// runtime returns what the next message is decided with: where there is nothing, one
// that only tells of it.
func (s *Server) runtime() *transaction.Runtime {
	if rt := s.Runtime(); rt != nil {
		return rt
	}
	return &transaction.Runtime{Sinks: []record.Sink{record.Log{Logger: s.Log}}}
}

// enter is runtime for a message, which is counted among its users. A runtime that a reload
// has replaced in this very moment may have none any more.
func (s *Server) enter() *transaction.Runtime {
	for {
		if rt := s.runtime(); rt.Users.Enter() {
			return rt
		}
	}
}

// Serve takes the MTA's connections from l, as listen.Sessions does. What comes on l enters
// at checkpoint; with verdict.Undecided, the point is decided for each message.
func (s *Server) Serve(l net.Listener, checkpoint verdict.Checkpoint) error {
	t := s.timing
	if t == (timing{}) {
		t = defaultTiming
	}
	return s.Sessions.Serve(l, func(socket *listen.Conn) {
		fresh := &session{server: s, conn: newConn(socket, t, &s.readers), checkpoint: checkpoint, dialect: &unknown}
		fresh.mail = transaction.New(&fresh.visitor)
		fresh.serve()
	})
}
