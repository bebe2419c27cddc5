package lab

import (
	"context"
	"fmt"
	"regexp"
	"slices"
)

// MTA names the kind of MTA that a site has.
type MTA string

// The kinds of MTA. PostfixMTA is the one that a site has when nothing is said.
const (
	PostfixMTA  MTA = "postfix"
	SendmailMTA MTA = "sendmail"
)

// MTAs lists the kinds.
func MTAs() []MTA { return []MTA{PostfixMTA, SendmailMTA} }

// known tells of an MTA that the lab cannot start.
func (m MTA) known() error {
	if m != "" && !slices.Contains(MTAs(), m) {
		return fmt.Errorf("lab: the lab has no MTA %q for a site; it has %q", m, MTAs())
	}
	return nil
}

// Host is the running MTA of a site. Its methods may be called side by side.
type Host interface {
	// Addr is the address, HOST:PORT, of the service of that name. An unknown name
	// panics: it is a slip of the caller's.
	Addr(service string) string
	// Log is all that the MTA has logged.
	Log() string
	// WaitLog returns the first line of the log, from the start of the instance on, that
	// matches. When ctx ends first, the error has the last lines.
	WaitLog(ctx context.Context, re *regexp.Regexp) (string, error)
	// Queue lists the messages that are in the queue.
	Queue(ctx context.Context) ([]Queued, error)
	// Flush has every message that waits for its next attempt tried now.
	Flush(ctx context.Context) error
	// WaitEmpty returns when the queue is empty. When ctx ends first, the error says what
	// is still there.
	WaitEmpty(ctx context.Context) error
	// Drain has what was put off tried again until the queue is empty. When ctx ends
	// first, the error says what is still in the queue.
	Drain(ctx context.Context) error
	// Sendmail hands a message in as a program on the host does, with the sendmail
	// command. An empty from is the null sender.
	Sendmail(ctx context.Context, from string, to []string, message []byte) error
	// QueueID is the id in the queue of a message that was answered with r. The id is
	// empty when the reply names none.
	QueueID(r Reply) string
	// WaitConnect returns once a client has connected.
	WaitConnect(ctx context.Context, client string) error
	// WaitDeferred returns once a delivery to an address was put off, for a reason that
	// matches.
	WaitDeferred(ctx context.Context, to, why string) error
	// WaitHostMailPutOff returns once mail of the host itself was put off: a milter said
	// so or did not answer, or a lookup failed.
	WaitHostMailPutOff(ctx context.Context) error
	// Visits is how often a message was begun at the services of the instance so far.
	Visits() int
	// Bounced is how many deliveries the instance has given up so far.
	Bounced() int
	// Again ends the instance's processes, and starts it with its configuration as that is by now.
	Again(ctx context.Context) error
	// Stop ends the instance at once, with whatever is in its queue, and returns when no
	// process, socket and file of it is left. A second call does nothing.
	Stop() error
}
