// Package messages keeps what became of every message, so that people find it again: a sink of
// records in the daemon, and what commands search.
package messages

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"coexistd/milter/mtalog"
	"coexistd/milter/record"
	"coexistd/milter/store"
)

const (
	// batchTime and batchSize bound what is written together: so long a record waits at the
	// most for others, and so many there are at the most.
	batchTime = time.Second
	batchSize = 512
	// mostQueued bounds what waits in memory, in records of few recipients. One of many
	// counts as several.
	mostQueued = 8 * batchSize
	// recipientsAsOne is how many further recipients count as one record.
	recipientsAsOne = 10
	// patience bounds how long a change waits for other processes.
	patience = 5 * time.Second
	// pruneInterval is how often what is too old is deleted.
	pruneInterval = time.Minute
	// tellInterval is how often the log says that records are lost.
	tellInterval = time.Minute
	// stopTime bounds the writing of what waits at Stop.
	stopTime = 15 * time.Second
)

// Options say what is kept, and where.
type Options struct {
	Path string
	// Keep is how long a record is kept; 0: none is, and those that there are go.
	Keep time.Duration
	// MTALog is the MTA's log, which is followed for what it does with messages (see
	// mtalog.Options); empty: it is not.
	MTALog string
	// Delimiters are the characters that begin a subaddress's tag.
	Delimiters string
	Log        *slog.Logger
}

// Index takes what becomes of messages, and writes it beside them (record.Sink). It never has
// them wait: what the disk does not take in time is lost, and counted. Any number of goroutines
// may call its methods.
type Index struct {
	options Options
	file    *store.File

	writing sync.Mutex // held while one of these is used
	writer  writer
	gate    gate

	mu     sync.Mutex
	queue  []*record.Record
	queued int // their weight
	status Status
	untold int64 // lost records that the log does not tell of yet

	begun, full chan struct{} // there is a record, or a batch of them
	stop        chan struct{}
	ended       chan struct{}
	stopping    sync.Once

	follower           *mtalog.Follower // of the MTA's log, once that has begun
	claimed            *os.File         // locked while it follows
	unfollow, followed chan struct{}
}

// Status tells how an Index is.
type Status struct {
	// Bytes is its size on disk, and Records how many messages it has.
	Bytes, Records int64
	// Lost counts the records that could not be written since the start, the last at LastLost.
	Lost     int64
	LastLost time.Time
	// Failed is why nothing can be written now; empty: it can.
	Failed string
}

// New begins to take records. The file is made beside the caller, and again where it is gone.
// Stop ends it.
func New(o Options) *Index {
	options := file(o.Path, o.Log)
	options.Patience = patience
	x := &Index{
		options: o, file: store.New(options),
		begun: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		gate: gate{delimiters: o.Delimiters}, unfollow: make(chan struct{}), followed: make(chan struct{}),
	}
	go x.run()
	if o.MTALog == "" {
		close(x.followed)
	} else {
		go x.followMTA()
	}
	return x
}

// Record takes what became of a message.
func (x *Index) Record(r *record.Record) {
	if x.options.Keep == 0 {
		return
	}
	weight := weightOf(r)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.queued+weight > mostQueued {
		x.lose(1)
		return
	}
	x.queue = append(x.queue, r)
	x.queued += weight
	switch len(x.queue) {
	case 1:
		signal(x.begun)
	case batchSize:
		signal(x.full)
	}
}

// weightOf is how many records one counts as, of those that wait.
func weightOf(r *record.Record) int {
	return 1 + (len(r.Refused)+len(r.Decision.Recipients)+len(r.Paths))/recipientsAsOne
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lose counts records that are lost. The caller has x.mu.
func (x *Index) lose(n int) {
	x.status.Lost += int64(n)
	x.untold += int64(n)
	x.status.LastLost = time.Now()
}

// take returns the next records to be written together; none: nothing waits.
func (x *Index) take() []*record.Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := min(len(x.queue), batchSize)
	batch := x.queue[:n:n]
	for _, r := range batch {
		x.queued -= weightOf(r)
	}
	if x.queue = x.queue[n:]; len(x.queue) == 0 {
		x.queue = nil
	}
	return batch
}

