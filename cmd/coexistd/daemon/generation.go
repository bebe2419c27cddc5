package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"coexistd/milter/audit"
	"coexistd/milter/messages"
	"coexistd/milter/quarantine"
	"coexistd/milter/record"
	"coexistd/milter/senders"
	"coexistd/milter/sources"
	"coexistd/milter/store"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/directory"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/limits"
	"coexistd/scanners/sender"
)

// generation is what a reload replaces. Its messages may outlast it, and so do the shared
// things that it holds.
type generation struct {
	conf        *config.Config
	loaded      time.Time
	keys        seal.Keys
	directories sources.Directories
	scanners    *scanners.Runner
	resolver    *sender.Resolver
	limits      *limits.Keeper
	file        *store.File
	store       *quarantine.Store
	texts       *quarantine.Texts
	messages    *messages.Index
	audit       *audit.Book
	senders     *senders.Book
	users       *transaction.Users
}

// retire lets the generation go as soon as its last message has ended.
func (g *generation) retire() { g.users.Leave() }

// generate makes a generation of a configuration: all of it that can fail, but for the opening
// of the quarantine, which mail need not wait for.
func (d *Daemon) generate(conf *config.Config, before sources.Directories) (*generation, error) {
	keys, err := MakeKeys(conf)
	if err != nil {
		return nil, err
	}
	if err := makeSpool(conf); err != nil {
		return nil, err
	}
	texts, err := ReadTexts(conf)
	if err != nil {
		return nil, err
	}
	held := &holds{of: &d.shared}
	file := holdFile(held, conf, d.log)
	return &generation{
		conf: conf, loaded: time.Now(), keys: keys,
		directories: sources.Open(lean(conf.Directories), before),
		scanners:    holdScanners(held, conf, d.log),
		resolver:    hold(held, resolverSettings(conf.Resolver), newResolver),
		limits:      holdLimits(held, conf, d.memory, d.log),
		messages:    holdMessages(held, conf, d.log),
		file:        file,
		store:       quarantine.New(file, QuarantineOptions(conf, d.log)),
		texts:       texts,
		audit:       audit.New(file),
		senders:     senders.New(file),
		users:       transaction.NewUsers(held.release),
	}, nil
}

// lean has the lists hold what mail is decided by, and no more: the daemon tells nobody what
// else a source says of an address.
func lean(list []directory.Source) []directory.Source {
	list = slices.Clone(list)
	for i := range list {
		list[i].Lean = true
	}
	return list
}

// adopt makes a generation that of the messages to come.
func (d *Daemon) adopt(next *generation) {
	d.current = next
	conf := next.conf
	d.tryQuarantine(conf, next.store)
	d.senders.read(d.awake, next.senders, d.log)
	// What messages were told of the DNS may be minutes old: a reload asks for the lists anew.
	d.lists.Configure(listsOf(conf, sender.NewResolver(conf.Resolver)))
	d.notices.Configure(noticeSettings(conf, next.keys))
	d.unproven.Configure(UnprovenPath(conf))
	d.observed.Configure(observing(conf))
	d.publish()
}

// publish has messages to come decided by what there is now: the generation, and the lists
// that change without a reload.
func (d *Daemon) publish() {
	g := d.current
	d.runtime.Store(&transaction.Runtime{
		Policy: policy.New(g.conf.Rules, g.keys, d.lists.Live()), Directory: g.directories.Set(), Senders: d.senders.list.Load(),
		Flood: d.flood, SpoolDir: SpoolDir(g.conf), Users: g.users,
		World: &transaction.Live{
			Log: d.log, Scanners: g.scanners, Resolver: g.resolver, Limits: g.limits, Notices: d.notices, Quarantine: g.store, Probes: &d.probes,
		},
		Sinks: d.sinks(g),
	})
	d.tellLost()
}

// sinks are told of each message. Nobody counts for metrics that nobody can ask for.
func (d *Daemon) sinks(g *generation) []record.Sink {
	sinks := []record.Sink{record.Log{Logger: d.log, Subject: g.conf.LogSubject}, d.notices, d.unproven, d.observed, g.messages}
	if len(g.conf.Metrics) > 0 {
		d.metrics.Configure(slices.Sorted(maps.Keys(g.conf.Rules.Tenants)))
		sinks = append(sinks, d.metrics)
	}
	return sinks
}

