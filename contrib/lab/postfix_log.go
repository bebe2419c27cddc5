package lab

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// Drain has what was put off tried again until the queue is empty. A queue manager
// that is busy may miss that there is mail, or leave alone for a minute what an attempt
// has not quite ended of, so that asking once is not enough; where nothing was put off,
// it need not be asked at all. When ctx ends first, the error says what is still in the
// queue.
func (m *Postfix) Drain(ctx context.Context) error {
	late, err := m.holds("deferred")
	if err != nil {
		return err
	}
	for while := time.Second; ; while *= 2 {
		if late {
			if err := m.Flush(ctx); err != nil {
				return err
			}
		}
		some, cancel := context.WithTimeout(ctx, while)
		err := m.WaitEmpty(some)
		cancel()
		if err == nil || ctx.Err() != nil || some.Err() == nil {
			return err
		}
		late = true
	}
}

var queuedAs = regexp.MustCompile(`queued as (\S+)`)

// QueueID is the id in the queue of a message that was answered with r. The id is empty
// when the reply names none.
func (m *Postfix) QueueID(r Reply) string {
	if id := queuedAs.FindStringSubmatch(r.Text); id != nil {
		return id[1]
	}
	return ""
}

// WaitDeferred returns once a delivery to an address was put off, for a reason that
// matches.
func (m *Postfix) WaitDeferred(ctx context.Context, to, why string) error {
	return m.waitFor(ctx, "to=<"+regexp.QuoteMeta(to)+">.*status=deferred.*"+why)
}

// WaitHostMailPutOff returns once mail of the host itself was put off: a milter said so or
// did not answer, or a lookup failed.
func (m *Postfix) WaitHostMailPutOff(ctx context.Context) error {
	return m.waitFor(ctx, `postfix/cleanup.*(?:: milter-reject: .*: 4|try again later)`)
}

// Visits is how often a message was begun at the services of the instance so far.
func (m *Postfix) Visits() int { return strings.Count(m.Log(), ": client=") }

// Bounced is how many deliveries the instance has given up so far.
func (m *Postfix) Bounced() int { return strings.Count(m.Log(), "status=bounced") }
