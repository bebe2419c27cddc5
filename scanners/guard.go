package scanners

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"coexistd/policy/verdict"
	"coexistd/scanners/breaker"
)

// Guarded is a scanner with the bounds within which it is used.
type Guarded struct {
	Scanner Scanner
	// Name is what people know it by: "clamd".
	Name string
	// Timeout is the time that a message may spend with the scanner, the wait for
	// a slot included.
	Timeout time.Duration
	// Answers asks whether the server is there, until ctx ends. It tells a message that takes
	// long from a server that does not answer. Nil: both count as the second.
	Answers func(ctx context.Context) bool
	// MaxScans is the number of messages, at least 1, that the scanner works on
	// at once.
	MaxScans int
}

// A server that failed three times in a row is taken for down. It is asked again after a
// second, and after twice the pause before each further time, up to half a minute. It
// scans for many at once: an answer counts, whoever had asked.
var caution = breaker.Options{Failures: 3, MinPause: time.Second, MaxPause: 30 * time.Second}

// answerTime is within which a server that is there says so.
const answerTime = 3 * time.Second

// Guard is one scanner with what is known of its server, and with the slots of its scans.
// Several Runners may use it at once and one after the other: a server that is down stays
// so, and never has more than its slots to do.
type Guard struct {
	Guarded
	log     *slog.Logger
	slots   chan struct{} // holds an element for each scan under way
	breaker *breaker.Breaker
}

// NewGuard returns a Guard of a scanner. It tells the log when the server stops answering,
// when it answers again, and when the scanner panics.
func NewGuard(log *slog.Logger, g Guarded) *Guard {
	return &Guard{Guarded: g, log: log, slots: make(chan struct{}, g.MaxScans), breaker: breaker.New(caution)}
}

// GuardState is what a Guard knows of its scanner.
type GuardState struct {
	Name string
	// Breaker never opens for a scanner that asks no server.
	Breaker breaker.State
	// Scans are under way, of Slots at most.
	Scans, Slots int
}

// State returns what the Guard knows at the moment.
func (g *Guard) State() GuardState {
	return GuardState{Name: g.Name, Breaker: g.breaker.State(), Scans: len(g.slots), Slots: cap(g.slots)}
}

// check makes the check on one message, within Timeout.
func (g *Guard) check(ctx context.Context, m *Message) (finding verdict.Finding) {
	pass, err := g.breaker.Enter()
	if err != nil {
		return Down(g.Scanner.Check(), g.Name+" "+err.Error())
	}
	came := time.Now()
	defer func() { finding.Took = int64(time.Since(came)) }()
	limited, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	if refusal := g.slot(limited, pass); refusal != "" {
		g.breaker.Settle(pass, breaker.Nothing, "")
		return Down(g.Scanner.Check(), refusal)
	}
	defer func() { <-g.slots }()
	begun := time.Now()
	finding = g.scan(limited, m)
	told := breaker.Nothing
	switch {
	case finding.State != verdict.Unknown:
		told = breaker.Answered
	case !finding.Down || ctx.Err() != nil:
		// The server may not even have been asked, or the caller did not let it
		// answer.
	case limited.Err() != nil && time.Since(begun) < g.Timeout/2:
		// Most of the time went by waiting for a slot: the server is busy, and
		// was not given the time that it may take.
	case limited.Err() != nil && g.isThere(ctx):
		// The message took too long, and the next one may not.
	default:
		told = breaker.Failed
	}
	g.settle(pass, told, finding.Reasons)
	return finding
}

// isThere asks the server, which has not answered a scan in time, whether it is there.
func (g *Guard) isThere(ctx context.Context) bool {
	if g.Answers == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, min(answerTime, g.Timeout))
	defer cancel()
	return g.Answers(ctx)
}

// settle gives the pass back, and tells the log of what changes by it.
func (g *Guard) settle(pass breaker.Pass, told breaker.Outcome, reasons verdict.Reasons) {
	reason := ""
	if told == breaker.Failed {
		reason = reasons.String()
	}
	switch g.breaker.Settle(pass, told, reason) {
	case breaker.Opened:
		g.log.Warn("a scanner does not answer: messages no longer wait for it", "scanner", g.Name, "reason", reason)
	case breaker.Closed:
		g.log.Info("a scanner answers again", "scanner", g.Name)
	}
}

// slot takes a slot, once one is free. It gives up when ctx ends or the pass is
// revoked; refusal says so.
func (g *Guard) slot(ctx context.Context, pass breaker.Pass) (refusal string) {
	select {
	case g.slots <- struct{}{}:
	case <-pass.Revoked():
		return g.Name + " does not answer"
	case <-ctx.Done():
		return fmt.Sprintf("all %d scans of %s stayed in use: %v", g.MaxScans, g.Name, ctx.Err())
	}
	// The slot may have come free just by what revoked the pass.
	select {
	case <-pass.Revoked():
		<-g.slots
		return g.Name + " does not answer"
	default:
		return ""
	}
}

// scan has the scanner look at the message. One that panics could not tell.
func (g *Guard) scan(ctx context.Context, m *Message) (finding verdict.Finding) {
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("a scanner panicked", "scanner", g.Name, "queue_id", m.QueueID,
				"panic", v, "stack", string(debug.Stack()))
			finding = Unknown(g.Scanner.Check(), g.Name+" broke down on this message; the log has the particulars")
		}
	}()
	return g.Scanner.Scan(ctx, m)
}
