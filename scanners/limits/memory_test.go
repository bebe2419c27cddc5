package limits_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"coexistd/policy/rate"
	"coexistd/policy/verdict"
	"coexistd/scanners/limits"
)

// at has a Memory of so many keys whose clock stands where the test puts it.
func at(maxKeys int, clock *int64) *limits.Memory {
	m := limits.NewMemory(maxKeys)
	m.SetClock(func() int64 { return *clock })
	return m
}

func take(t testing.TB, l limits.Limiter, charges ...rate.Charge) []rate.Grant {
	t.Helper()
	got, err := l.Take(t.Context(), charges)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestARateIsKeptToTheMicrosecond asks at random instants, and holds the count
// of what passed against the rate itself: never more than the burst and what came
// back, and always as much where it was asked for.
func TestARateIsKeptToTheMicrosecond(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		rule := &rate.Rule{Name: "r", Limit: 1 + r.Int64N(1000), Per: 1 + r.Int64N(100_000), Burst: 1 + r.Int64N(50)}
		begun := int64(r.Int64N(1 << 50))
		clock := begun
		m := at(100, &clock)
		each := rule.Per * 1_000_000 / rule.Limit // what one takes to come back
		var passed int64
		for range 1000 {
			if g := take(t, m, charge(rule, "bob", 1))[0]; !g.Over {
				passed++
			} else {
				if g.Wait > each {
					t.Fatalf("%+v: one has to wait %d µs, and comes back in %d", rule, g.Wait, each)
				}
				clock += g.Wait - 1
				if g := take(t, m, charge(rule, "bob", 1))[0]; g.Wait != 1 {
					t.Fatalf("%+v: a microsecond before the end of the wait: %+v", rule, g)
				}
				clock++
				if g := take(t, m, charge(rule, "bob", 1))[0]; g.Over {
					t.Fatalf("%+v: after the wait: %+v", rule, g)
				}
				passed++
			}
			clock += r.Int64N(each + each/8)
		}
		// The rounding is less than a microsecond for each that passed.
		back := float64(clock-begun+passed) * float64(rule.Limit) / float64(rule.Per*1_000_000)
		if most := float64(rule.Burst) + back + 1; float64(passed) > most {
			t.Errorf("%+v: %d passed in %d µs, want %.1f at most", rule, passed, clock-begun, most)
		}
	}
}

// bytesAKey is what a key may take, its part of the marks of refusals and of the names
// included.
const bytesAKey = 32

func TestMemoryHoldsItsKeysAndDoesNotGrow(t *testing.T) {
	const keys = 100_000
	before := heap()
	m := limits.NewMemory(keys)
	if passed := each(t, m, 0, keys); passed != keys {
		t.Errorf("of %d new keys, %d passed", keys, passed)
	}
	if lost := each(t, m, 0, keys); lost > 0 {
		t.Errorf("%d of %d keys were forgotten", lost, keys)
	}
	each(t, m, keys, 2*keys)
	each(t, m, keys, 2*keys)
	if used := heap() - before; used > bytesAKey*keys {
		t.Errorf("%d keys, and as many more, take %d bytes", keys, used)
	}
	runtime.KeepAlive(m)
}

