package sources_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
	"coexistd/milter/sources/sqldb"
)

func postgres(t *testing.T) *place {
	s, err := lab.LendDirectories(t).StartPostgres(deadline(t), lab.PostgresConfig{})
	do(t, err)
	stopAfter(t, s)
	p := ofTable(t, sqldb.Options{Driver: sqldb.Postgres, Database: lab.SQLDatabase, User: lab.SQLReader}, "convert_from('\\x%x', 'UTF8')",
		func(sql string) error { _, err := s.Exec(deadline(t), sql); return err })
	p.server, p.addr, p.password, p.noNUL = s, s.Addr, lab.SQLReaderPassword, true
	return p
}

func mariaDB(t *testing.T) *place {
	s, err := lab.LendDirectories(t).StartMariaDB(deadline(t), lab.MariaDBConfig{})
	do(t, err)
	stopAfter(t, s)
	p := ofTable(t, sqldb.Options{Driver: sqldb.MySQL, Database: lab.SQLDatabase, User: lab.SQLReader}, "CONVERT(X'%x' USING utf8mb4)",
		func(sql string) error { _, err := s.Exec(deadline(t), sql); return err })
	p.server, p.addr, p.password = s, s.Addr, lab.SQLReaderPassword
	return p
}

func sqlite(t *testing.T) *place {
	path := filepath.Join(t.TempDir(), "mail.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	do(t, err)
	t.Cleanup(func() { do(t, db.Close()) })
	o := sqldb.Options{Driver: sqldb.SQLite, Database: path}
	p := ofTable(t, o, "CAST(X'%x' AS TEXT)", func(sql string) error { _, err := db.ExecContext(deadline(t), sql); return err })
	open := p.open
	p.open = func(a asking) (sources.Reader, error) {
		a.addrs = []string{""}
		return open(a)
	}
	p.part = func(share float64) (sources.Reader, error) {
		part, err := partOf(t, path, share)
		o := tableOptions(o)
		o.Database = part
		if err != nil {
			return nil, err
		}
		return sqldb.New(o)
	}
	return p
}

// partOf copies the beginning of a file.
func partOf(t *testing.T, path string, share float64) (string, error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	part := filepath.Join(t.TempDir(), "part")
	return part, os.WriteFile(part, all[:int(share*float64(len(all)))], 0o600)
}

// tableOptions are those for the table of ofTable.
func tableOptions(o sqldb.Options) sqldb.Options {
	o.Query, o.MarkQuery = "SELECT address, lives AS residence, login, target, kind, hourly FROM people", "SELECT since FROM state"
	o.Keep, o.Residences = keeps, make(map[string]string)
	for lives, word := range words {
		o.Residences[strings.ToLower(word)] = lives
	}
	return o
}

// ofTable is a place with a table of people, which statements change.
func ofTable(t *testing.T, o sqldb.Options, text string, exec func(sql string) error) *place {
	o = tableOptions(o)
	literal := func(value string) string {
		if value == "" {
			return "NULL"
		}
		return fmt.Sprintf(text, value)
	}
	transaction := func(statements ...string) error {
		return exec("BEGIN;\n" + strings.Join(statements, ";\n") + ";\nCOMMIT;\n")
	}
	for _, ending := range []string{"", "_kept"} {
		long := "TEXT"
		if o.Driver == sqldb.MySQL {
			long = "MEDIUMTEXT"
		}
		do(t, exec("CREATE TABLE people"+ending+" (name varchar(100), address varchar(500), lives varchar(20), login varchar(100), target varchar(100), kind varchar(10), hourly "+long+");\n"+
			"CREATE TABLE state"+ending+" (since bigint);\n"))
	}
	do(t, exec("INSERT INTO state VALUES (0);\n"))
	copyAll := func(from, to string) error {
		return transaction("DELETE FROM people"+to, "DELETE FROM state"+to, "INSERT INTO people"+to+" SELECT * FROM people"+from, "INSERT INTO state"+to+" SELECT * FROM state"+from)
	}
	return &place{
		open: func(a asking) (sources.Reader, error) {
			o := o
			o.Server, o.Password, o.Timeout = a.addrs[0], a.password, a.timeout
			return sqldb.New(o)
		},
		change: func(gone []string, come []person) error {
			statements := []string{fmt.Sprintf("UPDATE state SET since = %d", time.Now().UnixMicro())}
			for _, name := range gone {
				statements = append(statements, "DELETE FROM people WHERE name = '"+name+"'")
			}
			for _, one := range come {
				addresses := one.addresses
				if addresses == nil {
					addresses = []string{""}
				}
				for _, address := range addresses {
					values := []string{literal(address), literal(words[one.lives]), literal(one.login), literal(one.target), literal(one.kind), literal(one.hourly)}
					statements = append(statements, "INSERT INTO people VALUES ('"+one.name+"', "+strings.Join(values, ", ")+")")
				}
			}
			return transaction(statements...)
		},
		backup:  func() error { return copyAll("", "_kept") },
		restore: func() error { return copyAll("_kept", "") },
		longest: 64 << 10,
	}
}
