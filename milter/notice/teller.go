// Package notice tells the administrators of accounts that reach a rate limit: by
// a line in the log at once, and by a mail that says what the account has sent.
package notice

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy"
)

const (
	// maxWaiting bounds the notices that wait to be sent.
	maxWaiting = 100
	// lag is how far a limiter's clock may be ahead of ours, or behind.
	lag = 2 * time.Second
)

// Settings are what a configuration says of notices.
type Settings struct {
	// Policy has the rules whose longest period is how far back a notice tells
	// what was sent. Its key signs the mails' way past our own spam check, and its
	// Hostname names this host in them.
	Policy *policy.Policy
	// MTA is the host and port that takes the mails.
	MTA string
	// From is the address that they come from, and To are the administrators';
	// empty: no mail is sent.
	From string
	To   []string
	// Zone is that of the times in them; nil is UTC.
	Zone *time.Location
}

// Event is that an account has reached a limit.
type Event struct {
	// Account is whose mail it was, by the name under which Record knows it: a
	// login, or the address of a client that need not log in. It is empty for mail
	// made on this host.
	Account string
	// Rule is the limit's, and Key what it counted for. Limit and Burst are those
	// that hold for the key.
	Rule         *policy.Rate
	Key          string
	Limit, Burst int64
	// Wait is the time in microseconds after which a message like the one that was
	// over the limit is within it, policy.Never, or zero: nobody knows.
	Wait   int64
	Client netip.Addr
	Point  policy.Checkpoint
	// Mail asks for a mail to the administrators, too.
	Mail bool
}

// Teller tells of events. It lives as long as the daemon does. All methods may be
// called by several goroutines at once; Record and Tell do not wait for anything
// outside the process but the log.
type Teller struct {
	log      *slog.Logger
	settings atomic.Pointer[Settings]
	ledger   ledger
	recently recently
	waiting  chan told
	dropped  atomic.Int64
	// pauses are those between the tries to send one notice.
	pauses []time.Duration
}

// told is an event of which a mail is to be sent, with what its account had sent
// by then.
type told struct {
	Event
	at     time.Time
	sum    totals
	recent []Message
}

// New returns a Teller that notes nothing and sends no mail until it is configured.
func New(log *slog.Logger) *Teller {
	t := &Teller{
		log: log, waiting: make(chan told, maxWaiting),
		pauses: []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute},
	}
	t.settings.Store(&Settings{})
	return t
}

// Configure puts settings in the place of those before. What the accounts have
// sent stays known.
func (t *Teller) Configure(s Settings) {
	s.Zone = cmp.Or(s.Zone, time.UTC)
	var longest int64
	for _, rule := range s.Policy.Rates {
		longest = max(longest, rule.Per)
	}
	t.ledger.setWindow(seconds(longest))
	t.settings.Store(&s)
}

// Record notes a message that was let through.
func (t *Teller) Record(account string, m Message) { t.ledger.record(account, m) }

// Tell writes the event's line in the log, and leaves the mail, where one is
// wanted, to Run. When too many wait already, that is dropped, which the line says,
// too. Of an account that reaches the limits of several keys of a rule, the first
// event in the rule's period is told, and no other.
func (t *Teller) Tell(e Event) { t.tell(e, time.Now()) }

func (t *Teller) tell(e Event, now time.Time) {
	period := seconds(e.Rule.Per)
	if !t.recently.isFirst(subject{clip(e.Account, policy.MaxAddress), e.Rule.Name, e.Mail}, now, period-min(period/4, lag)) {
		return
	}
	sum, recent := t.ledger.sent(e.Account, now)
	mail := "none"
	if e.Mail && len(t.settings.Load().To) > 0 {
		select {
		case t.waiting <- told{e, now, sum, recent}:
			mail = "queued"
		default:
			t.dropped.Add(1)
			mail = "dropped"
		}
	}
	since := ""
	if !sum.since.IsZero() {
		since = sum.since.Format(time.RFC3339)
	}
	wait := (time.Duration(e.Wait) * time.Microsecond).String()
	if e.Wait == policy.Never {
		wait = "never"
	}
	t.log.LogAttrs(context.Background(), slog.LevelWarn, "limit reached",
		slog.String("account", clip(e.Account, maxText)),
		slog.String("rule", e.Rule.Name),
		slog.String("by", e.Rule.By.String()),
		slog.String("key", clip(e.Key, maxText)),
		slog.String("unit", e.Rule.Count.String()),
		slog.Int64("limit", e.Limit),
		slog.Int64("burst", e.Burst),
		slog.String("per", seconds(e.Rule.Per).String()),
		slog.String("point", e.Point.String()),
		slog.String("verdict", e.Rule.OnLimit.String()),
		slog.Any("client", e.Client),
		slog.String("wait", wait),
		slog.Int64("sent_messages", sum.messages),
		slog.Int64("sent_recipients", sum.recipients),
		slog.Int64("sent_bytes", sum.bytes),
		slog.String("since", since),
		slog.String("mail", mail))
}

// Run sends the mails until the context ends, one after another. One that the MTA
// does not take is tried five times, within a quarter of an hour; the others wait
// meanwhile. Of a mail whose end the MTA does not answer, a second copy may arrive.
func (t *Teller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case n := <-t.waiting:
			t.deliver(ctx, n, t.dropped.Swap(0))
		}
	}
	if n := len(t.waiting); n > 0 {
		t.log.Warn("limit notices are not sent, since the daemon stops", "count", n)
	}
}

// deliver sends one notice to the administrators. It tells them, too, how many
// notices before it were dropped.
func (t *Teller) deliver(ctx context.Context, n told, dropped int64) {
	left := t.settings.Load().To
	for try := 0; ; try++ {
		var err error
		if left, err = t.send(ctx, n, dropped, left); len(left) == 0 {
			return
		}
		if try == len(t.pauses) || ctx.Err() != nil {
			t.log.Error("limit notice not sent", "account", clip(n.Account, maxText), "rule", n.Rule.Name, "to", left, "error", err)
			return
		}
		t.log.Warn("limit notice not taken by the MTA; it is tried again", "account", clip(n.Account, maxText), "to", left, "in", t.pauses[try], "error", err)
		select {
		case <-time.After(t.pauses[try]):
		case <-ctx.Done():
		}
	}
}

// send sends a notice to each address, and returns those that it is to be sent to
// again, with the last reason.
func (t *Teller) send(ctx context.Context, n told, dropped int64, addresses []string) (left []string, last error) {
	s := t.settings.Load()
	for _, to := range addresses {
		letter, err := s.letter(n, dropped, to, time.Now())
		if err == nil {
			err = s.post().Send(ctx, letter)
		}
		switch {
		case err == nil:
			t.log.Info("limit notice sent", "account", clip(n.Account, maxText), "rule", n.Rule.Name, "to", to)
		case ownmail.IsForGood(err):
			t.log.Error("limit notice refused for good", "account", clip(n.Account, maxText), "rule", n.Rule.Name, "to", to, "error", err)
		default:
			left, last = append(left, to), err
		}
	}
	return left, last
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
