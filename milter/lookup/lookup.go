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
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

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

	idle, begun time.Duration // idleTime and begunTime, when zero

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]bool
	open      map[net.Conn]bool
	sessions  sync.WaitGroup
}

// Serve answers the connections that the listener accepts. It returns when the
// listener is closed, by its owner or by Shutdown: nil then, else the error of
// Accept. Connections that are open may outlive it; Shutdown ends them.
func (s *Server) Serve(l net.Listener) error {
	if !s.add(l) {
		return l.Close()
	}
	defer s.remove(l)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		s.start(c)
	}
}

// Shutdown closes the listeners and the connections that wait for a request.
// Requests that have been read are answered first. When ctx ends before that,
// all connections are closed and the error is that of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	listeners := slices.Collect(maps.Keys(s.listeners))
	for c := range s.open {
		// Whoever reads or will read stops; see session.
		c.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	done := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// add reports false when the server is draining.
func (s *Server) add(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]bool)
		s.open = make(map[net.Conn]bool)
	}
	s.listeners[l] = true
	return true
}

func (s *Server) remove(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// start answers a connection in a goroutine of its own.
func (s *Server) start(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		c.Close()
		return
	}
	s.open[c] = true
	s.sessions.Go(func() {
		err := s.session(c)
		c.Close()
		s.mu.Lock()
		delete(s.open, c)
		draining := s.draining
		s.mu.Unlock()
		if err != nil && !draining {
			s.Log.Warn("a lookup connection was closed", "client", c.RemoteAddr().String(), "error", err)
		}
	})
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// session answers one connection's requests. Nil says that the client left, or
// stayed idle too long.
func (s *Server) session(c net.Conn) error {
	idle, begun := s.idle, s.begun
	if idle == 0 {
		idle, begun = idleTime, begunTime
	}
	w := bufio.NewWriter(writer{c, begun})
	defer w.Flush()
	r := bufio.NewReader(reader{c, w})
	for {
		if r.Buffered() == 0 {
			c.SetReadDeadline(time.Now().Add(idle))
			// Shutdown sets a deadline in the past after it sets draining.
			// Where that came first, it has just been overwritten.
			if s.isDraining() {
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
		c.SetReadDeadline(time.Now().Add(begun))
		if s.isDraining() {
			c.SetReadDeadline(time.Unix(1, 0))
		}
		request, err := readNetstring(r)
		if err != nil {
			return err
		}
		p, set := s.Runtime()
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
