package config

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
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

func listenKeys() schema.Section {
	return schema.Section{Path: "listen", Header: "[[listen]]", About: "a milter socket for the MTA; at least one", Keys: []schema.Key{
		{Name: "address", Kind: schema.Text(schema.AString, schema.As[string]), Missing: sockets.Like, Example: `"inet:127.0.0.1:8701"`,
			Meaning: "`inet:host:port` or `unix:/path`, such as `inet:127.0.0.1:8701`"},
		{Name: "checkpoint", Kind: schema.Text(schema.AString, entryPoint), Usually: "decided for each message", Example: `"S2"`,
			Meaning: "`S0`: all mail here is from the Internet; `S1`: from a platform, if it proves it, else S0; `S2`: from our users"},
		{Name: "mode", Kind: schema.Text(schema.AString, sockets.ParseMode), Usual: "0660", Meaning: "the unix socket's permissions; refused for `inet`, ignored when systemd holds the socket"},
	}}
}

func lookupKeys() schema.Section {
	return schema.Section{Path: "lookup", Header: "[[lookup]]", About: "a socket for the MTA's own questions", Keys: []schema.Key{
		{Name: "address", Kind: schema.Text(schema.AString, schema.As[string]), Missing: sockets.Like, Example: `"inet:127.0.0.1:8702"`, Meaning: "as for `[[listen]]`, such as `inet:127.0.0.1:8702`"},
		{Name: "mode", Kind: schema.Text(schema.AString, sockets.ParseMode), Usual: "0660", Meaning: "as for `[[listen]]`"},
	}}
}

func metricsKeys() schema.Section {
	return schema.Section{Path: "metrics", Header: "[metrics]", About: "numbers for Prometheus, by HTTP", Keys: []schema.Key{
		{Name: "address", Kind: schema.Text(schema.AString, schema.As[string]), Missing: sockets.Like, Example: `"inet:127.0.0.1:8704"`,
			Meaning: "where they are told, at `/metrics` ([which](metrics.md)): as for `[[listen]]`, such as `inet:127.0.0.1:8704`. Whoever reaches it can read them"},
		{Name: "mode", Kind: schema.Text(schema.AString, sockets.ParseMode), Usual: "0660", Meaning: "as for `[[listen]]`"},
	}}
}

// Sockets are all that is listened on but the one for commands.
func (c *Config) Sockets() []Listener { return slices.Concat(c.Listeners, c.Lookups, c.Metrics) }

// listeners reads [[listen]], [[lookup]] and [metrics].
func (r *reader) listeners(t *schema.Table) {
	taken := make(map[string]mistakes.Place)
	for _, one := range t.Array("listen") {
		l := r.listener(one.ReadSection(), taken)
		l.Checkpoint = schema.Value[verdict.Checkpoint](one, "checkpoint")
		r.config.Listeners = append(r.config.Listeners, l)
	}
	for _, one := range t.Array("lookup") {
		r.config.Lookups = append(r.config.Lookups, r.listener(one.ReadSection(), taken))
	}
	if one := t.Section("metrics"); one != nil {
		r.config.Metrics = append(r.config.Metrics, r.listener(one.ReadSection(), taken))
	}
	if !t.Has("listen") || t.HasEmpty("listen") {
		t.Fail("listen", "is missing: no MTA could connect; add [[listen]] with an address")
	}
}

// listener reads what both kinds have. Taken remembers the addresses.
func (r *reader) listener(t *schema.Table, taken map[string]mistakes.Place) Listener {
	l := Listener{Mode: schema.Value[fs.FileMode](t, "mode")}
	text, ok := schema.Said[string](t, "address")
	if !ok {
		return l
	}
	network, addr, err := sockets.Parse(text)
	if err != nil {
		t.Fail("address", "%v", err)
		return l
	}
	if t.Has("mode") && network != "unix" {
		t.Fail("mode", "has no meaning for an inet socket; leave it out")
	}
	// Another spelling of the same socket is the same listener.
	l.Address = sockets.Text(network, addr)
	if first, ok := taken[l.Address]; ok {
		t.Fail("address", "%s is taken by %s on line %d; each socket needs an address of its own", wording.Quote(text), first.Key, first.Line)
	} else {
		taken[l.Address] = t.At("address")
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
func (r *reader) control(t *schema.Table) {
	one := t.Optional("control").ReadSection()
	r.config.Control = schema.Value[string](one, "address")
	isTaken := func(l Listener) bool { return l.Address == r.config.Control }
	if slices.ContainsFunc(r.config.Sockets(), isTaken) {
		one.Fail("address", "%s is the socket of a [[listen]], a [[lookup]] or [metrics], too; each socket needs an address of its own", wording.Quote(r.config.Control))
	}
}

// controlAddress reads "unix:PATH". A relative path is in state_dir.
func (r *reader) controlAddress(text string) (string, error) {
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
