package limits

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"coexistd/policy/rate"
)

// probePause is how long Redis is left alone after it has not answered.
const probePause = time.Second

// Keeper is whom the daemon asks. It asks Redis, and when Redis does not answer
// it does what each rule says for that case, without making the next messages
// wait. Its methods may be called side by side.
type Keeper struct {
	log      *slog.Logger
	redis    *Redis
	memory   *Memory
	patience time.Duration

	mu    sync.Mutex
	state int       // counts the changes: while it is odd, Redis is away
	trial bool      // a message is asking whether Redis is back
	next  time.Time // when the next one may
}

// NewKeeper returns a Keeper. Without a Redis everything is counted in the
// memory.
func NewKeeper(log *slog.Logger, redis *Redis, memory *Memory) *Keeper {
	return &Keeper{log: log, redis: redis, memory: memory, patience: patience}
}

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
	if state, ok := k.enter(); ok {
		bounded, cancel := context.WithTimeout(ctx, k.patience)
		grants, err := k.redis.Take(bounded, charges)
		cancel()
		if isOfKey(err) {
			// Redis answers all others.
			k.leave(ctx, state, nil)
			k.log.Error("what Redis has for a limit is none: another program uses its keys; the limit does without it", "reason", err)
			return k.without(charges)
		}
		k.leave(ctx, state, err)
		if err == nil {
			return grants
		}
	}
	return k.without(charges)
}

// Close closes the connections to Redis.
func (k *Keeper) Close() error {
	if k.redis == nil {
		return nil
	}
	return k.redis.Close()
}

// enter asks for leave to ask Redis. The state goes back in leave.
func (k *Keeper) enter() (state int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away() {
		if k.trial || time.Now().Before(k.next) {
			return 0, false
		}
		k.trial = true
	}
	return k.state, true
}

// leave tells what became of it. A caller who went away says nothing of Redis,
// nor does one who asked before Redis' last change.
func (k *Keeper) leave(ctx context.Context, state int, err error) {
	k.mu.Lock()
	changed := false
	if state == k.state {
		k.trial = false
		switch {
		case err == nil:
			changed = k.away()
		case ctx.Err() == nil:
			changed = !k.away()
			k.next = time.Now().Add(probePause)
		}
	}
	if changed {
		k.state++
	}
	k.mu.Unlock()

	switch {
	case changed && err != nil:
		k.log.Warn("Redis does not answer: rate limits do without it", "reason", err)
	case changed:
		k.log.Info("Redis answers again")
	}
}

func (k *Keeper) away() bool { return k.state%2 == 1 }

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
