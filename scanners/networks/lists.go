package networks

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"coexistd/policy/networks"
	"coexistd/policy/tenant"
)

const (
	// lookInterval is how often files are looked at.
	lookInterval = 5 * time.Second
	// freshTime is how long the list of an SPF record is taken for fresh. Records
	// name a time to live of an hour or so, and platforms announce new networks
	// weeks ahead. A tenth more or less keeps hosts that were started together
	// from asking together.
	freshTime = time.Hour
	// againTime is the pause after a failure, and pendingTime that of a source
	// which never gave a list: its platform's mail waits for it.
	againTime   = time.Minute
	pendingTime = 10 * time.Second
	// warnTime is how often the log says that a list is too old, and remindTime
	// how often that one is not known.
	warnTime   = 24 * time.Hour
	remindTime = 10 * time.Minute
	// waitTime is how long a platform of which other networks are known waits for
	// a list that never came. Whoever mistypes a source's name must not put off
	// the mail of the Internet for good.
	waitTime = 4 * time.Hour
)

// The kinds of sources.
const (
	SPF  = "spf"
	File = "file"
)

// Source is where a list of networks comes from.
type Source struct {
	Kind string // SPF or File
	// Name is a domain in normal form or the absolute path of a file.
	Name string
}

// String returns the source as the configuration writes it: "spf:example.com".
func (s Source) String() string { return s.Kind + ":" + s.Name }

// Platform is what the configuration says of a platform's networks, or of an upstream's.
type Platform struct {
	Name string
	// Upstream is set for an upstream.
	Upstream bool
	// Networks are those that it lists itself.
	Networks []netip.Prefix
	Sources  []Source
	// MaxAge is how old a list may be before the log warns; 0 is no bound.
	MaxAge time.Duration
}

// Config is what Lists goes by.
type Config struct {
	// Dir is the folder for the lists that outlive the daemon. It need not exist.
	Dir      string
	Resolver Resolver
	// Ours are networks that are no platform's, nor in a list of an upstream's.
	Ours      networks.Set
	Platforms []Platform
	// Tenants says which platforms may have networks in common.
	Tenants tenant.Rules
}

// Status is what is known of one source.
type Status struct {
	Platform string
	// Upstream is set when Platform names an upstream.
	Upstream bool
	Source   string
	// Count is the number of networks in its list, and Age how long ago it was
	// last known to be right. Both are 0 when there is no list yet.
	Count int
	Age   time.Duration
	// Old is set when Age is beyond the platform's MaxAge.
	Old bool
	// Skipped are the terms of SPF records that stand for no list.
	Skipped []string
	// Err is why the list could not be refreshed; nil when it could.
	Err error
}

// Lists holds the networks of all platforms and upstreams. Each source keeps the last list
// that was good, whatever happens to it later. Any number of goroutines may use
// Lists.
type Lists struct {
	log     *slog.Logger
	now     func() time.Time
	changed chan struct{}
	saving  sync.Mutex // held while a list is saved

	mu        sync.Mutex // guards what follows
	config    Config
	platforms []*platform
}

// platform is a Platform with its lists.
type platform struct {
	Platform
	own     networks.Set // Networks in normal form
	sources []*source
}

// source is a Source with its list.
type source struct {
	Source
	platform *platform
	log      *slog.Logger // names both
	file     file         // of a File
	// busy is set while a goroutine fetches the list. It alone uses file.
	busy bool

	// list is sorted, and nil until there is a good one. One that the
	// configuration and other sources leave nothing of is empty.
	list    []netip.Prefix
	set     networks.Set // of list
	skipped []string
	// cut is set when networks that are others' have been taken out of list.
	cut     bool
	since   time.Time // when the source was first there
	missed  bool      // there has been no list for waitTime
	fetched time.Time // when the list was last known to be right
	due     time.Time
	err     error // the failure since; nil: there is none
	// doubted is set when the record was seen to lack most of the list.
	doubted bool
	kept    bool      // the list has been saved
	unsaved bool      // the list could not be saved
	warned  time.Time // when the log last said that the list is old, or missing
}

