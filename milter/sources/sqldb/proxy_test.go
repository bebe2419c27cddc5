package sqldb

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a Reader and a server. After so many bytes of the server it goes
// on in another way, once the test has said which.
type proxy struct {
	addr  string
	after atomic.Int64 // bytes of the server; negative: never
	hang  atomic.Bool  // it keeps the connection and passes nothing on, instead of ending it
	bend  atomic.Bool  // it changes the byte that comes then, and passes on what follows

	mu    sync.Mutex
	conns []net.Conn
}

// startProxy makes a proxy that passes everything on.
func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	p.after.Store(-1)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.keep(client)
			all.Go(func() { p.serve(client, server) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

// serve passes on what both sides say, until the one or the other ends it.
func (p *proxy) serve(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	p.keep(server)
	go func() {
		io.Copy(server, client)
		server.Close()
	}()
	left := p.after.Load()
	if left < 0 {
		io.Copy(client, server)
		return
	}
	io.CopyN(client, server, left)
	if p.bend.Load() {
		var b [1]byte
		if _, err := io.ReadFull(server, b[:]); err == nil {
			client.Write([]byte{b[0] ^ 0xa5})
			io.Copy(client, server)
		}
	}
	if p.hang.Load() {
		// The client is who gives up.
		io.Copy(io.Discard, server)
	}
}
