package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
	"coexistd/milter/sources/ldap"
	"coexistd/milter/sources/sqldb"
)

// staff is how many addresses there are: of ten, six are mailboxes and four are aliases, one
// of a mailbox. Every third mailbox lives at the platform.
type staff int

// leastAddresses is enough for a mailbox that lives here for each round.
const leastAddresses = 100

func (s staff) mailboxes() int { return int(s) - s.aliases() }
func (s staff) aliases() int   { return int(s) * 2 / 5 }

// mover is a mailbox with an alias that lives here, another for each round.
func (s staff) mover(round int) int { return 3*round%s.aliases()/3*3 + 1 }

func mailbox(i int) string { return fmt.Sprintf("firstname.lastname%06d@%s", i, domain) }
func alias(i int) string   { return fmt.Sprintf("f.lastname%06d@%s", i, domain) }
func target(i int) string  { return fmt.Sprintf("firstname.lastname%06d@%s", i, alternate) }
func login(i int) string   { return fmt.Sprintf("lastname%06d", i) }
func isThere(i int) bool   { return i%3 == 0 }

// addresses are those of a mailbox.
func (s staff) addresses(i int) []string {
	if i < s.aliases() {
		return []string{mailbox(i), alias(i)}
	}
	return []string{mailbox(i)}
}

// home is where a list comes from.
type home struct {
	name, kind string
	directory  string // as a domain names it
	source     string // its section of the configuration; empty: it is a file
	password   string
	marks      sources.Reader                         // asks as the daemon does; nil: a file
	move       func(ctx context.Context, i int) error // has a mailbox move to the platform
	stop       func() error
}

// polling is what all sections have. A read that nobody asks for would be in the way.
var polling = fmt.Sprintf("interval = %q\nfull_interval = \"30d\"\npassword_file = \"password\"\n", pollEvery)

