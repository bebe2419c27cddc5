// Package lookup answers the MTA's table lookups from the directory.
//
// Some mail passes no milter: bounces, .forward files, the members of an alias.
// And an MTA refuses recipients that it does not know before it asks a milter.
// For both, the MTA asks here. The protocol is Postfix's socketmap
// (socketmap_table(5)), which is Sendmail's socket map too. There are ten maps:
//
//	recipients  does this address exist? The residence is the data. Of what the
//	            directory lacks, where unlisted is "here", the MTA's other tables say
//	aliases     the addresses that mail for this one goes to instead or besides,
//	            for mail that no milter sees
//	members     the same without dual delivery, where a milter sees to that
//	transport   the relay of an alternate domain; for an address of ours that
//	            lives elsewhere, the way there; for one that takes no mail, a
//	            service that bounces or defers
//	senders     the login that owns this address
//	networks    may this client send to the Internet through us
//	tls         what is demanded of the server that mail is sent to (smtp_tls_policy_maps)
//	generic     the address that a relay is to see, for one that a [[route]] has made (smtp_generic_maps)
//	sendmail    where Sendmail's rules shall send mail for this address
//	sendmail_rcpt  the same at RCPT, where the milter is asked, too
//
// A directory that cannot answer is a temporary error, never "not found". Where the mode is
// observe, the maps that say where mail goes, and how, hold nothing: aliases, members, transport,
// tls and Sendmail's.
package lookup

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"coexistd/milter/listen"
	"coexistd/policy"
	"coexistd/policy/directory"
)

const (
	freshTime = 10 * time.Second // for the first request: an MTA connects when it has one
	// idleTime is for the time between two requests, and that of a milter connection: Sendmail
	// asks at RCPT, and again when the whole message is there, for which its client may take
	// hours. Where it finds the connection closed then, it puts the message off.
	idleTime  = 7210 * time.Second
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
	fresh, idle, begun time.Duration // freshTime, idleTime and begunTime, when zero
}

// Serve answers the connections that come on l, as listen.Sessions does.
func (s *Server) Serve(l net.Listener) error {
	return s.Sessions.Serve(l, func(c *listen.Conn) { (&session{Conn: c, server: s}).serve() })
}

// session is one connection of the MTA.
type session struct {
	*listen.Conn
	server *Server
}

// serve answers requests until the connection ends, and closes it. In a shutdown, the
// requests that have come by then are answered.
func (s *session) serve() {
	defer s.Close()
	defer s.survive()
	if err := s.answer(); err != nil && !s.IsOver() {
		s.server.Log.Warn("a lookup connection was closed", "client", s.RemoteAddr().String(), "error", err)
	}
}

// survive, deferred, makes a panic the end of this one connection. To the MTA that is a
// lookup which failed: it tells its client to try again.
func (s *session) survive() {
	if v := recover(); v != nil {
		s.server.Log.Error("a lookup failed; this is an error in coexistd", "panic", v, "stack", string(debug.Stack()))
	}
}

// answer answers requests. Nil says that the client left, or stayed idle too long.
func (s *session) answer() error {
	fresh, idle, begun := cmp.Or(s.server.fresh, freshTime), cmp.Or(s.server.idle, idleTime), cmp.Or(s.server.begun, begunTime)
	w := bufio.NewWriter(writer{s.Conn, begun})
	defer func() { _ = w.Flush() }() // a client that has left needs no reply
	r := bufio.NewReader(reader{s.Conn, w})
	due := time.Now().Add(fresh) // the first request as a whole
	for asked := false; ; asked = true {
		if asked {
			due = time.Now().Add(idle)
		}
		if r.Buffered() == 0 {
			s.SetReadDeadline(due)
			_, err := r.Peek(1)
			if err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if asked {
			due = time.Now().Add(begun)
		}
		s.SetReadDeadline(due)
		request, err := readNetstring(r)
		if err != nil {
			return err
		}
		s.Begin()
		p, set := s.server.Runtime()
		writeNetstring(w, answer(p, set, request))
	}
}

// reader sends the replies off before it waits for more requests: a client may
// send several requests at once, and may wait for the replies with half a
// request sent. Then nothing is under way.
type reader struct {
	*listen.Conn
	replies *bufio.Writer
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.replies.Flush(); err != nil {
		return 0, err
	}
	r.Rest()
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
