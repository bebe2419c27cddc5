// Package listen opens the sockets that an MTA connects to and sees to it that
// they stay open: a stale Unix socket is replaced, a shortage of file
// descriptors is waited out, and the number of connections is bounded over all
// listeners together. It keeps the connections, too, and drains them at the end.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"coexistd/policy/config/sockets"
)

// Options say what Listen is to open.
type Options struct {
	// Address is what sockets.Parse reads.
	Address string
	// Mode is the access mode of a Unix socket, which holds whatever the umask
	// is. Zero stands for 0660.
	Mode fs.FileMode
	// Activation are the sockets that systemd passed.
	Activation Activation
	// Log is told when accepting fails.
	Log *slog.Logger
}

// Listen opens a listener, or takes the one of that address that systemd
// passed. On a Unix socket that nobody listens on any more it puts a new one;
// a socket that somebody answers on, or a file that is no socket, is an error.
//
// The listener's Accept returns an error only once the listener is closed:
// net.ErrClosed. Other errors are waited out. Close removes the socket's file, if it is still the one that Listen made.
func Listen(o Options) (net.Listener, error) {
	network, addr, err := sockets.Parse(o.Address)
	if err != nil {
		return nil, fmt.Errorf("the listener's address %w", err)
	}
	inner, err := o.Activation.take(network, addr)
	if err != nil {
		return nil, err
	}
	l := &listener{inner: inner, options: o, closed: make(chan struct{})}
	if inner != nil {
		return l, nil
	}
	if network == "unix" {
		l.inner, l.file, err = listenUnix(addr, o.Mode)
		l.path = addr
	} else {
		l.inner, err = net.Listen(network, addr)
	}
	if err != nil {
		return nil, explain(o.Address, err)
	}
	return l, nil
}

// listenUnix returns a listener and the state of its socket's file.
func listenUnix(path string, mode fs.FileMode) (net.Listener, fs.FileInfo, error) {
	if mode == 0 {
		mode = 0o660
	}
	if err := removeStale(path); err != nil {
		return nil, nil, err
	}
	// The kernel makes the file with the mode of the socket, less the umask. So
	// the file is at no time open to more than the mode says.
	narrow := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
		return errors.Join(err, chmod)
	}}
	l, err := narrow.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(path, mode.Perm())
	var info fs.FileInfo
	if err == nil {
		info, err = os.Lstat(path)
	}
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return l, info, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the path exists and is not a socket; remove it or choose another path")
	}
	const patience = 2 * time.Second
	c, err := net.DialTimeout("unix", path, patience)
	if err == nil {
		c.Close()
		return errors.New("another process answers on the socket; stop that, or choose another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the socket exists, and whether somebody listens on it cannot be told: %w", err)
	}
	return os.Remove(path)
}

// explain adds to an error what the reader may do about it.
func explain(address string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, path, _ := sockets.Parse(address)
		remedy = fmt.Sprintf("; the folder %s must exist (systemd makes it with RuntimeDirectory=)", filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		remedy = "; the daemon's user must be allowed to"
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "; another process has it: stop that, or choose another address"
	}
	return fmt.Errorf("cannot listen on %s: %w%s", address, err, remedy)
}

// listener is what Listen returns.
type listener struct {
	inner   net.Listener
	options Options
	path    string      // of the Unix socket's file, and
	file    fs.FileInfo // its state; nil when there is none to remove

	close  sync.Once
	closed chan struct{}
	err    error // of closing
}

// Addr returns where it listens.
func (l *listener) Addr() net.Addr { return l.inner.Addr() }

// Close takes the socket's file away before the socket is closed. While that is
// open, its inode cannot be given to another file.
func (l *listener) Close() error {
	l.close.Do(func() {
		close(l.closed)
		if l.file != nil {
			if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
				l.err = os.Remove(l.path)
			}
		}
		l.err = errors.Join(l.err, l.inner.Close())
	})
	return l.err
}

// Accept returns the next connection. Whatever goes wrong short of the
// listener's end (no file descriptors, no memory, a client that left early) is
// tried again, after 5 ms at first and 1 s at last.
func (l *listener) Accept() (net.Conn, error) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	for pause := shortest; ; pause = min(2*pause, longest) {
		c, err := l.inner.Accept()
		if err == nil {
			return c, nil
		}
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		l.options.Log.Warn("accepting a connection failed; it is tried again", "listener", l.options.Address, "error", err, "pause", pause)
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		case <-time.After(pause):
		}
	}
}
