package messages

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"time"

	"coexistd/milter/mtalog"
)

// deliveryTables have what the MTA says in its log. A row is one outcome for one recipient, or
// for all where recipient is empty, from its first to its last try; ended is when the MTA
// removed the message from its queue, 0: not yet. Next is the queue id under which the message
// goes on. All times are in microseconds since 1970. Of read_logs there is one row: how far the
// log was read.
//
// An MTA may give a queue id again, so that only the time tells whose the rows are.
const deliveryTables = `
CREATE TABLE deliveries (
	id INTEGER PRIMARY KEY,
	queue_id TEXT NOT NULL,
	kind TEXT NOT NULL,
	recipient TEXT NOT NULL,
	earliest INTEGER NOT NULL,
	latest INTEGER NOT NULL,
	ended INTEGER NOT NULL,
	tries INTEGER NOT NULL,
	next TEXT NOT NULL,
	details TEXT NOT NULL
);
CREATE INDEX deliveries_queue ON deliveries (queue_id);
CREATE INDEX deliveries_kind ON deliveries (kind, earliest) WHERE kind <> 'sent';
CREATE INDEX deliveries_next ON deliveries (next) WHERE next <> '';
CREATE TABLE read_logs (
	id INTEGER PRIMARY KEY,
	position TEXT NOT NULL
)`

// Delivery is one outcome that the MTA tells of a message, for one recipient.
type Delivery struct {
	// QueueID is the MTA's name of the message, which may not be that of its record: it goes
	// on under another where a filter of the host hands it in again.
	QueueID string      `json:"queue_id"`
	Kind    mtalog.Kind `json:"status"`
	// Recipient is empty for what holds for all.
	Recipient string `json:"recipient"`
	// First and Last are when the MTA said so first and last, in so many Tries.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Tries int       `json:"tries"`
	// Next is the queue id under which it goes on, or that of a notification.
	Next string `json:"next"`
	// Notice is set for what became of a notification.
	Notice bool `json:"notice"`
	Outcome
	ended time.Time
}

// Outcome is what no table needs to know of a Delivery.
type Outcome struct {
	// Original is the recipient as it was before the MTA's tables.
	Original string `json:"original,omitempty"`
	Relay    string `json:"relay,omitempty"`
	DSN      string `json:"dsn,omitempty"`
	// Answer is that of the remote, or the MTA's reason.
	Answer string `json:"answer,omitempty"`
	// Delay is how long the message had been on its way.
	Delay time.Duration `json:"delay,omitempty"`
}

const (
	// longestWay is how long a message may be on its way: what comes later is of another one.
	longestWay = 31 * 24 * time.Hour
	// longestTransaction is how long before its end something may have been said of a message.
	longestTransaction = time.Hour
	// clockSlack is how far the times of a log, which may have whole seconds, are from those of
	// records.
	clockSlack = 2 * time.Second
)

// deliveries writes rows of one change.
type deliveries struct {
	ctx    context.Context
	own    []netip.Addr // addresses of this host
	fresh  []*Delivery
	queued map[string][]*Delivery // of fresh, by their queue id, until the message is removed

	ending, trying, inserting *sql.Stmt
}

