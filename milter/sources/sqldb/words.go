package sqldb

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"coexistd/milter/sources"
)

// fail says what came of a question.
func (r *Reader) fail(asked, words string, cause error) error {
	return &sources.Failure{Place: r.place, Asked: asked, Words: words, Cause: cause}
}

// words returns what the server, or its driver, says, and what would be right.
func (r *Reader) words(err error) string {
	said := err.Error()
	if murmured := r.murmur.take(); errors.Is(err, mysql.ErrInvalidConn) && murmured != "" {
		said = "the connection ended: " + murmured
	}
	return sources.Quote(said, r.options.Password) + r.remedy(err)
}

// kinds of failures whose remedy is known.
const (
	nothing = iota
	login
	right
	name
	write
	reach
)

// remedy says what would be right, where the kind of the failure tells.
func (r *Reader) remedy(err error) string {
	switch kindOf(err) {
	case login:
		return "; see that user, password and TLS are what the server wants of this host"
	case right:
		return fmt.Sprintf("; let the user %s read the tables that the query names (GRANT SELECT)", r.options.User)
	case name:
		return "; give the query the names that this database has"
	case write:
		return "; the query must only read"
	case reach:
		return "; see that the server runs, and that its address is right"
	}
	return ""
}

// kindOf tells the kind of a failure (PostgreSQL appendix A; MySQL's error reference; the
// result codes of SQLite).
func kindOf(err error) int {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return map[string]int{
			"28000": login, "28P01": login, "3D000": login, "42501": right, "42703": name, "42P01": name, "25006": write,
		}[e.Code]
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return map[uint16]int{1044: login, 1045: login, 1049: login, 1142: right, 1143: right, 1054: name, 1146: name, 1792: write}[e.Number]
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		const sqliteError, sqliteReadOnly = 1, 8
		switch said := e.Error(); {
		case e.Code()&0xff == sqliteReadOnly:
			return write
		case e.Code() == sqliteError && (strings.Contains(said, "no such column") || strings.Contains(said, "no such table")):
			return name
		}
		return nothing
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return reach
	}
	return nothing
}
