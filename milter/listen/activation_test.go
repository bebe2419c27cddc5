package listen

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestActivationChild is the process that systemd would start. It is started by
// TestUsesTheSocketsThatSystemdPassed only.
func TestActivationChild(t *testing.T) {
	addresses := os.Getenv("LISTEN_TEST_ADDRESSES")
	if addresses == "" {
		return // there is no parent
	}
	a, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("LISTEN_FDS is still set")
	}
	for i, address := range strings.Fields(addresses) {
		for range 2 { // A socket is found again after its listener was closed.
			l, err := Listen(fill(Options{Address: address, Activation: a}))
			if err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "listener %d, unused %s\n", i, a.Unused())
			c.Close()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestUsesTheSocketsThatSystemdPassed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	inet, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer inet.Close()
	unixFile, err := unix.File()
	if err != nil {
		t.Fatal(err)
	}
	defer unixFile.Close()
	inetFile, err := inet.File()
	if err != nil {
		t.Fatal(err)
	}
	defer inetFile.Close()

	child := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestActivationChild$' -test.v`, os.Args[0])
	child.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=milter:lookup",
		"LISTEN_TEST_ADDRESSES=unix:"+path+" inet:"+inet.Addr().String())
	child.ExtraFiles = []*os.File{unixFile, inetFile}
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"listener 0, unused [tcp:" + inet.Addr().String() + "]\n", "", "listener 1, unused []\n", "",
	} {
		addr := []net.Addr{unix.Addr(), inet.Addr()}[i/2]
		c, err := net.DialTimeout(addr.Network(), addr.String(), deadline)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(deadline))
		line, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err != nil || want != "" && line != want {
			t.Fatalf("the child answered %q, %v, want %q", line, err, want)
		}
	}
	var said strings.Builder
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
	}
	if err := child.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the child removed systemd's socket: %v", err)
	}
}

func TestInheritsNothingWithoutSystemd(t *testing.T) {
	a, err := Inherit()
	if err != nil || a.Unused() != nil {
		t.Errorf("%v, %v", a.Unused(), err)
	}
	var none Activation
	if none.Unused() != nil {
		t.Error("nil holds sockets")
	}
}

func TestSocketsOfEveryAddressAreAlike(t *testing.T) {
	s := &socket{addr: &net.TCPAddr{IP: net.IPv6unspecified, Port: 8701}}
	for addr, want := range map[string]bool{
		"0.0.0.0:8701": true, "[::]:8701": true, "127.0.0.1:8701": false, "0.0.0.0:8702": false,
	} {
		if got := s.isAt("tcp", addr); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	s = &socket{addr: &net.UnixAddr{Net: "unix", Name: "/run/s"}}
	if !s.isAt("unix", "/run/s") || s.isAt("unix", "/run/t") || s.isAt("tcp", "127.0.0.1:1") {
		t.Error("a Unix socket is not told by its path")
	}
}
