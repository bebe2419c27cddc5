package networks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"coexistd/policy/networks"
)

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
			s.log.Warn("the networks of "+s.whose()+" have not been refreshed for long; those that it has added since are not known",
				"age", age.Round(time.Second), "max_age", s.platform.MaxAge, "error", s.err)
		}
		if s.list == nil && !s.missed && now.Sub(s.since) >= waitTime {
			s.missed, s.warned = true, time.Time{}
			l.tellChange()
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
	// An SPF record that is as it was is saved for the time at which it was. What
	// is others' by today's configuration is saved, too: tomorrow it need not be.
	if l.settle(s, list, skipped, err) && (s.Kind == SPF || !s.kept) {
		if err == errUnchanged {
			list = s.list
		}
		l.save(s, list, dir)
	}
}

// settle takes what fetching a source gave, and reports whether it is good. Of a
// list that overlaps others', the rest is good, unless a whole list is there from
// before.
func (l *Lists) settle(s *source, list []netip.Prefix, skipped []string, err error) bool {
	now := l.now()
	if err == errUnchanged {
		if s.err == nil {
			s.fetched = now
		}
		return s.err == nil
	}
	var overlap error
	if err == nil {
		overlap = l.collision(s, list)
	}
	switch cut := s.list == nil || s.cut; {
	case err != nil:
		l.fail(s, err)
		return false
	case overlap != nil && !cut:
		l.fail(s, overlap)
		return false
	case overlap != nil:
		list = l.others(s, list)
	}
	if _, gone := missing(s.list, networks.SetOf(list...)); s.Kind == SPF && 2*gone > len(s.list) && !s.doubted {
		s.doubted = true
		l.fail(s, fmt.Errorf("the record of %s lacks %d of %d networks; that is believed when it is seen again", s.Name, gone, len(s.list)))
		s.due = now.Add(freshTime)
		return false
	}
	l.take(s, list, skipped, overlap)
	return true
}

// take makes a list that of its source. Overlap is why networks are missing from
// it; nil: none are.
func (l *Lists) take(s *source, list []netip.Prefix, skipped []string, overlap error) {
	now := l.now()
	if s.err != nil && overlap == nil {
		s.log.Info("the networks of " + s.whose() + " can be refreshed again")
	}
	what := "the networks of " + s.whose() + " have changed"
	if s.list == nil {
		what = "the networks of " + s.whose() + " are known"
	}
	before, known := s.list, s.list != nil
	added, _ := missing(list, s.set)
	s.have(list)
	s.skipped, s.fetched, s.doubted, s.kept = skipped, now, false, false
	removed, _ := missing(before, s.set)
	pause := freshTime - freshTime/10 + rand.N(freshTime/5)
	if s.Kind == File {
		pause = 0
	}
	if overlap != nil {
		l.lack(s, overlap, max(pause, againTime))
	} else {
		s.cut, s.err, s.due = false, nil, now.Add(pause)
	}
	if known && added+removed == 0 {
		return
	}
	s.log.Info(what, "added", added, "removed", removed, "networks", len(list), "skipped", skipped)
	l.tellChange()
}

func (l *Lists) tellChange() {
	select {
	case l.changed <- struct{}{}:
	default: // a value waits already
	}
}

// fail notes why a source keeps the list that it has.
func (l *Lists) fail(s *source, err error) {
	now, pause, what := l.now(), againTime, "the networks of "+s.whose()+" cannot be refreshed: the last ones stay"
	switch {
	case s.list == nil && s.missed && len(s.platform.known()) > 0:
		pause, what = pendingTime, "a part of the networks of "+s.whose()+" is not known and no longer waited for: mail from there is judged as anybody's"
	case s.list == nil:
		pause, what = pendingTime, "the networks of "+s.whose()+" are not known: mail from unknown clients is put off until they are"
	}
	switch {
	case s.list != nil && s.err == nil:
		s.log.Error(what, "error", err)
	case s.list == nil && (s.err == nil || now.Sub(s.warned) >= remindTime):
		s.warned = now
		s.log.Error(what, "waiting", now.Sub(s.since).Round(time.Second), "error", err)
	}
	s.err, s.due = err, now.Add(pause)
}

// lack notes which networks have been taken out of a source's list, and has it
// fetched again after a pause.
func (l *Lists) lack(s *source, overlap error, pause time.Duration) {
	if !s.cut {
		s.log.Error("networks of "+s.whose()+" are not its alone: they are left out, and what comes from there is not its mail",
			"left", len(s.list), "error", overlap)
	}
	s.cut, s.err, s.due = true, overlap, l.now().Add(pause)
}

// save makes a source's list outlive the daemon, whole. It lets go of mu while the
// disk is at work.
func (l *Lists) save(s *source, list []netip.Prefix, dir string) {
	fetched := s.fetched
	l.mu.Unlock()
	l.saving.Lock()
	err := save(dir, s.Source, fetched, list)
	l.saving.Unlock()
	l.mu.Lock()
	if err != nil && !s.unsaved {
		s.log.Error("the networks of "+s.whose()+" cannot be saved: they are in use, but lost at a restart", "error", err)
	}
	s.kept, s.unsaved = err == nil, err != nil
}
