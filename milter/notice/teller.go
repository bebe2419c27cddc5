// Package notice tells the administrators of what needs them: accounts that reach a rate
// limit, and mail in our own name that lacks its tenant's proof. There is a line in the log
// at once, and a mail that says more.
package notice

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/milter/record"
	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

const (
	// maxWaiting bounds the notices that wait to be sent.
	maxWaiting = 100
	// lag is how far a limiter's clock may be ahead of ours, or behind.
	lag = 2 * time.Second
)

// Settings are what a configuration says of notices.
type Settings struct {
	// Rates are the rules whose longest period is how far back a notice tells what was
	// sent.
	Rates []rate.Rule
	// Post takes the mails. Its Hostname names this host in them.
	Post ownmail.Post
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
	Rule         *rate.Rule
	Key          string
	Limit, Burst int64
	// Wait is the time in microseconds after which a message like the one that was
	// over the limit is within it, rate.Never, or zero: nobody knows.
	Wait   int64
	Client netip.Addr
	Point  verdict.Checkpoint
	// Mail asks for a mail to the administrators, too.
	Mail bool
	// Observed says that the limit stops nothing, since the mode is observe.
	Observed bool
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
	for _, rule := range s.Rates {
		longest = max(longest, rule.Per)
	}
	t.ledger.setWindow(seconds(longest))
	t.settings.Store(&s)
}

// Record notes what an account of ours has sent and was let through, for when it reaches
// a limit (record.Sink).
func (t *Teller) Record(r *record.Record) {
	d := &r.Decision
	if !r.Rated || d.Checkpoint != verdict.S2 || d.Verdict == verdict.None || d.Verdict > verdict.Tag || r.Account() == "" {
		return
	}
	t.ledger.record(r.Account(), Message{
		Time: r.Time, QueueID: r.QueueID, Sender: r.Sender, Recipients: r.Paths, Count: len(d.Recipients),
		Size: r.Size, Subject: r.Subject,
	})
}

// Tell writes the event's line in the log, and leaves the mail, where one is
// wanted, to Run. When too many wait already, that is dropped, which the line says,
// too. Of an account that reaches the limits of several keys of a rule, the first
// event in the rule's period is told, and no other.
func (t *Teller) Tell(e Event) { t.tell(e, time.Now()) }

func (t *Teller) tell(e Event, now time.Time) {
	period := seconds(e.Rule.Per)
	if !t.recently.isFirst(subject{clip(e.Account, mail.MaxAddress), e.Rule.Name, e.Mail}, now, period-min(period/4, lag)) {
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
	onLimit := e.Rule.OnLimit.String()
	if e.Observed {
		onLimit = "observed: " + onLimit
	}
	wait := (time.Duration(e.Wait) * time.Microsecond).String()
	if e.Wait == rate.Never {
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
		slog.String("verdict", onLimit),
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
			t.deliver(ctx, t.notice(n, t.dropped.Swap(0)))
		}
	}
	if n := len(t.waiting); n > 0 {
		t.log.Warn("limit notices are not sent, since the daemon stops", "count", n)
	}
}

// notice is one mail to the administrators.
type notice struct {
	kind  string // for the log
	about []any  // what the log says of it besides
	write func(s *Settings, to string, now time.Time) (*ownmail.Letter, error)
}

// notice tells of an event, and of how many notices before it were dropped.
func (t *Teller) notice(n told, dropped int64) notice {
	return notice{"limit", []any{"account", clip(n.Account, maxText), "rule", n.Rule.Name}, func(s *Settings, to string, now time.Time) (*ownmail.Letter, error) {
		return s.letter(n, dropped, to, now)
	}}
}

// deliver sends one notice to the administrators. It reports false when none of them was
// reached: it is to be sent again.
func (t *Teller) deliver(ctx context.Context, n notice) bool {
	log := t.log.With(n.about...)
	all := t.settings.Load().To
	left := all
	for try := 0; ; try++ {
		var err error
		if left, err = t.send(ctx, log, n, left); len(left) == 0 {
			return true
		}
		if try == len(t.pauses) || ctx.Err() != nil {
			log.Error(n.kind+" notice not sent", "to", left, "error", err)
			return len(left) < len(all)
		}
		log.Warn(n.kind+" notice not taken by the MTA; it is tried again", "to", left, "in", t.pauses[try], "error", err)
		select {
		case <-time.After(t.pauses[try]):
		case <-ctx.Done():
		}
	}
}

// send sends a notice to each address, and returns those that it is to be sent to
// again, with the last reason.
func (t *Teller) send(ctx context.Context, log *slog.Logger, n notice, addresses []string) (left []string, last error) {
	s := t.settings.Load()
	for _, to := range addresses {
		letter, err := n.write(s, to, time.Now())
		if err == nil {
			err = s.Post.Send(ctx, letter)
		}
		switch {
		case err == nil:
			log.Info(n.kind+" notice sent", "to", to)
		case ownmail.IsForGood(err):
			log.Error(n.kind+" notice refused for good", "to", to, "error", err)
		default:
			left, last = append(left, to), err
		}
	}
	return left, last
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
