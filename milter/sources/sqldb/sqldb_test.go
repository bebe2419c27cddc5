package sqldb

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

const users = `CREATE TABLE users (mail TEXT, lives TEXT, account TEXT, reaches TEXT, sort TEXT, hourly INTEGER, share REAL, since DATETIME, raw BLOB)`

func TestColumnsAreKnownByTheirNamesAndTheirValuesAreTexts(t *testing.T) {
	path := file(t, users,
		`INSERT INTO users VALUES ('Alice@AcmeCorp.com ', 'Cloud', 'alice', 'alice@acme.onmicrosoft.com', 'User', 100, 1000000.5, '2026-02-03 04:05:06', X'616263')`,
		`INSERT INTO users VALUES ('bob@acmecorp.com', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
		`INSERT INTO users VALUES ('carol@acmecorp.com', 'attic', '', '', 'group', -1, 0, 'yesterday', '')`)
	got := list(t, Options{
		Driver: SQLite, Database: path, Default: "here", Residences: map[string]string{"CLOUD": "office365", "": "moving"},
		Query: "SELECT hourly, mail AS Address, lives AS RESIDENCE, account AS login, reaches AS target, sort AS kind, share, since AS Since, raw FROM users;",
	})
	compare(t, got, []string{
		"Alice@AcmeCorp.com | office365 | alice | alice@acme.onmicrosoft.com | user | hourly=100 | raw=abc | share=1000000.5 | since=2026-02-03T04:05:06Z",
		"bob@acmecorp.com | moving |  |  |  | hourly= | raw= | share= | since=",
		"carol@acmecorp.com | attic |  |  | group | hourly=-1 | raw= | share=0 | since=yesterday",
	})
}

func TestColumnsButTheAddressMayBeMissing(t *testing.T) {
	path := file(t, users, `INSERT INTO users (mail) VALUES ('bob@acmecorp.com')`)
	got := list(t, Options{Driver: SQLite, Database: path, Default: "here", Query: "SELECT mail AS address FROM users"})
	compare(t, got, []string{"bob@acmecorp.com | here |  |  | "})
	_, err := collect(t, Options{Driver: SQLite, Database: path, Query: "SELECT mail, lives AS residence FROM users WHERE mail = 'nobody'"})
	wantWords(t, err, path, "gives no column address, but mail, residence", "write SELECT … AS address")
}

func TestRowsOfOtherDomainsAreSkippedAndAddressesWithoutOneAreNot(t *testing.T) {
	path := file(t, users, `INSERT INTO users (mail) VALUES
		('a@acmecorp.com'), ('b@ACMEcorp.com'), ('c@other.example'), ('d@BÜCHER.example'), ('e'), ('f@'), ('g@x y'), ('h@other.example')`)
	var asked []string
	var origins []string
	r := reader(t, Options{Driver: SQLite, Database: path, Query: "SELECT mail AS address FROM users ORDER BY mail", Keep: func(domain string) bool {
		asked = append(asked, domain)
		return domain != "other.example"
	}})
	if err := r.Read(deadline(t), func(row sources.Row) error {
		origins = append(origins, row.Origin+": "+row.Address)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	compare(t, origins, []string{"row 1: a@acmecorp.com", "row 2: b@ACMEcorp.com", "row 4: d@BÜCHER.example", "row 5: e", "row 6: f@", "row 7: g@x y"})
	compare(t, asked, []string{"acmecorp.com", "acmecorp.com", "other.example", "xn--bcher-kva.example", "other.example"})
}

func TestOptionsThatCannotWorkAreRefusedBeforeAnyServerIsAsked(t *testing.T) {
	sound := Options{Driver: Postgres, Server: "sql.acmecorp.com", Database: "mail", User: "reader", Query: "SELECT 1 AS address"}
	for want, change := range map[string]func(*Options){
		`"oracle" is not known; it is one of postgres, mysql, sqlite`:  func(o *Options) { o.Driver = "oracle" },
		"the server is missing; give HOST:PORT (5432":                  func(o *Options) { o.Server = "" },
		`"sql:54:32" is not HOST:PORT and not the absolute path`:       func(o *Options) { o.Server = "sql:54:32" },
		`the port "543200" is not a number up to 65535`:                func(o *Options) { o.Server = "sql:543200" },
		"no TLS over the Unix socket /run/postgresql":                  func(o *Options) { o.Server, o.TLS = "/run/postgresql", &tls.Config{} },
		"the user is missing":                                          func(o *Options) { o.User = "" },
		"the database is missing":                                      func(o *Options) { o.Database = "" },
		"the query is missing; give one that begins with SELECT":       func(o *Options) { o.Query = " \n" },
		"the query of the mark begins with \"UPDATE\"":                 func(o *Options) { o.MarkQuery = "UPDATE x SET y = 1" },
		"sqlite reads a file: it has no server, user, password or TLS": func(o *Options) { o.Driver = SQLite },
	} {
		o := sound
		change(&o)
		_, err := New(o)
		wantWords(t, err, want)
	}
	for _, server := range []string{"sql.acmecorp.com", "sql.acmecorp.com:5433", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5433", "/run/postgresql"} {
		o := sound
		o.Server = server
		if _, err := New(o); err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
}

func TestAQueryIsOneStatementThatReads(t *testing.T) {
	all := []string{Postgres, MySQL, SQLite}
	for _, c := range []struct {
		query, want string
		drivers     []string
	}{
		{"SELECT a FROM b", "", all},
		{"-- who\n/* lives; where */ select a;\n ; -- end", "", all},
		{"(SELECT a) UNION ALL (SELECT b)", "", all},
		{"WITH x AS (SELECT 1) SELECT a FROM x", "", all},
		{`SELECT ';', "into;", 'it''s; fine' FROM b`, "", all},
		{"SELECT a; DELETE FROM b", "several statements", all},
		{"SELECT a; SELECT b", "several statements", all},
		{"SELECT a -- x\n; SELECT 'b'", "several statements", all},
		{"INSERT INTO b VALUES (1)", `begins with "INSERT"`, all},
		{"  drop table b", `begins with "DROP"`, all},
		{"'x'", `begins with "'"`, all},
		{"-- SELECT", "nothing but comments", all},
		{"SELECT a INTO OUTFILE '/x' FROM b", "the word INTO", all},
		{"SELECT * into c FROM b", "the word INTO", all},
		{"SELECT a FROM into_b WHERE x = 'INTO'", "", all},
		{"SELECT a # ; DELETE", "", []string{MySQL}},
		{"SELECT a # ; DELETE", "several statements", []string{Postgres}},
		{`SELECT 'a\'; DELETE FROM b; -- '`, "", []string{MySQL}},
		{`SELECT 'a\'; DELETE FROM b; -- '`, "several statements", []string{Postgres, SQLite}},
		{`SELECT E'a\'; b'`, "", []string{Postgres}},
		{"SELECT $$;$$, $x$ $$; $x$, $1", "", []string{Postgres}},
		{"SELECT $x$ ; $x$; b", "several statements", []string{Postgres}},
		{"SELECT [a;b] FROM `c;d`", "", []string{SQLite}},
		{"SELECT 1 --2; SELECT 3", "several statements", []string{MySQL}},
		{"SELECT 1 /*!; DELETE FROM b */", "several statements", []string{MySQL}},
		{"SELECT 1 /*M! INTO OUTFILE 'x' */", "the word INTO", []string{MySQL}},
		{"SELECT 'unended; DELETE", "", all},
		{"SELECT /* unended; DELETE", "", all},
	} {
		for _, driver := range c.drivers {
			err := checkQuery(driver, "the query", c.query)
			if c.want == "" && err != nil {
				t.Errorf("%s: %s: %v", driver, c.query, err)
			} else if c.want != "" {
				wantWords(t, err, c.want)
			}
		}
	}
}

func TestAQueryThatThisDatabaseCannotAnswerIsToldInItsOwnWords(t *testing.T) {
	path := file(t, users, `INSERT INTO users (mail) VALUES ('bob@acmecorp.com')`)
	for query, want := range map[string]string{
		"SELECT adress AS address FROM users":                                   "no such column: adress",
		"SELECT mail AS address FROM people":                                    "no such table: people",
		"SELECT mail AS address, lives AS a, account AS A FROM users":           `two columns by the name "a"; rename one with AS`,
		"SELECT mail AS address FROM":                                           "incomplete input",
		"SELECT mail AS address, " + strings.Repeat("1,", 100) + "2 FROM users": "102 columns; at most 100",
		"SELECT mail AS address, printf('%.*c', 65537, 'x') AS note FROM users": "row 1: the column note holds 65537 bytes; at most 65536",
		"WITH x AS (SELECT 1) DELETE FROM users":                                "attempt to write a readonly database (8); the query must only read",
		"SELECT mail AS address, '" + strings.Repeat("y", 2000) + "' AS \"" + strings.Repeat("z\n", 300) + "\", 1 AS \"" + strings.Repeat("z\n", 300) + "\" FROM users": "z z z",
	} {
		_, err := collect(t, Options{Driver: SQLite, Database: path, Query: query})
		wantWords(t, err, "the SQLite file "+path+": the query: ", want)
		if err != nil && len(err.Error()) > len(path)+700 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
	compare(t, list(t, Options{Driver: SQLite, Database: path, Query: "SELECT mail AS address FROM users"}), []string{"bob@acmecorp.com |  |  |  | "})
}

func TestAFileThatIsNoneIsRefusedAtOnce(t *testing.T) {
	folder := t.TempDir()
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(folder, "other ?#%&")
	if err := os.WriteFile(other, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(folder, "none"): "does not exist", folder: "is a", fifo: "is a", other: "file is not a database",
	} {
		_, err := collect(t, Options{Driver: SQLite, Database: path, Query: "SELECT 1 AS address"})
		wantWords(t, err, path, want)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 2 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

func TestAMarkHasCountersThatOnlyGrowAndNamesForTheRest(t *testing.T) {
	path := file(t, users, `INSERT INTO users VALUES ('a', 'b', '', NULL, NULL, 9, 2.5, '2026-02-03 04:05:06', NULL)`)
	o := Options{Driver: SQLite, Database: path, Query: "SELECT 1 AS address"}
	if m := mark(t, o); m != nil {
		t.Errorf("without a query the mark is %v", m)
	}
	o.MarkQuery = "SELECT hourly AS Count, since, lives, share, -hourly AS less, target FROM users LEFT JOIN (SELECT NULL AS target)"
	got := mark(t, o)
	want := sources.Mark{"count": "00000000000000000009", "since": "2026-02-03T04:05:06.000000000Z", "lives=b": "", "share=2.5": "", "less=-9": "", "target": ""}
	if !got.Same(want) {
		t.Errorf("the mark is %q, want %q", got, want)
	}
	fill(t, path, "UPDATE users SET hourly = 10, lives = 'a'")
	if later := mark(t, o); later.WentBack(got) || !got.WentBack(later) || later.Same(got) {
		t.Errorf("%q came before %q", got, later)
	}
	for query, want := range map[string]string{
		"SELECT 1 WHERE 1 = 2":                   "gives no row; count, or take the greatest",
		"SELECT 1 UNION SELECT 2":                "gives more than one row; count, or take the greatest",
		"SELECT printf('%.*c', 65537, 'x') AS x": "the column x holds 65537 bytes",
		"SELECT nosuch":                          "no such column: nosuch",
	} {
		o.MarkQuery = query
		_, err := reader(t, o).Mark(deadline(t))
		wantWords(t, err, "the SQLite file "+path+": the query of the mark: ", want)
	}
}

func TestAnErrorOfAddEndsTheReadingAndIsReturnedAsItIs(t *testing.T) {
	n := 0
	r := reader(t, Options{Driver: SQLite, Database: file(t), Query: many(maxRows)})
	err := r.Read(deadline(t), func(sources.Row) error {
		if n++; n == 5 {
			return errEnough
		}
		return nil
	})
	if err != errEnough || n != 5 {
		t.Errorf("after %d rows: %v", n, err)
	}
}

// endless is never done with its first row.
const endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT COUNT(*) AS address FROM n"

func TestAnAnswerThatDoesNotComeEndsTheReading(t *testing.T) {
	o := Options{Driver: SQLite, Database: file(t), Query: endless, MarkQuery: endless, Timeout: 200 * time.Millisecond}
	_, err := collect(t, o)
	wantWords(t, err, o.Database, "no answer within 200ms; see whether the server hangs")
	_, err = reader(t, o).Mark(deadline(t))
	wantWords(t, err, o.Database, "no answer within 200ms")

	o.Timeout = 0
	ctx, cancel := context.WithCancel(deadline(t))
	r := reader(t, o)
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := r.Read(ctx, func(sources.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTheTimeThatTheRowsAreTakenInIsNotTheServers(t *testing.T) {
	path := file(t)
	synctest.Test(t, func(t *testing.T) {
		r := reader(t, Options{Driver: SQLite, Database: path, Query: many(3)})
		n := 0
		if err := r.Read(t.Context(), func(sources.Row) error {
			n++
			time.Sleep(time.Hour)
			return nil
		}); err != nil || n != 3 {
			t.Errorf("%d rows: %v", n, err)
		}
	})
}

func TestAFaultOfAddIsNotHidden(t *testing.T) {
	r := reader(t, Options{Driver: SQLite, Database: file(t), Query: many(3)})
	defer func() {
		if fault := recover(); fault != "a mistake" {
			t.Errorf("the fault is %v", fault)
		}
	}()
	err := r.Read(deadline(t), func(sources.Row) error { panic("a mistake") })
	t.Errorf("it ended with %v", err)
}

func TestAServerThatSpeaksAnotherProtocolIsTold(t *testing.T) {
	for name, words := range map[string]string{
		"nothing":             "",
		"HTTP":                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
		"an empty packet":     "\x00\x00\x00\x00",
		"a short greeting":    "\x01\x00\x00\x00\x0a",
		"a greeting cut off":  "\x09\x00\x00\x00\x0a5.5.5\x00\x01\x02",
		"a refusal":           "\x17\x00\x00\x00\xff\x10\x04Too many connections",
		"a refusal of nobody": "\x01\x00\x00\x00\xff",
		"a huge packet":       "\xff\xff\xff\x00\x0a",
		"a huge message":      "R\x7f\xff\xff\xff\x00\x00\x00\x00",
		"a negative length":   "R\xff\xff\xff\xff\x00\x00\x00\x00",
		"SASL of nothing":     "R\x00\x00\x00\x08\x00\x00\x00\x0a",
		"a letter":            "E\x00\x00\x00\x04",
	} {
		addr := lab.Listen(t, func(conn net.Conn) {
			io.WriteString(conn, words)
			io.Copy(io.Discard, conn) // until the client ends it
		})
		for _, driver := range []string{Postgres, MySQL} {
			_, err := collect(t, Options{Driver: driver, Server: addr, Database: "mail", User: "reader", Query: "SELECT 1 AS address", Timeout: 300 * time.Millisecond})
			if wantWords(t, err, "at "+addr+`, database "mail": the query: `); err != nil && len(err.Error()) > 700 {
				t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
			}
		}
	}
}

func TestAHundredThousandRowsAreNotHeldInMemory(t *testing.T) {
	streams(t, Options{Driver: SQLite, Database: file(t), Query: many(100_000)})
}

// streams checks that 100,000 rows, of 100 MB in all, need little room.
func streams(t *testing.T, o Options) {
	t.Helper()
	n, most, before := 0, uint64(0), heap()
	if err := reader(t, o).Read(deadline(t), func(sources.Row) error {
		if n++; n%20_000 == 0 {
			most = max(most, heap())
		}
		return nil
	}); err != nil || n != 100_000 {
		t.Errorf("%d rows: %v", n, err)
	}
	if most > before+16<<20 {
		t.Errorf("%d MB were held", (most-before)>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
