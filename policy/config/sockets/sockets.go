// Package sockets reads the addresses of sockets as the configuration has them.
package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"coexistd/policy/config/wording"
)

// Like is an example of each kind.
const Like = `write it like "unix:/run/coexistd/milter.sock" or "inet:127.0.0.1:8701"`

// Parse reads an address to listen on: "unix:/PATH", "inet:HOST:PORT" or
// "inet:[IPV6]:PORT". It returns what net.Listen takes: the network "unix" or
// "tcp", and an address in which the same socket is always written alike. The
// error says what would be right.
func Parse(address string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		addr, err = parseUnix(path)
		return "unix", addr, err
	}
	if hostport, ok := strings.CutPrefix(address, "inet:"); ok {
		addr, err = parseInet(address, hostport)
		return "tcp", addr, err
	}
	switch {
	case address == "":
		err = errors.New("is empty; " + Like)
	case strings.HasPrefix(address, "/"):
		err = fmt.Errorf("%s has no kind; write it as %s", wording.Quote(address), wording.Quote("unix:"+address))
	case strings.HasPrefix(address, "local:"):
		err = fmt.Errorf("%s is not known; write it as %s", wording.Quote(address), wording.Quote("unix:"+address[len("local:"):]))
	default:
		if _, e := parseInet(address, address); e == nil {
			err = fmt.Errorf("%s has no kind; write it as %s", wording.Quote(address), wording.Quote("inet:"+address))
		} else {
			err = fmt.Errorf("%s is not an address; %s", wording.Quote(address), Like)
		}
	}
	return "", "", err
}

func parseUnix(path string) (string, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return "", fmt.Errorf(`the path %s is relative; write a whole path, like "unix:/run/coexistd/milter.sock"`, wording.Quote(path))
	case strings.IndexByte(path, 0) >= 0:
		return "", fmt.Errorf("the path %s holds a NUL", wording.Quote(path))
	case strings.HasSuffix(path, "/"):
		return "", fmt.Errorf("the path %s is a folder's; write the socket's, like %s", wording.Quote(path), wording.Quote("unix:"+path+"milter.sock"))
	}
	path = filepath.Clean(path)
	const maxUnixPath = 107 // on Linux: sockaddr_un holds 108 bytes with the final NUL
	if len(path) > maxUnixPath {
		return "", fmt.Errorf("the path has %d bytes; a Unix socket's path has at most %d", len(path), maxUnixPath)
	}
	return path, nil
}

// parseInet reads HOST:PORT. Whole is the address as it was written.
func parseInet(whole, hostport string) (string, error) {
	// Sendmail writes inet:PORT@HOST.
	if port, host, ok := strings.Cut(hostport, "@"); ok {
		return "", fmt.Errorf("%s is Sendmail's way of writing; write it as %s", wording.Quote(whole), wording.Quote("inet:"+net.JoinHostPort(strings.Trim(host, "[]"), port)))
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", fmt.Errorf(`%s is not HOST:PORT; write it like "inet:127.0.0.1:8701" or "inet:[::1]:8701"`, wording.Quote(hostport))
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", fmt.Errorf("the port %s is out of range; it must be a number from 1 to 65535", wording.Quote(port))
	}
	port = strconv.FormatUint(number, 10)
	if host == "" {
		return "", fmt.Errorf(`%s has no host; write it as "inet:127.0.0.1:%s", or "inet:[::]:%s" for every address of this host`, wording.Quote(whole), port, port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.String(), port), nil
	}
	name, isName := hostName(host)
	if !isName {
		return "", fmt.Errorf(`the host %s is neither an IP address nor a host name; write it like "inet:127.0.0.1:%s"`, wording.Quote(host), port)
	}
	return net.JoinHostPort(name, port), nil
}

// Text is the address of a socket as the file would have it, from what Parse returns.
func Text(network, addr string) string {
	return strings.Replace(network, "tcp", "inet", 1) + ":" + addr
}

// HostPort reads HOST:PORT, as net.Dial takes it. Like is an example, for the
// error.
func HostPort(text, like string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "inet:"); ok {
		if addr, err := HostPort(rest, like); err == nil {
			return "", fmt.Errorf("%s begins with a kind, and this is always an inet address; write it as %s", wording.Quote(text), wording.Quote(addr))
		}
	}
	if host, _, err := net.SplitHostPort(text); err == nil && host != "" {
		if addr, err := parseInet(text, text); err == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("%s is not HOST:PORT; write it like %s", wording.Quote(text), wording.Quote(like))
}

// ParseMode reads the access mode of a Unix socket.
func ParseMode(text string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(text, 8, 16)
	if err != nil || bits > 0o777 || bits&0o600 != 0o600 {
		return 0, fmt.Errorf(`%s is not the mode of a socket; write it in octal, like "0660"`, wording.Quote(text))
	}
	return fs.FileMode(bits), nil
}

// Reaches reports that a connection to addr comes to the socket own: it has the
// same name, or it is on every address of this host.
func Reaches(network, addr, own string) bool {
	if network == "unix" || addr == own {
		return addr == own
	}
	host, port, _ := net.SplitHostPort(addr)
	ownHost, ownPort, _ := net.SplitHostPort(own)
	if port != ownPort {
		return false
	}
	ip, ownIP := net.ParseIP(host), net.ParseIP(ownHost)
	local := func(name string, ip net.IP) bool { return name == "localhost" || ip.IsLoopback() || ip.IsUnspecified() }
	isName := host == "localhost" || ownHost == "localhost"
	return local(host, ip) && (ownIP.IsUnspecified() || isName && local(ownHost, ownIP))
}

// SamePort returns that of several addresses, each as Parse reads it, which has the TCP port of
// an address, whatever their hosts are: 0.0.0.0:8701 for 127.0.0.1:8701. There is none: "".
func SamePort(address string, others []string) string {
	port := portOf(address)
	for _, other := range others {
		if port != "" && portOf(other) == port {
			return other
		}
	}
	return ""
}

// portOf returns the TCP port of an address, or "".
func portOf(address string) string {
	network, addr, err := Parse(address)
	if err != nil || network != "tcp" {
		return ""
	}
	_, port, _ := net.SplitHostPort(addr) // which Parse has read
	return port
}
