package messages

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coexistd/milter/mtalog"
	"coexistd/milter/store"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// pageRows bounds the messages that are read in one transaction.
const pageRows = 100

// Query says which messages are looked for. All that it says must hold; what is zero says
// nothing.
type Query struct {
	// ID is the name of one here, its Message-Id, or its queue id.
	ID string
	// From and To are an address, "@" with a domain, or a local part. That of a recipient may
	// be the one that was written, that without its tag, or the one it was rewritten to.
	From, To string
	// Subject are words, in any order.
	Subject string
	Client  netip.Addr
	Login   string
	// Since and Until bound when the message came.
	Since, Until time.Time
	// Verdict is that of the message or of a recipient.
	Verdict verdict.Verdict
	Point   verdict.Checkpoint
	// Check is one that decided, holds, or has found something.
	Check string
	// MTA is what the MTA did with it, for a recipient at least.
	MTA mtalog.Kind
	// Observed asks for messages with which something would have been done, were it not only
	// observed. Verdict and Check are of that then.
	Observed bool
}

// terms are those that a message must have, the rarest first as a rule. Its own ID is none of
// them.
func (q *Query) terms() []term {
	var terms []term
	add := func(of byte, text string) {
		if t := (term{of, text}); text != "" && !slices.Contains(terms, t) {
			terms = append(terms, t)
		}
	}
	add(ofID, bare(q.ID))
	add(ofSender, searched(q.From))
	add(ofRecipient, searched(q.To))
	eachWord(q.Subject, func(word string) { add(ofSubject, word) })
	if q.Client.IsValid() {
		add(ofClient, q.Client.Unmap().String())
	}
	add(ofLogin, mail.Fold(q.Login))
	check, wanted, of := term{ofCheck, q.Check}, term{ofVerdict, q.Verdict.String()}, byte(ofObserved)
	if q.Observed {
		check, wanted = term{of, wouldCheck + q.Check}, term{of, wouldVerdict + q.Verdict.String()}
		add(of, wouldDo)
	}
	if q.Check != "" {
		add(check.of, check.text)
	}
	if q.Verdict != verdict.None {
		add(wanted.of, wanted.text)
	}
	add(ofPoint, q.Point.String())
	return terms
}

// searched is the form in which an address, "@" with a domain or a local part is compared.
func searched(text string) string {
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "<"), ">")
	if strings.HasPrefix(text, "@") {
		return strings.TrimPrefix(key("x"+text), "x")
	}
	return key(text)
}

// Records are the records as commands read them, with or without a daemon.
type Records struct {
	file *store.File
	keep time.Duration
}

// Open opens the records for reading. Close ends that. There need be none yet.
func Open(o Options) *Records {
	return &Records{store.Open(file(o.Path, slog.New(slog.DiscardHandler))), o.Keep}
}

// Close lets go of the file. What was read of it is not less right when that fails.
func (r *Records) Close() { _ = r.file.Close() }

// Count returns how many there are.
func (r *Records) Count(ctx context.Context) (int64, error) { return count(ctx, r.file) }

// count returns how many messages a file has: their numbers have no gaps. Of a file that does
// not exist that is none.
func count(ctx context.Context, file *store.File) (n int64, err error) {
	err = file.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT coalesce((SELECT last FROM runs ORDER BY id DESC LIMIT 1) - (SELECT min(id) FROM runs) + 1, 0)`).Scan(&n)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return n, err
}

// All returns the messages that a query asks for, the newest first. It ends with an error.
func (r *Records) All(ctx context.Context, q Query) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		s := newSearch(q, time.Now().Add(-r.keep))
		for !s.done {
			var page []*Message
			err := r.file.View(ctx, func(tx *sql.Tx) (err error) {
				// For each question that may be broken off, a goroutine is started.
				page, err = s.page(context.WithoutCancel(ctx), tx)
				return err
			})
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, m := range page {
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}
