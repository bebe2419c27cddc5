package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// maxAhead is how many bytes a server may send before we have taken the next answer. The
// library reads some answers ahead, and holds of each many times what came.
const maxAhead = 8 << 20

// goodbye is how long saying that a connection ends may take.
const goodbye = time.Second

// conn is a connection to a server, after the bind.
type conn struct {
	o      *Options
	server *server
	raw    *metered
	ldap   *goldap.Conn
}

// connect makes a connection, with TLS where that is asked for, and binds.
func connect(ctx context.Context, o *Options, s *server) (*conn, error) {
	network := "tcp"
	if s.scheme == "ldapi" {
		network = "unix"
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.Timeout, errNoAnswer)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(limited, network, s.address)
	if err != nil {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		return nil, o.fail(s, "connecting", err)
	}
	c := &conn{o: o, server: s, raw: &metered{Conn: raw}}
	c.raw.allow()
	if err := c.begin(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// begin makes TLS of a connection, and binds.
func (c *conn) begin(ctx context.Context) error {
	if c.server.scheme == "ldaps" {
		secure := tls.Client(c.raw, c.tls())
		if err := c.within(ctx, "TLS", func(context.Context) error { return secure.Handshake() }); err != nil {
			return err
		}
		c.ldap = goldap.NewConn(secure, true)
	} else {
		c.ldap = goldap.NewConn(c.raw, false)
	}
	c.ldap.Start()
	if c.o.StartTLS && c.server.scheme == "ldap" {
		start := func(context.Context) error { return c.ldap.StartTLS(c.tls()) }
		if err := c.within(ctx, "StartTLS", start); err != nil {
			return err
		}
	}
	if c.o.Bind == "" {
		return nil
	}
	return c.within(ctx, c.o.binding(), func(context.Context) error { return c.ldap.Bind(c.o.Bind, c.o.Password) })
}

// binding and readingRoot are what a server is asked first.
func (o *Options) binding() string { return "binding as " + o.Bind }

const readingRoot = "reading the root DSE"

func (c *conn) tls() *tls.Config {
	config := &tls.Config{}
	if c.o.TLS != nil {
		config = c.o.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = c.server.host
	}
	return config
}

// within does one thing with the server, for no longer than the timeout. The library waits
// without end in most places, so the connection is closed when the time is over. What
// was done too late has failed, whatever the library says.
func (c *conn) within(ctx context.Context, asked string, do func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, errNoAnswer)
	defer cancel()
	defer context.AfterFunc(limited, func() { c.raw.Close() })()
	c.raw.allow()
	err := do(limited)
	switch theirs, ok := errors.AsType[*taken](err); {
	case ok:
		return theirs
	case limited.Err() != nil:
		err = context.Cause(limited)
	case c.raw.left.Load() < 0:
		err = errTooMuch
	case err == nil:
		return nil
	}
	return c.o.fail(c.server, asked, err)
}

// close ends the connection, and says so to the server where that takes no time.
func (c *conn) close() {
	c.raw.SetDeadline(time.Now().Add(goodbye))
	if c.ldap != nil {
		// It fails where the connection has ended, and then the library has let go of it.
		_ = c.ldap.Unbind()
	}
	c.raw.Close()
}

// metered is a connection that gives only so many bytes before it is allowed more.
type metered struct {
	net.Conn
	left atomic.Int64
}

// errTooMuch is why a connection is of no more use.
var errTooMuch = fmt.Errorf("it sent more than %d MiB for one answer", maxAhead>>20)

// allow lets the next bytes in.
func (m *metered) allow() { m.left.Store(maxAhead) }

// Read reads what is allowed.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if m.left.Add(int64(-n)) < 0 {
		return 0, errTooMuch
	}
	return n, err
}

// taken is an error of whoever takes the rows. The server has nothing to do with it.
type taken struct{ error }

// Unwrap returns the error itself.
func (t *taken) Unwrap() error { return t.error }
