package limits_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
	"coexistd/scanners/limits"
)

// went and came count the lines that say so.
func went(log *fake.Log) int { return log.Count("Redis does not answer") }
func came(log *fake.Log) int { return log.Count("Redis answers again") }

// keeper makes a Keeper as the daemon has it.
func keeper(t testing.TB, o limits.RedisOptions) (*limits.Keeper, *fake.Log) {
	log := fake.NewLog()
	k := limits.NewKeeper(log.Logger, limits.NewRedis(o), limits.NewMemory(1000))
	closeAtEnd(t, k)
	return k, log
}

// patientKeeper makes one with much time.
func patientKeeper(t testing.TB, o limits.RedisOptions) *limits.Keeper {
	k := limits.NewKeeper(slog.New(slog.DiscardHandler), limits.NewPatientRedis(o, slack), limits.NewMemory(1000))
	k.SetPatience(slack)
	closeAtEnd(t, k)
	return k
}

func onError(r *rate.Rule, e rate.OnError) *rate.Rule {
	r.OnError = e
	return r
}

// hourly lets a thousand pass at once, and then one each 3.6 seconds.
func hourly() rate.Charge {
	return charge(&rate.Rule{Name: "hourly", Limit: 1000, Per: 3600, Burst: 1000, OnLimit: verdict.Tempfail}, "bob", 1)
}

// most is how many of hourly can have passed since.
func most(begun time.Time) int64 { return 1000 + int64(time.Since(begun)/(3600*time.Millisecond)) }