// New returns Lists without a platform. The log is told once when a source
// fails and once when it is good again, every ten minutes of one that never gave a
// list, and of each list that changes. Now is the clock.
func New(log *slog.Logger, now func() time.Time) *Lists {
	return &Lists{log: log, now: now, changed: make(chan struct{}, 1)}
}

// Changed returns the channel on which a value waits when a list has changed
// since the last was taken.
func (l *Lists) Changed() <-chan struct{} { return l.changed }

// Configure replaces the configuration. Sources that were there before keep
// their lists, and Run fetches them anew: it may be their change that somebody
// asks for. The lists of others are there at once if they are files, or have
// been saved; Run fetches the rest. Networks that the configuration gives to
// others are taken out of the lists.
func (l *Lists) Configure(c Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, isFirst := slices.Collect(l.sources), len(l.platforms) == 0
	c.Ours = networks.SetOf(networks.Normal(c.Ours.Prefixes())...)
	l.config, l.platforms = c, nil
	for _, one := range c.Platforms {
		p := &platform{Platform: one, own: networks.SetOf(networks.Normal(one.Networks)...)}
		for _, s := range one.Sources {
			if fresh := l.inherit(before, s, p); !slices.ContainsFunc(p.sources, func(s *source) bool { return s.Source == fresh.Source }) {
				p.sources = append(p.sources, fresh)
			}
		}
		l.platforms = append(l.platforms, p)
	}
	for s := range l.sources {
		if s.list == nil && !s.busy {
			l.begin(s)
			if s.list == nil && s.err == nil && !isFirst {
				s.log.Warn("a list of networks is new: mail from unknown clients is put off until it is known")
			}
		}
		l.giveWay(s)
	}
}

// inherit returns a platform's source from those that were there before, or a new
// one.
func (l *Lists) inherit(before []*source, wanted Source, p *platform) *source {
	i := slices.IndexFunc(before, func(s *source) bool { return s.platform.Name == p.Name && s.Source == wanted })
	if i < 0 {
		log := l.log.With(p.kind(), p.Name, "source", wanted.String())
		return &source{Source: wanted, platform: p, log: log, file: file{path: wanted.Name}, since: l.now()}
	}
	before[i].platform, before[i].due = p, time.Time{}
	return before[i]
}

// sources yields all of them.
func (l *Lists) sources(yield func(*source) bool) {
	for _, p := range l.platforms {
		for _, s := range p.sources {
			if !yield(s) {
				return
			}
		}
	}
}

// begin gives a new source the list that can be had without asking anybody.
func (l *Lists) begin(s *source) {
	var failed error
	if s.Kind == File {
		var list []netip.Prefix
		if list, failed = s.file.read(l.now(), true, true); failed == nil {
			l.settle(s, list, nil, nil)
			return
		}
		defer func() { l.fail(s, failed) }()
	}
	was, err := load(l.config.Dir, s.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.log.Warn("a saved list of networks is of no use and is fetched anew", "error", err)
	default:
		s.have(was.Networks)
		s.fetched, s.kept = was.Fetched, true
		// A time in the future was written by a clock that was wrong.
		if now := l.now(); s.fetched.After(now) {
			s.fetched = now
		} else {
			s.due = s.fetched.Add(freshTime)
		}
	}
}

// giveWay takes out of a source's list what the configuration gives to others. The
// list was good beside another configuration, and without any, all mail from
// outside would wait.
func (l *Lists) giveWay(s *source) {
	err := l.collision(s, s.list)
	if err == nil {
		return
	}
	s.have(l.others(s, s.list))
	s.cut = false
	l.lack(s, err, againTime)
}

// have makes a list that of the source.
func (s *source) have(list []netip.Prefix) { s.list, s.set = list, networks.SetOf(list...) }

