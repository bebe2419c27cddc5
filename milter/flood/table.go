package flood

import (
	"net/netip"
	"time"
)

// tally is what is counted for one client or one network. A nil tally has
// counted nothing.
type tally struct {
	key uint64
	// older and newer are the neighbours among those of the table that have no
	// connection open; nil while there is one.
	older, newer *tally
	told         told
	turned       time.Duration // when it was last turned away, or 0: never
	open         int           // connections
	opened       window        // connections, by the minute
	unknown      *window       // recipients, in harvestTime; nil until there is one
}

// excess says whether one more connection would pass one of two bounds, and notes that
// it is turned away then.
func (t *tally) excess(at time.Duration, who netip.Prefix, open, perMinute int) Excess {
	if t == nil {
		return Excess{}
	}
	if passes(t.open+1, open) {
		t.turned = max(at, 1)
		return t.told.excess(at, overOpen, name(who), t.open, open)
	}
	if n := t.opened.sum(slot(at, time.Minute)); passes(n+1, perMinute) {
		t.turned = max(at, 1)
		return t.told.excess(at, overNew, name(who), n, perMinute)
	}
	return Excess{}
}

// harvests says whether the client asked for more unknown recipients than the
// bound, and notes that it is turned away then.
func (t *tally) harvests(at time.Duration, who netip.Prefix, bound int) Excess {
	if t == nil || t.unknown == nil {
		return Excess{}
	}
	if n := t.unknown.sum(slot(at, harvestTime)); passes(n, bound) {
		t.turned = max(at, 1)
		e := t.told.excess(at, overUnknown, name(who), n, bound)
		e.Unknown = true
		return e
	}
	return Excess{}
}

// spent reports whether a tally without an open connection says nothing that a
// new one would not.
func (t *tally) spent(at time.Duration) bool {
	return t.opened.sum(slot(at, time.Minute)) == 0 &&
		(t.unknown == nil || t.unknown.sum(slot(at, harvestTime)) == 0) &&
		t.told.until.Load() <= int64(at)
}

// table holds a bounded number of tallies. Those without an open connection are
// in a ring, in the order in which their last one ended, and leave in that
// order: when they are spent, or when there is no room for a new one.
type table struct {
	tallies map[uint64]*tally
	idle    tally // the ring's ends meet here: newer is its oldest, older its newest
	bound   int
}

func (t *table) init(bound int) {
	t.tallies = make(map[uint64]*tally)
	t.idle.older, t.idle.newer = &t.idle, &t.idle
	t.bound = bound
}

// expire drops up to two tallies that are spent. It comes before at most one
// new one, so that the spent ones get fewer. One that is not yet spent keeps
// those after it for as long, at most 700 seconds.
func (t *table) expire(at time.Duration) {
	for range 2 {
		oldest := t.idle.newer
		if oldest == &t.idle || !oldest.spent(at) {
			return
		}
		t.drop(oldest)
	}
}

// room reports whether a tally can be put: there is room, or one without an
// open connection.
func (t *table) room() bool { return len(t.tallies) < t.bound || t.idle.newer != &t.idle }

// put makes a tally, which take must follow. It must have been asked whether
// there is room.
func (t *table) put(key uint64) *tally {
	if len(t.tallies) >= t.bound {
		t.drop(t.idle.newer)
	}
	c := &tally{key: key}
	t.tallies[key] = c
	return c
}

func (t *table) drop(c *tally) {
	c.unlink()
	delete(t.tallies, c.key)
}

// take counts a connection that is opened.
func (t *table) take(c *tally, at time.Duration) {
	c.unlink()
	c.open++
	c.opened.add(slot(at, time.Minute))
}

// leave counts a connection that is closed.
func (t *table) leave(c *tally) {
	c.open--
	if c.open > 0 {
		return
	}
	c.older, c.newer = t.idle.older, &t.idle
	c.older.newer, c.newer.older = c, c
}

// unlink takes the tally out of the ring, if it is in it.
func (t *tally) unlink() {
	if t.newer == nil {
		return
	}
	t.older.newer, t.newer.older = t.newer, t.older
	t.older, t.newer = nil, nil
}