// Reload replaces the configuration and the directories by what the files hold now. The
// error, which the log has, too, tells everything that is refused, a line for each. When
// applied is false, nothing was changed. When it is true although there is an error, that
// is of directories which lack too many addresses to take the place of those from before.
func (d *Daemon) Reload(by Asker) (applied bool, err error) {
	d.change(func() { applied, err = d.reloadAndTell() })
	d.audit(by, audit.Reload, d.view.Load().generation.conf.Path, "", true, err)
	return applied, err
}

func (d *Daemon) reloadAndTell() (applied bool, err error) {
	applied, err = d.reload()
	d.refused, d.tried = nil, time.Now()
	if !applied {
		d.refused = err
		for _, line := range linesOf(err) {
			d.log.Error("reload refused, the configuration stays as it was", "error", line)
		}
		return applied, err
	}
	d.tellRefused(d.current.directories)
	g := d.current
	d.serving.Go(func() { tellServers(d.alive, g, d.log) })
	d.log.Info("reloaded", "config", g.conf.Path)
	return applied, err
}

func (d *Daemon) reload() (applied bool, err error) {
	if d.stopped.Load() {
		return false, errors.New("the daemon is stopping")
	}
	reading := config.Load(d.current.conf.Path)
	if len(reading.Problems) > 0 {
		return false, reading.Problems
	}
	if err := unchangeable(d.current.conf, reading.Config); err != nil {
		return false, err
	}
	// A start does without a source that cannot be asked, and goes by its copy.
	if err := CheckOutsides(reading.Config); err != nil {
		return false, err
	}
	next, err := d.generate(reading.Config, d.current.directories)
	if err != nil {
		return false, err
	}
	opened, err := d.complete(next)
	if err != nil {
		next.retire()
		return false, err
	}
	if d.stopped.Load() {
		// What it opened, Stop closes.
		maps.Copy(d.listeners, opened)
		next.retire()
		return false, errors.New("the daemon is stopping")
	}
	d.adopt(next)
	d.serve(next.conf, opened)
	d.follow()
	_, losses := refusals(next.directories)
	return true, losses
}

// complete does all of a reload that can fail beside what generate does. Opened are the
// listeners that are new.
func (d *Daemon) complete(next *generation) (opened map[string]net.Listener, err error) {
	if faults, _ := refusals(next.directories); faults != nil {
		return nil, faults
	}
	if next.conf.Quarantine.Dir != d.current.conf.Quarantine.Dir {
		if err := next.store.Ready(); err != nil {
			return nil, err
		}
	}
	return d.open(next.conf)
}

// refusals tells why directories cannot be taken as they are now. Losses are those of
// lists that lack too many addresses, where the lists from before do, and of sources outside
// this host, which no reload can mend; and faults are all others. Each is nil where there is
// nothing to be told.
func refusals(directories sources.Directories) (faults, losses error) {
	for _, one := range directories {
		if one.Lost() || one.Source.Copy != "" {
			losses = errors.Join(losses, one.Err)
		} else {
			faults = errors.Join(faults, one.Err)
		}
	}
	return faults, losses
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
func (d *Daemon) watch() {
	directories := d.current.directories
	loaded := directories.Poll(time.Now())
	d.tellRefused(directories)
	if len(loaded) > 0 {
		d.publish()
	}
	for _, one := range loaded {
		d.log.Info("directory loaded", "path", one.Source.Path, "addresses", one.Snapshot.Len())
		d.tellFlaws(one)
	}
}

// tellFlaws says which rows of a list are wrong, the first of them.
func (d *Daemon) tellFlaws(one *sources.List) {
	const most = 5
	flaws := one.Flaws()
	for _, flaw := range flaws[:min(len(flaws), most)] {
		d.log.Warn("a row of a source is wrong", "path", one.Source.Path, "error", flaw.Text, "put_off", flaw.PutOff)
	}
	if more := len(flaws) - most; more > 0 {
		d.log.Warn("more rows of a source are wrong: coexistd check names them", "path", one.Source.Path, "more", more)
	}
}

// tellRefused says why directories cannot be loaded, once each.
func (d *Daemon) tellRefused(directories sources.Directories) {
	for _, one := range directories.Untold() {
		what := "directory refused, the old one stays"
		if one.Snapshot == nil {
			reply := verdict.Why(verdict.DirectoryFailed).Reply()
			what = fmt.Sprintf("directory cannot be read: its domains are answered %d %s until it can", reply.Code, reply.Enhanced)
		}
		for _, line := range linesOf(one.Err) {
			d.log.Error(what, "path", one.Source.Path, "error", line)
		}
	}
}
