package daemon

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/quarantine"
	"coexistd/milter/senders"
	"coexistd/milter/store"
	"coexistd/policy/config"
	policy "coexistd/policy/senders"
)

// followInterval is how often it is asked whether the senders that recipients have allowed and
// blocked have changed.
const followInterval = 5 * time.Second

// senderList are the senders that recipients have allowed and blocked, as they were read last:
// while they cannot be read, these hold.
type senderList struct {
	list  atomic.Pointer[policy.List] // that messages are decided by; nil: nobody is
	state atomic.Pointer[control.Senders]

	mu      sync.Mutex // whoever reads has it
	all     []senders.Sender
	path    string // of the file that they are of; empty: they were never read
	version senders.Version
}

// read reads the senders of a book again where they have changed, and reports that they have.
// Where another file has taken the place of theirs, it gets what was in the one before.
func (l *senderList) read(ctx context.Context, book *senders.Book, log *slog.Logger) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	version, err := book.Version(ctx)
	known := l.path == book.Path()
	if err == nil && known && version.File != l.version.File && len(l.all) > 0 {
		if err = book.Restore(ctx, l.all); err == nil {
			log.Warn("another file has taken the place of the one with the senders that recipients have allowed and blocked: those from before were written into it",
				"file", book.Path(), "senders", len(l.all))
			version, err = book.Version(ctx)
		}
	}
	if changed = err == nil && !(known && version == l.version); changed {
		var all []senders.Sender
		if all, err = book.All(ctx); err == nil {
			l.all, l.path, l.version = all, book.Path(), version
			l.list.Store(senders.List(all))
		}
	}
	if ctx.Err() == nil {
		l.note(err, log)
	}
	return changed && err == nil
}

// note keeps in mind how the senders are, and tells what is new of that.
func (l *senderList) note(err error, log *slog.Logger) {
	var now, before control.Senders
	if was := l.state.Load(); was != nil {
		before = *was
	}
	for _, s := range l.all {
		if s.Kind == policy.Allowed {
			now.Allowed++
		} else {
			now.Blocked++
		}
	}
	switch {
	case err == nil && before.Error != "":
		log.Info("the senders that recipients have allowed and blocked can be read again")
	case err != nil:
		now.Error, now.Since = err.Error(), before.Since
		if before.Error == "" {
			now.Since = time.Now()
			log.Error("the senders that recipients have allowed and blocked cannot be read: those from before hold",
				"allowed", now.Allowed, "blocked", now.Blocked, "error", err)
		}
	}
	l.state.Store(&now)
}

// followSenders has messages decided by the senders that are allowed and blocked now.
func (d *Daemon) followSenders() {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		select {
		case <-d.awake.Done():
			return
		case <-tick.C:
		}
		changed := false
		d.with(func(g *generation) { changed = d.senders.read(d.awake, g.senders, d.log) })
		if changed {
			d.change(d.publish)
			now := d.senders.state.Load()
			d.log.Info("the senders that recipients have allowed and blocked were read", "allowed", now.Allowed, "blocked", now.Blocked)
		}
	}
}

// ReadSenders reads the senders that recipients have allowed and blocked as a command does,
// with or without a daemon.
func ReadSenders(ctx context.Context, conf *config.Config) (*policy.List, error) {
	file := store.Open(quarantine.FileOptions(conf.Quarantine.Dir, slog.New(slog.DiscardHandler)))
	all, err := senders.New(file).All(ctx)
	if closed := file.Close(); err == nil {
		err = closed
	}
	return senders.List(all), err
}