func TestWhatRedisIsAskedIsCounted(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	k := patientKeeper(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	for range 3 {
		k.Take(t.Context(), []rate.Charge{hourly()})
	}
	if asked := k.Asked(); asked.Questions != 3 || asked.Failed != 0 || asked.Took <= 0 {
		t.Errorf("it counts %+v", asked)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // Nobody asks a second time in the pause.
		k.Take(t.Context(), []rate.Charge{hourly()})
	}
	if asked := k.Asked(); asked.Failed == 0 || asked.Failed > 3 || asked.Questions != 3+asked.Failed {
		t.Errorf("without Redis, it counts %+v", asked)
	}
}

func TestAThousandAnHourIsAThousandForAllHosts(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	var hosts []*limits.Keeper
	for range 2 {
		hosts = append(hosts, patientKeeper(t, limits.RedisOptions{Addresses: []string{server.Addr}}))
	}
	var passed, unknown atomic.Int64
	var crowd sync.WaitGroup
	begun := time.Now()
	for _, host := range hosts {
		for range 16 {
			crowd.Go(func() {
				for range 50 {
					g := host.Take(t.Context(), []rate.Charge{hourly()})[0]
					if g.Unknown {
						unknown.Add(1)
					} else if !g.Over {
						passed.Add(1)
					}
				}
			})
		}
	}
	crowd.Wait()
	if n := passed.Load(); n < 1000 || n > most(begun) || unknown.Load() > 0 {
		t.Errorf("%d passed and %d are unknown after %v, want 1000 to %d and none", n, unknown.Load(), time.Since(begun), most(begun))
	}
}

func TestARedisThatIsKilledAndStartedAgainHasForgottenNothing(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{AppendOnly: true})
	k := patientKeeper(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var passed, over, unknown atomic.Int64
	var crowd sync.WaitGroup
	begun := time.Now()
	for range 4 {
		crowd.Go(func() {
			for ctx.Err() == nil {
				switch g := k.Take(ctx, []rate.Charge{hourly()})[0]; {
				case g.Unknown:
					unknown.Add(1)
					<-time.After(time.Millisecond) // as who is put off comes again later, not at once
				case g.Over:
					over.Add(1)
				default:
					passed.Add(1)
				}
			}
		})
	}
	for range 2 {
		before := passed.Load()
		await(t, "messages pass", func() bool { return passed.Load() > before+50 })
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		before = unknown.Load()
		await(t, "messages are put off", func() bool { return unknown.Load() > before })
		if err := server.Start(starting(t)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the limit is reached", func() bool { return over.Load() > 100 })
	cancel()
	crowd.Wait()
	if n := passed.Load(); n > most(begun) || n < 900 {
		t.Errorf("%d passed, want %d at most, and nearly as many", n, most(begun))
	}
}

func TestAHungRedisIsDoneWithoutUntilItAnswersAgain(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	k, log := keeper(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	asked := charge(onError(long("hung", 1<<40, verdict.Tempfail), rate.ErrorTempfail), "bob", 1)
	await(t, "Redis answers", func() bool { return !k.Take(t.Context(), []rate.Charge{asked})[0].Unknown })
	hadGone, hadCome := went(log), came(log) // it may have been slow at first
	if err := server.Suspend(); err != nil {
		t.Fatal(err)
	}
	var crowd sync.WaitGroup
	for range 20 {
		crowd.Go(func() {
			for range 50 {
				if g := k.Take(t.Context(), []rate.Charge{asked})[0]; !g.Unknown {
					t.Errorf("a hung Redis answered %+v", g)
				}
			}
		})
	}
	crowd.Wait()
	if went(log) != hadGone+1 || came(log) != hadCome {
		t.Errorf("the log says %d times that Redis went and %d that it came, want once and never", went(log)-hadGone, came(log)-hadCome)
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	await(t, "Redis answers again", func() bool { return !k.Take(t.Context(), []rate.Charge{asked})[0].Unknown })
	if went(log) != came(log) {
		t.Errorf("the log says %d times that Redis went and %d that it came", went(log), came(log))
	}
}

func TestWhatRedisHoldsForOneLimitSaysNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	log := fake.NewLog()
	k := limits.NewKeeper(log.Logger, limits.NewPatientRedis(limits.RedisOptions{Addresses: []string{server.Addr}}, slack), limits.NewMemory(1000))
	k.SetPatience(slack)
	closeAtEnd(t, k)
	rule := onError(long("another's key", 2, verdict.Tempfail), rate.ErrorTempfail)
	bad, good := charge(rule, "bob", 1), charge(rule, "ann", 1)
	bucket, _ := limits.Keys(bad)
	do(t, server, "LPUSH", bucket, "1")
	for range 3 {
		if g := k.Take(t.Context(), []rate.Charge{bad})[0]; !g.Unknown {
			t.Errorf("the bucket is a list, and the answer %+v", g)
		}
	}
	if g := k.Take(t.Context(), []rate.Charge{good})[0]; g.Unknown {
		t.Error("another limit is not asked for")
	}
	if went(log) != 0 || log.Count("WRONGTYPE") != 3 || log.Count(server.Addr) != 3 {
		t.Errorf("the log says\n%s", log)
	}
}

func TestWithoutRedisEachRuleDoesWhatItSays(t *testing.T) {
	t.Parallel()
	k, log := keeper(t, limits.RedisOptions{Addresses: []string{"127.0.0.1:1"}})
	memory := onError(long("memory", 2, verdict.Tempfail), rate.ErrorMemory)
	pass := onError(long("pass", 2, verdict.Tempfail), rate.ErrorAccept)
	stop := onError(long("stop", 2, verdict.Tempfail), rate.ErrorTempfail)
	unknown := rate.Grant{Unknown: true}
	for i, s := range []step{
		call().gets(),
		call(charge(stop, "a", 1), charge(memory, "a", 2)).gets(unknown, granted), // put off, and so not counted
		call(charge(pass, "a", 1), charge(memory, "a", 2)).gets(unknown, granted),
		call(charge(memory, "a", 1), charge(pass, "a", 1)).gets(first(over(1)), unknown),
		call(charge(memory, "a", 1), charge(stop, "a", 1)).gets(over(1), unknown),
		call(charge(memory, "b", 1), charge(memory, "b", 1)).gets(granted, granted),
		call(charge(memory, "b", 1), charge(pass, "b", 1), charge(memory, "c", 1)).gets(first(over(1)), unknown, granted),
		call(charge(memory, "c", 2)).gets(granted),
	} {
		got := k.Take(t.Context(), s.charges)
		if len(got) != len(s.want) {
			t.Fatalf("step %d: %d grants, want %d", i, len(got), len(s.want))
		}
		for n, want := range s.want {
			if !alike(got[n], want, time.Minute) {
				t.Errorf("step %d, charge %d: %+v, want %+v", i, n, got[n], want)
			}
		}
	}
	if went(log) != 1 || log.Count("127.0.0.1:1") == 0 {
		t.Errorf("the log does not say once which Redis does not answer:\n%s", log)
	}
}

func TestWithoutARedisEverythingIsInMemory(t *testing.T) {
	k := limits.NewKeeper(slog.New(slog.DiscardHandler), nil, limits.NewMemory(1000))
	closeAtEnd(t, k)
	for _, s := range sequences() {
		t.Run(s.about, func(t *testing.T) { s.run(t, infallible{k}) })
	}
}

// infallible makes a Limiter of a Keeper.
type infallible struct{ *limits.Keeper }

func (i infallible) Take(ctx context.Context, charges []rate.Charge) ([]rate.Grant, error) {
	return i.Keeper.Take(ctx, charges), nil
}

func TestWhoGoesAwayHimselfSaysNothingOfRedis(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	k := patientKeeper(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	asked := []rate.Charge{charge(long("gone", 100, verdict.Tempfail), "bob", 1)}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if g := k.Take(gone, asked)[0]; !g.Unknown {
			t.Errorf("whose context has ended got %+v", g)
		}
		if g := k.Take(t.Context(), asked)[0]; g.Unknown {
			t.Error("the next one was not answered by Redis")
		}
	}
}

func TestAFailoverIsFollowedAndNothingForgotten(t *testing.T) {
	t.Parallel()
	master := startRedis(t, lab.RedisConfig{})
	replica := startRedis(t, lab.RedisConfig{Master: master})
	sentinel, err := lab.LendFilters(t).StartSentinel(starting(t), master, "mail")
	started(t, sentinel, err)
	k, log := keeper(t, limits.RedisOptions{Addresses: []string{sentinel.Addr}, Master: "mail"})
	asked := charge(long("failover", 2, verdict.Tempfail), "bob", 2)
	await(t, "Redis answers", func() bool { return !k.Take(t.Context(), []rate.Charge{asked})[0].Unknown })
	bucket, _ := limits.Keys(asked)
	await(t, "the replica has it", func() bool { return do(t, replica, "EXISTS", bucket) == "1" })
	if err := errors.Join(master.Kill(), sentinel.Lose(starting(t), "mail")); err != nil {
		t.Fatal(err)
	}
	missed := false
	await(t, "the replica answers in its place", func() bool {
		g := k.Take(t.Context(), []rate.Charge{asked})[0]
		missed = missed || g.Unknown
		if !g.Unknown && !g.Over {
			t.Fatalf("it was forgotten: %+v", g)
		}
		return missed && !g.Unknown
	})
	if went(log) != came(log) {
		t.Errorf("the log says %d times that Redis went and %d that it came", went(log), came(log))
	}
}
