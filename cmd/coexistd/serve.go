package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"coexistd/milter"
	"coexistd/milter/flood"
	"coexistd/milter/listen"
	"coexistd/milter/lookup"
	"coexistd/milter/notice"
	"coexistd/milter/quarantine"
	"coexistd/milter/record"
	"coexistd/milter/sources"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/directory"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/limits"
	"coexistd/scanners/networks"
	"coexistd/scanners/sender"
)

const (
	// drainTime is how long messages under way may take to end at SIGTERM. All
	// other mail is put off meanwhile, so a client that needs longer for its
	// message is told to try again too.
	drainTime = 20 * time.Second
	// watchInterval is how often the directory files are looked at.
	watchInterval = time.Second
)

func serve(c *call) int {
	c.configFlag()
	if status, done := c.parse(0); done {
		return status
	}
	// Each kind has a channel of its own: one that is full drops a signal, and a
	// flood of SIGHUPs must not take the place of a SIGTERM. They are caught
	// until the process is gone, so that a late SIGHUP does not end the drain.
	hangups, ends := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)

	// What the daemon does by itself ends with the drain.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d, err := start(ctx, c.config, c.stderr)
	if err != nil {
		fmt.Fprintln(c.stderr, err)
		return exitNo
	}
	d.notify(daemon.SdNotifyReady)
	d.loop(ctx, hangups, ends)
	d.notify(daemon.SdNotifyStopping)
	return d.stop(cancel)
}

// running is the daemon at work.
type running struct {
	generation
	log      *slog.Logger
	runtime  atomic.Pointer[transaction.Runtime]
	scanners *scanners.Runner
	resolver *sender.Resolver
	lists    *networks.Lists
	limits   *limits.Keeper
	memory   *limits.Memory
	flood    *flood.Guard
	notices  *notice.Teller
	unproven *notice.Unproven
	keeper   keeper
	// Lookups have slots of their own, so that a flood of mail does not keep
	// the MTA from asking who exists.
	mailSlots, lookupSlots listen.Slots

	inherited listen.Activation
	listeners map[string]net.Listener // by address
	milter    *milter.Server
	lookup    *lookup.Server
	serving   sync.WaitGroup
}

// generation is what a reload replaces, or leaves as it is.
type generation struct {
	conf        *config.Config
	keys        seal.Keys
	directories sources.Directories
	store       *quarantine.Store // nil while it cannot be opened
}

// start builds all that can fail, and then begins to serve.
func start(ctx context.Context, path string, stderr io.Writer) (*running, error) {
	d := &running{
		log:       slog.New(slog.NewTextHandler(stderr, nil)),
		listeners: make(map[string]net.Listener),
		memory:    limits.NewMemory(maxKeys),
		flood:     flood.New(),
	}
	d.lists, d.notices = networks.New(d.log, time.Now), notice.New(d.log)
	d.unproven = notice.NewUnproven(d.notices)
	reading := config.Load(path)
	conf := reading.Config
	if conf == nil {
		return nil, reading.Problems
	}
	for _, problem := range reading.Problems {
		d.log.Error("a list of networks cannot be taken as it is: the one from before is used, or what of it can be", "error", problem.String())
	}
	keys, err := makeKeys(conf)
	if err != nil {
		return nil, err
	}
	if d.inherited, err = listen.Inherit(); err != nil {
		return nil, err
	}
	d.mailSlots, d.lookupSlots = listen.NewSlots(conf.MaxConnections), listen.NewSlots(conf.MaxConnections)
	d.milter = &milter.Server{Runtime: d.runtime.Load, Log: d.log}
	d.lookup = &lookup.Server{Log: d.log, Runtime: func() (*policy.Policy, *directory.Set) {
		runtime := d.runtime.Load()
		return runtime.Policy, runtime.Directory
	}}
	// A directory that cannot be read at start tempfails its own domains; the
	// others must not wait for it.
	directories := sources.Open(conf.Directories, nil)
	d.tellRefused(directories)
	if err := makeSpool(conf); err != nil {
		return nil, err
	}
	opened, err := d.open(conf)
	if err != nil {
		return nil, err
	}
	d.swap(generation{conf: conf, keys: keys, directories: directories})
	d.keep(ctx)
	d.serving.Go(func() { d.lists.Run(ctx) })
	d.serving.Go(func() { d.notices.Run(ctx) })
	d.serving.Go(func() { d.unproven.Run(ctx) })
	d.serve(conf, opened)
	go tellServers(ctx, conf, d.log)
	for _, address := range d.inherited.Unused() {
		d.log.Warn("systemd passed a socket that no [[listen]] or [[lookup]] names", "address", address)
	}
	for _, note := range conf.Notes {
		d.log.Warn("configuration", "note", note.Text)
	}
	d.log.Info("started", "version", version, "config", conf.Path, "hostname", conf.Rules.Hostname)
	return d, nil
}

