package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// Proxy stands between clients and a server that is reached by TCP. It passes on what both
// say, until it is told otherwise.
type Proxy struct {
	Addr string // HOST:PORT, where clients connect

	to     string
	server *server

	mu     sync.Mutex
	after  int64 // negative: nothing happens
	then   func(passage)
	passed int64         // by the connection that began last
	begun  chan struct{} // closed by the next connection
}

// StartProxy starts one before the server at an address.
func StartProxy(to string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, after: -1, begun: make(chan struct{})}
	p.server = serveEach(l, p.serve)
	return p, nil
}

// Close ends it, with all connections.
func (p *Proxy) Close() error { return p.server.close() }

// Pass has it pass on everything from now on. This, as the following do, ends the
// connections from before.
func (p *Proxy) Pass() { p.set(-1, nil) }

// EndAfter has it end each connection once the server has sent so many bytes.
func (p *Proxy) EndAfter(bytes int64) { p.set(bytes, func(passage) {}) }

// HangAfter has it pass on nothing more once the server has sent so many bytes. It is the
// client who ends the connection.
func (p *Proxy) HangAfter(bytes int64) { p.set(bytes, func(c passage) { <-c.left }) }

// BendAfter has it change the byte that comes after so many of the server, and pass on what
// follows.
func (p *Proxy) BendAfter(bytes int64) {
	p.set(bytes, func(c passage) {
		var b [1]byte
		if _, err := io.ReadFull(c.server, b[:]); err == nil {
			c.client.Write([]byte{b[0] ^ 0xa5})
			io.Copy(c.client, c.server)
		}
	})
}

func (p *Proxy) set(after int64, then func(passage)) {
	p.mu.Lock()
	p.after, p.then = after, then
	p.mu.Unlock()
	p.server.cut()
}

// Passed is how many bytes of the server went through the connection that began last.
func (p *Proxy) Passed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// WaitConnections returns when so many clients more have connected.
func (p *Proxy) WaitConnections(ctx context.Context, number int) error {
	for range number {
		p.mu.Lock()
		begun := p.begun
		p.mu.Unlock()
		select {
		case <-begun:
		case <-ctx.Done():
			return fmt.Errorf("lab: nobody has connected to the proxy before %s: %w", p.to, ctx.Err())
		}
	}
	return nil
}

// begin counts a connection, and says what becomes of it.
func (p *Proxy) begin() (after int64, then func(passage)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.begun)
	p.begun, p.passed = make(chan struct{}), 0
	return p.after, p.then
}

// passage is a connection through it.
type passage struct {
	client, server net.Conn
	left           chan struct{} // closed when the client has gone
}

// serve passes on what both sides say, until the one or the other ends it.
func (p *Proxy) serve(client net.Conn) {
	after, then := p.begin()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	c := passage{client, server, make(chan struct{})}
	go func() {
		io.Copy(server, client)
		io.Copy(io.Discard, client) // when it is the server who has gone
		server.Close()
		close(c.left)
	}()
	if after < 0 {
		io.Copy(io.MultiWriter(counter{p}, client), server)
		return
	}
	io.CopyN(client, server, after)
	then(c)
}

// counter counts what passes, before it does.
type counter struct{ p *Proxy }

// Write counts.
func (c counter) Write(b []byte) (int, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.passed += int64(len(b))
	return len(b), nil
}
