package messages

import (
	"database/sql"
	"encoding/binary"
	"fmt"

	"coexistd/milter/store"
)

const (
	// runSize is how many messages are one row, and runBytes how many bytes of them: who has more
	// than is usual is the last one.
	runSize  = 64
	runBytes = 128 << 10
	// runVersion is the first byte of what a row has of messages. Who changes the codec, or the
	// numbers of verdicts, points and states, raises it.
	runVersion = 3
	// endSize is the size of what says where a message ends, in bytes.
	endSize = 4
)

// run is a row of messages: behind the version, where each ends, counted from the end of that
// list, and then they themselves.
type run struct {
	first, last ID
	times       period
	messages    []byte
}

// period is from the earliest to the latest of some times, in microseconds since 1970.
type period struct{ earliest, latest int64 }

func (p *period) add(at int64) {
	if *p == (period{}) {
		p.earliest, p.latest = at, at
	}
	p.earliest, p.latest = min(p.earliest, at), max(p.latest, at)
}

// message returns one of the messages as the codec has written it.
func (r *run) message(id ID) ([]byte, error) {
	n, count := int64(id-r.first), int64(r.last-r.first)+1
	if count < 1 || count > runSize || n < 0 || n >= count || int64(len(r.messages)) < 1+endSize*count {
		return nil, unreadable(id, errCut)
	}
	if r.messages[0] != runVersion {
		return nil, unreadable(id, fmt.Errorf("it is in form %d, and this program knows form %d", r.messages[0], runVersion))
	}
	ends, all := r.messages[1:], r.messages[1+endSize*count:]
	from, to := uint32(0), binary.BigEndian.Uint32(ends[endSize*n:])
	if n > 0 {
		from = binary.BigEndian.Uint32(ends[endSize*(n-1):])
	}
	if from > to || int64(to) > int64(len(all)) {
		return nil, unreadable(id, errCut)
	}
	return all[from:to], nil
}

// read reads one of the messages.
func (r *run) read(id ID) (*Message, error) {
	record, err := r.message(id)
	if err != nil {
		return nil, err
	}
	m, c := &Message{ID: id}, reader(record)
	codeHead(c, m)
	return m, c.finish(m)
}

// eachMessage gives the messages to do. One that cannot be read means that the file is damaged.
func (r *run) eachMessage(do func(*Message)) error {
	for id := r.first; id <= r.last; id++ {
		m, err := r.read(id)
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrDamaged, err)
		}
		do(m)
	}
	return nil
}

// finish reads what is behind the head of a message.
func (c *codec) finish(m *Message) error {
	if codeRest(c, m); c.err != nil {
		return unreadable(m.ID, c.err)
	}
	return nil
}

func unreadable(id ID, err error) error {
	return fmt.Errorf("the record of message %s cannot be read: %w", id, err)
}

const (
	runColumns = `id, last, earliest, latest, messages`
	// writeRun writes a run by its values, which may be there with fewer messages.
	writeRun = `INSERT INTO runs (` + runColumns + `) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET last = excluded.last, earliest = excluded.earliest, latest = excluded.latest, messages = excluded.messages`
)

func (r *run) values() []any {
	return []any{int64(r.first), int64(r.last), r.times.earliest, r.times.latest, r.messages}
}

// eachRun gives runs to do, of rows that have the columns. Each holds until that returns.
func eachRun(rows *sql.Rows, do func(*run) error) error {
	defer rows.Close()
	for rows.Next() {
		var r run
		if err := rows.Scan((*int64)(&r.first), (*int64)(&r.last), &r.times.earliest, &r.times.latest, (*sql.RawBytes)(&r.messages)); err != nil {
			return err
		}
		if err := do(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// draft is a run under way.
type draft struct {
	first ID
	times period
	ends  []byte // as they stand in the row
	codec codec  // what is written of messages
	row   []byte // room for all of it
}

func (d *draft) isEmpty() bool { return len(d.ends) == 0 }

// next is the ID of the message that would be added next.
func (d *draft) next() ID { return d.first + ID(len(d.ends)/endSize) }

// isFull reports that no more messages are to be added.
func (d *draft) isFull() bool {
	return len(d.ends) >= runSize*endSize || len(d.codec.bytes) >= runBytes
}

func (d *draft) reset() {
	d.times, d.ends, d.codec.bytes = period{}, d.ends[:0], d.codec.bytes[:0]
}

// add adds a message: the first one, or that with the next number.
func (d *draft) add(m *Message) {
	if d.isEmpty() {
		d.first = m.ID
	}
	codeHead(&d.codec, m)
	codeRest(&d.codec, m)
	d.ends = binary.BigEndian.AppendUint32(d.ends, uint32(len(d.codec.bytes)))
	d.times.add(m.Time.UnixMicro())
}

// run returns the row, which holds until the next one.
func (d *draft) run() *run {
	d.row = append(append(append(d.row[:0], runVersion), d.ends...), d.codec.bytes...)
	return &run{d.first, d.next() - 1, d.times, d.row}
}
