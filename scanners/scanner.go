// Package scanners checks messages by their content: it reads attachments itself, and the
// packages below it ask clamd and rspamd. A Runner makes each check in a bounded time,
// whatever its scanner does.
package scanners

import (
	"context"
	"io"
	"net/netip"

	"coexistd/policy/verdict"
)

// Scanner makes one check on messages. Scan returns what it saw and never
// fails: what it could not tell is a finding of verdict.Unknown with the reason.
// Any number of goroutines may call it.
//
// Scan returns soon after ctx ends, and does not touch the message once it has
// returned: the caller throws the content away then.
type Scanner interface {
	// Check is the name of the check that the scanner makes: "virus".
	Check() string
	Scan(ctx context.Context, m *Message) verdict.Finding
}

// Message is one message as scanners see it.
type Message struct {
	// Content is the whole message, header and body, with CRLF line ends. It may
	// be read by several scanners at once.
	Content io.ReaderAt
	// Size is the length of Content in bytes.
	Size int64
	// Sender is MAIL FROM's path without angle brackets; empty is the null sender.
	Sender string
	// Recipients are those of the envelope that the message is checked for.
	Recipients []string
	// Client is the connecting address; invalid when there is none.
	Client netip.Addr
	// Helo is what the client called itself, ClientName what the MTA found for
	// its address; Login the authenticated user. Each may be empty.
	Helo, ClientName, Login string
	// QueueID is the MTA's name for the message, or empty.
	QueueID string
}

// Reader returns a reader of the whole content. Each has a place of its own.
func (m *Message) Reader() *io.SectionReader { return io.NewSectionReader(m.Content, 0, m.Size) }

// Hit is the finding of something by that name. The name is short and stable, for people
// to read and to search for; the reason is one sentence for the log. The finding of a
// check that has nothing to object to is verdict.Passed.
func Hit(check, name, reason string) verdict.Finding {
	return verdict.Finding{Check: check, State: verdict.Hit, Name: name, Reasons: because(reason)}
}

// Unknown is the finding of a check that could not tell of this message: it is too large,
// cannot be parsed, or gets an answer that makes no sense. The next message may fare
// better.
func Unknown(check, reason string) verdict.Finding {
	return verdict.Finding{Check: check, Reasons: because(reason)}
}

// Down is the finding of a check whose server could not be asked, whatever the message
// is: it could not be reached, did not answer in time, or closed early. After some of
// these in a row, the Runner asks that server less often.
func Down(check, reason string) verdict.Finding {
	finding := Unknown(check, reason)
	finding.Down = true
	return finding
}

// because has a scanner's own sentence for a reason.
func because(sentence string) verdict.Reasons {
	return verdict.Because(verdict.Why(verdict.Reported, sentence))
}
