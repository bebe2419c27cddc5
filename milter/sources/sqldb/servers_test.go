package sqldb

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

// server is a running PostgreSQL or MariaDB.
type server struct {
	options       Options // how the reader asks for something
	socket        string
	authorityFile string
	exec          func(t testing.TB, sql string)
}

// servers starts both.
func servers(t *testing.T, authority *lab.Authority) map[string]server {
	t.Helper()
	programs := lab.LendDirectories(t)
	p, err := programs.StartPostgres(deadline(t), lab.PostgresConfig{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, p.Stop)
	m, err := programs.StartMariaDB(deadline(t), lab.MariaDBConfig{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, m.Stop)
	o := Options{Database: lab.SQLDatabase, User: lab.SQLReader, Password: lab.SQLReaderPassword, Default: "here"}
	all := map[string]server{
		Postgres: {socket: p.Folder, authorityFile: p.AuthorityFile, exec: func(t testing.TB, sql string) {
			t.Helper()
			if _, err := p.Exec(deadline(t), sql); err != nil {
				t.Fatal(err)
			}
		}},
		MySQL: {socket: m.Socket, authorityFile: m.AuthorityFile, exec: func(t testing.TB, sql string) {
			t.Helper()
			if _, err := m.Exec(deadline(t), sql); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for driver, addr := range map[string]string{Postgres: p.Addr, MySQL: m.Addr} {
		s := all[driver]
		s.options = o
		s.options.Driver, s.options.Server = driver, addr
		all[driver] = s
	}
	return all
}

func stop(t *testing.T, stop func() error) {
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestPostgreSQLAndMariaDB(t *testing.T) {
	t.Parallel()
	for driver, s := range servers(t, nil) {
		t.Run(driver, func(t *testing.T) {
			for _, c := range []struct {
				behaviour string
				check     func(*testing.T, server)
			}{
				{"values are texts", valuesAreTexts},
				{"marks go by the server's own types", marksGoByTypes},
				{"presets list what the product accepts", presetsFit},
				{"mistakes are told with their remedy", mistakesAreTold},
				{"nothing is written", nothingIsWritten},
				{"a hundred thousand rows are not held in memory", func(t *testing.T, s server) {
					s.options.Query = s.many(100_000)
					streams(t, s.options)
				}},
				{"a value without end is given up", endlessValueIsGivenUp},
				{"a byte that is wrong ends no process", wrongBytesAreBorne},
			} {
				t.Run(c.behaviour, func(t *testing.T) { c.check(t, s) })
			}
		})
	}
}

// many is many in the words of each server.
func (s server) many(rows int) string {
	if s.options.Driver == Postgres {
		return fmt.Sprintf("SELECT CONCAT('user', i, '@acmecorp.com') AS address, 'group' AS kind, REPEAT('0123456789', 100) AS further FROM generate_series(1, %d) i", rows)
	}
	return fmt.Sprintf("SELECT CONCAT('user', seq, '@acmecorp.com') AS address, 'group' AS kind, REPEAT('0123456789', 100) AS further FROM seq_1_to_%d", rows)
}

func valuesAreTexts(t *testing.T, s server) {
	types, blob := "n bigint, d decimal(10,2), f double, b tinyint(1), w datetime, c char(20), x varbinary(10)", "'abc'"
	b := "1"
	if s.options.Driver == Postgres {
		types, b = "n bigint, d numeric(10,2), f double precision, b boolean, w timestamp with time zone, c char(20), x text", "true"
	}
	s.exec(t, "CREATE TABLE valued (mail varchar(200), lives text, "+types+");")
	s.exec(t, "INSERT INTO valued VALUES ('Zoë@bücher.example', 'Cloud', 9007199254740993, 12.50, 2.5, '1', '2026-02-03 04:05:06', 'padded', "+blob+");")
	s.exec(t, "INSERT INTO valued (mail) VALUES ('bob@acmecorp.com');")
	s.options.Residences = map[string]string{"cloud": "office365"}
	s.options.Query = "SELECT mail AS Address, lives AS residence, n, d, f, b, w, c, x FROM valued"
	compare(t, list(t, s.options), []string{
		"Zoë@bücher.example | office365 |  |  |  | b=" + b + " | c=padded | d=12.50 | f=2.5 | n=9007199254740993 | w=2026-02-03T04:05:06Z | x=abc",
		"bob@acmecorp.com | here |  |  |  | b= | c= | d= | f= | n= | w= | x=",
	})
	s.options.Server = s.socket
	if s.options.Driver == Postgres {
		s.options.Server = glob(t, filepath.Join(s.socket, ".s.PGSQL.*"))
		s.options.Query = "SELECT mail AS address FROM valued WHERE lives = 'Cloud'"
		compare(t, list(t, s.options), []string{"Zoë@bücher.example | here |  |  | "})
	} else {
		_, err := collect(t, s.options)
		wantWords(t, err, "Access denied", "reader")
	}
}

func glob(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if !strings.HasSuffix(p, ".lock") {
			return p
		}
	}
	t.Fatalf("there is no %s", pattern)
	return ""
}

func marksGoByTypes(t *testing.T, s server) {
	s.exec(t, "CREATE TABLE marked (lives text, w date); INSERT INTO marked VALUES (NULL, NULL);")
	s.options.Query = "SELECT 'x' AS address"
	zone := "TIMESTAMP '2026-02-03 04:05:06'"
	if s.options.Driver == Postgres {
		zone = "TIMESTAMP WITH TIME ZONE '2026-02-03 06:05:06+02'"
	}
	s.options.MarkQuery = "SELECT COUNT(*) AS Number, MAX(w) AS changed, " + zone + " AS now_, CONCAT(7, '') AS name, MAX(lives) AS nothing FROM marked"
	got := mark(t, s.options)
	want := sources.Mark{"number": "00000000000000000001", "changed": "", "now_": "2026-02-03T04:05:06.000000000Z", "name=7": "", "nothing": ""}
	if !got.Same(want) {
		t.Errorf("the mark is %q, want %q", got, want)
	}
}

// presetsFit tries tables of different collations, too: PostfixAdmin's are latin1 with
// MySQL, the others' Unicode.
func presetsFit(t *testing.T, s server) {
	ways := []string{"SELECT 1;"}
	if s.options.Driver == MySQL {
		ways = []string{
			"ALTER DATABASE mail CHARACTER SET latin1 COLLATE latin1_general_ci;", "ALTER DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;",
			"ALTER DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;",
		}
	}
	for _, way := range ways {
		s.exec(t, way)
		for _, p := range products {
			if slices.Contains(p.drivers, s.options.Driver) {
				t.Run(p.preset, func(t *testing.T) { checkPreset(t, p, s.options, s.exec) })
			}
		}
	}
}

func mistakesAreTold(t *testing.T, s server) {
	s.exec(t, "CREATE TABLE users (mail varchar(200));")
	prepareElsewhere(t, s)
	const (
		sound = "SELECT mail AS address FROM users"
		names = "; give the query the names that this database has"
		let   = "; see that user, password and TLS are what the server wants"
		runs  = "; see that the server runs"
	)
	place := map[string]string{Postgres: "PostgreSQL", MySQL: "MySQL"}[s.options.Driver] + " at "
	none := filepath.Join(t.TempDir(), "none.sock")
	for _, c := range []struct {
		change func(*Options)
		want   []string
	}{
		{func(o *Options) { o.Query = "SELECT adress AS address FROM users" }, []string{place + s.options.Server + `, database "mail": the query: `, "adress", names}},
		{func(o *Options) { o.Query = "SELECT mail AS address FROM people" }, []string{"people", names}},
		{func(o *Options) { o.Query = "SELECT mail AS address FROM users WHERE (((" }, []string{"syntax"}},
		{func(o *Options) { o.Query = "SELECT mail FROM users" }, []string{"no column address, but mail"}},
		{func(o *Options) { o.Query = "SELECT 1 AS address, 2 AS a, 3 AS A" }, []string{`two columns by the name "a"`}},
		{func(o *Options) { o.Query = "SELECT mail AS address FROM elsewhere.users" }, []string{"denied", "; let the user reader read the tables"}},
		{func(o *Options) { o.Password = "another secret" }, []string{"reader", let}},
		{func(o *Options) { o.User = "nobody" }, []string{"nobody", let}},
		{func(o *Options) { o.Database = "nowhere" }, []string{"nowhere", let}},
		{func(o *Options) { o.Server = "127.0.0.1:1" }, []string{place + "127.0.0.1:1,", "connection refused", runs}},
		{func(o *Options) { o.Server = none }, []string{place + none, "no such file or directory", runs}},
	} {
		options := s.options
		options.Query = sound
		c.change(&options)
		_, err := collect(t, options)
		wantWords(t, err, c.want...)
		if err != nil && strings.Contains(err.Error(), options.Password) {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if s.options.Driver == Postgres {
		s.exec(t, "GRANT pg_read_all_data TO reader;")
	}
}

// prepareElsewhere makes a table that the reader may not read.
func prepareElsewhere(t *testing.T, s server) {
	if s.options.Driver == MySQL {
		s.exec(t, "CREATE DATABASE elsewhere; CREATE TABLE elsewhere.users (mail int);")
		return
	}
	s.exec(t, `CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.users (mail int);
REVOKE pg_read_all_data FROM reader; GRANT SELECT ON users TO reader; GRANT USAGE ON SCHEMA elsewhere TO reader;`)
}

// nothingIsWritten lets the reader do what the server would let them, had the Reader not
// asked it to let them read only.
func nothingIsWritten(t *testing.T, s server) {
	s.exec(t, "CREATE TABLE written (mail varchar(200));")
	queries := []string{"SELECT 'x' AS address, write_one() AS wrote"}
	if s.options.Driver == Postgres {
		s.exec(t, "GRANT ALL ON written TO reader;")
		s.exec(t, "CREATE FUNCTION write_one() RETURNS int LANGUAGE SQL AS 'INSERT INTO written VALUES (''y''); SELECT 1';")
		queries = append(queries, "WITH gone AS (DELETE FROM written RETURNING mail) SELECT mail AS address FROM gone")
	} else {
		s.exec(t, "GRANT ALL ON mail.* TO reader@'127.0.0.1';")
		s.exec(t, "DELIMITER //\nCREATE FUNCTION write_one() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO written VALUES ('y'); RETURN 1; END//\n")
	}
	for _, query := range queries {
		s.options.Query, s.options.MarkQuery = query, query
		_, err := collect(t, s.options)
		wantWords(t, err, "; the query must only read")
		_, err = reader(t, s.options).Mark(deadline(t))
		wantWords(t, err, "; the query must only read")
	}
	s.options.Query = "SELECT mail AS address FROM written"
	if got := list(t, s.options); len(got) != 0 {
		t.Errorf("the table has %q", got)
	}
}

func endlessValueIsGivenUp(t *testing.T, s server) {
	s.options.Query = "SELECT 'x' AS address, REPEAT('0123456789', 1000000) AS further"
	before := heap()
	_, err := collect(t, s.options)
	wantWords(t, err, "at "+s.options.Server)
	// The driver's goroutines may still be at their end.
	for ctx, again := deadline(t), time.Tick(10*time.Millisecond); heap() > before+8<<20; <-again {
		if ctx.Err() != nil {
			t.Fatalf("%d MB are held", (heap()-before)>>20)
		}
	}
}

// wrongBytesAreBorne asks for no more than that the reading ends.
func wrongBytesAreBorne(t *testing.T, s server) {
	p, err := lab.StartProxy(s.options.Server)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, p.Close)
	o := s.options
	o.Server, o.Query, o.Timeout = p.Addr, "SELECT 'x' AS address, 5 AS further", 100*time.Millisecond
	kinds := make(map[bool]int)
	for at := range 40 {
		p.BendAfter(int64(at * 13))
		_, err := collect(t, o)
		kinds[err == nil]++
	}
	if kinds[false] == 0 {
		t.Error("no byte was wrong")
	}
}

func TestAServerThatIsToldToShortenItsAnswersGivesThemWhole(t *testing.T) {
	t.Parallel()
	s := servers(t, nil)[MySQL]
	s.exec(t, "SET GLOBAL sql_select_limit = 2;")
	s.options.Query = s.many(100)
	if got := list(t, s.options); len(got) != 100 {
		t.Errorf("%d rows came", len(got))
	}
}

func TestTLSIsSpokenWithWhomTheAuthorityKnows(t *testing.T) {
	t.Parallel()
	ours, err := lab.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	for driver, s := range servers(t, ours) {
		t.Run(driver, func(t *testing.T) {
			pem, err := os.ReadFile(s.authorityFile)
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(pem)
			o := s.options
			o.Query = "SELECT 'x' AS address"
			o.TLS = &tls.Config{RootCAs: pool}
			compare(t, list(t, o), []string{"x | here |  |  | "})
			if o.TLS.ServerName != "" {
				t.Error("the settings were changed")
			}
			o.TLS = &tls.Config{RootCAs: pool, ServerName: "sql.acmecorp.com"}
			compare(t, list(t, o), []string{"x | here |  |  | "})
			o.TLS = &tls.Config{RootCAs: pool, ServerName: "other.acmecorp.com"}
			_, err = collect(t, o)
			wantWords(t, err, "at "+o.Server, "not other.acmecorp.com")
			o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
			_, err = collect(t, o)
			wantWords(t, err, "at "+o.Server, "certificate signed by unknown authority")
			o.TLS = nil
			_, err = collect(t, o)
			wantWords(t, err, "at "+o.Server)
		})
	}
	for _, s := range servers(t, nil) {
		s.options.Query, s.options.TLS = "SELECT 'x' AS address", &tls.Config{}
		_, err := collect(t, s.options)
		wantWords(t, err, "TLS")
	}
}
