package limits

import (
	"context"
	"fmt"
	"strings"
	"time"

	"coexistd/policy/rate"
)

// SetClock has a Memory take the time, in microseconds, from now.
func (m *Memory) SetClock(now func() int64) { m.now = now }

// NewPatientRedis is NewRedis for a machine that is busy with other things.
func NewPatientRedis(o RedisOptions, patience time.Duration) *Redis { return newRedis(o, patience) }

// SetPatience sets how long Redis is waited for.
func (k *Keeper) SetPatience(d time.Duration) { k.patience = d }

// TakeAt is Take with another clock than Redis' own.
func (r *Redis) TakeAt(ctx context.Context, now int64, charges []rate.Charge) ([]rate.Grant, error) {
	time := fmt.Sprintf("{'%d', '%d'}", now/second, now%second)
	list, of := demands(charges)
	numbers, err := r.run(ctx, "eval", strings.Replace(script, "redis.call('TIME')", time, 1), list)
	if err != nil {
		return nil, err
	}
	answers := make([]rate.Grant, len(list))
	for i := range list {
		answers[i] = list[i].answer(numbers[2*i])
		answers[i].First = numbers[2*i+1] == 1
	}
	return grants(answers, of), nil
}

// Keys are those of a charge in Redis: of the bucket, and of the mark of its
// refusal.
func Keys(c rate.Charge) (bucket, refusal string) {
	name := keyPart(c.Rule.Name, ":") + ":" + keyPart(c.Key, "")
	return bucketPrefix + name, refusalPrefix + name
}

// ReadBucket reads one that is in Redis, as List does.
func ReadBucket(r *rate.Rule, name, value string, now int64) (Bucket, bool) {
	b, ok := readBucket(name, value)
	if !ok {
		return Bucket{}, false
	}
	return bucketOf(r, b.key, r.Allows(b.key, rate.Books{}), b.empty, now), true
}

// ReadPage reads an answer of Redis.
func ReadPage(page []any) (now int64, strange int, pairs []string, _ error) { return readPage(page) }
