package lab

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// server accepts the connections of a listener and knows those that are open,
// so that its end is the end of all of them.
type server struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// listenForAll opens a unix socket that every user may connect to.
func listenForAll(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, fmt.Errorf("lab: %w", err)
	}
	return l, nil
}

// serveEach starts a server that has each connection handled in a goroutine of
// its own, and closes it after.
func serveEach(l net.Listener, handle func(net.Conn)) *server {
	s := &server{listener: l, conns: map[net.Conn]bool{}}
	s.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if s.keep(conn) {
				s.running.Go(func() {
					defer s.drop(conn)
					handle(conn)
				})
			}
		}
	})
	return s
}

// Listen serves each connection to a port of 127.0.0.1 until the test ends, and closes it
// after: a server that says what a real one can hardly be made to say.
func Listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serveEach(l, serve)
	t.Cleanup(func() { s.close() })
	return l.Addr().String()
}

// keep is false when the server has ended meanwhile.
func (s *server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *server) drop(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.Close()
	delete(s.conns, conn)
}

// close ends the listener and all connections, and returns when every handler
// has.
func (s *server) close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cut()
	s.running.Wait()
	return err
}

// cut ends all connections that are open.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}
