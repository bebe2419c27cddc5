package limits

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"coexistd/policy/rate"
	"coexistd/scanners/breaker"
)

// caution has Redis left alone for a second after it has not answered once. Only the one
// who tries it then says that it is back: what it answers to others may be late.
var caution = breaker.Options{Failures: 1, MinPause: time.Second, MaxPause: time.Second, TrialOnly: true}

// Keeper is whom the daemon asks. It asks Redis, and when Redis does not answer
// it does what each rule says for that case, without making the next messages
// wait. Its methods may be called side by side.
type Keeper struct {
	log      *slog.Logger
	redis    *Redis
	memory   *Memory
	patience time.Duration
	breaker  *breaker.Breaker

	asked, failed, took atomic.Uint64 // of Asked
}

// Asked is what Redis was asked so far.
type Asked struct {
	// Questions were asked, of which Failed had no answer.
	Questions, Failed uint64
	// Took is how long all of them took together.
	Took time.Duration
}

// NewKeeper returns a Keeper. Without a Redis everything is counted in the
// memory.
func NewKeeper(log *slog.Logger, redis *Redis, memory *Memory) *Keeper {
	return &Keeper{log: log, redis: redis, memory: memory, patience: patience, breaker: breaker.New(caution)}
}

// State returns what is known of Redis at the moment, the zero State where there is none.
func (k *Keeper) State() breaker.State { return k.breaker.State() }

// Asked tells what Redis was asked so far.
func (k *Keeper) Asked() Asked {
	return Asked{k.asked.Load(), k.failed.Load(), time.Duration(k.took.Load())}
}

// Heard is that of breaker.Breaker.
func (k *Keeper) Heard(reason string) { k.breaker.Heard(reason) }

// Take is that of Limiter, but that it never fails, and takes 200 milliseconds at
// most. When Redis does not answer in that time, charges of rules with
// rate.ErrorMemory are counted in this process's memory, and the others'
// grants are unknown. If one of those stops the message (rate.ErrorTempfail),
// memory is asked, too, but counts nothing.
//
// Redis is then left alone for a second. After that one message at a time, a
// second apart, asks it again, and the others are answered at once. A Redis that
// hangs rather than fails still does what it was asked when it wakes up: so what
// was asked in vain may count there, and nothing is counted too little.
func (k *Keeper) Take(ctx context.Context, charges []rate.Charge) []rate.Grant {
	switch {
	case len(charges) == 0:
		return nil
	case k.redis == nil:
		return k.memory.take(charges, true)
	}
	if pass, refused := k.breaker.Enter(); refused == nil {
		grants, err := k.ask(ctx, charges)
		if isOfKey(err) {
			// Redis answers all others.
			k.settle(ctx, pass, nil)
			k.log.Error("what Redis has for a limit is none: another program uses its keys; the limit does without it", "reason", err)
			return k.without(charges)
		}
		k.settle(ctx, pass, err)
		if err == nil {
			return grants
		}
	}
	return k.without(charges)
}

// ask asks Redis, and counts it.
func (k *Keeper) ask(ctx context.Context, charges []rate.Charge) ([]rate.Grant, error) {
	bounded, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	begun := time.Now()
	grants, err := k.redis.Take(bounded, charges)
	k.took.Add(uint64(time.Since(begun)))
	k.asked.Add(1)
	if err != nil {
		k.failed.Add(1)
	}
	return grants, err
}

// Close closes the connections to Redis.
func (k *Keeper) Close() error {
	if k.redis == nil {
		return nil
	}
	return k.redis.Close()
}

// settle tells what became of asking Redis. A caller who went away says nothing of it.
func (k *Keeper) settle(ctx context.Context, pass breaker.Pass, err error) {
	told, reason := breaker.Answered, ""
	switch {
	case err != nil && ctx.Err() != nil:
		told = breaker.Nothing
	case err != nil:
		told, reason = breaker.Failed, err.Error()
	}
	switch k.breaker.Settle(pass, told, reason) {
	case breaker.Opened:
		k.log.Warn("Redis does not answer: rate limits do without it", "reason", reason)
	case breaker.Closed:
		k.log.Info("Redis answers again")
	}
}

// without answers while Redis does not.
func (k *Keeper) without(charges []rate.Charge) []rate.Grant {
	list := make([]rate.Grant, len(charges))
	var counted []rate.Charge
	var at []int
	passes := true
	for i, c := range charges {
		if c.Rule.OnError == rate.ErrorMemory {
			counted, at = append(counted, c), append(at, i)
			continue
		}
		list[i].Unknown = true
		passes = passes && c.Rule.OnError != rate.ErrorTempfail
	}
	for i, grant := range k.memory.take(counted, passes) {
		list[at[i]] = grant
	}
	return list
}
