// Package daemon is coexistd at work: it owns everything that lives longer than a
// message. What a configuration says is a generation, which a reload replaces and which is
// let go when its last message has ended. What generations share is found by its settings,
// and closed when none uses it.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"coexistd/milter"
	"coexistd/milter/flood"
	"coexistd/milter/listen"
	"coexistd/milter/lookup"
	"coexistd/milter/metrics"
	"coexistd/milter/notice"
	"coexistd/milter/probe"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/directory"
	"coexistd/scanners/limits"
	"coexistd/scanners/networks"
)

const (
	// drainTime is how long messages under way may take to end at Stop. All
	// other mail is put off meanwhile, so a client that needs longer for its
	// message is told to try again too.
	drainTime = 20 * time.Second
	// watchInterval is how often the directory files are looked at.
	watchInterval = time.Second
	// maxKeys bounds what rate limits count in this process's memory at once.
	maxKeys = 1_000_000
)

// Options say what New makes a daemon of.
type Options struct {
	// Config is the path of the configuration file.
	Config string
	// Version is that of the program, for people.
	Version string
	// Log takes all that the daemon has to say.
	Log *slog.Logger
}

// Daemon serves MTAs by one configuration file. Any number of goroutines may call its
// methods.
type Daemon struct {
	version string
	started time.Time
	log     *slog.Logger

	// What is here lives as long as the daemon.
	lists    *networks.Lists
	memory   *limits.Memory
	flood    *flood.Guard
	notices  *notice.Teller
	unproven *notice.Unproven
	observed *notice.Observed
	probes   probe.Book
	senders  senderList
	shared   shared

	inherited listen.Activation
	milter    *milter.Server
	lookup    *lookup.Server
	control   *http.Server
	metrics   *metrics.Metrics
	scrapes   *http.Server
	runtime   atomic.Pointer[transaction.Runtime]

	view    atomic.Pointer[view]
	stop    sync.Once
	stopped atomic.Bool
	// patience is drainTime, but in tests.
	patience time.Duration

	mu        sync.Mutex  // whoever changes what follows has it: see change
	current   *generation // that of the messages to come
	listeners map[string]net.Listener
	keeper    keeper
	pollers   []*poller // those of current, by the order of their names
	// ended tells of the last Poller of each source's copies, by their path, when it has ended.
	ended   map[string]<-chan struct{}
	refused error     // what the last reload did not take
	tried   time.Time // when that was
	lost    string    // what tellLost has told
	bulk    bulk      // of the lists

	// What the daemon does by itself ends with alive, and serving waits for it.
	// Stop ends what could begin something new before that, by awake.
	alive, awake   context.Context
	kill, fallDown context.CancelFunc
	serving        sync.WaitGroup
}

// New builds all of a daemon that can fail, its sockets last. The error tells everything
// that is wrong with the configuration, a line for each mistake. What New returns serves
// nobody before Start, and must be stopped.
func New(o Options) (*Daemon, error) {
	d := &Daemon{
		version: o.Version, started: time.Now(), log: o.Log, listeners: make(map[string]net.Listener),
		ended: make(map[string]<-chan struct{}), lists: networks.New(o.Log, time.Now), memory: limits.NewMemory(maxKeys), flood: flood.New(), notices: notice.New(o.Log),
		patience: drainTime,
	}
	d.unproven = notice.NewUnproven(d.notices)
	d.observed = notice.NewObserved(d.notices)
	d.milter = &milter.Server{Runtime: d.runtime.Load, Log: d.log}
	d.lookup = &lookup.Server{Log: d.log, Runtime: func() (*policy.Policy, *directory.Set) {
		runtime := d.runtime.Load()
		return runtime.Policy, runtime.Directory
	}}
	d.control = d.newControl()
	d.metrics = metrics.New(d.metricsState)
	d.scrapes = d.metrics.Server(d.log)
	reading := config.Load(o.Config)
	conf := reading.Config
	if conf == nil {
		return nil, reading.Problems
	}
	for _, problem := range reading.Problems {
		d.log.Error("a list of networks cannot be taken as it is: the one from before is used, or what of it can be", "error", problem.String())
	}
	first, err := d.generate(conf, nil)
	if err != nil {
		return nil, err
	}
	// A directory that cannot be read at start tempfails its own domains; the
	// others must not wait for it.
	d.tellRefused(first.directories)
	for _, one := range first.directories {
		d.tellFlaws(one)
	}
	d.milter.Sessions.Max, d.milter.Sessions.Log = conf.MaxConnections, d.log
	d.lookup.Sessions.Max, d.lookup.Sessions.Log = conf.MaxConnections, d.log
	if d.inherited, err = listen.Inherit(); err == nil {
		d.listeners, err = d.open(conf)
	}
	if err != nil {
		first.retire()
		return nil, err
	}
	d.alive, d.kill = context.WithCancel(context.Background())
	d.awake, d.fallDown = context.WithCancel(d.alive)
	d.change(func() { d.adopt(first) })
	return d, nil
}

