package networks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
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
	// warnTime is how often the log says that a list is too old.
	warnTime = 24 * time.Hour
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

// Platform is what the configuration says of a platform's networks.
type Platform struct {
	Name string
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
	// Ours are networks that are no platform's.
	Ours      []netip.Prefix
	Platforms []Platform
}

// Status is what is known of one source.
type Status struct {
	Platform string
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

// Lists holds the networks of all platforms. Each source keeps the last list
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
	sources []*source
}

// source is a Source with its list.
type source struct {
	Source
	platform string
	maxAge   time.Duration
	file     file // of a File
	// busy is set while a goroutine fetches the list. It alone uses file.
	busy bool

	list    []netip.Prefix // sorted; nil until there is a good one
	skipped []string
	fetched time.Time // when the list was last known to be right
	due     time.Time
	err     error // the failure since; nil: there is none
	// doubted is set when the record was seen to lack most of the list.
	doubted bool
	kept    bool      // the list has been saved
	unsaved bool      // the list could not be saved
	warned  time.Time // when the log last said that the list is old
}

// New returns Lists without a platform. The log is told once when a source
// fails and once when it is good again, and of each list that changes. Now is
// the clock.
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
	before := l.platforms
	c.Ours = normal(c.Ours)
	l.config, l.platforms = c, nil
	for _, one := range c.Platforms {
		p := &platform{Platform: one}
		p.Networks = normal(one.Networks)
		for _, s := range one.Sources {
			if fresh := inherit(before, s, p); !slices.ContainsFunc(p.sources, func(s *source) bool { return s.Source == fresh.Source }) {
				p.sources = append(p.sources, fresh)
			}
		}
		l.platforms = append(l.platforms, p)
	}
	for s := range l.sources {
		if s.list == nil && !s.busy {
			l.begin(s)
		}
		l.giveWay(s)
	}
}

// inherit returns a platform's source from those that were there before, or a new
// one.
func inherit(before []*platform, wanted Source, p *platform) *source {
	for _, old := range before {
		for _, s := range old.sources {
			if old.Name == p.Name && s.Source == wanted {
				s.maxAge, s.due = p.MaxAge, time.Time{}
				return s
			}
		}
	}
	return &source{Source: wanted, platform: p.Name, maxAge: p.MaxAge, file: file{path: wanted.Name}}
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
		l.log.Warn("a saved list of networks is of no use and is fetched anew", "platform", s.platform, "source", s.String(), "error", err)
	default:
		s.list, s.fetched, s.kept = was.Networks, was.Fetched, true
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
	kept := slices.DeleteFunc(slices.Clone(s.list), func(prefix netip.Prefix) bool {
		return l.collision(s, []netip.Prefix{prefix}) != nil
	})
	if s.list = kept; len(kept) == 0 {
		s.list = nil
	}
	l.fail(s, err)
}

