package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const postgresBin = "usr/lib/postgresql/15/bin"

// PostgresConfig says how a PostgreSQL differs from the lab's plain one. The plain one
// has an empty database, SQLDatabase, which SQLReader may read over TCP.
type PostgresConfig struct {
	// Authority has it speak TLS, and over TCP nothing else. Its certificate is for
	// sql.acmecorp.com and for 127.0.0.1.
	Authority *Authority
	// Settings are lines of postgresql.conf; they win over the lab's own.
	Settings map[string]string
}

// Postgres is a running PostgreSQL.
type Postgres struct {
	*filter
	Addr string // HOST:PORT
	// Folder is where its Unix socket is. There everybody may be anybody.
	Folder string
	// AuthorityFile is the path of the authority's certificate; empty without TLS.
	AuthorityFile string
}

// StartPostgres starts a PostgreSQL and returns when it answers. ctx bounds the start
// only; Stop ends it and removes its data, which Kill keeps.
func (d *Directories) StartPostgres(ctx context.Context, c PostgresConfig) (*Postgres, error) {
	at, err := newPlace(c.Authority, "sql.acmecorp.com")
	if err != nil {
		return nil, err
	}
	p := &Postgres{Addr: net.JoinHostPort(at.host, at.port), Folder: filepath.Join(at.dir, "run"), AuthorityFile: at.authority}
	access := "host"
	if c.Authority != nil {
		access = "hostssl"
	}
	at.files["postgresql.conf"] = postgresSettings(at.dir, at.host, at.port, c)
	at.files["pg_hba.conf"] = "local all all trust\n" + access + " all all 127.0.0.1/32 scram-sha-256\n"
	socket := filepath.Join(p.Folder, ".s.PGSQL."+at.port)
	p.filter = &filter{
		name: "postgres", program: d.postgres, dir: at.dir, files: at.files, socket: socket, log: newLogbook(),
		args:    []string{"-D", filepath.Join(at.dir, "data"), "-c", "config_file=" + filepath.Join(at.dir, "postgresql.conf")},
		apart:   apartAsNobody(),
		prepare: p.initialize,
		ready:   func(ctx context.Context) error { return greetPostgres(ctx, socket) },
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// postgresSettings has what was written last on disk, but not synced: it is lost with
// the machine, not with the process. The shared memory is in files of the folder.
func postgresSettings(dir, host, port string, c PostgresConfig) string {
	settings := map[string]string{
		"listen_addresses":           host,
		"port":                       port,
		"unix_socket_directories":    filepath.Join(dir, "run"),
		"hba_file":                   filepath.Join(dir, "pg_hba.conf"),
		"dynamic_shared_memory_type": "mmap",
		"shared_buffers":             "32MB",
		"max_connections":            "50",
		"fsync":                      "off",
		"full_page_writes":           "off",
		"timezone":                   "GMT",
		"log_timezone":               "GMT",
	}
	if c.Authority != nil {
		settings["ssl"] = "on"
		settings["ssl_cert_file"] = filepath.Join(dir, certificateFile)
		settings["ssl_key_file"] = filepath.Join(dir, keyFile)
	}
	maps.Copy(settings, c.Settings)
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = %s\n", name, sqlText(settings[name]))
	}
	return conf.String()
}

// initialize makes the cluster, where there is none yet, with the database and the reader.
func (p *Postgres) initialize(ctx context.Context) error {
	if p.AuthorityFile != "" {
		// It takes no key that others can read.
		key := filepath.Join(p.dir, keyFile)
		if err := errors.Join(os.Chmod(key, 0o600), os.Chown(key, nobody, nobody)); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	data := filepath.Join(p.dir, "data")
	if isDir(data) {
		return nil
	}
	if err := errors.Join(folderOfNobody(data), folderOfNobody(p.Folder), os.Chmod(p.Folder, 0o755)); err != nil {
		return err
	}
	_, err := outputOf(p.asNobody(ctx, "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust"), nil)
	if err != nil {
		return err
	}
	// Here each line is a command.
	sql := fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD %s\nGRANT pg_read_all_data TO %[1]s\nCREATE DATABASE %[3]s\n",
		SQLReader, sqlText(SQLReaderPassword), SQLDatabase)
	_, err = outputOf(p.asNobody(ctx, "postgres", "--single", "-D", data, "-c", "fsync=off", "postgres"), strings.NewReader(sql))
	return err
}

func (p *Postgres) asNobody(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := p.program.command(ctx, filepath.Join(postgresBin, name), args...)
	cmd.SysProcAttr = apartAsNobody()
	return cmd
}

// DSN is how the reader connects, as a URL: over TCP, and where it speaks TLS, with the
// certificate verified.
func (p *Postgres) DSN() string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(SQLReader, SQLReaderPassword), Host: p.Addr, Path: SQLDatabase}
	query := url.Values{"sslmode": {"disable"}}
	if p.AuthorityFile != "" {
		query = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {p.AuthorityFile}}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Exec has psql do commands as the owner of everything, up to the first that fails, and
// returns what they say: a row a line, with a tab between its columns.
func (p *Postgres) Exec(ctx context.Context, sql string) (string, error) {
	return p.exec(ctx, (&url.URL{Scheme: "postgres", Path: "/" + SQLDatabase, RawQuery: url.Values{
		"host": {p.Folder}, "port": {strings.TrimPrefix(filepath.Ext(p.socket), ".")}, "user": {"postgres"},
	}.Encode()}).String(), sql)
}

func (p *Postgres) exec(ctx context.Context, dsn, sql string) (string, error) {
	psql := p.program.command(ctx, filepath.Join(postgresBin, "psql"), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-", dsn)
	return outputOf(psql, strings.NewReader(sql))
}

// greetPostgres begins a session (Frontend/Backend Protocol, 55.2.1). One that is still
// reading its data answers with an error.
func greetPostgres(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	const protocol = 3 << 16
	content := "user\x00postgres\x00database\x00" + SQLDatabase + "\x00\x00"
	greeting := binary.BigEndian.AppendUint32(nil, uint32(8+len(content)))
	greeting = append(binary.BigEndian.AppendUint32(greeting, protocol), content...)
	if _, err := conn.Write(greeting); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'R' {
		why, _ := io.ReadAll(io.LimitReader(conn, 1000))
		return fmt.Errorf("it answered with %q, not with a question of authentication: %q", answer, why)
	}
	return nil
}
