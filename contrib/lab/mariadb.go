package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// MariaDBConfig says how a MariaDB differs from the lab's plain one. The plain one has
// an empty database, SQLDatabase, which SQLReader may read over TCP.
type MariaDBConfig struct {
	// Authority has it speak TLS, and over TCP nothing else. Its certificate is for
	// sql.acmecorp.com and for 127.0.0.1.
	Authority *Authority
	// Settings are lines of my.cnf's section of the server; they win over the lab's own.
	Settings map[string]string
}

// MariaDB is a running MariaDB.
type MariaDB struct {
	*filter
	Addr string // HOST:PORT
	// Socket is the path of its Unix socket. There everybody may be root.
	Socket string
	// AuthorityFile is the path of the authority's certificate; empty without TLS.
	AuthorityFile string
}

// StartMariaDB starts a MariaDB and returns when it answers. ctx bounds the start only;
// Stop ends it and removes its data, which Kill keeps.
func (d *Directories) StartMariaDB(ctx context.Context, c MariaDBConfig) (*MariaDB, error) {
	at, err := newPlace(c.Authority, "sql.acmecorp.com")
	if err != nil {
		return nil, err
	}
	m := &MariaDB{Addr: net.JoinHostPort(at.host, at.port), Socket: filepath.Join(at.dir, "mariadb.sock"), AuthorityFile: at.authority}
	at.files["my.cnf"] = mariadbSettings(d.mariadb.tree, at.dir, map[string]string{"bind_address": at.host, "port": at.port, "socket": m.Socket}, c)
	m.filter = &filter{
		name: "mariadbd", program: d.mariadb, dir: at.dir, files: at.files, socket: m.Socket, log: newLogbook(),
		args:    []string{"--defaults-file=" + filepath.Join(at.dir, "my.cnf")},
		prepare: m.initialize,
		ready:   func(ctx context.Context) error { return greetMariaDB(ctx, m.Socket) },
	}
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// mariadbSettings has what was written last on disk, but not synced: it is lost with the
// machine, not with the process.
func mariadbSettings(tree, dir string, listen map[string]string, c MariaDBConfig) string {
	share := filepath.Join(tree, "usr/share/mysql")
	settings := map[string]string{
		"user":                    "root",
		"basedir":                 filepath.Join(tree, "usr"),
		"lc_messages_dir":         share,
		"character_sets_dir":      filepath.Join(share, "charsets"),
		"datadir":                 filepath.Join(dir, "data"),
		"tmpdir":                  dir,
		"pid_file":                filepath.Join(dir, "pid"),
		"character_set_server":    "utf8mb4",
		"skip_name_resolve":       "ON",
		"innodb_flush_method":     "nosync",
		"innodb_use_native_aio":   "OFF",
		"innodb_log_file_size":    "32M",
		"innodb_buffer_pool_size": "64M",
	}
	if c.Authority != nil {
		settings["ssl_cert"] = filepath.Join(dir, certificateFile)
		settings["ssl_key"] = filepath.Join(dir, keyFile)
		settings["require_secure_transport"] = "ON"
	}
	maps.Copy(settings, listen)
	maps.Copy(settings, c.Settings)
	var conf strings.Builder
	conf.WriteString("[mariadbd]\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = %s\n", name, settings[name])
	}
	return conf.String()
}

// initialize makes the server's own tables, where there are none yet, as
// mariadb-install-db does, with the database and the reader.
func (m *MariaDB) initialize(ctx context.Context) error {
	data := filepath.Join(m.dir, "data")
	if isDir(data) {
		return nil
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	// A command ends with its line here. Without the variable, root would be whoever
	// is root of the machine, which takes a plugin.
	script := bytes.NewBufferString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n")
	for _, part := range []string{"mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data", "maria_add_gis_sp_bootstrap"} {
		sql, err := os.ReadFile(filepath.Join(m.program.tree, "usr/share/mysql", part+".sql"))
		if err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		script.Write(append(sql, '\n'))
	}
	fmt.Fprintf(script, "FLUSH PRIVILEGES;\nCREATE DATABASE %s;\nCREATE USER %s@'127.0.0.1' IDENTIFIED BY %s;\nGRANT SELECT ON %[1]s.* TO %[2]s@'127.0.0.1';\n",
		SQLDatabase, SQLReader, sqlText(SQLReaderPassword))
	_, err := outputOf(m.program.command(ctx, "usr/sbin/mariadbd", append(m.args, "--bootstrap")...), script)
	if err != nil {
		return errors.Join(err, os.RemoveAll(data))
	}
	return nil
}

// DSN is how the reader connects over TCP, in the form of Go's usual driver. It says
// nothing of TLS: that takes a configuration which the program has to register.
func (m *MariaDB) DSN() string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", SQLReader, SQLReaderPassword, m.Addr, SQLDatabase)
}

// Exec has the client do commands as root, up to the first that fails, and returns what
// they say: a row a line, with a tab between its columns.
func (m *MariaDB) Exec(ctx context.Context, sql string) (string, error) {
	return outputOf(m.client(ctx, "--socket="+m.Socket, "--user=root"), strings.NewReader(sql))
}

func (m *MariaDB) client(ctx context.Context, args ...string) *exec.Cmd {
	own := []string{
		"--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4",
		"--character-sets-dir=" + filepath.Join(m.program.tree, "usr/share/mysql/charsets"),
	}
	return m.program.command(ctx, "usr/bin/mariadb", append(append(own, args...), SQLDatabase)...)
}

// greetMariaDB reads the packet that the server begins each session with: its length in
// three bytes, its number, and the version of the protocol, which is 10.
func greetMariaDB(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var greeting [5]byte
	if _, err := io.ReadFull(conn, greeting[:]); err != nil {
		return err
	}
	if greeting[4] != 10 {
		return fmt.Errorf("its greeting begins with % x", greeting)
	}
	return nil
}
