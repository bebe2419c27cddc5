package messages

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coexistd/milter/mtalog"
	"coexistd/milter/ownmail"
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
}

// terms are those that a message must have, the rarest first as a rule. Its own ID is none of
// them.
func (q *Query) terms() []string {
	var terms []string
	add := func(of byte, text string) {
		if text != "" {
			terms = append(terms, string(of)+text)
		}
	}
	add(ofID, bare(q.ID))
	add(ofSender, searched(q.From))
	add(ofRecipient, searched(q.To))
	for _, word := range words(ownmail.Readable(q.Subject)) {
		add(ofSubject, word)
	}
	if q.Client.IsValid() {
		add(ofClient, q.Client.Unmap().String())
	}
	add(ofLogin, mail.Fold(q.Login))
	add(ofCheck, q.Check)
	if q.Verdict != verdict.None {
		add(ofVerdict, q.Verdict.String())
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
		return tx.QueryRowContext(ctx, `SELECT coalesce((SELECT max(id) FROM messages) - (SELECT min(id) FROM messages) + 1, 0)`).Scan(&n)
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

// search is a search under way.
type search struct {
	own          ID // the message itself; 0: it is looked for by its terms
	terms        []string
	entries      []entry
	since, until int64 // in microseconds since 1970
	mta          mtalog.Kind
	before       ID // all others have been looked at
	done         bool
	found        []*Message // of this page
}

func newSearch(q Query, oldest time.Time) *search {
	s := &search{terms: q.terms(), mta: q.MTA, since: oldest.UnixMicro(), until: math.MaxInt64, before: math.MaxInt64}
	if q.Since.After(oldest) {
		s.since = q.Since.UnixMicro()
	}
	if !q.Until.IsZero() {
		s.until = q.Until.UnixMicro()
	}
	if id, ok := parseID(q.ID); ok {
		s.own = id
	}
	for _, term := range s.terms {
		s.entries = append(s.entries, entryOf(term, 0))
	}
	return s
}

// page looks for the next messages.
func (s *search) page(ctx context.Context, tx *sql.Tx) ([]*Message, error) {
	s.found = nil
	if s.own != 0 {
		if err := s.look(ctx, tx, `id = ?`, s.own); err != nil || len(s.found) > 0 {
			s.done = true
			return s.found, err
		}
		s.own = 0
	}
	spans, indexed, err := s.spans(ctx, tx)
	if err != nil {
		return nil, err
	}
	if err := s.look(ctx, tx, `id >= ? AND id < ?`, indexed, s.before); err != nil {
		return nil, err
	}
	if len(s.entries) > 0 {
		err = s.lookByTerms(ctx, tx, spans)
	} else {
		err = s.lookByTime(ctx, tx, spans)
	}
	s.done = !s.isFull()
	return s.found, err
}

func (s *search) isFull() bool { return len(s.found) == pageRows }

// spans returns the spans that may have messages which are looked for, the newest first, and
// the first ID that is in none.
func (s *search) spans(ctx context.Context, tx *sql.Tx) (numbers []int64, indexed ID, err error) {
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(id) + 1, 0) * ? FROM spans`, spanSize).Scan(&indexed); err != nil {
		return nil, 0, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT id FROM spans WHERE id <= ? AND latest >= ? AND earliest <= ? ORDER BY id DESC`, s.before/spanSize, s.since, s.until)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			return nil, 0, err
		}
		numbers = append(numbers, number)
	}
	return numbers, indexed, rows.Err()
}

// lookByTime looks through all messages of some spans.
func (s *search) lookByTime(ctx context.Context, tx *sql.Tx, spans []int64) error {
	for _, number := range spans {
		first := ID(number * spanSize)
		if err := s.look(ctx, tx, `id >= ? AND id < ?`, first, min(first+spanSize, s.before)); err != nil || s.isFull() {
			return err
		}
	}
	return nil
}

// lookByTerms looks in some spans for the messages that have the terms: the blocks of the first
// term, which lie together, are read one after the other, those of the others where it is there.
func (s *search) lookByTerms(ctx context.Context, tx *sql.Tx, spans []int64) error {
	if len(spans) == 0 || s.isFull() {
		return nil
	}
	const blocks = `SELECT id, entries FROM blocks WHERE id >= ? AND id <= ? ORDER BY id DESC`
	others, err := tx.PrepareContext(ctx, blocks)
	if err != nil {
		return err
	}
	defer others.Close()
	first := s.entries[0]
	rows, err := tx.QueryContext(ctx, blocks, blockID(first.block(), spans[len(spans)-1]), blockID(first.block(), spans[0]))
	if err != nil {
		return err
	}
	defer rows.Close()
	for !s.isFull() && rows.Next() {
		var block sql.RawBytes
		var id int64
		if err := rows.Scan(&id, &block); err != nil {
			return err
		}
		places := placesIn(block, first)
		number := id - blockID(first.block(), 0)
		if _, isOne := slices.BinarySearchFunc(spans, number, func(a, b int64) int { return cmp.Compare(b, a) }); len(places) == 0 || !isOne {
			continue
		}
		if err := s.lookAt(ctx, tx, others, number, places); err != nil {
			return err
		}
	}
	return rows.Err()
}

// lookAt looks at those places in a span that have the first term, when they have the others.
func (s *search) lookAt(ctx context.Context, tx *sql.Tx, blocks *sql.Stmt, number int64, places []int) error {
	for _, term := range s.entries[1:] {
		var block []byte
		at := blockID(term.block(), number)
		if err := blocks.QueryRowContext(ctx, at, at).Scan(&at, &block); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		has := placesIn(block, term)
		places = slices.DeleteFunc(places, func(place int) bool { _, both := slices.BinarySearch(has, place); return !both })
		if len(places) == 0 {
			return nil
		}
	}
	for _, place := range slices.Backward(places) {
		if id := ID(number*spanSize) + ID(place); id < s.before && !s.isFull() {
			if err := s.look(ctx, tx, `id = ?`, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// look reads messages, the newest first, and adds those that are looked for, until the page is
// full.
func (s *search) look(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	args = append(args, s.since, s.until)
	rows, err := tx.QueryContext(ctx, `SELECT `+columns+` FROM messages WHERE `+where+` AND time >= ? AND time <= ? ORDER BY id DESC`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for !s.isFull() && rows.Next() {
		m, err := read(rows)
		if err != nil {
			return err
		}
		s.before = m.ID
		if s.own == 0 && !m.has(s.terms) {
			continue
		}
		if did, err := m.wasBy(ctx, tx, s.mta); err != nil {
			return err
		} else if did {
			s.found = append(s.found, m)
		}
	}
	return rows.Err()
}

// has reports that the message has all of some terms.
func (m *Message) has(terms []string) bool {
	if len(terms) == 0 {
		return true
	}
	all := m.terms()
	return !slices.ContainsFunc(terms, func(term string) bool { return !slices.Contains(all, term) })
}
