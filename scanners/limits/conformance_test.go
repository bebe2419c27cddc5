package limits_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
	"coexistd/scanners/limits"
)

// slack is how long Redis is waited for where the time does not matter: only one that
// hangs takes so long, on a machine that does other things as well.
const slack = time.Minute

// starting bounds the start of a server.
func starting(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*slack)
	t.Cleanup(cancel)
	return ctx
}

// started has a server stopped at the end of the test.
func started(t testing.TB, server *lab.Redis, err error) *lab.Redis {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(server.Log())
		}
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func startRedis(t testing.TB, c lab.RedisConfig) *lab.Redis {
	t.Helper()
	server, err := lab.LendFilters(t).StartRedis(starting(t), c)
	return started(t, server, err)
}

func startCluster(t testing.TB) *lab.RedisCluster {
	t.Helper()
	cluster, err := lab.LendFilters(t).StartRedisCluster(starting(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// patient returns a client with much time.
func patient(t testing.TB, o limits.RedisOptions) *limits.Redis {
	r := limits.NewPatientRedis(o, slack)
	closeAtEnd(t, r)
	return r
}

func closeAtEnd(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestConformance holds every Limiter to the promises of Limiter.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(*testing.T) limits.Limiter
	}{
		{"memory", func(*testing.T) limits.Limiter { return limits.NewMemory(1_000_000) }},
		{"one Redis", func(t *testing.T) limits.Limiter {
			return patient(t, limits.RedisOptions{Addresses: []string{startRedis(t, lab.RedisConfig{}).Addr}})
		}},
		{"Sentinel", func(t *testing.T) limits.Limiter {
			master := startRedis(t, lab.RedisConfig{Password: "secret"})
			sentinel, err := lab.LendFilters(t).StartSentinel(starting(t), master, "mail")
			started(t, sentinel, err)
			return patient(t, limits.RedisOptions{Addresses: []string{sentinel.Addr}, Master: "mail", Password: "secret"})
		}},
		{"a cluster of three", func(t *testing.T) limits.Limiter {
			return patient(t, limits.RedisOptions{Addresses: startCluster(t).Addrs()})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.open(t)
			for _, s := range sequences() {
				t.Run(s.about, func(t *testing.T) { s.run(t, l) })
			}
			t.Run("a bucket empties in time", func(t *testing.T) { conformOnTime(t, l) })
			t.Run("many at once", func(t *testing.T) { conformOnConcurrency(t, l) })
			t.Run("lists", func(t *testing.T) { conformOnLists(t, l) })
		})
	}
}

// sequence is a row of calls with the answers that each must get. The rules'
// periods are so long that nothing comes back meanwhile.
type sequence struct {
	about string
	steps []step
}

type step struct {
	charges []rate.Charge
	want    []rate.Grant
}

// unit is the time in which rules of long gives back one.
const unit = 24 * time.Hour

// long makes a rule that gives back one a day, and takes so many at once.
func long(name string, burst int64, onLimit verdict.Verdict) *rate.Rule {
	return &rate.Rule{Name: name, Limit: 30, Per: 30 * 24 * 3600, Burst: burst, OnLimit: onLimit}
}

func charge(r *rate.Rule, key string, amount int64) rate.Charge {
	return rate.Charge{Rule: r, Key: key, Amount: amount, Limit: r.Limit, Burst: r.Burst}
}

// call is a step of charges; the wants are the grants, one each.
func call(charges ...rate.Charge) step { return step{charges: charges} }

func (s step) gets(want ...rate.Grant) step {
	s.want = want
	return s
}

func over(units float64) rate.Grant {
	return rate.Grant{Over: true, Wait: int64(units * float64(unit.Microseconds()))}
}

func first(g rate.Grant) rate.Grant {
	g.First = true
	return g
}

var (
	granted = rate.Grant{}
	never   = rate.Grant{Over: true, Wait: rate.Never}
)

func (s *sequence) run(t *testing.T, l limits.Limiter) {
	begun := time.Now()
	for i, step := range s.steps {
		got, err := l.Take(t.Context(), step.charges)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(step.want) {
			t.Fatalf("step %d: %d grants, want %d", i, len(got), len(step.want))
		}
		for j, want := range step.want {
			if !alike(got[j], want, time.Since(begun)) {
				t.Errorf("step %d, charge %d of %s for %.40q: got %+v, want %+v", i, j,
					step.charges[j].Rule.Name, step.charges[j].Key, got[j], want)
			}
		}
	}
}

// alike compares grants. So much time may have passed since what they rest on
// was counted.
func alike(got, want rate.Grant, passed time.Duration) bool {
	less := want.Wait - got.Wait
	if want.Wait <= 0 && less != 0 || less < 0 || less > passed.Microseconds()+1 {
		return false
	}
	got.Wait = want.Wait
	return got == want
}

func sequences() []sequence {
	return append(sequencesOfOne(), sequencesOfSeveral()...)
}

func sequencesOfOne() []sequence {
	a, b := long("one", 3, verdict.Tempfail), long("amounts", 10, verdict.Reject)
	other := charge(b, "excepted", 3)
	other.Limit, other.Burst = 60, 4
	full, low := charge(long("lowered", 20, verdict.Reject), "bob", 20), charge(long("lowered", 2, verdict.Reject), "bob", 1)
	return []sequence{
		{"the burst passes, and no more", []step{
			call(charge(a, "bob", 1)).gets(granted),
			call(charge(a, "bob", 1)).gets(granted),
			call(charge(a, "bob", 1)).gets(granted),
			call(charge(a, "bob", 1)).gets(first(over(1))),
			call(charge(a, "bob", 1)).gets(over(1)),
			call(charge(a, "bob", 3)).gets(over(3)),
			call(charge(a, "ann", 1)).gets(granted),
		}},
		{"what does not fit is not counted, what fits still passes", []step{
			call(charge(b, "bob", 6)).gets(granted),
			call(charge(b, "bob", 5)).gets(first(over(1))),
			call(charge(b, "bob", 4)).gets(granted),
			call(charge(b, "bob", 1)).gets(over(1)),
		}},
		{"more than the burst never passes", []step{
			call(charge(b, "ann", 11)).gets(first(never)),
			call(charge(b, "ann", math.MaxInt64)).gets(never),
			call(charge(b, "ann", 10)).gets(granted),
			call(charge(b, "ann", 11)).gets(never),
			call(charge(b, "ann", 1)).gets(over(1)),
		}},
		{"an exception has its own limit and burst", []step{
			call(other).gets(granted),
			call(other).gets(first(over(1))), // two a day, and 6 are 2 too many
		}},
		{"a limit that was lowered holds at once, but no longer than it would", []step{
			call(full).gets(granted),
			call(low).gets(first(over(1))),
			call(full).gets(over(2)),
		}},
		{"an amount below one is one", []step{
			call(charge(a, "zero", 0)).gets(granted),
			call(charge(a, "zero", -7)).gets(granted),
			call(charge(a, "zero", math.MinInt64)).gets(granted),
			call(charge(a, "zero", 1)).gets(first(over(1))),
		}},
		{"nothing asked, nothing answered", []step{call().gets()}},
		{"keys are told apart, whatever is in them", strangeKeys()},
		{"the largest numbers are numbers", []step{
			call(extreme("a", math.MaxInt64, 1, math.MaxInt64, math.MaxInt64)).gets(first(never)), // 366 days hold less
			call(extreme("b", math.MaxInt64, math.MaxInt64, math.MaxInt64, 3600)).gets(granted),
			call(extreme("b", math.MaxInt64, math.MaxInt64, math.MaxInt64, 3600)).gets(first(rate.Grant{Over: true, Wait: 3_600_000_000})),
			call(extreme("c", 1, 1, 1, math.MaxInt64)).gets(first(never)),
			call(extreme("e", 3, math.MaxInt64, 2, 1)).gets(first(never)), // though it would be back in no time
			call(extreme("d", 1, math.MinInt64, math.MinInt64, math.MinInt64)).gets(granted),
		}},
	}
}

func extreme(key string, amount, limit, burst, per int64) rate.Charge {
	r := &rate.Rule{Name: "extreme " + key, Limit: limit, Burst: burst, Per: per}
	return charge(r, key, amount)
}

// strangeKeys are used up one by one; if two were the same, the second would be
// over.
func strangeKeys() (steps []step) {
	for _, name := range []string{"strange", "strange:", "strange:a", "#", "{x}", "per user", "für jeden", ""} {
		r := long(name, 1, verdict.Reject)
		for _, key := range []string{
			"", "a", "A", ":", "a:", ":a", "a:a", "a:a:a", "2001:db8::/64", "#", "#a", "{coexistd}", "{}", "\x00", "\r\n", "\xff",
			"ä@example.net", "a b", strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("x", mail.MaxAddress),
			strings.Repeat("x", mail.MaxAddress) + "y", `"quoted @"@example.net`, "*", "?", "[a]", "a\n",
		} {
			steps = append(steps, call(charge(r, key, 1)).gets(granted))
		}
	}
	return steps
}

func sequencesOfSeveral() []sequence {
	hard, wide := long("hard", 2, verdict.Tempfail), long("wide", 5, verdict.Reject)
	soft := long("soft", 1, verdict.Tag)
	return []sequence{
		{"one hard limit that is over has nothing counted", []step{
			call(charge(wide, "1", 1), charge(hard, "1", 2)).gets(granted, granted),
			call(charge(wide, "1", 4), charge(hard, "1", 1)).gets(granted, first(over(1))),
			call(charge(hard, "1", 1), charge(wide, "1", 4)).gets(over(1), granted),
			call(charge(wide, "1", 4)).gets(granted),
			call(charge(wide, "1", 1), charge(hard, "1", 1)).gets(first(over(1)), over(1)),
		}},
		{"a soft limit that is over is not counted, the others are", []step{
			call(charge(soft, "2", 1), charge(wide, "2", 1)).gets(granted, granted),
			call(charge(soft, "2", 1), charge(wide, "2", 3)).gets(first(over(1)), granted),
			call(charge(wide, "2", 1), charge(soft, "2", 5)).gets(granted, never),
			call(charge(wide, "2", 1), charge(soft, "2", 1)).gets(first(over(1)), over(1)),
		}},
		{"a soft limit with room is not counted when a hard one is over", []step{
			call(charge(hard, "3", 2)).gets(granted),
			call(charge(soft, "3", 1), charge(hard, "3", 1)).gets(granted, first(over(1))),
			call(charge(soft, "3", 1)).gets(granted),
			call(charge(soft, "3", 1)).gets(first(over(1))),
		}},
		{"charges of one rule and key add up", []step{
			call(charge(wide, "4", 3), charge(hard, "4", 1), charge(wide, "4", 3)).gets(first(never), granted, never),
			call(charge(wide, "4", 2), charge(wide, "4", 3)).gets(granted, granted),
			call(charge(wide, "4", 1), charge(wide, "4", 1)).gets(over(2), over(2)),
			call(charge(hard, "4", math.MaxInt64), charge(hard, "4", math.MaxInt64)).gets(first(never), never),
			call(charge(hard, "4", 1), charge(hard, "4", 1)).gets(granted, granted),
		}},
		{"two keys of one rule are two buckets", []step{
			call(charge(hard, "5", 2), charge(hard, "6", 1)).gets(granted, granted),
			call(charge(hard, "5", 1), charge(hard, "6", 1)).gets(first(over(1)), granted),
			call(charge(hard, "6", 1)).gets(granted),
		}},
		{"a thousand recipients of one message", thousand()},
	}
}

func thousand() []step {
	r := long("recipients", 1, verdict.Tempfail)
	var charges []rate.Charge
	for i := range 1000 {
		charges = append(charges, charge(r, fmt.Sprintf("%d@example.net", i), 1))
	}
	none, all := make([]rate.Grant, 1000), make([]rate.Grant, 1000)
	for i := range all {
		all[i] = first(over(1))
	}
	return []step{call(charges...).gets(none...), call(charges...).gets(all...)}
}

// conformOnTime waits for what comes back.
func conformOnTime(t *testing.T, l limits.Limiter) {
	r := &rate.Rule{Name: "short", Limit: 5, Per: 1, Burst: 2, OnLimit: verdict.Tempfail}
	take := func(amount int64) rate.Grant {
		got, err := l.Take(t.Context(), []rate.Charge{charge(r, "bob", amount)})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	if g := take(2); g != granted {
		t.Fatalf("the burst: %+v", g)
	}
	begun := time.Now()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()

	// More than the burst is refused for ever, and changes nothing but First.
	if g := take(3); g != first(never) {
		t.Errorf("more than the burst: %+v", g)
	}
	// On a busy machine, two may have come back before two more are asked for.
	refused := time.Now()
	g := take(2)
	for !g.Over {
		refused = time.Now()
		g = take(2)
	}
	if g.Wait < 1 || g.Wait > 400_000 {
		t.Fatalf("two more: %+v, want a wait of 0.4 s at most", g)
	}
	wait := time.Duration(g.Wait) * time.Microsecond
	for g.Over {
		if time.Since(refused) > slack {
			t.Fatalf("two did not come back: %+v", g)
		}
		<-again.C
		g = take(2)
	}
	if took := time.Since(refused); took < wait-time.Millisecond {
		t.Errorf("two came back after %v, want %v", took, wait)
	}
	for g = take(3); !g.First; g = take(3) {
		if time.Since(begun) > slack {
			t.Fatal("a refusal after the period is not the first")
		}
		<-again.C
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("after %v a refusal was the first again, want the period, 1 s", took)
	}
}

func conformOnConcurrency(t *testing.T, l limits.Limiter) {
	hard, other := long("crowd", 100, verdict.Tempfail), long("crowd too", 300, verdict.Tempfail)
	var passed, firsts atomic.Int64
	var crowd sync.WaitGroup
	for i := range 16 {
		crowd.Go(func() {
			for range 20 {
				charges := []rate.Charge{charge(hard, "all", 1), charge(other, "all", 1)}
				if i%2 == 0 {
					charges[0], charges[1] = charges[1], charges[0]
				}
				got, err := l.Take(t.Context(), charges)
				if err != nil {
					t.Error(err)
					return
				}
				if !got[0].Over && !got[1].Over {
					passed.Add(1)
				}
				if got[0].First || got[1].First {
					firsts.Add(1)
				}
			}
		})
	}
	crowd.Wait()
	if passed.Load() != 100 || firsts.Load() != 1 {
		t.Errorf("%d passed and %d were refused for the first time, want 100 and 1", passed.Load(), firsts.Load())
	}
	got, err := l.Take(t.Context(), []rate.Charge{charge(other, "all", 200)})
	if err != nil || got[0].Over {
		t.Errorf("what the refused asked was counted: %+v, %v", got, err)
	}
}
