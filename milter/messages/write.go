package messages

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"coexistd/milter/record"
	"coexistd/milter/store"
)

// writer knows where the next record goes.
type writer struct {
	next ID   // that the next message gets; 0: it is to be found out
	span span // the one that next is in
}

// span is what is known of the messages of a span so far.
type span struct {
	entries          []entry
	earliest, latest int64 // in microseconds since 1970
}

func (s *span) add(m *Message) {
	at := m.Time.UnixMicro()
	if len(s.entries) == 0 {
		s.earliest, s.latest = at, at
	}
	s.earliest, s.latest = min(s.earliest, at), max(s.latest, at)
	place := int(m.ID % spanSize)
	for _, term := range m.terms() {
		s.entries = append(s.entries, entryOf(term, place))
	}
}

// write writes some records in one change.
func (x *Index) write(ctx context.Context, batch []*record.Record) error {
	list := make([]*Message, len(batch))
	for i, r := range batch {
		list[i] = of(r, x.options.Delimiters)
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

func (w *writer) write(ctx context.Context, tx *sql.Tx, list []*Message) error {
	if len(list) == 0 {
		return nil
	}
	if err := w.resume(ctx, tx); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO messages (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	counted := make(counts)
	for _, m := range list {
		m.ID = w.next
		values, err := m.values()
		if err != nil {
			return err
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return err
		}
		if m.MTA == "" {
			counted.add(m)
		}
		w.span.add(m)
		if w.next++; w.next%spanSize == 0 {
			if err := w.index(ctx, tx); err != nil {
				return err
			}
		}
	}
	return counted.write(ctx, tx)
}

// resume finds out where the last change has ended, which may have been another process's or
// that of another file. In a file without messages numbers begin with those of the clock, so
// that they are not handed out twice: no host has a thousand messages a second for long.
func (w *writer) resume(ctx context.Context, tx *sql.Tx) error {
	var last ID
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM messages`).Scan(&last); err != nil {
		return err
	}
	next := last + 1
	if last == 0 {
		next = max(ID(time.Now().UnixMilli()), w.next) / spanSize * spanSize
	}
	if next == w.next {
		return nil
	}
	w.next, w.span = next, span{}
	rows, err := tx.QueryContext(ctx, `SELECT `+columns+` FROM messages WHERE id >= ?`, next/spanSize*spanSize)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		// One that another version has written, and that cannot be read, is not found.
		if m, err := read(rows); err == nil {
			w.span.add(m)
		}
	}
	return rows.Err()
}

// index writes the index of a span that is full.
func (w *writer) index(ctx context.Context, tx *sql.Tx) error {
	number := int64(w.next/spanSize - 1)
	if _, err := tx.ExecContext(ctx, `INSERT INTO spans (id, earliest, latest) VALUES (?, ?, ?)`, number, w.span.earliest, w.span.latest); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO blocks (id, entries) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for block, entries := range blocksOf(w.span.entries) {
		if len(entries) == 0 {
			continue
		}
		if _, err := insert.ExecContext(ctx, blockID(block, number), entries); err != nil {
			return err
		}
	}
	w.span = span{}
	return nil
}
