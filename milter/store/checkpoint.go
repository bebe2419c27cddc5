package store

import (
	"context"
	"database/sql"
	"sync"
)

const (
	// checkpointPages is how many pages the log beside the file has when it is brought into it.
	checkpointPages = 1000
	// scarce is how many bytes are left on a disk where that is done with each change: a log
	// that was brought into the file has room for the changes that help a full disk.
	scarce = 64 << 20
)

// checkpoints bring the log of an open file into it, beside the changes. The zero value of
// a command does nothing: SQLite does it within its changes then.
type checkpoints struct {
	due     chan struct{}
	end     context.CancelFunc
	running sync.WaitGroup
}

// begin begins. Whoever changes the file holds turn.
func (c *checkpoints) begin(db *sql.DB, turn chan struct{}) {
	var ctx context.Context
	ctx, c.end = context.WithCancel(context.Background())
	c.due = make(chan struct{}, 1)
	c.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.due:
				checkpoint(ctx, db, turn)
			}
		}
	})
}

// changed notes that something was changed.
func (c *checkpoints) changed() {
	select {
	case c.due <- struct{}{}:
	default: // it is noted, or there is nobody to whom
	}
}

func (c *checkpoints) stop() {
	if c.end != nil {
		c.end()
		c.running.Wait()
	}
}

// checkpoint brings a log that is long into the file. Nearly all of it is done beside the
// changes. Since they go on meanwhile, the log would never come to its end and grow for ever:
// the few pages that are left are done while nothing changes, so that the log begins anew.
// What keeps it from that, a reader or a full disk, is there at the next change, too.
func checkpoint(ctx context.Context, db *sql.DB, turn chan struct{}) {
	if pages := run(ctx, db, "NOOP"); pages < checkpointPages {
		return
	}
	if run(ctx, db, "PASSIVE") < 0 {
		return
	}
	select {
	case turn <- struct{}{}:
		run(ctx, db, "RESTART")
		<-turn
	case <-ctx.Done():
	}
}

// run makes a checkpoint of a kind, and tells how many pages the log had; -1: it failed.
func run(ctx context.Context, db *sql.DB, kind string) (pages int) {
	var busy, done int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+kind+")").Scan(&busy, &pages, &done); err != nil || busy != 0 {
		return -1
	}
	return pages
}