// open opens the listeners that the configuration names and that are not open
// yet. When one fails, none of them stays open.
func (d *running) open(conf *config.Config) (opened map[string]net.Listener, err error) {
	opened = make(map[string]net.Listener)
	add := func(listeners []config.Listener, slots listen.Slots) error {
		for _, l := range listeners {
			if d.listeners[l.Address] != nil {
				continue
			}
			listener, err := listen.Listen(listen.Options{Address: l.Address, Mode: l.Mode, Slots: slots, Activation: d.inherited, Log: d.log})
			if err != nil {
				return err
			}
			opened[l.Address] = listener
		}
		return nil
	}
	if err := errors.Join(add(conf.Listeners, d.mailSlots), add(conf.Lookups, d.lookupSlots)); err != nil {
		for _, listener := range opened {
			listener.Close()
		}
		return nil, err
	}
	return opened, nil
}

// serve serves the opened listeners and closes those that the configuration
// no longer names.
func (d *running) serve(conf *config.Config, opened map[string]net.Listener) {
	doors := doorsOf(conf)
	for address, listener := range opened {
		d.listeners[address] = listener
		d.serving.Go(func() {
			if err := d.serveDoor(doors[address], listener); err != nil && !errors.Is(err, net.ErrClosed) {
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

func (d *running) serveDoor(one door, listener net.Listener) error {
	if one.lookup {
		return d.lookup.Serve(listener)
	}
	return d.milter.Serve(listener, one.Checkpoint)
}

// door is a listener, and what it is for.
type door struct {
	config.Listener
	lookup bool
}

// doorsOf returns the listeners of a configuration by their addresses.
func doorsOf(conf *config.Config) map[string]door {
	doors := make(map[string]door)
	for _, l := range conf.Listeners {
		doors[l.Address] = door{l, false}
	}
	for _, l := range conf.Lookups {
		doors[l.Address] = door{l, true}
	}
	return doors
}

// swap makes a generation that of the messages to come.
func (d *running) swap(next generation) {
	conf, keys := next.conf, next.keys
	if conf != d.conf {
		d.scanners, d.resolver = newScanners(conf, d.log), sender.NewResolver(conf.Resolver)
		d.lists.Configure(listsOf(conf, d.resolver))
		d.limits = d.useLimits(conf)
		d.notices.Configure(noticeSettings(conf, keys))
		d.unproven.Configure(unprovenPath(conf))
	}
	d.generation = next
	d.runtime.Store(&transaction.Runtime{
		Policy: policy.New(conf.Rules, keys, d.lists.Live()), Directory: d.directories.Set(),
		Flood: d.flood, SpoolDir: spoolDir(conf),
		World: &transaction.Live{
			Log: d.log, Scanners: d.scanners, Resolver: d.resolver, Limits: d.limits, Notices: d.notices, Quarantine: d.store,
		},
		Sinks: []record.Sink{record.Log{Logger: d.log, Subject: conf.LogSubject}, d.notices, d.unproven},
	})
}

// loop runs until a signal ends the daemon.
func (d *running) loop(ctx context.Context, hangups, ends <-chan os.Signal) {
	watch, keep := time.NewTicker(watchInterval), time.NewTicker(keepInterval)
	defer watch.Stop()
	defer keep.Stop()
	for {
		select {
		case sig := <-ends:
			d.log.Info("stopping", "signal", sig.String())
			return
		case <-hangups:
			d.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
			d.reload(ctx)
			d.notify(daemon.SdNotifyReady)
		case <-watch.C:
			d.watch()
		case <-d.lists.Changed():
			d.swap(d.generation)
		case <-keep.C:
			d.keep(ctx)
		}
	}
}

// reload replaces the configuration and the directories, or changes nothing.
func (d *running) reload(ctx context.Context) {
	next, opened, err := d.prepare()
	if err != nil {
		for _, line := range errorLines(err) {
			d.log.Error("reload refused, the configuration stays as it was", "error", line)
		}
		return
	}
	d.swap(next)
	d.serve(next.conf, opened)
	go tellServers(ctx, next.conf, d.log)
	d.log.Info("reloaded", "config", next.conf.Path)
}

// prepare does all of a reload that can fail. Opened are the listeners that are new, by
// their addresses.
func (d *running) prepare() (next generation, opened map[string]net.Listener, err error) {
	reading := config.Load(d.conf.Path)
	if len(reading.Problems) > 0 {
		return next, nil, reading.Problems
	}
	next.conf = reading.Config
	if err := unchangeable(d.conf, next.conf); err != nil {
		return next, nil, err
	}
	if next.keys, err = makeKeys(next.conf); err != nil {
		return next, nil, err
	}
	next.directories = sources.Open(next.conf.Directories, d.directories)
	if err := next.directories.Err(); err != nil {
		return next, nil, err
	}
	if err := makeSpool(next.conf); err != nil {
		return next, nil, err
	}
	if next.store, err = d.openQuarantine(next.conf); err != nil {
		return next, nil, err
	}
	opened, err = d.open(next.conf)
	return next, opened, err
}

// unchangeable tells what a reload asks for that only a restart can do.
func unchangeable(before, after *config.Config) error {
	old, fresh := doorsOf(before), doorsOf(after)
	var errs []error
	for _, address := range slices.Sorted(maps.Keys(fresh)) {
		if was, ok := old[address]; ok && was != fresh[address] {
			errs = append(errs, fmt.Errorf("%s: the checkpoint, mode or use of the listener %s was changed; that needs a restart, or another address", after.Path, address))
		}
	}
	if before.MaxConnections != after.MaxConnections {
		errs = append(errs, fmt.Errorf("%s: max_connections was changed from %d to %d; that needs a restart", after.Path, before.MaxConnections, after.MaxConnections))
	}
	return errors.Join(errs...)
}

// watch loads the directories whose files have changed.
func (d *running) watch() {
	loaded := d.directories.Poll(time.Now())
	d.tellRefused(d.directories)
	if len(loaded) > 0 {
		d.swap(d.generation)
	}
	for _, one := range loaded {
		d.log.Info("directory loaded", "path", one.Source.Path, "addresses", one.Snapshot.Len())
	}
}

// tellRefused says why directories cannot be loaded, once each.
func (d *running) tellRefused(directories sources.Directories) {
	for _, one := range directories.Untold() {
		what := "directory refused, the old one stays"
		if one.Snapshot == nil {
			reply := verdict.Why(verdict.DirectoryFailed).Reply()
			what = fmt.Sprintf("directory cannot be read: its domains are answered %d %s until it can", reply.Code, reply.Enhanced)
		}
		for _, line := range errorLines(one.Err) {
			d.log.Error(what, "path", one.Source.Path, "error", line)
		}
	}
}

// errorLines takes a joined error apart, one line each.
func errorLines(err error) []string { return strings.Split(err.Error(), "\n") }

// stop drains: what is under way is finished, nothing new is begun. The lookups
// go last, for the MTA needs them to finish its messages.
func (d *running) stop(cancel context.CancelFunc) int {
	err := errors.Join(drain(d.milter.Shutdown), drain(d.lookup.Shutdown))
	cancel()
	d.serving.Wait()
	if err != nil {
		d.log.Warn("stopped before every message had ended; their clients are told to try again")
		return exitYes
	}
	d.log.Info("stopped")
	return exitYes
}

func drain(shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return shutdown(ctx)
}

// notify tells systemd, when it started us, where we are (sd_notify(3)).
func (d *running) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		d.log.Warn("systemd could not be told", "state", state, "error", err)
	}
}
