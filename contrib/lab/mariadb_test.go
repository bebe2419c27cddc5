package lab

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startMariaDB(t *testing.T, c MariaDBConfig) *MariaDB {
	t.Helper()
	m, err := LendDirectories(t).StartMariaDB(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, m.filter)
	return m
}

// asReader are the client's options that the DSN stands for.
func (m *MariaDB) asReader(t *testing.T, password string, further ...string) func(context.Context, string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(m.Addr)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--host=" + host, "--port=" + port, "--user=" + SQLReader, "--password=" + password}, further...)
	return func(ctx context.Context, sql string) (string, error) {
		return outputOf(m.client(ctx, args...), strings.NewReader(sql))
	}
}

func TestAMariaDBIsReadWithItsPasswordAlone(t *testing.T) {
	t.Parallel()
	m := startMariaDB(t, MariaDBConfig{})
	run(t, m.Exec, makeUsers)
	asReader := m.asReader(t, SQLReaderPassword)
	if got := run(t, asReader, selectUsers); got != "ann@acmecorp.com\tcloud" {
		t.Errorf("the reader sees %q", got)
	}
	if got, want := m.DSN(), "reader:reader's secret@tcp("+m.Addr+")/mail"; got != want {
		t.Errorf("the DSN is %s; want %s", got, want)
	}
	if got, err := asReader(deadline(t), "DELETE FROM users"); err == nil || !strings.Contains(err.Error(), "DELETE command denied") {
		t.Errorf("deleting as the reader: %q, %v", got, err)
	}
	if got, err := m.asReader(t, "wrong")(deadline(t), selectUsers); err == nil || !strings.Contains(err.Error(), "Access denied") {
		t.Errorf("with a wrong password: %q, %v", got, err)
	}
	if got, err := m.Exec(deadline(t), "SELECT nonsense;\nSELECT 1;"); err == nil || !strings.Contains(err.Error(), "nonsense") || got != "" {
		t.Errorf("after a mistake: %q, %v", got, err)
	}
}

func TestAMariaDBKeepsItsDataThroughAKillAndNotThroughAStop(t *testing.T) {
	t.Parallel()
	m := startMariaDB(t, MariaDBConfig{})
	run(t, m.Exec, makeUsers)
	for _, end := range []func() error{m.Kill, func() error { return errors.Join(m.Suspend(), m.Kill()) }} {
		pid := m.Pid()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			t.Errorf("process %d is still there", pid)
		}
		if conn, err := net.Dial("tcp", m.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("when it is gone, connecting says: %v, %v", conn, err)
		}
		if err := m.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if got := run(t, m.asReader(t, SQLReaderPassword), selectUsers); got != "ann@acmecorp.com\tcloud" {
			t.Errorf("started again it has %q", got)
		}
	}
	if err := errors.Join(m.Stop(), m.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Exec(deadline(t), selectUsers); err == nil || !strings.Contains(err.Error(), "doesn't exist") {
		t.Errorf("stopped and started it has %q, %v", got, err)
	}
}

func TestASuspendedMariaDBAnswersNobodyUntilItContinues(t *testing.T) {
	t.Parallel()
	m := startMariaDB(t, MariaDBConfig{})
	if err := m.Suspend(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
	defer cancel()
	if got, err := m.Exec(short, "SELECT 1"); short.Err() == nil {
		t.Errorf("suspended it answered %q, %v", got, err)
	}
	if err := m.Continue(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, m.Exec, "SELECT 1"); got != "1" {
		t.Errorf("after that: %q", got)
	}
}

func TestAMariaDBWithAnAuthoritySpeaksTLSAlone(t *testing.T) {
	t.Parallel()
	ours, err := NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	m := startMariaDB(t, MariaDBConfig{Authority: ours})
	const how = "SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
	verify := []string{"--ssl-verify-server-cert", "--ssl-ca=" + m.AuthorityFile}
	if got := run(t, m.asReader(t, SQLReaderPassword, verify...), how); got != "1" {
		t.Errorf("TLS: %q; want 1", got)
	}
	for want, further := range map[string][]string{
		"Access denied": {"--skip-ssl"},
		"TLS/SSL error": {"--ssl-verify-server-cert", "--ssl-ca=" + strings.Replace(m.AuthorityFile, authorityFile, certificateFile, 1)},
	} {
		if got, err := m.asReader(t, SQLReaderPassword, further...)(deadline(t), how); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", further, got, err, want)
		}
	}
}

func TestAMariaDBThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := LendDirectories(t).StartMariaDB(deadline(t), MariaDBConfig{Settings: map[string]string{"no_such_setting": "yes"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("%v; want an error that names the setting", err)
	}
}