// collision returns an error when a list has addresses that are ours or another
// platform's.
func (l *Lists) collision(s *source, list []netip.Prefix) error {
	against := func(others []netip.Prefix, owner string) error {
		for _, prefix := range list {
			if found := overlapping(others, prefix); len(found) > 0 {
				return fmt.Errorf("%s overlaps %s of %s; a client cannot be both, so take the addresses out of one of them", prefix, found[0], owner)
			}
		}
		return nil
	}
	if err := against(l.config.Ours, "our_networks"); err != nil {
		return err
	}
	for _, p := range l.platforms {
		if p.Name == s.platform {
			continue
		}
		if err := against(p.Networks, "platform."+p.Name+".networks"); err != nil {
			return err
		}
		for _, other := range p.sources {
			if err := against(other.list, fmt.Sprintf("platform.%s.networks (%s)", p.Name, other)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Networks returns the networks of a platform, sorted, none within another.
// Pending says that a source of them has not given a list yet.
func (l *Lists) Networks(name string) (list []netip.Prefix, pending bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.platforms {
		if p.Name != name {
			continue
		}
		list = append(list, p.Networks...)
		for _, s := range p.sources {
			list = append(list, s.list...)
			pending = pending || s.list == nil
		}
	}
	return normal(list), pending
}

// Status tells of every source, in the configuration's order.
func (l *Lists) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Status
	for s := range l.sources {
		one := Status{Platform: s.platform, Source: s.String(), Count: len(s.list), Skipped: s.skipped, Err: s.err}
		if s.list != nil {
			one.Age = l.now().Sub(s.fetched)
			one.Old = s.isOld(one.Age)
		}
		all = append(all, one)
	}
	return all
}

func (s *source) isOld(age time.Duration) bool { return s.maxAge > 0 && age > s.maxAge }

// Run keeps the lists fresh until ctx ends. A name server that does not answer
// holds up no other source.
func (l *Lists) Run(ctx context.Context) {
	var fetching sync.WaitGroup
	defer fetching.Wait()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		l.look(ctx, &fetching)
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// look begins to fetch the lists that are due, and warns of old ones that cannot
// be fetched.
func (l *Lists) look(ctx context.Context, fetching *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for s := range l.sources {
		if age := now.Sub(s.fetched); s.list != nil && s.err != nil && s.isOld(age) && now.Sub(s.warned) >= warnTime {
			s.warned = now
			l.log.Warn("the networks of a platform have not been refreshed for long; those that it has added since are not known", "platform", s.platform,
				"source", s.String(), "age", age.Round(time.Second), "max_age", s.maxAge, "error", s.err)
		}
		if s.busy || now.Before(s.due) {
			continue
		}
		s.busy = true
		c, first, again := l.config, s.list == nil, s.err != nil
		fetching.Go(func() {
			if s.Kind == File {
				list, err := s.file.read(now, first, again)
				l.fetched(ctx, s, list, nil, err, c.Dir)
				return
			}
			list, skipped, err := Flatten(ctx, c.Resolver, s.Name)
			l.fetched(ctx, s, list, skipped, err, c.Dir)
		})
	}
}

// fetched ends the work of a goroutine that has fetched a list.
func (l *Lists) fetched(ctx context.Context, s *source, list []netip.Prefix, skipped []string, err error, dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { s.busy = false }()
	if ctx.Err() != nil || !slices.Contains(slices.Collect(l.sources), s) {
		return
	}
	// An SPF record that is as it was is saved for the time at which it was.
	if l.settle(s, list, skipped, err); s.err == nil && (s.Kind == SPF || !s.kept) {
		l.save(s, dir)
	}
}

// settle takes what fetching a source gave.
func (l *Lists) settle(s *source, list []netip.Prefix, skipped []string, err error) {
	now := l.now()
	if err == errUnchanged {
		if s.err == nil {
			s.fetched = now
		}
		return
	}
	if err == nil {
		err = l.collision(s, list)
	}
	if err != nil {
		l.fail(s, err)
		return
	}
	if gone := lost(s.list, list); s.Kind == SPF && 2*gone > len(s.list) && !s.doubted {
		s.doubted = true
		l.fail(s, fmt.Errorf("the record of %s lacks %d of %d networks; that is believed when it is seen again", s.Name, gone, len(s.list)))
		s.due = now.Add(freshTime)
		return
	}
	if s.err != nil {
		l.log.Info("the networks of a platform can be refreshed again", "platform", s.platform, "source", s.String())
	}
	what := "the networks of a platform have changed"
	if s.list == nil {
		what = "the networks of a platform are known"
	}
	added, removed := missing(list, s.list), missing(s.list, list)
	s.list, s.skipped, s.fetched, s.err, s.doubted, s.kept = list, skipped, now, nil, false, false
	if s.Kind == SPF {
		s.due = now.Add(freshTime - freshTime/10 + rand.N(freshTime/5))
	}
	if added+removed == 0 {
		return
	}
	l.log.Info(what, "platform", s.platform, "source", s.String(), "added", added, "removed", removed, "networks", len(list), "skipped", skipped)
	select {
	case l.changed <- struct{}{}:
	default: // a value waits already
	}
}

// fail notes why a source keeps the list that it has.
func (l *Lists) fail(s *source, err error) {
	pause, what := againTime, "the networks of a platform cannot be refreshed: the last ones stay"
	if s.list == nil {
		pause, what = pendingTime, "the networks of a platform are not known: mail from unknown clients is put off until they are"
	}
	if s.err == nil {
		l.log.Error(what, "platform", s.platform, "source", s.String(), "error", err)
	}
	s.err, s.due = err, l.now().Add(pause)
}

// save makes a source's list outlive the daemon. It lets go of mu while the disk
// is at work.
func (l *Lists) save(s *source, dir string) {
	list, fetched := s.list, s.fetched
	l.mu.Unlock()
	l.saving.Lock()
	err := save(dir, s.Source, fetched, list)
	l.saving.Unlock()
	l.mu.Lock()
	if err != nil && !s.unsaved {
		l.log.Error("the networks of a platform cannot be saved: they are in use, but lost at a restart", "platform", s.platform, "source", s.String(), "error", err)
	}
	s.kept, s.unsaved = err == nil, err != nil
}