// Status tells how it is now.
func (x *Index) Status() Status {
	x.mu.Lock()
	s := x.status
	x.mu.Unlock()
	if x.options.Keep == 0 {
		return s
	}
	s.Bytes = x.file.Size()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if records, err := count(ctx, x.file); err == nil {
		s.Records = records
	} else if s.Failed == "" {
		s.Failed = err.Error()
	}
	return s
}

// Stop writes what waits, and ends. It takes no more than some seconds when the disk hangs.
func (x *Index) Stop() {
	x.stopping.Do(func() {
		x.endFollowing()
		close(x.stop)
	})
	<-x.ended
}

// run writes what is taken until Stop.
func (x *Index) run() {
	defer close(x.ended)
	if x.options.Keep == 0 {
		x.remove()
		return
	}
	prune, tell := time.NewTicker(pruneInterval), time.NewTicker(tellInterval)
	defer prune.Stop()
	defer tell.Stop()
	ctx := context.Background()
	x.prune(ctx)
	for {
		select {
		case <-x.stop:
			ctx, cancel := context.WithTimeout(ctx, stopTime)
			defer cancel()
			x.writeAll(ctx)
			x.writeLate(ctx, time.Now())
			x.tellLost()
			if err := x.file.Close(); err != nil {
				x.options.Log.Error("the records of messages cannot be closed", "file", x.options.Path, "error", err)
			}
			return
		case <-x.begun:
			x.gather()
			x.writeAll(ctx)
		case <-prune.C:
			x.writeLate(ctx, time.Now().Add(-senderTime))
			x.prune(ctx)
		case <-tell.C:
			x.tellLost()
		}
	}
}

// remove sees to it, until Stop, that there is no file. Another Index, of the configuration
// before, may have some records to write yet.
func (x *Index) remove() {
	again := time.NewTicker(pruneInterval)
	defer again.Stop()
	for {
		if err := store.Remove(x.options.Path); err != nil {
			x.options.Log.Error("the records of messages cannot be removed", "file", x.options.Path, "error", err)
		}
		select {
		case <-x.stop:
			return
		case <-again.C:
		}
	}
}

// gather waits for others to be written together with the first.
func (x *Index) gather() {
	patience := time.NewTimer(batchTime)
	defer patience.Stop()
	select {
	case <-patience.C:
	case <-x.full:
	case <-x.stop:
	}
}

// writeAll writes all that waits.
func (x *Index) writeAll(ctx context.Context) {
	for batch := x.take(); len(batch) > 0; batch = x.take() {
		err := x.write(ctx, batch)
		x.note(len(batch), err)
	}
}

// note notes what came of a change, and how many records it had to write.
func (x *Index) note(records int, err error) {
	x.mu.Lock()
	failed := x.status.Failed
	x.status.Failed = ""
	if err != nil {
		x.lose(records)
		x.status.Failed = err.Error()
	}
	x.mu.Unlock()
	switch {
	case err != nil && failed == "":
		x.options.Log.Error("records of messages cannot be written: those that come are lost", "file", x.options.Path, "error", err)
	case err == nil && failed != "":
		x.options.Log.Info("records of messages can be written again", "file", x.options.Path)
	}
}

// Changes tells how the file with the records was changed so far.
func (x *Index) Changes() store.Changes { return x.file.Changes() }

// tellLost says in the log how many records were lost since it last did.
func (x *Index) tellLost() {
	x.mu.Lock()
	lost, failed := x.untold, x.status.Failed
	x.untold = 0
	x.mu.Unlock()
	if failed == "" {
		failed = "more came than could be written"
	}
	if lost > 0 {
		x.options.Log.Error("records of messages are lost: messages find does not know them", "file", x.options.Path, "lost", lost, "error", failed)
	}
}
