package store

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	// checkpointPages is how many pages the log beside the file has when it is brought into it.
	checkpointPages = 1000
	// scarce is how many bytes are left on a disk where that is done with each change: a log
	// that was brought into the file has room for the changes that help a full disk.
	scarce = 64 << 20
	// checkpointTime bounds how long the log's beginning anew waits for readers of it, while
	// no change can be made.
	checkpointTime = 20 * time.Millisecond
)

// checkpoints bring the log of an open file into it. In the daemon that is done beside the
// changes; in a command, SQLite does it after its changes.
type checkpoints struct {
	db      *sql.DB // of their own, with little patience
	turn    chan struct{}
	mu      sync.Mutex    // held by the one that is under way
	due     chan struct{} // nil in a command
	end     context.CancelFunc
	running sync.WaitGroup
}

// begin begins. Whoever changes the file holds turn.
func (c *checkpoints) begin(turn chan struct{}) {
	var ctx context.Context
	ctx, c.end = context.WithCancel(context.Background())
	c.turn, c.due = turn, make(chan struct{}, 1)
	c.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.due:
				c.run(ctx)
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

// run brings a log that is long into the file. Nearly all of it is done beside the changes.
// Since they go on meanwhile, the log would never come to its end and grow for ever: the few
// pages that are left are done while nothing changes, so that the log begins anew. What keeps
// it from that, a reader or a full disk, is there at the next change, too.
func (c *checkpoints) run(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pages, done := checkpoint(ctx, c.db, "NOOP")
	if pages < checkpointPages {
		return
	}
	// SQLite has the file on disk only where nothing was added meanwhile. The less there is to
	// copy, the likelier that is.
	for n := 0; n < 3 && (n == 0 || done < pages); n++ {
		if !c.copied(ctx) {
			return
		}
		pages, done = checkpoint(ctx, c.db, "NOOP")
	}
	select {
	case c.turn <- struct{}{}:
		c.restart(ctx)
		<-c.turn
	case <-ctx.Done():
	}
}

// copied copies the log into the file, and reports that nobody reads what is not copied yet.
// It waits for nobody.
func (c *checkpoints) copied(ctx context.Context) bool {
	pages, done := checkpoint(ctx, c.db, "PASSIVE")
	return pages >= 0 && done == pages
}

// restart has the log begin anew, unless somebody reads it for longer than that may take.
func (c *checkpoints) restart(ctx context.Context) { checkpoint(ctx, c.db, "RESTART") }

// checkpoint makes a checkpoint of a kind, and tells how many pages the log had, and how many
// of them are in the file; -1: it failed.
func checkpoint(ctx context.Context, db *sql.DB, kind string) (pages, done int) {
	var busy int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+kind+")").Scan(&busy, &pages, &done); err != nil || busy != 0 {
		return -1, -1
	}
	return pages, done
}