// each asks for one message of each key, and returns how many passed.
func each(t testing.TB, l limits.Limiter, from, to int) (passed int) {
	rule := long("clients", 1, verdict.Tempfail)
	for i := from; i < to; i++ {
		if g := take(t, l, charge(rule, strconv.Itoa(i), 1)); !g[0].Over {
			passed++
		}
	}
	return passed
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// TestAFullMemoryKeepsTheFullestBuckets fills a Memory with full buckets as far as
// it promises to hold any, and then asks for very many others. Some sets are full
// by chance, so nearly all have to stay.
func TestAFullMemoryKeepsTheFullestBuckets(t *testing.T) {
	clock := int64(1)
	const keys = 5_000
	m := at(keys, &clock)
	rule := long("senders", 20, verdict.Tempfail)
	for i := range keys {
		take(t, m, charge(rule, fmt.Sprintf("spammer %d", i), 20))
	}
	for i := range 20 * keys {
		take(t, m, charge(rule, fmt.Sprintf("stranger %d", i), 1))
	}
	lost := 0
	for i := range keys {
		if g := take(t, m, charge(rule, fmt.Sprintf("spammer %d", i), 1)); !g[0].Over {
			lost++
		}
	}
	if lost > keys/200 {
		t.Errorf("a flood of other keys made room for %d of %d spammers", lost, keys)
	}
}

func TestEvenAHugeLimitEnds(t *testing.T) {
	clock := int64(1)
	m := at(10, &clock)
	passed := 0
	rule := &rate.Rule{Name: "huge", Limit: 1 << 40, Per: 1, Burst: 10, OnLimit: verdict.Reject}
	for range 100 {
		if g := take(t, m, charge(rule, "bob", 1)); !g[0].Over {
			passed++
		}
	}
	if passed > 10 {
		t.Errorf("%d passed in no time, want 10 at most", passed)
	}
}

func TestAnEmptyBucketMakesRoom(t *testing.T) {
	clock := int64(1)
	m := at(1000, &clock)
	rule := &rate.Rule{Name: "clients", Limit: 1, Per: 60, Burst: 1, OnLimit: verdict.Tempfail}
	for minute := range 20 {
		for i := range 1000 {
			key := fmt.Sprintf("%d %d", minute, i)
			if g := take(t, m, charge(rule, key, 1)); g[0].Over {
				t.Fatalf("minute %d: a new key is over", minute)
			}
		}
		for i := range 1000 {
			key := fmt.Sprintf("%d %d", minute, i)
			if g := take(t, m, charge(rule, key, 1)); !g[0].Over {
				t.Fatalf("minute %d: one of a thousand keys was forgotten", minute)
			}
		}
		clock += 60_000_000
	}
}

// TestCallsThatShareSomeKeysDoNotWaitForEachOther would hang if two calls could
// hold what the other wants.
func TestCallsThatShareSomeKeysDoNotWaitForEachOther(t *testing.T) {
	m := limits.NewMemory(1000)
	rule := long("recipients", 1000, verdict.Tempfail)
	var calls sync.WaitGroup
	for seed := range uint64(8) {
		calls.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 500 {
				var charges []rate.Charge
				for range 1 + r.IntN(20) {
					charges = append(charges, charge(rule, strconv.Itoa(r.IntN(50)), 1))
				}
				m.Take(t.Context(), charges)
			}
		})
	}
	done := make(chan struct{})
	go func() { calls.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("they wait for each other")
	}
}

func FuzzTakeBearsWhateverItIsAsked(f *testing.F) {
	f.Add("per user", "bob", "ann", int64(1), int64(1), int64(10), int64(5), int64(3600), byte(0), int64(0))
	f.Add("", "\x00", "\x00", int64(-1), int64(1<<63-1), int64(-1<<63), int64(1<<63-1), int64(1<<63-1), byte(255), int64(1<<52))
	m := limits.NewMemory(100)
	var mu sync.Mutex
	f.Fuzz(func(t *testing.T, name, key, other string, amount, amount2, limit, burst, per int64, kind byte, now int64) {
		mu.Lock()
		defer mu.Unlock()
		m.SetClock(func() int64 { return now & (1<<52 - 1) })
		rule := &rate.Rule{Name: name, Limit: limit, Burst: burst, Per: per, OnLimit: verdict.Verdict(kind % 6)}
		charges := []rate.Charge{charge(rule, key, amount), charge(rule, other, amount2), charge(rule, key, amount2)}
		got := take(t, m, charges...)
		if len(got) != len(charges) {
			t.Fatalf("%d grants for %d charges", len(got), len(charges))
		}
		for i, g := range got {
			if g.Unknown || g.Over != (g.Wait != 0) || g.Wait < rate.Never || g.First && !g.Over || g.Wait > 366*24*3600*1_000_000 {
				t.Errorf("charge %d: %+v", i, g)
			}
		}
		for _, c := range charges {
			bucket, refusal := limits.Keys(c)
			for _, k := range []string{bucket, refusal} {
				if len(k) > 300 {
					t.Errorf("the key %q is too long", k)
				}
				for _, b := range []byte(k) {
					if b < ' ' || b > '~' {
						t.Errorf("the key %q holds the byte %#x", k, b)
					}
				}
			}
		}
	})
}

// BenchmarkAMillionKeys tells what they take when none is forgotten.
func BenchmarkAMillionKeys(b *testing.B) {
	const keys = 1_000_000
	for b.Loop() {
		before := heap()
		m := limits.NewMemory(keys)
		each(b, m, 0, keys)
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
		b.ReportMetric(float64(each(b, m, 0, keys)), "forgotten")
	}
}

func BenchmarkMemory(b *testing.B) {
	m := limits.NewMemory(1_000_000)
	user, client := long("per user", 1000, verdict.Tempfail), long("per client", 1000, verdict.Tempfail)
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = strconv.Itoa(i) + "@example.net"
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(keys)); pb.Next(); i++ {
			key := keys[i%len(keys)]
			m.Take(b.Context(), []rate.Charge{charge(user, key, 1), charge(client, key, 1)})
		}
	})
}
