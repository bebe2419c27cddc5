package quarantine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/milter/ownmail"
)

// Reporter tells recipients what is held for them, and administrators what is
// held at all, one time.
type Reporter struct {
	Store *Store
	// Post takes the reports.
	Post ownmail.Post
	// From is the address that the reports come from, and Contact the one that
	// recipients ask for their messages.
	From, Contact string
	// Summary are the administrators' addresses; empty: no summary is sent.
	Summary []string
	// At are the times of day at which reports are due, each as what a clock of Zone shows
	// since midnight.
	At   []time.Duration
	Zone *time.Location
	// Keep is how long messages are held.
	Keep time.Duration
	// Texts go before the built-in ones.
	Texts *Texts
	// TextFailed is told once of each file of Texts that could not be used, so that mails have
	// the built-in text. The error names the file and what is wrong.
	TextFailed func(err error)
	Log        *slog.Logger

	failed sync.Map // the paths of those files
}

// maxSilent is after how many reports on end for which the MTA could not be reached,
// or would not have the connection, the others are left for the next time.
const maxSilent = 3

// Mail is one report, not yet sent.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	// IDs are the entries that it tells a recipient of. The administrators'
	// summary has none.
	IDs     []string `json:"ids"`
	Summary bool     `json:"summary"`

	by     *Reporter
	domain string // of whom it tells; empty: of all
	page   any    // what its templates show
}

// Compose returns the reports that are to be sent at a time: one to each
// recipient for whom something is held that nobody was told of, or to each of those who are
// told in their place, ordered by address, and then the summaries. It changes nothing.
func (r *Reporter) Compose(now time.Time) ([]Mail, error) {
	last, err := r.Store.LastReport()
	if err != nil {
		return nil, fmt.Errorf("when the last quarantine reports were sent is not known: %w", err)
	}
	untold := make(map[[2]string]*notice)
	sum := r.newSummary(last)
	for e, err := range r.Store.All(Query{All: true}) {
		if err != nil {
			return nil, fmt.Errorf("the quarantine cannot be read: %w", err)
		}
		sum.add(&e)
		if e.State != Held || !e.Report || e.Reported {
			continue
		}
		for _, to := range e.told() {
			of := [2]string{e.Owner, to}
			if untold[of] == nil {
				untold[of] = &notice{owner: e.Owner, to: to}
			}
			untold[of].add(e)
		}
	}
	mails := make([]Mail, 0, len(untold)+len(r.Summary))
	for _, of := range slices.SortedFunc(maps.Keys(untold), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		mails = append(mails, r.compose(untold[of]))
	}
	if len(r.Summary) == 0 || sum.shown.Held+sum.shown.New == 0 {
		return mails, nil
	}
	usage, err := r.Store.Usage()
	if err != nil {
		return nil, fmt.Errorf("the quarantine's size is not known: %w", err)
	}
	summary := sum.mail(usage)
	for _, to := range r.Summary {
		summary.To = to
		mails = append(mails, summary)
	}
	return mails, nil
}

// told are the addresses to which the report goes that tells of an entry.
func (e *Entry) told() []string {
	if len(e.ReportTo) > 0 {
		return e.ReportTo
	}
	// A bare local part is a mailbox of the MTA's own.
	return []string{strings.TrimSuffix(e.Owner, "@")}
}

// notice is what an address is to be told of what is held for one owner, newest first. Of
// many entries, only so many are kept as a report shows.
type notice struct {
	owner  string
	to     string
	ids    []string
	listed []Entry
}

func (n *notice) add(e Entry) {
	n.ids = append(n.ids, e.ID)
	if len(n.listed) < maxListed {
		n.listed = append(n.listed, e)
	}
}

// Run sends all reports that Compose returns. One that the MTA refuses is logged
// and does not keep the others back. An error means that reports are still due:
// the MTA could not be reached at the end, took none at all, or the context has
// ended. Who was told by then is not told again.
func (r *Reporter) Run(ctx context.Context, now time.Time) error {
	mails, err := r.Compose(now)
	if err != nil {
		return err
	}
	taken, silent := 0, 0
	for i := range mails {
		switch err = r.Send(ctx, now, mails[i]); {
		case err == nil:
			taken, silent = taken+1, 0
		case ownmail.IsAway(err):
			silent++
		default:
			silent = 0
		}
		if silent == maxSilent || ctx.Err() != nil {
			break
		}
	}
	if silent > 0 || ctx.Err() != nil || taken == 0 && len(mails) > 0 {
		return fmt.Errorf("of %d quarantine reports the MTA has taken %d: %w", len(mails), taken, cmp.Or(err, ctx.Err()))
	}
	return r.Store.SetLastReport(now)
}

// Send gives one report to the MTA, and marks its entries as reported once it is
// taken, be it the only one of several that tell of them. They are marked, too, when the MTA refuses the recipient or the mail for
// good, since it would each time; only the log and the error tell of that. What is
// not taken for another reason is part of the next report.
func (r *Reporter) Send(ctx context.Context, now time.Time, mail Mail) error {
	err := r.submit(ctx, now, &mail)
	switch {
	case err == nil:
		r.Log.Info("quarantine report sent", "to", mail.To, "entries", len(mail.IDs), "summary", mail.Summary)
		if noted := r.Store.setTime(lastSentFact, now); noted != nil {
			r.Log.Warn("when a quarantine report was sent cannot be noted", "error", noted)
		}
	case ownmail.IsForGood(err):
		r.Log.Warn("quarantine report refused for good: its entries are not reported again", "to", mail.To, "entries", len(mail.IDs), "error", err)
	default:
		r.Log.Warn("quarantine report not taken: those of its entries are part of the next of which nobody else is told", "to", mail.To, "entries", len(mail.IDs), "error", err)
	}
	if err != nil {
		err = fmt.Errorf("the quarantine report to %s was not taken: %w", ownmail.OneLine(mail.To), err)
	}
	if len(mail.IDs) == 0 || err != nil && !ownmail.IsForGood(err) {
		return err
	}
	if marked := r.Store.MarkReported(mail.IDs); marked != nil {
		err = errors.Join(err, fmt.Errorf("that %s was told of what is held cannot be noted, so they are told again: %w", ownmail.OneLine(mail.To), marked))
	}
	return err
}

func (r *Reporter) submit(ctx context.Context, now time.Time, mail *Mail) error {
	letter, err := r.letter(mail, now)
	if err != nil {
		return err
	}
	return r.Post.Send(ctx, letter)
}
