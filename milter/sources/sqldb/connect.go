package sqldb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	// It is known to database/sql by the name sqlite.
	_ "modernc.org/sqlite"
)

// maxAnswer bounds what a server may send between two rows, in bytes: rows have at most
// maxColumns values, which are far from all being as long as maxValue.
const maxAnswer = 4 << 20

// open makes the Reader of Options that are sound.
func (o *Options) open() (*Reader, error) {
	r := &Reader{options: *o, place: o.place(), allowance: new(atomic.Int64)}
	var connector driver.Connector
	var err error
	switch o.Driver {
	case Postgres:
		connector, err = o.postgres(r.dial)
	case MySQL:
		connector, err = o.mysql(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.place, err)
	}
	if connector == nil {
		r.db, err = sql.Open("sqlite", sqliteName(o.Database))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.place, err)
		}
	} else {
		r.db = sql.OpenDB(connector)
		// What a mark and a list say is of one moment each; the isolation that MySQL
		// has by itself is PostgreSQL's when it is asked for. SQLite's statements are
		// of one moment anyway.
		r.begin = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	// No connection is kept from one question to the next, so that a server which was
	// started again between them is no failure.
	r.db.SetMaxIdleConns(-1)
	return r, nil
}

// sqliteName returns the name by which SQLite opens a file that it may only read.
func sqliteName(path string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path}
	u.RawQuery = url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "busy_timeout(5000)"}}.Encode()
	return u.String()
}

// postgres makes the connector for PostgreSQL. pgx wants a configuration that it has
// parsed itself, and takes from the environment what that does not say: all that matters
// here is said after that.
func (o *Options) postgres(dial func(ctx context.Context, network, addr string) (net.Conn, error)) (driver.Connector, error) {
	c, err := pgx.ParseConfig("host=127.0.0.1 port=5432 user=nobody dbname=nothing sslmode=disable")
	if err != nil {
		return nil, err
	}
	c.User, c.Password, c.Database = o.User, o.Password, o.Database
	c.Fallbacks, c.ValidateConnect, c.ConnectTimeout = nil, nil, 0
	c.RuntimeParams = map[string]string{"application_name": "coexistd"}
	c.MaxProtocolMessageBodyLen = maxAnswer
	// Nothing is kept on the server by a name, which a pool of connections before it
	// could not bear.
	c.DefaultQueryExecMode, c.StatementCacheCapacity, c.DescriptionCacheCapacity = pgx.QueryExecModeExec, 0, 0
	c.DialFunc = dial
	if o.isSocket() {
		c.Host = o.Server
		c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, "unix", postgresSocket(o.Server))
		}
		return stdlib.GetConnector(*c), nil
	}
	host, port, err := o.address()
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the port %q is not a number up to 65535", port)
	}
	c.Host, c.Port, c.TLSConfig = host, uint16(number), o.tls(host)
	return stdlib.GetConnector(*c), nil
}

// postgresSocket returns the socket's path, of which PostgreSQL's own tools name the
// folder only.
func postgresSocket(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, ".s.PGSQL.5432")
	}
	return path
}

// mysql makes the connector for MySQL.
func (o *Options) mysql(r *Reader) (driver.Connector, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = o.User, o.Password, o.Database
	c.Net, c.Addr = "unix", o.Server
	if !o.isSocket() {
		host, port, err := o.address()
		if err != nil {
			return nil, err
		}
		c.Net, c.Addr, c.TLS = "tcp", net.JoinHostPort(host, port), o.tls(host)
	}
	c.DialFunc = r.dial
	c.Logger = &r.murmur
	c.ParseTime = true
	c.ConnectionAttributes = "program_name:coexistd"
	c.Params = map[string]string{
		"time_zone": "'+00:00'",
		// A server may have been told to end each answer after so many rows, and does
		// not say so.
		"sql_select_limit": "18446744073709551615",
	}
	// The Reader ends each wait by its context. What asks without one is bounded here.
	c.ReadTimeout, c.WriteTimeout = o.Timeout+time.Second, o.Timeout+time.Second
	return mysql.NewConnector(c)
}

// tls returns the settings of TLS for a host; nil: none.
func (o *Options) tls(host string) *tls.Config {
	if o.TLS == nil {
		return nil
	}
	c := o.TLS.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c
}

// dial makes a connection that reads no more than the Reader's allowance.
func (r *Reader) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	b := &bounded{Conn: conn, left: r.allowance}
	r.dialled.Store(b)
	return b, nil
}

// bounded is a connection that reads no more than an allowance. A driver would make room
// for whatever a server sends as one row.
type bounded struct {
	net.Conn
	left *atomic.Int64
}

var errTooMuch = errors.New("the server sent more than " + strconv.Itoa(maxAnswer) + " bytes for one row")

// Read reads from the connection while there is something left of the allowance.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left.Load() <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p)
	b.left.Add(-int64(n))
	return n, err
}

// murmur keeps the last that MySQL's driver would write into a log: why a connection
// ended. Its error says only that it did.
type murmur struct{ last atomic.Pointer[string] }

// Print keeps what the driver says, without the line of its source that says so.
func (m *murmur) Print(v ...any) {
	text := fmt.Sprint(v...)
	if line, said, found := strings.Cut(text, " "); found && strings.Contains(line, ".go:") {
		text = said
	}
	m.last.Store(&text)
}

// take returns what was kept last, or "".
func (m *murmur) take() string {
	if text := m.last.Swap(nil); text != nil {
		return *text
	}
	return ""
}
