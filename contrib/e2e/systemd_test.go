package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coreos/go-systemd/v22/daemon"

	"coexistd/contrib/lab"
)

// service is a daemon that is started as systemd starts it.
type service struct {
	t      *testing.T
	cmd    *exec.Cmd
	notify *net.UnixConn
	mu     sync.Mutex
	said   bytes.Buffer
}

// startService starts the daemon with a notification socket and with the
// listening sockets, and waits until it is ready.
func startService(t *testing.T, config string, sockets ...*net.UnixListener) *service {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t}
	address := filepath.Join(t.TempDir(), "notify")
	if s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.notify.Close() })
	// The shell gives LISTEN_PID the id that the daemon has when it takes the
	// shell's place.
	s.cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve -c "$1"`, path, config)
	s.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+address)
	if len(sockets) > 0 {
		s.cmd.Env = append(s.cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES="+strings.Repeat("coexistd.socket:", len(sockets)-1)+"coexistd.socket")
	}
	for _, l := range sockets {
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, file)
	}
	s.cmd.Stderr = s
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		if t.Failed() {
			t.Logf("coexistd said:\n%s", s.log())
		}
	})
	s.mustNotify("READY=1")
	return s
}

func (s *service) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

func (s *service) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// mustNotify waits for the next notification, which must begin with the line.
// It returns the other lines.
func (s *service) mustNotify(line string) string {
	s.t.Helper()
	at, _ := deadline(s.t).Deadline()
	s.notify.SetReadDeadline(at)
	b := make([]byte, 4096)
	n, err := s.notify.Read(b)
	if err != nil {
		s.t.Fatalf("waiting for %s: %v", line, err)
	}
	first, rest, _ := strings.Cut(strings.TrimRight(string(b[:n]), "\n"), "\n")
	if first != line {
		s.t.Fatalf("systemd is told %q; %s is right", b[:n], line)
	}
	return rest
}

func (s *service) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// mustStop ends the daemon, which must exit with 0.
func (s *service) mustStop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.mustNotify("STOPPING=1")
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the daemon ended with %v", err)
	}
}

func monotonic(t *testing.T, line string) uint64 {
	t.Helper()
	value, found := strings.CutPrefix(strings.TrimSpace(line), "MONOTONIC_USEC=")
	usec, err := strconv.ParseUint(value, 10, 64)
	if !found || err != nil {
		t.Fatalf("%q is no time", line)
	}
	return usec
}

func TestSystemdIsToldOfEachStateInOrder(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	s := startService(t, path)
	for _, users := range []string{lab.SiteDirectory, "bad\n"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "users.csv"), []byte(users), 0o644); err != nil {
			t.Fatal(err)
		}
		before := monotonic(t, daemon.SdNotifyMonotonicUsec())
		s.signal(syscall.SIGHUP)
		at := monotonic(t, s.mustNotify("RELOADING=1"))
		if after := monotonic(t, daemon.SdNotifyMonotonicUsec()); at < before || at > after {
			t.Errorf("the reload is told to begin at %d; it was between %d and %d", at, before, after)
		}
		s.mustNotify("READY=1")
	}
	s.mustStop()
	if !strings.Contains(s.log(), "msg=reloaded") || !strings.Contains(s.log(), "reload refused") {
		t.Errorf("of two reloads one is to be taken and one refused")
	}
}

func TestMailWaitsInTheSocketsOfSystemdWhileTheDaemonRestarts(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	var sockets []*net.UnixListener
	for _, name := range []string{"milter.sock", "lookup.sock"} {
		path := filepath.Join(s.Dir, name)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, l)
	}
	for _, client := range []string{"127.0.3.1", "127.0.3.2"} {
		m := lab.Plain("eve@example.net", "alice@acmecorp.com", "meanwhile")
		sent := make(chan bool)
		go func() {
			defer close(sent)
			mail := lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m}
			r, err := lab.Client{Server: s.Addr("public"), Local: client}.Send(deadline(t), mail)
			if err != nil || !r.Accepted() {
				t.Errorf("the message that was sent while the daemon was away got %+v (%v)", r, err)
			}
		}()
		s.do(s.WaitConnect(deadline(t), client))
		d := startService(t, s.Config(), sockets...)
		<-sent
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
		d.mustStop()
	}
}
