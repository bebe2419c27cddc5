package config

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
	"coexistd/policy/verdict"
)

// Listener is one socket to be listened on.
type Listener struct {
	// Address is what sockets.Parse reads.
	Address string
	// Checkpoint is the point at which every message on this socket enters.
	// It is Undecided for a lookup, and when each message is to be judged.
	Checkpoint verdict.Checkpoint
	// Mode is the access mode of a Unix socket.
	Mode fs.FileMode
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
	network, addr, err := sockets.Parse(text)
	if err != nil {
		t.fail("address", "%v", err)
		return l
	}
	if t.has("mode") && network != "unix" {
		t.fail("mode", "has no meaning for an inet socket; leave it out")
	}
	// Another spelling of the same socket is the same listener.
	l.Address = sockets.Text(network, addr)
	if first, ok := taken[l.Address]; ok {
		t.fail("address", "%s is taken by %s on line %d; each socket needs an address of its own", wording.Quote(text), first.key, first.line)
	} else {
		taken[l.Address] = t.at("address")
	}
	return l
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
	network, addr, err := sockets.Parse("unix:" + path)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, path)
	}
	return sockets.Text(network, addr), nil
}
