package messages

import (
	"context"
	"database/sql"
	"math"
	"time"

	"coexistd/milter/mtalog"
)

// fates say which messages it may be with which the MTA did one thing, by their queue ids, so
// that not each message has to be asked. They are read as far back as is searched. The nil fates
// rule out no message: of what the MTA does with most, it is asked.
type fates struct {
	kind    mtalog.Kind
	reached int64             // what was first said since is known, in microseconds since 1970
	names   map[string]period // when the messages came
}

// fewNames is how many messages of a span are looked up by their names: to read all of it takes
// as long as more of them.
const fewNames = 64

func fatesOf(kind mtalog.Kind) *fates {
	if kind == mtalog.None || kind == mtalog.Sent {
		return nil
	}
	return &fates{kind: kind, reached: math.MaxInt64, names: make(map[string]period)}
}

// reach reads what was said of messages that came since a time, in microseconds since 1970.
func (f *fates) reach(ctx context.Context, tx *sql.Tx, since int64) error {
	if f == nil || since-longestTransaction.Microseconds() >= f.reached {
		return nil
	}
	since -= 2 * longestTransaction.Microseconds() // so that it is not asked for each run
	said, err := readDeliveries(ctx, tx, `kind = ? AND kind <> 'sent' AND earliest >= ? AND earliest < ?`,
		f.kind.String(), since, f.reached)
	if err != nil {
		return err
	}
	f.reached = since
	seen := make(map[string]bool)
	for len(said) > 0 {
		one := &said[len(said)-1]
		said = said[:len(said)-1]
		f.add(one)
		if seen[one.QueueID] {
			continue
		}
		seen[one.QueueID] = true
		before, err := readDeliveries(ctx, tx, `next = ? AND next <> ''`, one.QueueID)
		if err != nil {
			return err
		}
		said = append(said, before...)
	}
	return nil
}

// add adds the name of a message that a delivery is of, with when that came.
func (f *fates) add(d *Delivery) {
	from, to := d.First.Add(-longestWay), d.Last.Add(longestTransaction)
	switch d.Kind {
	case mtalog.Rejected, mtalog.Discarded, mtalog.Filtered:
		from = d.First.Add(-longestTransaction)
	}
	if came, known := d.came(); known {
		from, to = came.Add(-clockSlack), came.Add(longestTransaction)
	}
	times := f.names[d.QueueID]
	times.add(from.UnixMicro())
	times.add(to.UnixMicro())
	f.names[d.QueueID] = times
}

// in returns the names of the messages that may have come at some times, when they are few. No
// later ones are asked for again.
func (f *fates) in(times period) (names []string, few bool) {
	if f == nil {
		return nil, false
	}
	for name, came := range f.names {
		switch {
		case came.earliest > times.latest+time.Hour.Microseconds(): // the clock may have been set
			delete(f.names, name)
		case came.latest >= times.earliest:
			names = append(names, name)
		}
	}
	return names, len(names) <= fewNames
}

// may reports that a message may be one of them.
func (f *fates) may(m *Message) bool {
	if f == nil || m.MTA == f.kind.String() {
		return true
	}
	_, is := f.names[m.QueueID]
	return is
}
