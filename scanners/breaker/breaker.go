// Package breaker keeps messages from waiting for a server that does not answer.
package breaker

import (
	"fmt"
	"sync"
	"time"
)

// Options say when a Breaker opens and how long it stays so.
type Options struct {
	// Failures is the number of failures in a row, at least 1, that open it.
	Failures int
	// MinPause is how long the server is left alone at first. The pause doubles with
	// each try that fails, up to MaxPause.
	MinPause, MaxPause time.Duration
	// TrialOnly has the one who tries whether the server is back close the breaker, and
	// nobody else. Otherwise the answer to whoever had asked before it opened closes it, too.
	TrialOnly bool
}

// Breaker stands before one server. While it is closed, all may ask. When it has opened,
// they are refused at once, save one at a time, after each pause, who tries whether the
// server is back. Its methods may be called side by side.
type Breaker struct {
	options Options

	mu       sync.Mutex
	changes  int // odd while it is open
	failures int // in a row, while closed
	trying   bool
	opened   chan struct{} // closed when the breaker opens, new when it closes
	since    time.Time     // when it opened, or while it is closed, when reason was met
	reason   string        // of the last failure that nothing has followed
	pause    time.Duration
	until    time.Time // the end of the pause
}

// New returns a Breaker that is closed.
func New(o Options) *Breaker { return &Breaker{options: o, opened: make(chan struct{})} }

// Pass is the leave to ask. It goes back to the breaker in Settle.
type Pass struct {
	revoked <-chan struct{} // nil of the one who tries
	change  int             // what changes was when it was given
}

// Revoked is closed when the breaker opens: who has not begun to ask by then shall not.
// That of the one who tries whether the server is back is nil.
func (p Pass) Revoked() <-chan struct{} { return p.revoked }

// Refused is the error of Enter.
type Refused struct {
	// Wait is how long nobody asks the server. It is 0 while somebody does.
	Wait time.Duration
}

// Error reads on from the server's name.
func (r *Refused) Error() string {
	if r.Wait <= 0 {
		return "does not answer; it is being asked again"
	}
	// Rounded up, so that it never reads "in 0 s".
	return fmt.Sprintf("does not answer; it is asked again in %d s", (r.Wait+time.Second-1)/time.Second)
}

// Enter asks for leave to ask the server. The error is a *Refused.
func (b *Breaker) Enter() (Pass, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open() {
		return Pass{revoked: b.opened, change: b.changes}, nil
	}
	if b.trying {
		return Pass{}, &Refused{}
	}
	if wait := time.Until(b.until); wait > 0 {
		return Pass{}, &Refused{Wait: wait}
	}
	b.trying = true
	return Pass{change: b.changes}, nil
}

// Outcome is what asking told of the server.
type Outcome uint8

const (
	// Nothing is known of it, such as when the caller broke off.
	Nothing Outcome = iota
	// Answered is the outcome of a server that is there.
	Answered
	// Failed is the outcome of one that is not.
	Failed
)

// Change is what an Outcome made of a Breaker.
type Change uint8

const (
	// None leaves it as it was.
	None Change = iota
	// Opened is the change of a server that is taken for down from now on.
	Opened
	// Closed is the change of one that is back.
	Closed
)

// Settle takes a pass back with what its holder met; reason is that of a failure. A
// failure that is older than the breaker's last change, the breaker has known for long.
func (b *Breaker) Settle(p Pass, o Outcome, reason string) Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh := p.change == b.changes
	tried := fresh && p.revoked == nil
	b.trying = b.trying && !tried
	switch {
	case o == Answered && b.open():
		if tried || !b.options.TrialOnly {
			b.change()
			b.pause, b.opened, b.reason = 0, make(chan struct{}), ""
			return Closed
		}
	case o == Answered:
		b.failures, b.reason = 0, ""
	case o == Failed && tried:
		b.rest(reason)
	case o == Failed && fresh && !b.open():
		b.since, b.reason = time.Now(), reason
		if b.failures++; b.failures == b.options.Failures {
			b.change()
			b.rest(reason)
			close(b.opened)
			return Opened
		}
	}
	return None
}

// Heard takes what somebody learnt of the server who needs no leave to ask: why it did not
// answer, or "" when it did. It opens and closes nothing, and shows in State.
func (b *Breaker) Heard(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open() {
		b.since, b.reason = time.Now(), reason
	}
}

func (b *Breaker) open() bool { return b.changes%2 == 1 }

func (b *Breaker) change() {
	b.changes++
	b.failures, b.trying = 0, false
}

// rest begins the next pause.
func (b *Breaker) rest(reason string) {
	b.pause = min(max(2*b.pause, b.options.MinPause), b.options.MaxPause)
	b.until, b.reason = time.Now().Add(b.pause), reason
}

// State is what is known of a server. The zero State is that of one that is asked
// whenever it is needed.
type State struct {
	// Open is set while the server is taken for down.
	Open bool
	// Since is when it was first, and Reason what the last one who asked it met. While it
	// is not, Reason is that of the last one, and empty when they had an answer; and Since
	// is when that was.
	Since  time.Time
	Reason string
	// Next is when the server may be asked again. It has passed when nobody has needed the
	// server since, and while somebody is Trying.
	Next   time.Time
	Trying bool
}

// State returns what the breaker knows at the moment.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.reason == "":
		return State{}
	case !b.open():
		return State{Since: b.since, Reason: b.reason}
	}
	return State{Open: true, Since: b.since, Reason: b.reason, Next: b.until, Trying: b.trying}
}
