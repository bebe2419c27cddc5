// Package lookup answers the MTA's table lookups from the directory.
//
// Some mail passes no milter: bounces, .forward files, the members of an alias.
// And an MTA refuses recipients that it does not know before it asks a milter.
// For both, the MTA asks here. The protocol is Postfix's socketmap
// (socketmap_table(5)), which is Sendmail's socket map too. There are five maps:
//
//	recipients  does this address exist? The residence is the data.
//	aliases     the addresses that mail for this one goes to instead or besides,
//	            for mail that no milter sees
//	members     the same without dual delivery, where a milter sees to that
//	transport   the relay of an alternate domain; for an address of ours that
//	            lives elsewhere, the way there; for one that takes no mail, a
//	            service that bounces or defers
//	senders     the login that owns this address
//
// A directory that cannot answer is a temporary error, never "not found".
package lookup

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"coexistd/milter/listen"
	"coexistd/policy"
	"coexistd/policy/directory"
)

const (
	idleTime  = 10 * time.Minute // between two requests
	begunTime = 30 * time.Second // for the rest of a request, and for a reply
)

// Server answers lookups on any number of listeners. Its fields are set before
// the first Serve and not changed after.
type Server struct {
	// Runtime returns what the next request is answered from. It is called by
	// many goroutines at once.
	Runtime func() (*policy.Policy, *directory.Set)
	Log     *slog.Logger

	listen.Sessions
	idle, begun time.Duration // idleTime and begunTime, when zero
}

// Serve answers the connections that come on l, as listen.Sessions does.
func (s *Server) Serve(l net.Listener) error {
	return s.Sessions.Serve(l, func(c net.Conn) listen.Session { return &session{Conn: c, server: s} })
}

// session is one connection of the MTA.
type session struct {
	net.Conn
	server   *Server
	draining atomic.Bool
}

// Drain ends the connection, after the reply to a request that has been read.
func (s *session) Drain() {
	s.draining.Store(true)
	// Whoever reads or will read stops; see answer.
	s.SetReadDeadline(time.Unix(1, 0))
}

// Serve answers requests until the connection ends.
func (s *session) Serve() {
	err := s.answer()
	draining := s.draining.Load()
	s.Close()
	if err != nil && !draining {
		s.server.Log.Warn("a lookup connection was closed", "client", s.RemoteAddr().String(), "error", err)
	}
}

// answer answers requests. Nil says that the client left, or stayed idle too long.
func (s *session) answer() error {
	idle, begun := cmp.Or(s.server.idle, idleTime), cmp.Or(s.server.begun, begunTime)
	w := bufio.NewWriter(writer{s.Conn, begun})
	defer w.Flush()
	r := bufio.NewReader(reader{s.Conn, w})
	for {
		if r.Buffered() == 0 {
			s.SetReadDeadline(time.Now().Add(idle))
			// Drain sets a deadline in the past after it sets draining.
			// Where that came first, it has just been overwritten.
			if s.draining.Load() {
				return nil
			}
			_, err := r.Peek(1)
			if err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		s.SetReadDeadline(time.Now().Add(begun))
		if s.draining.Load() {
			s.SetReadDeadline(time.Unix(1, 0))
		}
		request, err := readNetstring(r)
		if err != nil {
			return err
		}
		p, set := s.server.Runtime()
		writeNetstring(w, answer(p, set, request))
	}
}

// reader sends the replies off before it waits for more requests: a client may
// send several requests at once, and may wait for the replies with half a
// request sent.
type reader struct {
	net.Conn
	replies *bufio.Writer
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.replies.Flush(); err != nil {
		return 0, err
	}
	return r.Conn.Read(b)
}

// writer bounds the time for which a client may leave a reply unread.
type writer struct {
	net.Conn
	patience time.Duration
}

func (w writer) Write(b []byte) (int, error) {
	w.SetWriteDeadline(time.Now().Add(w.patience))
	return w.Conn.Write(b)
}
