package transaction

import (
	"context"
	"log/slog"
	"sync"

	"coexistd/milter/flood"
	"coexistd/milter/notice"
	"coexistd/milter/probe"
	"coexistd/milter/quarantine"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/directory"
	"coexistd/policy/rate"
	"coexistd/policy/seal"
	"coexistd/policy/senders"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/limits"
	"coexistd/scanners/sender"
)

// Runtime is everything that one message is decided with. It is never changed once it is
// in use; a reload swaps it whole.
type Runtime struct {
	Policy    *policy.Policy
	Directory *directory.Set
	// Senders are those that recipients have allowed and blocked.
	Senders *senders.List
	World   World
	// Flood counts for the check ddos. It outlives a reload.
	Flood *flood.Guard
	// Sinks are told of each message.
	Sinks []record.Sink
	// SpoolDir is the folder for the temporary files of long messages.
	SpoolDir string
	// Users counts the messages that are decided with World; whoever calls Begin has
	// entered there for the message, which leaves by itself.
	Users *Users
}

// World is what a transaction asks of the world, and what it brings about there. None of
// it fails: what cannot be told is said in the answer. Any number of goroutines may use
// it.
type World interface {
	// Verify verifies the message's DKIM signatures. The result is never nil.
	Verify(context.Context, *scanners.Message) []spoof.DKIM
	// Find asks scanners, signatures and the DNS what a question asks for.
	Find(context.Context, Question) Found
	// Take asks the limits, and returns an answer for each charge.
	Take(context.Context, []rate.Charge) []rate.Grant
	// LimitReached is told of a limit's first refusal in its period.
	LimitReached(notice.Event)
	// Hold puts the message into the quarantine, and returns its names there. It is
	// stored, and will be there after a crash, when the error is nil.
	Hold(quarantine.Item, []quarantine.Recipient, *scanners.Message) ([]string, error)
	// ProbeReturned is told of a probe of ours that came back, and reports that it did so
	// for the first time.
	ProbeReturned(*seal.Probe, probe.Return) (first bool)
	// ProbeBounced is told of a bounce of one.
	ProbeBounced(*seal.Probe, probe.Bounce)
	// Report writes a line that is not a message's own.
	Report(level slog.Level, text string, attrs ...slog.Attr)
}

// Question is what the policy asks of one message.
type Question struct {
	policy.Asks
	// Message is the message as it goes on, and Original as it came.
	Message, Original *scanners.Message
	// Signatures are what was found of its signatures, nil when they were not verified.
	Signatures []spoof.DKIM
	Sender     sender.Question
}

// Found are the answers, as policy.Needs has them.
type Found struct {
	Findings       []verdict.Finding
	Authentication *spoof.Authentication
}

// Live is the World of the daemon.
type Live struct {
	Log *slog.Logger
	// Scanners make the checks that read a message's content, and Resolver is asked who
	// sent it.
	Scanners *scanners.Runner
	Resolver *sender.Resolver
	// Limits counts for the check rate, and Notices tells of accounts that reach a limit.
	// They outlive a reload.
	Limits  *limits.Keeper
	Notices *notice.Teller
	// Quarantine takes the messages that are held. It outlives a reload.
	Quarantine *quarantine.Store
	// Probes keeps in mind which of our probes came back. It outlives a reload.
	Probes *probe.Book
}

// Verify verifies the message's signatures.
func (l *Live) Verify(ctx context.Context, m *scanners.Message) []spoof.DKIM {
	return l.verifier(m.QueueID).DKIM(ctx, m)
}

// Find asks all at once: a signature that takes its time is not to keep the DNS from
// being asked.
func (l *Live) Find(ctx context.Context, q Question) (found Found) {
	var done sync.WaitGroup
	if q.Authentication {
		found.Authentication = &spoof.Authentication{}
		verifier := l.verifier(q.Message.QueueID)
		if q.Signatures == nil {
			done.Go(func() { q.Signatures = verifier.DKIM(ctx, q.Original) })
		}
		done.Go(func() { *found.Authentication = verifier.Authenticate(ctx, q.Sender) })
	}
	if len(q.Scans) > 0 {
		found.Findings = l.Scanners.Run(ctx, q.Scans, q.Message)
	}
	done.Wait()
	if q.Authentication {
		found.Authentication.DKIM = q.Signatures
	}
	return found
}

func (l *Live) verifier(queueID string) *sender.Verifier {
	return &sender.Verifier{Resolver: l.Resolver, Broken: func(panicked any, stack []byte) {
		l.Report(slog.LevelError, "a message's sender could not be authenticated; this is an error in coexistd",
			slog.String("queue_id", queueID), slog.Any("panic", panicked), slog.String("stack", string(stack)))
	}}
}

// Take asks the limits.
func (l *Live) Take(ctx context.Context, charges []rate.Charge) []rate.Grant {
	return l.Limits.Take(ctx, charges)
}

// LimitReached tells of it in the log and by mail.
func (l *Live) LimitReached(e notice.Event) { l.Notices.Tell(e) }

// Hold stores the message.
func (l *Live) Hold(item quarantine.Item, held []quarantine.Recipient, m *scanners.Message) ([]string, error) {
	return l.Quarantine.Put(item, held, m.Reader())
}

// ProbeReturned keeps it in mind.
func (l *Live) ProbeReturned(p *seal.Probe, r probe.Return) (first bool) {
	return l.Probes.Returned(p, r)
}

// ProbeBounced keeps it in mind.
func (l *Live) ProbeBounced(p *seal.Probe, b probe.Bounce) { l.Probes.Bounced(p, b) }

// Report writes the line.
func (l *Live) Report(level slog.Level, text string, attrs ...slog.Attr) {
	l.Log.LogAttrs(context.Background(), level, text, attrs...)
}