// writeDeliveries writes what events say of messages that the MTA has.
func writeDeliveries(ctx context.Context, tx *sql.Tx, events []mtalog.Event) error {
	d := &deliveries{ctx: ctx, own: ownAddresses(), queued: make(map[string][]*Delivery)}
	for _, one := range [...]struct {
		into **sql.Stmt
		text string
	}{
		{&d.ending, `UPDATE deliveries SET ended = ? WHERE queue_id = ? AND ended = 0 AND latest >= ?`},
		{&d.trying, `UPDATE deliveries SET latest = ?, tries = tries + 1, details = ? WHERE queue_id = ? AND kind = ? AND recipient = ? AND ended = 0 AND latest >= ?`},
		{&d.inserting, `INSERT INTO deliveries (queue_id, kind, recipient, earliest, latest, ended, tries, next, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`},
	} {
		prepared, err := tx.PrepareContext(ctx, one.text)
		if err != nil {
			return err
		}
		defer prepared.Close()
		*one.into = prepared
	}
	for i := range events {
		e := &events[i]
		if e.QueueID == "" {
			continue
		}
		var err error
		switch e.Kind {
		case mtalog.Begun:
		case mtalog.Removed:
			err = d.remove(e)
		default:
			for _, recipient := range append([]string{e.Recipient}, e.Others...) {
				if err == nil {
					err = d.add(e, recipient)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return d.insert()
}

// remove notes that a message is no longer in the queue.
func (d *deliveries) remove(e *mtalog.Event) error {
	for _, one := range d.queued[e.QueueID] {
		one.ended = e.Time
	}
	delete(d.queued, e.QueueID)
	_, err := d.ending.ExecContext(d.ctx, e.Time.UnixMicro(), e.QueueID, e.Time.Add(-longestWay).UnixMicro())
	return err
}

// add adds an outcome. One that was put off before, and is put off again, has been tried once
// more.
func (d *deliveries) add(e *mtalog.Event, recipient string) error {
	one := &Delivery{
		QueueID: e.QueueID, Kind: e.Kind, Recipient: bounded(recipient), First: e.Time, Last: e.Time, Tries: 1, Next: e.Next,
		Outcome: Outcome{Original: bounded(e.Original), Relay: bounded(e.Relay), DSN: e.DSN, Answer: bounded(e.Answer), Delay: e.Delay},
	}
	if e.Kind == mtalog.Sent && !d.isOwn(e) {
		one.Next = ""
	}
	if e.Kind == mtalog.Deferred {
		if merged, err := d.tryAgain(one); merged || err != nil {
			return err
		}
	}
	d.fresh = append(d.fresh, one)
	d.queued[e.QueueID] = append(d.queued[e.QueueID], one)
	return nil
}

// tryAgain adds a try to the row of those before, if there is one.
func (d *deliveries) tryAgain(one *Delivery) (merged bool, err error) {
	for _, before := range d.queued[one.QueueID] {
		if before.Kind == one.Kind && before.Recipient == one.Recipient {
			before.Last, before.Outcome = one.Last, one.Outcome
			before.Tries++
			return true, nil
		}
	}
	details, err := json.Marshal(one.Outcome)
	if err != nil {
		return false, err
	}
	updated, err := d.trying.ExecContext(d.ctx, one.Last.UnixMicro(), string(details), one.QueueID, one.Kind.String(), one.Recipient, one.Last.Add(-longestWay).UnixMicro())
	if err != nil {
		return false, err
	}
	n, err := updated.RowsAffected()
	return n > 0, err
}

// isOwn reports that the next hop was this host. Another's queue ids are none of ours.
func (d *deliveries) isOwn(e *mtalog.Event) bool {
	switch e.Relay {
	case "local", "virtual":
		return true
	}
	ip := e.RelayAddress()
	return ip.IsLoopback() || slices.Contains(d.own, ip)
}

// ownAddresses are those of this host's interfaces.
func ownAddresses() (list []netip.Addr) {
	networks, _ := net.InterfaceAddrs()
	for _, network := range networks {
		if prefix, err := netip.ParsePrefix(network.String()); err == nil {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list
}

func (d *deliveries) insert() error {
	for _, one := range d.fresh {
		details, err := json.Marshal(one.Outcome)
		if err != nil {
			return err
		}
		ended := int64(0)
		if !one.ended.IsZero() {
			ended = one.ended.UnixMicro()
		}
		_, err = d.inserting.ExecContext(d.ctx, one.QueueID, one.Kind.String(), one.Recipient, one.First.UnixMicro(), one.Last.UnixMicro(), ended,
			one.Tries, one.Next, string(details))
		if err != nil {
			return err
		}
	}
	return nil
}

// Bounds of what is told of one message.
const (
	mostDeliveries = 1000
	mostNames      = 64
)

// Deliveries tells what the MTA did with a message, in the order of its log: first what it says
// under the message's own queue id, then under those by which it went on, with the
// notifications of the sender.
func (r *Records) Deliveries(ctx context.Context, m *Message) (list []Delivery, err error) {
	if m.QueueID == "" || m.MTA != "" {
		return nil, nil
	}
	err = r.file.View(ctx, func(tx *sql.Tx) (err error) {
		list, err = trace(ctx, tx, m.QueueID, m.Time)
		return err
	})
	return list, err
}

// Origin returns the queue id that a message had first which has a queue id now, or is a
// notification about it.
func (r *Records) Origin(ctx context.Context, queueID string) (string, error) {
	err := r.file.View(ctx, func(tx *sql.Tx) error {
		seen := []string{queueID}
		for range mostNames {
			var before string
			err := tx.QueryRowContext(ctx, `SELECT queue_id FROM deliveries WHERE next = ? AND next <> '' ORDER BY id DESC LIMIT 1`, queueID).Scan(&before)
			if errors.Is(err, sql.ErrNoRows) || slices.Contains(seen, before) {
				return nil
			}
			if err != nil {
				return err
			}
			queueID, seen = before, append(seen, before)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return queueID, err
}

// wasBy reports that the MTA did something with the message; None: nothing is asked.
func (m *Message) wasBy(ctx context.Context, tx *sql.Tx, kind mtalog.Kind) (bool, error) {
	if kind == mtalog.None || m.MTA == kind.String() {
		return true, nil
	}
	if m.MTA != "" || m.QueueID == "" {
		return false, nil
	}
	list, err := trace(ctx, tx, m.QueueID, m.Time)
	return slices.ContainsFunc(list, func(d Delivery) bool { return d.Kind == kind && !d.Notice }), err
}

// trace follows a message from a time on.
func trace(ctx context.Context, tx *sql.Tx, queueID string, at time.Time) (list []Delivery, err error) {
	type name struct {
		queueID string
		at      time.Time
		notice  bool
	}
	names := []name{{queueID, at, false}}
	for i := 0; i < len(names) && len(list) < mostDeliveries; i++ {
		rows, err := deliveriesOf(ctx, tx, names[i].queueID, names[i].at)
		if err != nil {
			return nil, err
		}
		for _, one := range rows {
			one.Notice = names[i].notice
			list = append(list, one)
			known := one.Next == "" || slices.ContainsFunc(names, func(n name) bool { return n.queueID == one.Next })
			if !known && len(names) < mostNames {
				notice := one.Notice || one.Kind == mtalog.Notified || one.Kind == mtalog.Expired
				names = append(names, name{one.Next, one.First, notice})
			}
		}
	}
	return list, nil
}

// deliveriesOf returns the rows of the message that had a queue id at a time.
func deliveriesOf(ctx context.Context, tx *sql.Tx, queueID string, at time.Time) (list []Delivery, err error) {
	list, err = readDeliveries(ctx, tx, `queue_id = ? AND latest >= ? AND earliest <= ? AND (ended = 0 OR ended >= ?) ORDER BY id LIMIT ?`,
		queueID, at.Add(-longestTransaction).UnixMicro(), at.Add(longestWay).UnixMicro(), at.Add(-clockSlack).UnixMicro(), mostDeliveries)
	return ofOne(list, at), err
}

// readDeliveries reads the rows for which something is true.
func readDeliveries(ctx context.Context, tx *sql.Tx, what string, args ...any) (list []Delivery, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT queue_id, kind, recipient, earliest, latest, ended, tries, next, details FROM deliveries WHERE `+what, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		one, err := readDelivery(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// ofOne leaves of the rows with one queue id those of the message that had it at a time. Others
// had it before or later, as the end of the message tells, and how long each had been on its
// way.
func ofOne(list []Delivery, at time.Time) []Delivery {
	end := at.Add(longestWay)
	for _, one := range list {
		if !one.ended.IsZero() && one.ended.Before(end) {
			end = one.ended
		}
		if came, known := one.came(); known && came.After(at.Add(clockSlack)) && !came.After(end) {
			end = came.Add(-clockSlack)
		}
	}
	return slices.DeleteFunc(list, func(one Delivery) bool {
		came, known := one.came()
		return one.First.After(end) || known && came.Before(at.Add(-longestTransaction))
	})
}

// came is when the MTA had the message first.
func (d *Delivery) came() (at time.Time, known bool) {
	switch d.Kind {
	case mtalog.Sent, mtalog.Deferred, mtalog.Bounced:
		return d.Last.Add(-d.Delay), true
	}
	return at, false
}

func readDelivery(rows *sql.Rows) (d Delivery, err error) {
	var kind string
	var earliest, latest, ended int64
	var details []byte
	if err := rows.Scan(&d.QueueID, &kind, &d.Recipient, &earliest, &latest, &ended, &d.Tries, &d.Next, &details); err != nil {
		return d, err
	}
	d.First, d.Last = time.UnixMicro(earliest), time.UnixMicro(latest)
	if ended != 0 {
		d.ended = time.UnixMicro(ended)
	}
	known := false
	if d.Kind, known = mtalog.ParseKind(kind); !known {
		return d, fmt.Errorf("what the MTA did with %s cannot be read: it has the kind %q", d.QueueID, kind)
	}
	return d, json.Unmarshal(details, &d.Outcome)
}