// others returns a list without the networks that are not the source's alone. It is
// not nil.
func (l *Lists) others(s *source, list []netip.Prefix) []netip.Prefix {
	obstacles := l.obstacles(s)
	return slices.DeleteFunc(slices.Clone(list), func(prefix netip.Prefix) bool {
		return slices.ContainsFunc(obstacles, func(o obstacle) bool {
			_, overlaps := o.networks.Overlapping(prefix)
			return overlaps
		})
	})
}

// collision returns an error when a list has addresses that are ours, or another
// platform's with which its own may not share them.
func (l *Lists) collision(s *source, list []netip.Prefix) error {
	for _, o := range l.obstacles(s) {
		for _, prefix := range list {
			if found, overlaps := o.networks.Overlapping(prefix); overlaps {
				return fmt.Errorf("%s overlaps %s of %s; %s", prefix, found, o.owner, o.advice)
			}
		}
	}
	return nil
}

// obstacle are networks of which a source's list may have none.
type obstacle struct {
	networks networks.Set
	owner    string // as the configuration writes it
	advice   string
}

// obstacles returns those of a source: our networks, and those of the platforms with which
// its own may not share any. An upstream goes before all platforms, whatever networks they
// have in common.
func (l *Lists) obstacles(s *source) []obstacle {
	const apart = "take the addresses out of one of them"
	all := []obstacle{{l.config.Ours, "our_networks", "a client cannot be both, so " + apart}}
	for _, p := range l.platforms {
		if p == s.platform || p.Upstream != s.platform.Upstream {
			continue
		}
		advice := "a client cannot be both, so " + apart
		if !p.Upstream {
			reason := l.config.Tenants.MayShare(p.Name, s.platform.Name)
			if reason == nil {
				continue
			}
			advice = reason.Error() + ", or " + apart
		}
		owner := p.kind() + "." + p.Name + ".networks"
		all = append(all, obstacle{p.own, owner, advice})
		for _, other := range p.sources {
			all = append(all, obstacle{other.set, fmt.Sprintf("%s (%s)", owner, other), advice})
		}
	}
	return all
}

// whose says for the log whose list it is.
func (s *source) whose() string {
	if s.platform.Upstream {
		return "an upstream"
	}
	return "a platform"
}

// kind is the word for what it is, as the configuration has it.
func (p *Platform) kind() string {
	if p.Upstream {
		return "upstream"
	}
	return "platform"
}

// Live returns the networks of all platforms and upstreams as they are now, none
// within another of its own. A platform is pending while a source of it has not given a
// list yet. A source that has not for four hours is waited for only while no network of
// the platform is known.
func (l *Lists) Live() networks.Live {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := make(networks.Live, len(l.platforms))
	for _, p := range l.platforms {
		known := networks.Known{Networks: networks.SetOf(networks.Normal(p.known())...), Upstream: p.Upstream}
		for _, s := range p.sources {
			known.Pending = known.Pending || s.list == nil && (!s.missed || known.Networks.Len() == 0)
		}
		live[p.Name] = known
	}
	return live
}

// known returns the networks of a platform that are known, in no order.
func (p *platform) known() []netip.Prefix {
	list := slices.Clone(p.Networks)
	for _, s := range p.sources {
		list = append(list, s.list...)
	}
	return list
}

// Status tells of every source, in the configuration's order.
func (l *Lists) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Status
	for s := range l.sources {
		one := Status{Platform: s.platform.Name, Upstream: s.platform.Upstream, Source: s.String(), Count: len(s.list), Skipped: s.skipped, Err: s.err}
		if s.list != nil {
			one.Age = l.now().Sub(s.fetched)
			one.Old = s.isOld(one.Age)
		}
		all = append(all, one)
	}
	return all
}

func (s *source) isOld(age time.Duration) bool {
	return s.platform.MaxAge > 0 && age > s.platform.MaxAge
}
