package listen

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Session is one connection of a server.
type Session interface {
	// Serve does all that is to be done for the connection, and closes it.
	Serve()
	// Drain has Serve end as soon as nothing is under way.
	Drain()
	// Close closes the connection at once.
	Close() error
}

// Sessions are the connections that a server has open, on any number of listeners. The zero
// Sessions are none.
type Sessions struct {
	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]bool
	open      map[Session]bool
	serving   sync.WaitGroup
}

// Serve serves the connections that come on a listener until that is closed, by its owner
// or by Shutdown, and closes it. The error is nil then, and else says why no more
// connections can be taken. Sessions that are open may outlive it; Shutdown ends them.
func (s *Sessions) Serve(l net.Listener, begin func(net.Conn) Session) error {
	if !s.add(l) {
		return l.Close()
	}
	defer s.remove(l)
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		s.start(begin(c))
	}
}

// Shutdown closes all listeners and drains the sessions. It returns when all have ended.
// When ctx ends before that, the rest is closed at once and the error is that of ctx.
func (s *Sessions) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for l := range s.listeners {
		l.Close()
	}
	for session := range s.open {
		session.Drain()
	}
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
	for session := range s.open {
		session.Close()
	}
	return ctx.Err()
}

// add reports false when no more connections are taken.
func (s *Sessions) add(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if s.listeners == nil {
		s.listeners, s.open = make(map[net.Listener]bool), make(map[Session]bool)
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

// start serves a session in a goroutine of its own. One that was accepted in the moment of
// a shutdown is closed at once.
func (s *Sessions) start(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		session.Close()
		return
	}
	s.open[session] = true
	s.serving.Go(func() {
		session.Serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, session)
	})
}
