// Package sqldb reads the list of addresses of an SQL database: PostgreSQL, MySQL or
// MariaDB, or a file of SQLite.
package sqldb

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// The drivers.
const (
	Postgres = "postgres"
	MySQL    = "mysql" // MariaDB's, too
	SQLite   = "sqlite"
)

// Options say where a list is, and how it is asked for.
type Options struct {
	// Driver is one of Postgres, MySQL and SQLite.
	Driver string
	// Server is HOST or HOST:PORT, or the path of a Unix socket. SQLite has none. For
	// Postgres, the path may be that of the folder with the socket.
	Server string
	// Database is the database's name, or the path of SQLite's file.
	Database string
	// User and Password are who asks.
	User, Password string
	// TLS is how the server is spoken to over TCP; nil: without TLS. Where it names no
	// server, the certificate must be that of Server's host.
	TLS *tls.Config
	// Query gives a row for each address. Its columns are known by their names, in any
	// case: address, residence, login, target, kind, and further ones. All but address
	// may be missing.
	Query string
	// MarkQuery gives one row that tells the state of the list, see sources.Mark: numbers
	// and times are counters that only grow, all else has no order. What may go back, as
	// the greatest time does when its row is removed, is to be made a text. Empty:
	// nothing tells the state.
	MarkQuery string
	// Keep tells of a domain, in its normal form, whether its rows are wanted. Nil: all
	// are.
	Keep func(domain string) bool
	// Residences are the words for residences by what the column residence says, both in
	// any case. What it does not have is left as it is.
	Residences map[string]string
	// Default is the residence where the column says nothing, or is missing.
	Default string
	// Timeout bounds the wait for each answer: for the connection and its greeting, for
	// the first row, and for each row after that. Zero: 30 seconds.
	Timeout time.Duration
}

const usualTimeout = 30 * time.Second

// New returns a Reader. It asks the server nothing yet.
func New(o Options) (*Reader, error) {
	if o.Timeout == 0 {
		o.Timeout = usualTimeout
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	residences := make(map[string]string)
	for said, word := range o.Residences {
		residences[strings.ToLower(said)] = word
	}
	o.Residences = residences
	return o.open()
}

// check finds what is wrong before any server is asked.
func (o *Options) check() error {
	switch o.Driver {
	case Postgres, MySQL:
		if err := o.checkServer(); err != nil {
			return err
		}
	case SQLite:
		if o.Server != "" || o.User != "" || o.Password != "" || o.TLS != nil {
			return errors.New("sqlite reads a file: it has no server, user, password or TLS; leave them out")
		}
	default:
		return fmt.Errorf("the SQL driver %q is not known; it is one of %s, %s, %s", o.Driver, Postgres, MySQL, SQLite)
	}
	if o.Database == "" {
		return errors.New("the database is missing; give its name, or for sqlite the path of its file")
	}
	if err := checkQuery(o.Driver, "the query", o.Query); err != nil {
		return err
	}
	if o.MarkQuery == "" {
		return nil
	}
	return checkQuery(o.Driver, "the query of the mark", o.MarkQuery)
}

func (o *Options) checkServer() error {
	if o.Server == "" {
		return fmt.Errorf("the server is missing; give HOST:PORT (%s is the usual port) or the path of a Unix socket", usualPort[o.Driver])
	}
	if o.User == "" {
		return errors.New("the user is missing; give one who may read the tables that the query names")
	}
	if !o.isSocket() {
		_, _, err := o.address()
		return err
	}
	if o.TLS != nil {
		return fmt.Errorf("there is no TLS over the Unix socket %s; leave TLS out, or give HOST:PORT", o.Server)
	}
	return nil
}

var usualPort = map[string]string{Postgres: "5432", MySQL: "3306"}

// isSocket reports that Server is the path of a Unix socket.
func (o *Options) isSocket() bool { return filepath.IsAbs(o.Server) }

// address returns the host and the port of Server.
func (o *Options) address() (host, port string, err error) {
	if host, port, err = net.SplitHostPort(o.Server); err == nil && host != "" && port != "" {
		return host, port, nil
	}
	host = strings.TrimSuffix(strings.TrimPrefix(o.Server, "["), "]")
	if host != "" && (net.ParseIP(host) != nil || !strings.ContainsAny(host, ":/[]")) {
		return host, usualPort[o.Driver], nil
	}
	return "", "", fmt.Errorf("the server %q is not HOST:PORT and not the absolute path of a Unix socket", o.Server)
}

// place names the database for people.
func (o *Options) place() string {
	switch o.Driver {
	case Postgres:
		return fmt.Sprintf("PostgreSQL at %s, database %q", o.Server, o.Database)
	case MySQL:
		return fmt.Sprintf("MySQL at %s, database %q", o.Server, o.Database)
	}
	return "the SQLite file " + o.Database
}
