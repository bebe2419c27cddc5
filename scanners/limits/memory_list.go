package limits

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// namedOf is how many of a Memory's keys share one name's room.
const namedOf = 64

// names has the texts of a part of a shard's buckets, so that they can be told to
// people: where there is no room for all, those of the fullest. It makes room
// as table does, and never grows.
type names struct {
	sets []nameSet // made when the first name comes
	most int
}

// nameSet has the hashes side by side: most of what is asked is no more than these.
type nameSet struct {
	hashes [ways]uint64
	named  [ways]named
}

type named struct {
	rule  string
	key   string // what stands for it in Redis, too
	epoch uint32 // of the rule
	// until is when the bucket will be empty, and tolerance how long it would take if
	// it were full, by its last charge.
	until, tolerance int64
}

// share compares how full buckets are. One without a name is empty.
func (n *named) share(now int64) float64 {
	return float64(max(n.until-now, 0)) / float64(max(n.tolerance, 1))
}

func newNames(keys int) names { return names{most: 1 + keys*3/2/namedOf/ways} }

// set is where a hash can be, by the bits below those that choose the shard.
func (n *names) set(hash uint64) *nameSet {
	const width = 32
	return &n.sets[(hash&(1<<width-1))*uint64(len(n.sets))>>width]
}

// note keeps the name of the bucket that a demand is of, and will be empty at that
// instant, unless those in its place are all fuller.
func (n *names) note(hash uint64, d *demand, epoch uint32, until, now int64) {
	if until <= now {
		return
	}
	if n.sets == nil {
		n.sets = make([]nameSet, n.most)
	}
	set := n.set(hash)
	if i := slices.Index(set.hashes[:], hash); i >= 0 && set.named[i].tolerance > 0 {
		set.named[i].until, set.named[i].tolerance = until, d.tolerance
		return
	}
	newcomer := named{d.rule, d.key, epoch, until, d.tolerance}
	least := 0
	for i := range set.named {
		if set.named[i].share(now) < set.named[least].share(now) {
			least = i
		}
	}
	if newcomer.share(now) > set.named[least].share(now) {
		// The key may be a part of a long text, which would be kept with it.
		newcomer.key = strings.Clone(keyPart(d.key, ""))
		set.hashes[least], set.named[least] = hash, newcomer
	}
}

// epochs counts how often each rule was forgotten as a whole. It is part of a
// bucket's hash: those of an epoch that is over are not found any more, and go as
// they empty. Only rules that were reset are in it.
type epochs struct {
	mu     sync.Mutex // of those who change it
	counts atomic.Pointer[map[string]uint32]
}

// now returns the counts. They never change.
func (e *epochs) now() map[string]uint32 {
	if counts := e.counts.Load(); counts != nil {
		return *counts
	}
	return nil
}

func (e *epochs) begin(rule string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := maps.Clone(e.now())
	if counts == nil {
		counts = make(map[string]uint32, 1)
	}
	counts[rule]++
	e.counts.Store(&counts)
}

// List is that of Limiter; there is never an error. It knows the names of the fullest
// buckets only, of about a 64th of the keys that it has room for.
func (m *Memory) List(_ context.Context, q Query) (Listing, error) {
	l, partly := newListing(q), false
	for i := range m.shards {
		found, more, now := m.shards[i].listed(m)
		for _, n := range found {
			l.add(keyPart(n.rule, ":"), n.key, n.until, now, true)
		}
		partly = partly || more
	}
	return l.end(partly, 0), nil
}

// listed returns the buckets whose names are known, and whether there are more.
func (s *shard) listed(m *Memory) (found []named, more bool, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = m.now()
	s.eachNamed(now, func(hash uint64, n *named) {
		// What was taken while its rule was reset is of the epoch before.
		if n.epoch == m.epochs.now()[n.rule] {
			n.until = s.buckets.get(hash, now)
			found = append(found, *n)
		}
	})
	return found, s.buckets.count(now) > len(found), now
}

// eachNamed calls do for all names of buckets that are not empty.
func (s *shard) eachNamed(now int64, do func(hash uint64, n *named)) {
	for i := range s.names.sets {
		set := &s.names.sets[i]
		for j, hash := range set.hashes {
			if n := &set.named[j]; n.until > now && s.buckets.get(hash, now) > 0 {
				do(hash, n)
			}
		}
	}
}

// count returns how many hashes there are.
func (t *table) count(now int64) (n int) {
	for _, set := range t.sets {
		for _, e := range set {
			if e.until > now {
				n++
			}
		}
	}
	return n
}

// Reset is that of Limiter; there is never an error. Of a rule whose buckets' names are
// all forgotten, AllKeys forgets them and reports that there was none.
func (m *Memory) Reset(_ context.Context, rule, key string) (was bool, _ error) {
	hash := m.hash(rule, key, m.epochs.now())
	if key == AllKeys {
		m.epochs.begin(rule)
	}
	for i := range m.shards {
		was = m.shards[i].reset(rule, key, hash, m.now) || was
	}
	return was, nil
}

// reset is the part of Reset that a shard does. The key may be what stands for another
// whose hash is not told.
func (s *shard) reset(rule, key string, hash uint64, clock func() int64) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	s.eachNamed(now, func(hash uint64, n *named) {
		if n.rule == rule && (key == AllKeys || key == n.key) {
			n.until = 0
			was = s.forget(hash, now) || was
		}
	})
	if key != AllKeys {
		was = s.forget(hash, now) || was
	}
	return was
}

// forget empties a bucket, and reports that it was not empty.
func (s *shard) forget(hash uint64, now int64) bool {
	s.refusals.forget(hash)
	return s.buckets.get(hash, now) > 0 && s.buckets.forget(hash)
}

// forget frees the entry of a hash.
func (t *table) forget(hash uint64) (was bool) {
	for _, set := range t.places(hash) {
		for i := range set {
			if set[i].hash == hash {
				set[i].until, was = 0, true
			}
		}
	}
	return was
}
