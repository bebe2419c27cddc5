package messages

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"

	"coexistd/milter/mtalog"
)

// search is a search under way.
type search struct {
	own          ID // the message itself; 0: it is looked for by its terms
	terms        []term
	since, until int64 // in microseconds since 1970
	mta          mtalog.Kind
	fates        *fates // nil: each message is asked for what the MTA did
	before       ID     // all others have been looked at
	done         bool
	found        []*Message // of this page

	// Of the page:
	ctx           context.Context
	tx            *sql.Tx
	runs, entries *sql.Stmt // one run, and the entries of one block
}

func newSearch(q Query, oldest time.Time) *search {
	s := &search{terms: q.terms(), mta: q.MTA, fates: fatesOf(q.MTA), since: oldest.UnixMicro(), until: math.MaxInt64, before: math.MaxInt64}
	if q.Since.After(oldest) {
		s.since = q.Since.UnixMicro()
	}
	if !q.Until.IsZero() {
		s.until = q.Until.UnixMicro()
	}
	if id, ok := parseID(q.ID); ok {
		s.own = id
	}
	return s
}

// page looks for the next messages.
func (s *search) page(ctx context.Context, tx *sql.Tx) (found []*Message, err error) {
	s.ctx, s.tx, s.found = ctx, tx, nil
	if s.runs, err = tx.PrepareContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id <= ? ORDER BY id DESC LIMIT 1`); err != nil {
		return nil, err
	}
	defer s.runs.Close()
	if s.entries, err = tx.PrepareContext(ctx, `SELECT entries FROM blocks WHERE id = ?`); err != nil {
		return nil, err
	}
	defer s.entries.Close()
	if s.own != 0 {
		err := s.lookAt(s.own, []int{0})
		if s.done = err != nil || len(s.found) > 0; s.done {
			return s.found, err
		}
		s.own, s.before = 0, math.MaxInt64
	}
	err = s.look()
	s.done = !s.isFull()
	return s.found, err
}

func (s *search) isFull() bool { return len(s.found) == pageRows }

// look looks through what is not indexed yet, and then by the index.
func (s *search) look() error {
	var indexed ID
	if err := s.tx.QueryRowContext(s.ctx, `SELECT coalesce((SELECT last FROM spans ORDER BY id DESC LIMIT 1), 0) + 1`).Scan((*int64)(&indexed)); err != nil {
		return err
	}
	if err := s.lookFrom(indexed); err != nil || s.isFull() {
		return err
	}
	s.before = min(s.before, indexed)
	if len(s.terms) > 0 {
		return s.lookByTerms()
	}
	return s.lookByTime()
}

// lookByTime looks through all messages of the spans in which some may be looked for.
func (s *search) lookByTime() error {
	spans, err := s.spans()
	if err != nil {
		return err
	}
	for _, one := range spans {
		s.before = min(s.before, one.last+1)
		if err := s.lookIn(one.first, one.times); err != nil || s.isFull() {
			return err
		}
		s.before = one.first
	}
	return nil
}

// spanned is a span that has an index.
type spanned struct {
	first, last ID
	times       period
}

// spans returns the spans that may have messages which are looked for, the newest first.
func (s *search) spans() (list []spanned, err error) {
	rows, err := s.tx.QueryContext(s.ctx, `SELECT id, last, earliest, latest FROM spans WHERE id < ? AND latest >= ? AND earliest <= ? ORDER BY id DESC`,
		int64(s.before), s.since, s.until)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one spanned
		if err := rows.Scan((*int64)(&one.first), (*int64)(&one.last), &one.times.earliest, &one.times.latest); err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// lookIn looks through the span that begins with a message. Where the MTA did what is asked for
// with few, it looks at these, by their queue ids, and at those that it refused itself.
func (s *search) lookIn(first ID, times period) error {
	if err := s.fates.reach(s.ctx, s.tx, times.earliest); err != nil {
		return err
	}
	names, few := s.fates.in(times)
	if !few {
		return s.lookFrom(first)
	}
	terms := []term{{ofMTA, s.mta.String()}}
	for _, name := range names {
		terms = append(terms, term{ofID, name})
	}
	var places []int
	for _, t := range terms {
		mark := markOf(t)
		block, err := s.block(mark, first)
		if err != nil {
			return err
		}
		places = mark.placesIn(block, places)
	}
	slices.Sort(places)
	return s.lookAt(first, places)
}

// lookByTerms looks in the spans for the messages that have the terms: the blocks of the first
// term are read one after the other, those of the others where it is there.
func (s *search) lookByTerms() error {
	marks := make([]mark, len(s.terms))
	for i, term := range s.terms {
		marks[i] = markOf(term)
	}
	rows, err := s.tx.QueryContext(s.ctx, `SELECT spans.id, entries FROM spans JOIN blocks ON blocks.id = spans.id * ? + ?
WHERE spans.id < ? AND latest >= ? AND earliest <= ? ORDER BY spans.id DESC`, spanBlocks, marks[0].block, int64(s.before), s.since, s.until)
	if err != nil {
		return err
	}
	defer rows.Close()
	var places []int
	for !s.isFull() && rows.Next() {
		var block sql.RawBytes
		var first ID
		if err := rows.Scan((*int64)(&first), &block); err != nil {
			return err
		}
		places = marks[0].placesIn(block, places[:0])
		if places, err = s.narrow(places, first, marks[1:]); err != nil {
			return err
		}
		if err := s.lookAt(first, places); err != nil {
			return err
		}
	}
	return rows.Err()
}

// narrow returns those of some places in a span that have all marks.
func (s *search) narrow(places []int, first ID, marks []mark) ([]int, error) {
	for _, mark := range marks {
		if len(places) == 0 {
			break
		}
		block, err := s.block(mark, first)
		if err != nil {
			return nil, err
		}
		has := mark.placesIn(block, nil)
		places = slices.DeleteFunc(places, func(place int) bool { _, both := slices.BinarySearch(has, place); return !both })
	}
	return places, nil
}

// block returns the block of a span that has a mark.
func (s *search) block(m mark, first ID) (entries []byte, err error) {
	err = s.entries.QueryRowContext(s.ctx, blockID(m.block, first)).Scan(&entries)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return entries, err
}

// lookAt looks at messages at some places behind the first of their span, which are in order:
// the last one first.
func (s *search) lookAt(first ID, places []int) error {
	for len(places) > 0 && !s.isFull() {
		left := len(places) - 1 // where there is no such run
		rows, err := s.runs.QueryContext(s.ctx, int64(first)+int64(places[left]))
		if err != nil {
			return err
		}
		err = eachRun(rows, func(r *run) error {
			for left = len(places); left > 0 && first+ID(places[left-1]) >= r.first; left-- {
				if err := s.lookAtOne(r, first+ID(places[left-1])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		places = places[:left]
	}
	return nil
}

// lookFrom looks through all messages from one on, with which a span begins, that were not
// looked at, the newest first.
func (s *search) lookFrom(first ID) error {
	if s.isFull() {
		return nil
	}
	rows, err := s.tx.QueryContext(s.ctx, `SELECT `+runColumns+` FROM runs WHERE id >= ? AND id < ? AND latest >= ? AND earliest <= ? ORDER BY id DESC`,
		int64(first), int64(s.before), s.since, s.until)
	if err != nil {
		return err
	}
	return eachRun(rows, func(r *run) error {
		for id := min(r.last, s.before-1); id >= r.first && !s.isFull(); id-- {
			if err := s.lookAtOne(r, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// lookAtOne reads a message that was not looked at, and adds it when it is looked for, unless
// the page is full.
func (s *search) lookAtOne(r *run, id ID) error {
	if id >= s.before || id > r.last || id < r.first || s.isFull() {
		return nil
	}
	if err := s.fates.reach(s.ctx, s.tx, r.times.earliest); err != nil {
		return err
	}
	record, err := r.message(id)
	if err != nil {
		return err
	}
	s.before = id
	m, c := &Message{ID: id}, reader(record)
	codeHead(c, m)
	if at := m.Time.UnixMicro(); at < s.since || at > s.until || !s.fates.may(m) {
		return c.err
	}
	if err := c.finish(m); err != nil || s.own == 0 && !m.has(s.terms) {
		return err
	}
	did, err := m.wasBy(s.ctx, s.tx, s.mta)
	if did {
		s.found = append(s.found, m)
	}
	return err
}

// has reports that the message has all of some terms, each of which stands there once.
func (m *Message) has(terms []term) bool {
	if len(terms) == 0 {
		return true
	}
	missing := slices.Clone(terms)
	m.eachTerm(func(t term) {
		if i := slices.Index(missing, t); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
	})
	return len(missing) == 0
}
