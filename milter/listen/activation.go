package listen

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// Activation are the listening sockets that systemd passed to the process
// (sd_listen_fds(3)). They stay open in it, so that a listener that is closed
// and opened again finds its socket. It must not be used by two goroutines at once.
type Activation []*socket

type socket struct {
	file *os.File
	addr net.Addr
	used bool
}

// Inherit takes over the sockets that systemd passed. It empties the
// environment of them, so that it is called once, before the first Listen. A
// descriptor that is no listening stream socket is an error.
func Inherit() (Activation, error) {
	var a Activation
	for _, file := range activation.Files(true) {
		l, err := net.FileListener(file)
		if err != nil {
			return nil, fmt.Errorf("systemd passed descriptor %d (%s), which is no listening stream socket: %w", file.Fd(), file.Name(), err)
		}
		a = append(a, &socket{file: file, addr: l.Addr()})
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("systemd passed descriptor %d (%s): %w", file.Fd(), file.Name(), err)
		}
	}
	return a, nil
}

// Unused returns the addresses of the sockets that no Listen has taken. Clients
// that connect to them wait for ever: the configuration lacks a listener.
func (a Activation) Unused() []string {
	var addresses []string
	for _, s := range a {
		if !s.used {
			addresses = append(addresses, s.addr.Network()+":"+s.addr.String())
		}
	}
	return addresses
}

// take returns a listener on the socket of that address, or nil.
func (a Activation) take(network, addr string) (net.Listener, error) {
	for _, s := range a {
		if !s.isAt(network, addr) {
			continue
		}
		l, err := net.FileListener(s.file)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on the socket %s that systemd passed: %w", addr, err)
		}
		s.used = true
		return l, nil
	}
	return nil, nil
}

// isAt reports that a socket is what a configured address means. One that
// listens on every address of the host is the same whether it says so in IPv4
// or in IPv6.
func (s *socket) isAt(network, addr string) bool {
	if network == "unix" {
		return s.addr.Network() == "unix" && s.addr.String() == addr
	}
	have, ok := s.addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	want, err := net.ResolveTCPAddr(network, addr)
	if err != nil || want.Port != have.Port {
		return false
	}
	a, b := unmapped(have), unmapped(want)
	return a == b || a.IsUnspecified() && b.IsUnspecified()
}

func unmapped(a *net.TCPAddr) netip.Addr { return a.AddrPort().Addr().Unmap() }