// change has do change what the daemon has. One at a time may. A generation is retired once
// nobody finds it any more, neither a message nor a question.
func (d *Daemon) change(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.current
	do()
	d.view.Store(d.look())
	if before != nil && before != d.current {
		before.retire()
	}
	d.giveBack()
}

// Start begins to serve.
func (d *Daemon) Start() { d.change(d.start) }

func (d *Daemon) start() {
	g := d.current
	conf := g.conf
	d.keep()
	d.serving.Go(func() { d.lists.Run(d.alive) })
	d.serving.Go(func() { d.notices.Run(d.alive) })
	d.serving.Go(func() { d.unproven.Run(d.alive) })
	d.serving.Go(func() { d.observed.Run(d.alive) })
	d.serving.Go(d.work)
	d.serving.Go(d.followSenders)
	d.serve(conf, d.listeners)
	d.follow()
	d.serving.Go(func() { tellServers(d.alive, g, d.log) })
	for _, address := range d.inherited.Unused() {
		d.log.Warn("systemd passed a socket that no [[listen]], [[lookup]] or [metrics] names", "address", address)
	}
	for _, note := range conf.Notes {
		d.log.Warn("configuration", "note", note.Text)
	}
	d.log.Info("started", "version", d.version, "config", conf.Path, "hostname", conf.Rules.Hostname)
}

// work does what is due by itself, until the daemon stops.
func (d *Daemon) work() {
	watch, keep := time.NewTicker(watchInterval), time.NewTicker(keepInterval)
	defer watch.Stop()
	defer keep.Stop()
	for {
		var due func()
		select {
		case <-d.awake.Done():
			return
		case <-watch.C:
			due = d.watch
		case <-d.lists.Changed():
			due = d.publish
		case <-keep.C:
			due = d.keep
		}
		d.change(due)
	}
}

// Stop drains: what is under way is finished, nothing new is begun. The lookups go last,
// for the MTA needs them to finish its messages. It returns when all has ended, or when
// that took too long and was broken off. One more call waits for the first.
func (d *Daemon) Stop() { d.stop.Do(d.end) }

func (d *Daemon) end() {
	d.stopped.Store(true)
	d.fallDown()
	err := errors.Join(d.drain(d.milter.Shutdown), d.drain(d.lookup.Shutdown))
	for _, server := range []*http.Server{d.control, d.scrapes} {
		if d.drain(server.Shutdown) != nil {
			_ = server.Close() // it is no mail that is broken off, and the error is that of a listener
		}
	}
	d.kill()
	d.change(func() { // after a reload that may be under way
		for _, listener := range d.listeners {
			listener.Close() // Start may never have been called
		}
	})
	d.serving.Wait()
	d.current.retire()
	if err != nil {
		d.log.Warn("stopped before every message had ended; their clients are told to try again")
		return
	}
	d.log.Info("stopped")
}

// drain gives a shutdown its time.
func (d *Daemon) drain(shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d.patience)
	defer cancel()
	return shutdown(ctx)
}
