package listen

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/fake"
)

// deadline bounds each wait for what must come. Only what hangs takes so long, on a
// machine that does other things as well.
const deadline = 5 * time.Minute

func open(t *testing.T, o Options) net.Listener {
	t.Helper()
	l, err := Listen(fill(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func fill(o Options) Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(l.Addr().Network(), l.Addr().String(), deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

type accepted struct {
	c   net.Conn
	err error
}

// accept accepts in the background.
func accept(l net.Listener) <-chan accepted {
	done := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		done <- accepted{c, err}
	}()
	return done
}

func wait[T any](t *testing.T, done <-chan T) T {
	t.Helper()
	select {
	case v := <-done:
		return v
	case <-time.After(deadline):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestListensOnUnixAndInet(t *testing.T) {
	addresses := []string{"unix:" + filepath.Join(t.TempDir(), "s"), "inet:" + freePort(t)}
	if probe, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		addresses = append(addresses, "inet:"+probe.Addr().String())
		probe.Close()
	}
	for _, address := range addresses {
		l := open(t, Options{Address: address})
		got := accept(l)
		client := dial(t, l)
		server := wait(t, got)
		if server.err != nil {
			t.Fatal(server.err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := io.ReadFull(server.c, b[:]); err != nil || b[0] != 'x' {
			t.Errorf("%s: %v, %q", address, err, b)
		}
	}
}

func TestTheModeOfASocketHoldsWhateverTheUmaskIs(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o660, 0o600: 0o600, 0o666: 0o666} {
			path := filepath.Join(t.TempDir(), "s")
			open(t, Options{Address: "unix:" + path, Mode: mode})
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %o, mode %o: %v, %v", umask, mode, info.Mode(), err)
			}
		}
		syscall.Umask(old)
	}
}

func TestReplacesASocketThatNobodyListensOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l := open(t, Options{Address: "unix:" + path})
	got := accept(l)
	dial(t, l)
	if a := wait(t, got); a.err != nil {
		t.Error(a.err)
	}
}

func TestRefusesWhatItMustNotReplace(t *testing.T) {
	folder := t.TempDir()
	live := filepath.Join(folder, "live")
	open(t, Options{Address: "unix:" + live})
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	open(t, Options{Address: "inet:" + port})
	for address, want := range map[string]string{
		"unix:" + live:              "another process answers on the socket",
		"unix:" + file:              "is not a socket; remove it",
		"unix:" + link:              "is not a socket; remove it",
		"unix:" + folder + "/no/s":  "the folder " + folder + "/no must exist",
		"inet:" + port:              "another process has it",
		"smtp:" + port:              "is not an address",
		"unix:" + folder + "/live/": "is a folder's",
	} {
		l, err := Listen(fill(Options{Address: address}))
		if err == nil {
			l.Close()
			t.Errorf("%s was opened", address)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address[5:]) {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "precious" {
		t.Errorf("the file is %q, %v", content, err)
	}
	if c, err := net.Dial("unix", live); err != nil {
		t.Errorf("the live socket is gone: %v", err)
	} else {
		c.Close()
	}
}

func TestCloseRemovesItsOwnSocketOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := open(t, Options{Address: "unix:" + path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := open(t, Options{Address: "unix:" + path})
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first listener removed the second's socket: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second listener left its socket: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestCloseEndsAccept(t *testing.T) {
	l := open(t, Options{Address: "inet:" + freePort(t)})
	got := accept(l)
	l.Close()
	if a := wait(t, got); !errors.Is(a.err, net.ErrClosed) {
		t.Errorf("got %v", a.err)
	}
}

// failing is a listener whose Accept fails some times first.
type failing struct {
	net.Listener
	errors []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errors) > 0 {
		err := f.errors[0]
		f.errors = f.errors[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

func TestAcceptOutlastsErrors(t *testing.T) {
	log := fake.NewLog()
	inner := open(t, Options{Address: "inet:" + freePort(t)})
	l := &listener{
		inner: &failing{inner, []error{
			&net.OpError{Op: "accept", Err: syscall.EMFILE}, syscall.ENFILE, syscall.ECONNABORTED,
		}},
		options: fill(Options{Log: log.Logger}),
		closed:  make(chan struct{}),
	}
	got := accept(l)
	dial(t, inner)
	if a := wait(t, got); a.err != nil {
		t.Error(a.err)
	}
	if n := log.Count("accepting a connection failed"); n != 3 {
		t.Errorf("%d failures are logged, want 3: %s", n, log.String())
	}
}

func TestCloseEndsTheWaitAfterAnError(t *testing.T) {
	inner := open(t, Options{Address: "inet:" + freePort(t)})
	many := make([]error, 1000)
	for i := range many {
		many[i] = syscall.EMFILE
	}
	l := &listener{inner: &failing{inner, many}, options: fill(Options{}), closed: make(chan struct{})}
	got := accept(l)
	l.Close()
	if a := wait(t, got); !errors.Is(a.err, net.ErrClosed) {
		t.Errorf("got %v", a.err)
	}
}
