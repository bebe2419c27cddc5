package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/policy/config"
)

const (
	// keepInterval is how often the quarantine is looked after.
	keepInterval = 5 * time.Second
	// pruneInterval is how often what is too old is removed.
	pruneInterval = 10 * time.Minute
	// usageInterval is how often it is seen for metrics how full the quarantine is.
	usageInterval = 10 * time.Second
	// runTime bounds the sending of all reports of one time.
	runTime = time.Hour
	// reportAgain is how long a run that failed is left alone.
	reportAgain = 15 * time.Minute
)

// keeper looks after the quarantine: it opens it, clears out what is too old, and
// sends the reports.
type keeper struct {
	busy   atomic.Bool
	pruned time.Time                        // when it was last cleared out
	tried  time.Time                        // when a run of reports last failed
	looked time.Time                        // when usage was told
	usage  atomic.Pointer[quarantine.Usage] // for metrics; nil: it is not known
	// state is whether it is open, as far as was seen.
	state atomic.Pointer[control.Quarantine]
}

// storeSettings are those by which the file of a quarantine is found.
type storeSettings struct{ dir string }

// holdFile returns the file with the quarantine of a configuration, and with the audit.
func holdFile(h *holds, conf *config.Config, log *slog.Logger) *store.File {
	return hold(h, storeSettings{conf.Quarantine.Dir}, func(s storeSettings) (*store.File, func()) {
		file := store.New(quarantine.FileOptions(s.dir, log))
		return file, func() {
			if err := file.Close(); err != nil {
				log.Error("the quarantine cannot be closed in order", "file", file.Path(), "error", err)
			}
		}
	})
}

// keep does what is due for the quarantine. What may take long goes on beside
// the caller, one at a time.
func (d *Daemon) keep() {
	g := d.current
	if !d.keeper.busy.CompareAndSwap(false, true) {
		return
	}
	conf, keys, store, texts := g.conf, g.keys, g.store, g.texts
	d.serving.Go(func() {
		defer d.keeper.busy.Store(false)
		now := time.Now()
		if !d.tryQuarantine(conf, store) {
			return
		}
		if now.Sub(d.keeper.pruned) >= pruneInterval {
			d.keeper.pruned = now
			d.prune(g, now)
		}
		if len(conf.Metrics) > 0 && now.Sub(d.keeper.looked) >= usageInterval {
			d.keeper.looked = now
			d.lookAtUsage(store)
		}
		if len(conf.Quarantine.Report.At) > 0 && now.Sub(d.keeper.tried) >= reportAgain {
			d.report(d.alive, NewReporter(conf, keys, store, texts, d.log), now)
		}
	})
}

// lookAtUsage notes how full the quarantine is.
func (d *Daemon) lookAtUsage(store *quarantine.Store) {
	usage, err := store.Usage()
	if err != nil && d.keeper.usage.Swap(nil) == nil {
		return // it has been told, or clearing out tells it
	}
	if err != nil {
		d.log.Error("how full the quarantine is cannot be told to metrics", "error", err)
		return
	}
	d.keeper.usage.Store(&usage)
}

// tryQuarantine opens the quarantine unless it is open, says once whether that succeeds, and
// reports it.
func (d *Daemon) tryQuarantine(conf *config.Config, store *quarantine.Store) bool {
	now := control.Quarantine{Dir: conf.Quarantine.Dir, Open: true}
	if err := store.Ready(); err != nil {
		now.Open, now.Error = false, err.Error()
	}
	switch before := d.keeper.state.Swap(&now); {
	case before != nil && *before == now:
	case !now.Open:
		d.log.Error("the quarantine cannot be opened: messages that should be held are put off until it can", "dir", now.Dir, "error", now.Error)
	default:
		d.log.Info("the quarantine is open", "dir", now.Dir)
	}
	return now.Open
}

func (d *Daemon) prune(g *generation, now time.Time) {
	expired, err := g.store.Prune(now)
	if err != nil {
		d.log.Error("the quarantine cannot be cleared out", "error", err)
	} else if expired > 0 {
		d.log.Info("the quarantine was cleared out", "expired", expired)
	}
	if err := errors.Join(g.audit.Prune(d.alive, now), g.senders.Prune(d.alive, now)); err != nil && d.alive.Err() == nil {
		d.log.Error("what is too old cannot be removed from the audit, or from the senders that recipients have allowed and blocked", "error", err)
	}
}

// report sends the reports when they are due.
func (d *Daemon) report(ctx context.Context, reporter *quarantine.Reporter, now time.Time) {
	due, err := reporter.Due(now)
	if err == nil && due {
		ctx, cancel := context.WithTimeout(ctx, runTime)
		defer cancel()
		err = reporter.Run(ctx, now)
	}
	if err != nil && ctx.Err() == nil {
		d.keeper.tried = now
		d.log.Error("quarantine reports were not sent to everybody; they are tried again", "in", reportAgain, "error", err)
	}
}
