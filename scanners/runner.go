package scanners

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"coexistd/policy/verdict"
)

// Guarded is a scanner with the bounds within which a Runner uses it.
type Guarded struct {
	Scanner Scanner
	// Name is what people know it by: "clamd".
	Name string
	// Timeout is the time that a message may spend with the scanner, the wait for
	// a place included.
	Timeout time.Duration
	// MaxScans is the number of messages, at least 1, that the scanner works on
	// at once.
	MaxScans int
}

// Runner makes checks on messages, each by its scanner. A scanner that is slow,
// gone or broken costs a message its finding and a bounded time, no more, and a
// server that has not answered for a while is no longer waited for. Any number
// of goroutines may use a Runner.
type Runner struct {
	guards map[string]*guard // by check
}

// NewRunner returns a Runner of these scanners, of one at most for each check.
// It tells the log when a server stops answering, when it answers again, and
// when a scanner panics.
func NewRunner(log *slog.Logger, scanners ...Guarded) *Runner {
	r := &Runner{guards: make(map[string]*guard)}
	for _, s := range scanners {
		r.guards[s.Scanner.Check()] = &guard{
			Guarded: s,
			log:     log,
			places:  make(chan struct{}, s.MaxScans),
			breaker: newBreaker(s.Name, log),
		}
	}
	return r
}

// Run makes the checks side by side and returns one finding for each, in their
// order. It returns when the last has been made: after the longest of their
// Timeouts, or soon after ctx has ended.
//
// An end of ctx says nothing of a server. A ctx that always ends before the
// Timeouts do would hide that one has stopped answering.
func (r *Runner) Run(ctx context.Context, checks []string, m *Message) []verdict.Finding {
	if len(checks) == 0 {
		return nil
	}
	findings := make([]verdict.Finding, len(checks))
	var others sync.WaitGroup
	for i := 1; i < len(checks); i++ {
		others.Go(func() { findings[i] = r.one(ctx, checks[i], m) })
	}
	findings[0] = r.one(ctx, checks[0], m)
	others.Wait()
	return findings
}

func (r *Runner) one(ctx context.Context, check string, m *Message) verdict.Finding {
	if g := r.guards[check]; g != nil {
		return g.check(ctx, m)
	}
	return Down(check, "no scanner is configured for the check "+check)
}

// guard is a scanner at work.
type guard struct {
	Guarded
	log     *slog.Logger
	places  chan struct{} // holds an element for each scan under way
	breaker *breaker
}

// check makes the check on one message, within Timeout.
func (g *guard) check(ctx context.Context, m *Message) verdict.Finding {
	p, refusal := g.breaker.enter()
	if refusal != "" {
		return Down(g.Scanner.Check(), refusal)
	}
	limited, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	if refusal := g.place(limited, p); refusal != "" {
		g.breaker.settle(p, nothing, "")
		return Down(g.Scanner.Check(), refusal)
	}
	defer func() { <-g.places }()
	begun := time.Now()
	finding := g.scan(limited, m)
	told := nothing
	switch {
	case finding.State != verdict.Unknown:
		told = answered
	case !finding.Down || ctx.Err() != nil:
		// The server may not even have been asked, or the caller did not let it
		// answer.
	case limited.Err() != nil && time.Since(begun) < g.Timeout/2:
		// Most of the time went by waiting for a place: the server is busy, and
		// was not given the time that it may take.
	default:
		told = failed
	}
	g.breaker.settle(p, told, finding.Reasons.String())
	return finding
}

// place takes a place, once one is free. It gives up when ctx ends or the pass
// is revoked; refusal says so.
func (g *guard) place(ctx context.Context, p pass) (refusal string) {
	select {
	case g.places <- struct{}{}:
	case <-p.revoked:
		return g.Name + " does not answer"
	case <-ctx.Done():
		return fmt.Sprintf("all %d scans of %s stayed in use: %v", g.MaxScans, g.Name, ctx.Err())
	}
	// The place may have come free just by what revoked the pass.
	select {
	case <-p.revoked:
		<-g.places
		return g.Name + " does not answer"
	default:
		return ""
	}
}

// scan has the scanner look at the message. One that panics could not tell.
func (g *guard) scan(ctx context.Context, m *Message) (finding verdict.Finding) {
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("a scanner panicked", "scanner", g.Name, "queue_id", m.QueueID,
				"panic", v, "stack", string(debug.Stack()))
			finding = Unknown(g.Scanner.Check(), g.Name+" broke down on this message; the log has the particulars")
		}
	}()
	return g.Scanner.Scan(ctx, m)
}
