package scanners

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A server that failed so often in a row is taken for down. It is asked again
// after minPause, and after twice the pause before each further time, up to
// maxPause.
const (
	maxFailures = 3
	minPause    = time.Second
	maxPause    = 30 * time.Second
)

// breaker keeps messages from waiting for a server that does not answer. While
// it is closed, scans pass. When it has opened, they are refused at once, save
// one at a time, after each pause, which tries whether the server is back. That
// of a scanner without a server never opens.
type breaker struct {
	name string
	log  *slog.Logger

	mu       sync.Mutex
	failures int           // in a row, while closed
	opened   chan struct{} // closed when the breaker opens, new when it closes
	open     bool
	trying   bool // a scan is under way that will close the breaker or not
	pause    time.Duration
	until    time.Time // the end of the pause
}

// pass is the leave to scan. It goes back to the breaker in settle.
type pass struct {
	// revoked is closed when the breaker opens: who has not begun to scan by
	// then shall not. Nil is never closed: it is the pass of the scan that tries.
	revoked <-chan struct{}
}

// outcome is what a scan told of the server.
type outcome uint8

const (
	nothing outcome = iota // such as when the caller broke the scan off
	answered
	failed
)

func newBreaker(name string, log *slog.Logger) *breaker {
	return &breaker{name: name, log: log, opened: make(chan struct{})}
}

// enter asks for leave to scan. Without it, refusal says why.
func (b *breaker) enter() (p pass, refusal string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch wait := time.Until(b.until); {
	case !b.open:
		return pass{revoked: b.opened}, ""
	case b.trying:
		return pass{}, b.name + " does not answer; it is being asked again"
	case wait > 0:
		// Rounded up, so that it never reads "in 0 s".
		return pass{}, fmt.Sprintf("%s does not answer; it is asked again in %d s", b.name, (wait+time.Second-1)/time.Second)
	}
	b.trying = true
	return pass{}, ""
}

// settle takes a pass back with what its scan told of the server; reason is
// that of a failure. What a scan met that is older than the breaker's last change, the
// breaker has known for long.
func (b *breaker) settle(p pass, o outcome, reason string) {
	b.mu.Lock()
	tried := p.revoked == nil
	b.trying = b.trying && !tried
	var opens, closes bool
	switch {
	case o == answered:
		if closes = b.open; closes {
			b.open, b.pause, b.opened = false, 0, make(chan struct{})
		}
		b.failures = 0
	case o == failed && b.open:
		if tried {
			b.rest()
		}
	case o == failed && p.revoked == b.opened:
		b.failures++
		if opens = b.failures == maxFailures; opens {
			b.open, b.failures = true, 0
			b.rest()
			close(b.opened)
		}
	}
	b.mu.Unlock()

	switch {
	case opens:
		b.log.Warn("a scanner does not answer: messages no longer wait for it", "scanner", b.name, "reason", reason)
	case closes:
		b.log.Info("a scanner answers again", "scanner", b.name)
	}
}

// rest begins the next pause.
func (b *breaker) rest() {
	b.pause = min(max(2*b.pause, minPause), maxPause)
	b.until = time.Now().Add(b.pause)
}
