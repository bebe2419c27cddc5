package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"syscall"

	"golang.org/x/net/netutil"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/listen"
	"coexistd/policy/config"
	"coexistd/policy/config/sockets"
)

// open opens the listeners that the configuration names and that are not open
// yet. When one fails, none of them stays open.
func (d *Daemon) open(conf *config.Config) (opened map[string]net.Listener, err error) {
	opened = make(map[string]net.Listener)
	add := func(listeners ...config.Listener) error {
		for _, l := range listeners {
			if d.listeners[l.Address] != nil {
				continue
			}
			listener, err := listen.Listen(listen.Options{Address: l.Address, Mode: l.Mode, Activation: d.inherited, Log: d.log})
			if err != nil {
				return taken(l.Address, err, d.listeners, opened)
			}
			opened[l.Address] = listener
		}
		return nil
	}
	if err := errors.Join(add(conf.Sockets()...), add(controlListener(conf))); err != nil {
		for _, listener := range opened {
			listener.Close()
		}
		return nil, err
	}
	return opened, nil
}

// taken tells of an address that cannot be listened on because the daemon has its port already,
// by another address. Other errors stay what they are.
func taken(address string, err error, before, opened map[string]net.Listener) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	if own := sockets.SamePort(address, slices.Sorted(maps.Keys(opened))); own != "" {
		return fmt.Errorf("cannot listen on %s: the daemon listens on the same port by %s; write one of these addresses only, or another port", address, own)
	}
	if own := sockets.SamePort(address, slices.Sorted(maps.Keys(before))); own != "" {
		return fmt.Errorf("cannot listen on %s: the daemon itself has this port, and listens on %s; run systemctl restart coexistd, or write another port", address, own)
	}
	return err
}

// serve serves the opened listeners and closes those that the configuration
// no longer names.
func (d *Daemon) serve(conf *config.Config, opened map[string]net.Listener) {
	doors := doorsOf(conf)
	for address, listener := range opened {
		d.listeners[address] = listener
		d.serving.Go(func() {
			if err := d.serveDoor(doors[address], listener); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
				d.log.Error("listener ended", "address", address, "error", err)
			}
		})
	}
	for address, listener := range d.listeners {
		if _, named := doors[address]; !named {
			listener.Close()
			delete(d.listeners, address)
		}
	}
}

func (d *Daemon) serveDoor(one door, listener net.Listener) error {
	switch one.use {
	case useLookup:
		return d.lookup.Serve(listener)
	case useControl:
		return d.control.Serve(listener)
	case useMetrics:
		return d.scrapes.Serve(netutil.LimitListener(listener, maxScrapers))
	}
	return d.milter.Serve(listener, one.Checkpoint)
}

// use is what a listener is for.
type use string

const (
	useMilter  use = "milter"
	useLookup  use = "lookup"
	useControl use = "control"
	useMetrics use = control.UseMetrics
)

// maxScrapers bounds the connections for metrics. One more waits until one has ended.
const maxScrapers = 16

// door is a listener, and what it is for.
type door struct {
	config.Listener
	use use
}

// controlListener is that of the daemon's own commands, which is nobody else's to use.
func controlListener(conf *config.Config) config.Listener {
	return config.Listener{Address: conf.Control, Mode: 0o600}
}

// doorsOf returns the listeners of a configuration by their addresses.
func doorsOf(conf *config.Config) map[string]door {
	doors := make(map[string]door)
	for _, l := range conf.Listeners {
		doors[l.Address] = door{l, useMilter}
	}
	for _, l := range conf.Lookups {
		doors[l.Address] = door{l, useLookup}
	}
	for _, l := range conf.Metrics {
		doors[l.Address] = door{l, useMetrics}
	}
	socket := controlListener(conf)
	doors[socket.Address] = door{socket, useControl}
	return doors
}
