package mtalog

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"
)

// Journal is the name of the journal of systemd, in the place of a file's path.
const Journal = "journal"

// pollInterval is how often a log is looked at, and how long is waited after a failure.
const pollInterval = time.Second

// Position is how far a log was read. The zero value is its beginning.
type Position struct {
	// Offset is that in a file, in bytes, and Tail the hash of what stands before it: a file
	// that was renamed, or copied, is known by it.
	Offset int64  `json:"offset,omitempty"`
	Tail   uint64 `json:"tail,omitempty"`
	// Cursor is the journal's name of the last entry.
	Cursor string `json:"cursor,omitempty"`
	// Time is that of the last line.
	Time time.Time `json:"time,omitzero"`
}

// far is how much of a file is read at the most until its position is told, even where it has
// no events.
const far = 4 << 20

// isFarFrom reports that what was read since the position had better not be read again: one
// in a file of before may be gone the next time.
func (p Position) isFarFrom(next Position) bool {
	return next.Offset < p.Offset || next.Offset > p.Offset+far
}

// Options say what is followed, and by whom its events are taken.
type Options struct {
	// Source is the path of a file, or Journal.
	Source string
	// From is how far it was read before.
	From Position
	// Since is how old the events may be that are taken.
	Since time.Duration
	// Take takes the next events, and how far the log was read with them. After an error it
	// is given them again.
	Take func(context.Context, []Event, Position) error
	Log  *slog.Logger
}

// Follower follows a log as it is written, and goes on where it stopped.
type Follower struct {
	options Options
	poll    time.Duration
	// position is how far events were taken.
	position Position
	chunk    []byte

	mu     sync.Mutex
	status Status

	end   context.CancelFunc
	ended chan struct{}
}

// Status tells how far a Follower is.
type Status struct {
	Source string
	// Failed is why it cannot be read, with what to do; empty: it can.
	Failed string
	// Latest is the time of the last line that was read.
	Latest time.Time
	// Lines and Events count what was read since the start.
	Lines, Events int64
	// Gap is when it was last found that part of the log is gone.
	Gap time.Time
}

// Follow begins to follow a log. Stop ends it.
func Follow(o Options) *Follower { return follow(o, pollInterval) }

func follow(o Options, poll time.Duration) *Follower {
	ctx, end := context.WithCancel(context.Background())
	f := &Follower{options: o, poll: poll, position: o.From, status: Status{Source: o.Source}, end: end, ended: make(chan struct{})}
	go f.run(ctx)
	return f
}

// Stop ends it. What is being taken is taken first.
func (f *Follower) Stop() {
	f.end()
	<-f.ended
}

// Status tells how far it is.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *Follower) run(ctx context.Context) {
	defer close(f.ended)
	follow := f.followFile
	if f.options.Source == Journal {
		follow = f.followJournal
	}
	for {
		err := follow(ctx)
		if ctx.Err() != nil {
			return
		}
		f.note(err)
		if !wait(ctx, f.poll) {
			return
		}
	}
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, while time.Duration) bool {
	timer := time.NewTimer(while)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// note notes that the log can be read, or why it cannot. The log of the daemon has each
// failure once.
func (f *Follower) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	before := f.status.Failed
	f.status.Failed = text
	f.mu.Unlock()
	switch {
	case text == before:
	case text != "":
		f.options.Log.Error("the MTA's log cannot be followed: it is not known what became of messages", "mta_log", f.options.Source, "error", text)
	default:
		f.options.Log.Info("the MTA's log is followed again", "mta_log", f.options.Source)
	}
}

// lose notes that part of the log is gone.
func (f *Follower) lose() {
	f.position = Position{}
	f.mu.Lock()
	f.status.Gap = time.Now()
	f.mu.Unlock()
	f.options.Log.Warn("part of the MTA's log was removed or packed before it was read: of some messages it is not known what became of them", "mta_log", f.options.Source)
}

// take hands on what some lines say.
func (f *Follower) take(ctx context.Context, lines []Line, at Position) error {
	var events []Event
	oldest := time.Now().Add(-f.options.Since)
	var latest time.Time
	for _, line := range lines {
		if latest = line.Time; latest.Before(oldest) {
			continue
		}
		if e := line.Event(); e.Kind != None {
			events = append(events, e)
		}
	}
	if len(events) > 0 || f.position.isFarFrom(at) {
		// What was begun is ended: the end of ctx would leave it done and not known to be.
		if err := f.options.Take(context.WithoutCancel(ctx), events, at); err != nil {
			return err
		}
		f.position = at
	}
	f.note(nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Lines += int64(len(lines))
	f.status.Events += int64(len(events))
	f.status.Latest = cmp.Or(latest, f.status.Latest)
	return nil
}
