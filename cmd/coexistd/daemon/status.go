package daemon

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/listen"
	"coexistd/milter/sources"
	"coexistd/scanners/breaker"
)

// view is what questions are answered from. It is made at the end of each change, so that
// nobody who asks waits for one that takes long.
type view struct {
	*generation
	listeners map[string]net.Listener
	pollers   []*poller
	lists     sources.Directories
	status    control.Status // but for what changes by itself
}

// look makes the view of this moment. The caller has d.mu.
func (d *Daemon) look() *view {
	g := d.current
	v := &view{generation: g, listeners: maps.Clone(d.listeners), pollers: slices.Clone(d.pollers), lists: g.directories.Frozen(), status: control.Status{
		Version: d.version, PID: os.Getpid(), Started: d.started,
		Configuration: control.Configuration{
			Path: g.conf.Path, Loaded: g.loaded, Mode: g.conf.Rules.Mode(), Archive: g.conf.Rules.Archive.String(), Digest: g.conf.Digest, Refused: linesOf(d.refused), Tried: d.tried,
		},
		Directories: []control.Directory{}, Networks: []control.Networks{}, Scanners: []control.Scanner{},
	}}
	for _, one := range g.directories {
		v.status.Directories = append(v.status.Directories, directoryStatus(one))
	}
	return v
}

// Status tells what the daemon has in its memory, and what it is doing.
func (d *Daemon) Status() control.Status {
	v := d.view.Load()
	s := v.status
	s.Draining = d.stopped.Load()
	if s.Quarantine.Dir = v.conf.Quarantine.Dir; d.keeper.state.Load() != nil && d.keeper.state.Load().Dir == s.Quarantine.Dir {
		s.Quarantine = *d.keeper.state.Load()
	}
	if senders := d.senders.state.Load(); senders != nil {
		s.Senders = *senders
	}
	s.Directories = slices.Clone(s.Directories)
	for i := range s.Directories {
		s.Directories[i].Outside = v.outsideStatus(s.Directories[i].Source)
	}
	s.Listeners, s.Messages = d.listenersStatus(v)
	for _, one := range d.lists.Status() {
		list := control.Networks{Platform: one.Platform, Source: one.Source, Count: one.Count, Age: int64(one.Age / time.Second), Old: one.Old}
		if one.Err != nil {
			list.Error = one.Err.Error()
		}
		s.Networks = append(s.Networks, list)
	}
	for _, one := range v.scanners.State() {
		s.Scanners = append(s.Scanners, control.Scanner{Server: serverStatus(one.Name, one.Breaker), Scans: one.Scans, Places: one.Slots})
	}
	s.Records = recordsStatus(v)
	if redis := v.conf.Redis; redis != nil {
		server := serverStatus(strings.Join(redis.Addresses, ", "), v.limits.State())
		s.Redis = &server
	}
	return s
}

// recordsStatus tells how the records of messages are.
func recordsStatus(v *view) control.Records {
	o, now := MessagesOptions(v.conf, nil), v.messages.Status()
	r := control.Records{
		Path: o.Path, Keep: int64(o.Keep / time.Second), Bytes: now.Bytes, Count: now.Records,
		Lost: now.Lost, LastLost: now.LastLost, Failed: now.Failed,
	}
	if l := v.messages.MTALog(); l != nil {
		r.MTALog = &control.MTALog{Source: l.Source, Failed: l.Failed, Latest: l.Latest, Lines: l.Lines, Events: l.Events, Gap: l.Gap}
	}
	return r
}

// outsideStatus tells what is known of a source outside this host; nil: it is none.
func (v *view) outsideStatus(name string) *control.Outside {
	i := slices.IndexFunc(v.pollers, func(p *poller) bool { return p.polling.Name == name })
	if i < 0 {
		return nil
	}
	state := v.pollers[i].State()
	return &control.Outside{Read: state.Read, Asked: state.Asked, Rows: state.Rows, Failed: state.Failed, Since: state.Since, Reading: state.Reading, Waits: state.Waits}
}

// listenersStatus tells the connections of each listener, and how many messages are under way.
func (d *Daemon) listenersStatus(v *view) (all []control.Listener, messages int) {
	on := make(map[net.Listener][]control.Connection)
	for i, open := range [][]listen.Connection{d.milter.Connections(), d.lookup.Connections()} {
		for _, c := range open {
			on[c.On] = append(on[c.On], connectionStatus(c))
			if i == 0 && c.State == listen.Busy {
				messages++
			}
		}
	}
	doors := doorsOf(v.conf)
	all = []control.Listener{}
	for _, address := range slices.Sorted(maps.Keys(doors)) {
		if use := doors[address].use; use != useControl {
			connections := append([]control.Connection{}, on[v.listeners[address]]...)
			all = append(all, control.Listener{Address: address, Use: string(use), Connections: connections})
		}
	}
	return all, messages
}

func connectionStatus(c listen.Connection) control.Connection {
	peer := c.Remote
	if peer == "" {
		peer = fmt.Sprintf("pid %d", c.PID)
	}
	return control.Connection{Peer: peer, State: c.State.String(), Since: c.Since}
}

func serverStatus(name string, b breaker.State) control.Server {
	return control.Server{Name: name, Away: b.Open, Reason: b.Reason, Since: b.Since, Next: b.Next}
}

func directoryStatus(one *sources.List) control.Directory {
	d := control.Directory{
		Source: one.Source.Path, Domains: slices.Sorted(maps.Keys(one.Source.Domains)), Loaded: one.Loaded, Bytes: one.Bytes, Refused: linesOf(one.Err),
	}
	if one.Snapshot != nil {
		d.Addresses, d.PutOff = one.Snapshot.Len(), one.Snapshot.Flaws().PutOff
	}
	d.Flaws = []string{}
	for _, flaw := range one.Flaws() {
		d.Flaws = append(d.Flaws, flaw.Text)
	}
	return d
}
