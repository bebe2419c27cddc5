package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/config/wording"
	"coexistd/policy/verdict"
)

// Listener is one socket to be listened on.
type Listener struct {
	// Address is what ParseListen reads.
	Address string
	// Checkpoint is the point at which every message on this socket enters.
	// It is Undecided for a lookup, and when each message is to be judged.
	Checkpoint verdict.Checkpoint
	// Mode is the access mode of a Unix socket.
	Mode fs.FileMode
}

// ParseListen reads an address to listen on: "unix:/PATH", "inet:HOST:PORT" or
// "inet:[IPV6]:PORT". It returns what net.Listen takes: the network "unix" or
// "tcp", and an address in which the same socket is always written alike. The
// error says what would be right.
func ParseListen(address string) (network, addr string, err error) {
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
		err = errors.New("is empty; " + likeListen)
	case strings.HasPrefix(address, "/"):
		err = fmt.Errorf("%s has no kind; write it as %s", wording.Quote(address), wording.Quote("unix:"+address))
	case strings.HasPrefix(address, "local:"):
		err = fmt.Errorf("%s is not known; write it as %s", wording.Quote(address), wording.Quote("unix:"+address[len("local:"):]))
	default:
		if _, e := parseInet(address, address); e == nil {
			err = fmt.Errorf("%s has no kind; write it as %s", wording.Quote(address), wording.Quote("inet:"+address))
		} else {
			err = fmt.Errorf("%s is not an address; %s", wording.Quote(address), likeListen)
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
	name, err := domainName(host)
	if err != nil {
		return "", fmt.Errorf(`the host %s is neither an IP address nor a host name; write it like "inet:127.0.0.1:%s"`, wording.Quote(host), port)
	}
	return net.JoinHostPort(name, port), nil
}

const likeListen = `write it like "unix:/run/coexistd/milter.sock" or "inet:127.0.0.1:8701"`

// socket is the address of a socket as the file would have it.
func socket(network, addr string) string {
	return strings.Replace(network, "tcp", "inet", 1) + ":" + addr
}

// listeners reads [[listen]] and [[lookup]].
func (r *reader) listeners(t *table) {
	taken := make(map[string]place)
	for _, one := range t.array("listen") {
		l := r.listener(one.readSection(), taken)
		l.Checkpoint = value[verdict.Checkpoint](one, "checkpoint")
		r.config.Listeners = append(r.config.Listeners, l)
	}
	for _, one := range t.array("lookup") {
		r.config.Lookups = append(r.config.Lookups, r.listener(one.readSection(), taken))
	}
	if !t.has("listen") || t.hasEmpty("listen") {
		t.fail("listen", "is missing: no MTA could connect; add [[listen]] with an address")
	}
}

// listener reads what both kinds have. Taken remembers the addresses.
func (r *reader) listener(t *table, taken map[string]place) Listener {
	l := Listener{Mode: value[fs.FileMode](t, "mode")}
	text, ok := said[string](t, "address")
	if !ok {
		return l
	}
	network, addr, err := ParseListen(text)
	if err != nil {
		t.fail("address", "%v", err)
		return l
	}
	if t.has("mode") && network != "unix" {
		t.fail("mode", "has no meaning for an inet socket; leave it out")
	}
	// Another spelling of the same socket is the same listener.
	l.Address = socket(network, addr)
	if first, ok := taken[l.Address]; ok {
		t.fail("address", "%s is taken by %s on line %d; each socket needs an address of its own", wording.Quote(text), first.key, first.line)
	} else {
		taken[l.Address] = t.at("address")
	}
	return l
}

// socketMode reads the access mode of a Unix socket.
func socketMode(text string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(text, 8, 16)
	if err != nil || bits > 0o777 || bits&0o600 != 0o600 {
		return 0, fmt.Errorf(`%s is not the mode of a socket; write it in octal, like "0660"`, wording.Quote(text))
	}
	return fs.FileMode(bits), nil
}

// entryPoint reads the point at which a listener's mail enters.
func entryPoint(name string) (verdict.Checkpoint, error) {
	point, ok := verdict.ParseCheckpoint(name)
	switch {
	case !ok:
		return point, fmt.Errorf("%s is not a point where mail enters; it would be S0, S1 or S2, or left out", wording.Quote(name))
	case point == verdict.S3 || point == verdict.S4:
		return point, fmt.Errorf("no mail enters at %s, mail leaves there; it would be S0, S1 or S2, or left out", point)
	}
	return point, nil
}

// control reads [control]. The sockets of listeners are known.
func (r *reader) control(t *table) {
	one := t.optional("control").readSection()
	r.config.Control = value[string](one, "address")
	isTaken := func(l Listener) bool { return l.Address == r.config.Control }
	if slices.ContainsFunc(r.config.Listeners, isTaken) || slices.ContainsFunc(r.config.Lookups, isTaken) {
		one.fail("address", "%s is the socket of a [[listen]] or a [[lookup]], too; each socket needs an address of its own", wording.Quote(r.config.Control))
	}
}

// controlAddress reads "unix:PATH". A relative path is in state_dir.
func controlAddress(r *reader, text string) (string, error) {
	path, isUnix := strings.CutPrefix(text, "unix:")
	if !isUnix || path == "" {
		return "", fmt.Errorf(`%s is not the address of a Unix socket, which is all that is possible here; write it like "unix:control.sock" or "unix:/run/coexistd/control.sock"`, wording.Quote(text))
	}
	if !filepath.IsAbs(path) && !strings.HasSuffix(path, "/") {
		path = filepath.Join(r.config.StateDir, path)
	}
	network, addr, err := ParseListen("unix:" + path)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, path)
	}
	return socket(network, addr), nil
}
