package limits

import (
	"cmp"
	"context"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"time"

	"coexistd/policy/rate"
)

// Memory is the Limiter of this process alone. It forgets everything when the
// process ends, and never fails.
//
// It knows a key by a hash of 64 bits that nobody outside can foresee: of a
// million keys, two share a bucket by chance in one of 37 million processes. It
// grows with the keys, to a size that is fixed. When it is full, the bucket that
// would be empty soonest makes room, of those near a new key's place: a flood of
// new keys drives out its own before those of the same rule that are nearly full,
// save for a few in a thousand, but those of a rule with a shorter time before its
// own.
type Memory struct {
	seed   maphash.Seed
	now    func() int64 // microseconds since some instant, never less than before
	epochs epochs
	shards [shards]shard
}

// shards is the number of a Memory's parts; a bit each fits a word.
const shards = 64

type shard struct {
	mu sync.Mutex
	// buckets has when each will be empty, refusals when each has been forgotten.
	buckets, refusals table
	names             names
}

// NewMemory returns a Memory with room for that many keys that have something
// in their buckets; a small number is raised to a thousand. Each takes 24 bytes to
// 48. For an eighth of them it knows that they were refused already, at 3 bytes
// more, and for a 64th of them how they are called, at 2 bytes and a part of the
// names.
func NewMemory(maxKeys int) *Memory {
	begun := time.Now()
	m := &Memory{seed: maphash.MakeSeed(), now: func() int64 { return time.Since(begun).Microseconds() }}
	for i := range m.shards {
		m.shards[i].buckets = newTable(maxKeys / shards)
		m.shards[i].refusals = newTable(maxKeys / shards / 8)
		m.shards[i].names = newNames(maxKeys / shards)
	}
	return m
}

// Take never waits for anything, and there is never an error.
func (m *Memory) Take(_ context.Context, charges []rate.Charge) ([]rate.Grant, error) {
	return m.take(charges, true), nil
}

// take is Take; without count it counts nothing, whatever it finds.
func (m *Memory) take(charges []rate.Charge, count bool) []rate.Grant {
	list, of := demands(charges)
	hashes, epochs := make([]uint64, len(list)), m.epochs.now()
	var locked uint64 // the shards, a bit each
	for i, d := range list {
		hashes[i] = m.hash(d.rule, d.key, epochs)
		locked |= 1 << shardOf(hashes[i])
	}
	m.each(locked, (*sync.Mutex).Lock)
	defer m.each(locked, (*sync.Mutex).Unlock)

	now := m.now()
	starts, answers := make([]int64, len(list)), make([]rate.Grant, len(list))
	for i := range list {
		empty := m.shards[shardOf(hashes[i])].buckets.get(hashes[i], now)
		starts[i], answers[i] = list[i].look(empty, now)
		count = count && !(answers[i].Over && list[i].hard)
	}
	for i, d := range list {
		s := &m.shards[shardOf(hashes[i])]
		switch {
		case answers[i].Over:
			answers[i].First = s.refuse(hashes[i], starts[i], now, d.period)
			s.names.note(hashes[i], &d, epochs[d.rule], starts[i], now)
		case count:
			s.buckets.set(hashes[i], starts[i]+d.cost, now)
			s.names.note(hashes[i], &d, epochs[d.rule], starts[i]+d.cost, now)
		}
	}
	return grants(answers, of)
}

// hash is what a bucket is known by.
func (m *Memory) hash(rule, key string, epochs map[string]uint32) uint64 {
	return maphash.Comparable(m.seed, struct {
		rule, key string
		epoch     uint32
	}{rule, key, epochs[rule]})
}

// refuse notes that a key is refused, and whether it is the first time in the
// period. A bucket fuller than full is full from now on.
func (s *shard) refuse(hash uint64, start, now, period int64) (first bool) {
	if s.buckets.get(hash, now) > start {
		s.buckets.set(hash, start, now)
	}
	first = s.refusals.get(hash, now) == 0
	if first {
		s.refusals.set(hash, now+period, now)
	}
	return first
}

func shardOf(hash uint64) uint64 { return hash >> 58 }

// each locks or unlocks shards, in the order of their numbers.
func (m *Memory) each(which uint64, do func(*sync.Mutex)) {
	for ; which != 0; which &= which - 1 {
		do(&m.shards[bits.TrailingZeros64(which)].mu)
	}
}

// ways is how many entries a set of a table has: 128 bytes, two lines of a
// processor's cache.
const ways = 8

// table maps hashes to instants in the future. An entry whose instant has come
// is free, so nobody has to clean up. A hash has its place in one of two sets;
// a new one goes where more is free, which keeps both from being full until nearly
// all of the table is.
type table struct {
	sets [][ways]entry
	most int // sets; it has fewer until they are needed
}

type entry struct {
	hash  uint64
	until int64
}

// fewest is the number of sets that a table begins with.
const fewest = 4

// newTable makes a table that holds so many hashes with a third of it free, and
// a little more for those that get more than their share by chance.
func newTable(hashes int) table {
	return table{make([][ways]entry, fewest), fewest + hashes*3/2/ways}
}

// grow makes room for twice as many hashes, or as many as there may be. Those that
// are to stay longest are placed first, so that they are spread evenly.
func (t *table) grow(now int64) {
	var live []entry
	for _, set := range t.sets {
		for _, e := range set {
			if e.until > now {
				live = append(live, e)
			}
		}
	}
	slices.SortFunc(live, func(a, b entry) int { return cmp.Compare(b.until, a.until) })
	t.sets = make([][ways]entry, min(2*len(t.sets), t.most))
	for _, e := range live {
		t.set(e.hash, e.until, now)
	}
}

// places are the two sets where a hash can be. They are chosen by the bits below
// those that choose the shard.
func (t *table) places(hash uint64) [2]*[ways]entry {
	const width = 29
	n := uint64(len(t.sets))
	first := (hash & (1<<width - 1)) * n >> width
	further := (hash>>width&(1<<width-1))*(n-1)>>width + 1
	return [2]*[ways]entry{&t.sets[first], &t.sets[(first+further)%n]}
}

// get returns the instant of a hash, or 0 when there is none after now.
func (t *table) get(hash uint64, now int64) int64 {
	for _, set := range t.places(hash) {
		for i := range set {
			if set[i].hash == hash && set[i].until > now {
				return set[i].until
			}
		}
	}
	return 0
}

// set keeps an instant for a hash, if need be in the place of the one among its
// two sets that comes first.
func (t *table) set(hash uint64, until, now int64) {
	var place *entry
	most := -1
	for _, set := range t.places(hash) {
		free, soonest := 0, &set[0]
		for i := range set {
			e := &set[i]
			if e.hash == hash {
				e.until = until
				return
			}
			if e.until <= now {
				free++
			}
			if e.until < soonest.until {
				soonest = e
			}
		}
		if free > most || free == most && soonest.until < place.until {
			place, most = soonest, free
		}
	}
	if place.until > now && len(t.sets) < t.most {
		t.grow(now)
		t.set(hash, until, now)
		return
	}
	*place = entry{hash, until}
}
