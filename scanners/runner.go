package scanners

import (
	"context"
	"slices"
	"strings"
	"sync"

	"coexistd/policy/verdict"
)

// Runner makes checks on messages, each by its scanner. A scanner that is slow,
// gone or broken costs a message its finding and a bounded time, no more, and a
// server that has not answered for a while is no longer waited for. Any number
// of goroutines may use a Runner.
type Runner struct {
	guards map[string]*Guard // by check
}

// NewRunner returns a Runner of these scanners, of one at most for each check. What is
// known of their servers stays with the guards, so that a new configuration costs no more
// than a new Runner.
func NewRunner(guards ...*Guard) *Runner {
	r := &Runner{guards: make(map[string]*Guard, len(guards))}
	for _, g := range guards {
		r.guards[g.Scanner.Check()] = g
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

// Heard is that of the breaker.Breaker before the scanner of that name.
func (r *Runner) Heard(name, reason string) {
	for _, g := range r.guards {
		if g.Name == name {
			g.breaker.Heard(reason)
		}
	}
}

// State tells of each scanner, sorted by name.
func (r *Runner) State() []GuardState {
	all := make([]GuardState, 0, len(r.guards))
	for _, g := range r.guards {
		all = append(all, g.State())
	}
	slices.SortFunc(all, func(a, b GuardState) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (r *Runner) one(ctx context.Context, check string, m *Message) verdict.Finding {
	if g := r.guards[check]; g != nil {
		return g.check(ctx, m)
	}
	return Down(check, "no scanner is configured for the check "+check)
}
