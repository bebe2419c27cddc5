package messages

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"coexistd/milter/record"
	"coexistd/milter/store"
)

// writer knows where the next record goes.
type writer struct {
	next  ID    // that the next message gets; 0: it is to be found out
	draft draft // the run that next is in
	span  span  // the one that next is in
}

// span is what is known of the messages of a span so far: the blocks of its index.
type span struct {
	first, last ID // none: zero
	times       period
	blocks      [spanBlocks][]byte
	bytes       int // of all blocks
}

func (s *span) reset() {
	s.first, s.last, s.times, s.bytes = 0, 0, period{}, 0
	for i := range s.blocks {
		s.blocks[i] = s.blocks[i][:0]
	}
}

func (s *span) add(m *Message) {
	if s.first == 0 {
		s.first = m.ID
	}
	s.last = m.ID
	s.times.add(m.Time.UnixMicro())
	place := uint32(s.last - s.first)
	m.eachTerm(func(t term) {
		mark := markOf(t)
		before := len(s.blocks[mark.block])
		s.blocks[mark.block] = mark.appendTo(s.blocks[mark.block], place)
		s.bytes += len(s.blocks[mark.block]) - before
	})
}

// isFull reports that no more messages are to be added.
func (s *span) isFull() bool { return s.last-s.first+1 >= spanSize || s.bytes >= spanBytes }

// write writes some records in one change.
func (x *Index) write(ctx context.Context, batch []*record.Record) error {
	var m Message // in turn all
	list := func(yield func(*Message) bool) {
		for _, r := range batch {
			if m.become(r, x.options.Delimiters); !yield(&m) {
				return
			}
		}
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	err := x.update(ctx, func(tx *sql.Tx) error { return x.writer.write(ctx, tx, list) })
	if err != nil {
		x.writer.next = 0 // whatever was done of it is undone
	}
	return err
}

// update makes one change. A file that proves to be damaged, or is gone, is begun anew.
func (x *Index) update(ctx context.Context, do func(*sql.Tx) error) error {
	err := x.file.Update(ctx, do)
	if errors.Is(err, store.ErrDamaged) {
		err = x.file.Update(ctx, do)
	}
	return err
}

// write writes messages behind those that there are.
func (w *writer) write(ctx context.Context, tx *sql.Tx, list iter.Seq[*Message]) error {
	if err := w.resume(ctx, tx); err != nil {
		return err
	}
	run, err := tx.PrepareContext(ctx, writeRun)
	if err != nil {
		return err
	}
	defer run.Close()
	counted := make(counts)
	for m := range list {
		m.ID = w.next
		w.draft.add(m)
		w.span.add(m)
		if m.MTA == "" {
			counted.add(m)
		}
		w.next++
		if err := w.endFull(ctx, tx, run); err != nil {
			return err
		}
	}
	if !w.draft.isEmpty() {
		if _, err := run.ExecContext(ctx, w.draft.run().values()...); err != nil {
			return err
		}
	}
	return counted.write(ctx, tx)
}

// endFull writes the run when it is full, and the index of the span with the run when that is.
func (w *writer) endFull(ctx context.Context, tx *sql.Tx, run *sql.Stmt) error {
	if !w.span.isFull() && !w.draft.isFull() {
		return nil
	}
	if _, err := run.ExecContext(ctx, w.draft.run().values()...); err != nil {
		return err
	}
	w.draft.reset()
	if !w.span.isFull() {
		return nil
	}
	defer w.span.reset()
	return w.span.write(ctx, tx)
}

// resume finds out where the last change has ended, which may have been another process's or
// that of another file. In a file without messages numbers begin with those of the clock, so
// that they are not handed out twice: no host has a thousand messages a second for long.
func (w *writer) resume(ctx context.Context, tx *sql.Tx) error {
	var first, last ID
	err := tx.QueryRowContext(ctx, `SELECT id, last FROM runs ORDER BY id DESC LIMIT 1`).Scan((*int64)(&first), (*int64)(&last))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	next := last + 1
	if err != nil {
		next = max(ID(time.Now().UnixMilli()), w.next)
	}
	if next == w.next && (w.draft.isEmpty() || w.draft.first == first) {
		return nil
	}
	w.draft.reset()
	w.span.reset()
	w.next = next
	rows, err := tx.QueryContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id > coalesce((SELECT last FROM spans ORDER BY id DESC LIMIT 1), 0) ORDER BY id`)
	if err != nil {
		return err
	}
	return eachRun(rows, w.takeUp)
}

// takeUp goes on with a run of the span under way, and with the index of its messages.
func (w *writer) takeUp(r *run) error {
	w.draft.reset()
	err := r.eachMessage(func(m *Message) {
		w.span.add(m)
		w.draft.add(m)
	})
	if w.draft.isFull() {
		w.draft.reset()
	}
	return err
}

// write writes the index of a span that is full.
func (s *span) write(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO spans (id, last, earliest, latest) VALUES (?, ?, ?, ?)`, int64(s.first), int64(s.last), s.times.earliest, s.times.latest); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO blocks (id, entries) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for block, entries := range s.blocks {
		if len(entries) == 0 {
			continue
		}
		if _, err := insert.ExecContext(ctx, blockID(block, s.first), entries); err != nil {
			return err
		}
	}
	return nil
}
