package lab

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startPostgres(t *testing.T, c PostgresConfig) *Postgres {
	t.Helper()
	p, err := LendDirectories(t).StartPostgres(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, p.filter)
	return p
}

// run has the server do commands, which must succeed.
func run(t *testing.T, exec func(context.Context, string) (string, error), sql string) string {
	t.Helper()
	out, err := exec(deadline(t), sql)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

const (
	makeUsers   = "CREATE TABLE users (address varchar(320) PRIMARY KEY, residence varchar(20));\nINSERT INTO users VALUES ('ann@acmecorp.com', 'cloud');\n"
	selectUsers = "SELECT address, residence FROM users ORDER BY address;"
)

func TestAPostgresIsReadWithItsPasswordAlone(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresConfig{})
	run(t, p.Exec, makeUsers)
	asReader := func(ctx context.Context, sql string) (string, error) { return p.exec(ctx, p.DSN(), sql) }
	if got := run(t, asReader, selectUsers); got != "ann@acmecorp.com\tcloud" {
		t.Errorf("the reader sees %q", got)
	}
	if got, err := asReader(deadline(t), "DELETE FROM users"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("deleting as the reader: %q, %v", got, err)
	}
	wrong := strings.Replace(p.DSN(), "secret", "wrong", 1)
	if got, err := p.exec(deadline(t), wrong, selectUsers); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("with a wrong password: %q, %v", got, err)
	}
	if got, err := p.Exec(deadline(t), "SELECT nonsense;\nSELECT 1;"); err == nil || !strings.Contains(err.Error(), "nonsense") || got != "" {
		t.Errorf("after a mistake: %q, %v", got, err)
	}
}

func TestAPostgresKeepsItsDataThroughAKillAndNotThroughAStop(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresConfig{})
	run(t, p.Exec, makeUsers)
	for _, end := range []func() error{p.Kill, func() error { return errors.Join(p.Suspend(), p.Kill()) }} {
		pid := p.Pid()
		processes := members(pid)
		if len(processes) < 3 {
			t.Errorf("it has the processes %v; want more", processes)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		for pid := range processes {
			if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				t.Errorf("process %d is still there", pid)
			}
		}
		if _, err := p.exec(deadline(t), p.DSN(), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "Connection refused") {
			t.Errorf("when it is gone, connecting says: %v", err)
		}
		if err := p.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if got := run(t, p.Exec, selectUsers); got != "ann@acmecorp.com\tcloud" {
			t.Errorf("started again it has %q", got)
		}
	}
	if err := errors.Join(p.Stop(), p.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Exec(deadline(t), selectUsers); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("stopped and started it has %q, %v", got, err)
	}
}

func TestASuspendedPostgresAnswersNotEvenWhoIsConnected(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresConfig{})
	psql := p.program.command(deadline(t), filepath.Join(postgresBin, "psql"), "-X", "-q", "-A", "-t", p.DSN())
	say, answers := converse(t, psql)
	say("SELECT 'one';\n")
	if got := <-answers; got != "one" {
		t.Fatalf("connected it answers %q", got)
	}
	if err := p.Suspend(); err != nil {
		t.Fatal(err)
	}
	say("SELECT 'two';\n")
	short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
	defer cancel()
	if got, err := p.Exec(short, "SELECT 3"); short.Err() == nil {
		t.Errorf("suspended it answered %q, %v", got, err)
	}
	select {
	case got := <-answers:
		t.Errorf("suspended it answered who was connected: %q", got)
	default:
	}
	if err := p.Continue(); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got != "two" {
		t.Errorf("after that: %q", got)
	}
}

func TestAPostgresWithAnAuthoritySpeaksTLSAlone(t *testing.T) {
	t.Parallel()
	ours, err := NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	p := startPostgres(t, PostgresConfig{Authority: ours})
	const how = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
	if got, err := p.exec(deadline(t), p.DSN(), how); err != nil || got != "t\n" {
		t.Errorf("TLS: %q, %v; want t", got, err)
	}
	if err := errors.Join(p.Kill(), p.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	for dsn, want := range map[string]string{
		strings.Replace(p.DSN(), "verify-full", "disable", 1):                                 "no encryption",
		strings.Replace(p.DSN(), "127.0.0.1", "elsewhere.example", 1) + "&hostaddr=127.0.0.1": "does not match host name",
		strings.Replace(p.DSN(), "authority", "certificate", 1):                               "certificate verify failed",
		strings.Replace(p.DSN(), "secret", "other%20secret", 1):                               "password authentication failed",
		strings.Replace(p.DSN(), "/mail?", "/elsewhere?", 1):                                  `database "elsewhere" does not exist`,
	} {
		if got, err := p.exec(deadline(t), dsn, how); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", dsn, got, err, want)
		}
	}
}

func TestAPostgresThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := LendDirectories(t).StartPostgres(deadline(t), PostgresConfig{Settings: map[string]string{"no_such_setting": "yes"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("%v; want an error that names the setting", err)
	}
}

// converse starts a client for the test, to which say says something. What it answers
// comes line by line.
func converse(t *testing.T, cmd *exec.Cmd) (say func(string), answers <-chan string) {
	t.Helper()
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		input.Close()
		for range lines {
		}
	})
	return func(words string) {
		if _, err := io.WriteString(input, words); err != nil {
			t.Error(err)
		}
	}, lines
}