func openSlapd(ctx context.Context, d *lab.Directories, s staff, _ string) (h *home, err error) {
	slapd, err := d.StartSlapd(ctx, lab.SlapdConfig{})
	if err != nil {
		return nil, err
	}
	h = &home{name: "slapd (LDAP)", kind: "slapd", directory: "source:people", password: lab.SlapdReaderPassword, stop: slapd.Stop}
	if err = slapd.Kill(); err == nil {
		from, to := io.Pipe()
		go func() { to.CloseWithError(s.writeLDIF(to)) }()
		if err = slapd.Load(ctx, from); err == nil {
			err = slapd.Start(ctx)
		}
	}
	if err == nil {
		options := ldap.Presets("")["openldap"]
		options.Servers, options.Bind, options.Password, options.Base = []string{slapd.URL}, lab.SlapdReader, lab.SlapdReaderPassword, lab.SlapdSuffix
		h.marks, err = ldap.New(options)
	}
	h.source = fmt.Sprintf("[source.people]\ntype = \"ldap\"\npreset = \"openldap\"\nservers = [%q]\nuser = %q\nbase = %q\n%s",
		slapd.URL, lab.SlapdReader, lab.SlapdSuffix, polling)
	h.move = func(ctx context.Context, i int) error {
		return slapd.Apply(ctx, fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: mailRoutingAddress\nmailRoutingAddress: %s\n", dn(i), target(i)))
	}
	return h, err
}

func dn(i int) string { return "uid=" + login(i) + ",ou=people," + lab.SlapdSuffix }

func (s staff) writeLDIF(to io.Writer) error {
	w := bufio.NewWriter(to)
	for i := range s.mailboxes() {
		fmt.Fprintf(w, "dn: %s\nobjectClass: inetOrgPerson\nobjectClass: labMailRecipient\nuid: %s\ncn: Firstname Lastname\nsn: Lastname\n", dn(i), login(i))
		for n, address := range s.addresses(i) {
			fmt.Fprintf(w, "%s: %s\n", []string{"mail", "mailAlternateAddress"}[n], address)
		}
		if isThere(i) {
			fmt.Fprintf(w, "mailRoutingAddress: %s\n", target(i))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// database is what PostgreSQL and MariaDB have in common.
type database interface {
	Exec(ctx context.Context, sql string) (string, error)
	Stop() error
}

func openPostgres(ctx context.Context, d *lab.Directories, s staff, _ string) (*home, error) {
	p, err := d.StartPostgres(ctx, lab.PostgresConfig{})
	if err != nil {
		return nil, err
	}
	return openSQL(ctx, s, "PostgreSQL", sqldb.Postgres, p, p.Addr, "VACUUM ANALYZE users")
}

func openMariaDB(ctx context.Context, d *lab.Directories, s staff, _ string) (*home, error) {
	m, err := d.StartMariaDB(ctx, lab.MariaDBConfig{})
	if err != nil {
		return nil, err
	}
	return openSQL(ctx, s, "MariaDB", sqldb.MySQL, m, m.Addr, "ANALYZE TABLE users")
}

const (
	sqlQuery = "SELECT address, CASE WHEN cloud THEN '" + platform + "' ELSE 'here' END AS residence, login, target FROM users"
	sqlMark  = "SELECT count(*), max(changed) FROM users"
)

func openSQL(ctx context.Context, s staff, name, driver string, d database, server, tidy string) (h *home, err error) {
	h = &home{name: name + " (SQL)", kind: driver, directory: "source:people", password: lab.SQLReaderPassword, stop: d.Stop}
	h.source = fmt.Sprintf("[source.people]\ntype = \"sql\"\ndriver = %q\nservers = [%q]\ndatabase = %q\nuser = %q\nquery = %q\nmark_query = %q\n%s",
		driver, server, lab.SQLDatabase, lab.SQLReader, sqlQuery, sqlMark, polling)
	h.move = func(ctx context.Context, i int) error {
		_, err := d.Exec(ctx, fmt.Sprintf("UPDATE users SET cloud = true, target = '%s', changed = %d WHERE address IN ('%s', '%s')", target(i), i+1, mailbox(i), alias(i)))
		return err
	}
	h.marks, err = sqldb.New(sqldb.Options{
		Driver: driver, Server: server, Database: lab.SQLDatabase, User: lab.SQLReader, Password: lab.SQLReaderPassword, Query: sqlQuery, MarkQuery: sqlMark,
	})
	do := func(sql string) {
		if err == nil {
			_, err = d.Exec(ctx, sql)
		}
	}
	do("CREATE TABLE users (address varchar(200) PRIMARY KEY, cloud boolean, login varchar(200), target varchar(200), changed integer)")
	var rows []string
	for i := range s.mailboxes() {
		cloud, to := "false", "NULL"
		if isThere(i) {
			cloud, to = "true", "'"+target(i)+"'"
		}
		for _, address := range s.addresses(i) {
			rows = append(rows, fmt.Sprintf("('%s', %s, '%s', %s, 0)", address, cloud, login(i), to))
		}
		if len(rows) >= 1000 || i == s.mailboxes()-1 {
			do("INSERT INTO users VALUES " + strings.Join(rows, ", "))
			rows = rows[:0]
		}
	}
	do("CREATE INDEX changes ON users (changed)")
	do(tidy)
	return h, err
}

func openFile(_ context.Context, _ *lab.Directories, s staff, dir string) (*home, error) {
	path := filepath.Join(dir, "people.csv")
	moved := make(map[int]bool)
	write := func() error {
		f, err := os.Create(path + ".new")
		if err != nil {
			return err
		}
		defer f.Close()
		w := bufio.NewWriter(f)
		fmt.Fprintln(w, "address,residence,login,target")
		for i := range s.mailboxes() {
			home, to := "here", ""
			if isThere(i) || moved[i] {
				home, to = platform, target(i)
			}
			for _, address := range s.addresses(i) {
				fmt.Fprintf(w, "%s,%s,%s,%s\n", address, home, login(i), to)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	move := func(_ context.Context, i int) error {
		moved[i] = true
		return write()
	}
	return &home{name: "a file (CSV)", kind: "file", directory: path, move: move, stop: func() error { return nil }}, write()
}
