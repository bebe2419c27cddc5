// Package limits counts what messages ask of rate limits, and tells which ask too
// much. Memory does so for this process alone, Redis for all hosts that share
// one. The daemon asks a Keeper, which asks Redis as long as that answers.
//
// The counting is the generic cell rate algorithm (ITU-T I.371, annex A): of
// each key of each rule nothing is kept but the instant at which its bucket will
// be empty again. All times are whole microseconds and below 2^53, so that the
// script in Redis, whose numbers are floating-point, computes the very same.
package limits

import (
	"context"
	"math"
	"math/bits"

	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

// Limiter answers what the charges of one message, or one recipient, meet at
// their limits. Its methods may be called side by side.
type Limiter interface {
	// Take looks at all charges, and then counts them unless one of them is over
	// a limit that stops the message: then it counts none. A limit whose OnLimit
	// is verdict.Tag stops nothing: a charge that is over it is not counted itself,
	// the others are. Charges of the same rule and key add up, and First is set in
	// the first of them only.
	//
	// There is a grant for each charge, in their order. Without an answer there is
	// an error and no grant; what was asked may have been counted nevertheless.
	Take(ctx context.Context, charges []rate.Charge) ([]rate.Grant, error)
	// List returns the buckets that are not empty, and changes none.
	List(ctx context.Context, q Query) (Listing, error)
	// Reset forgets one bucket of a rule, and that it was refused anything; with
	// AllKeys, all that the rule has. It reports whether there was one. The key is as
	// rate.Charge or Bucket has it. With an error, some may have been forgotten.
	Reset(ctx context.Context, rule, key string) (bool, error)
}

const (
	second = 1_000_000 // in microseconds
	// longest bounds every time that is kept. A burst that takes longer to come
	// back is cut down to what comes back in that time.
	longest = 366 * 24 * 3600 * second
)

// demand is what one call asks of one bucket.
type demand struct {
	rule, key string
	hard      bool // being over stops the message
	never     bool // it can never be granted
	// cost is how much later the bucket will be empty, and tolerance how long a
	// bucket that is full takes to empty. Each is from 1 to longest+1.
	cost, tolerance int64
	period          int64 // of the rule
}

// demands joins charges of the same rule and key. The charge i is part of the
// demand of[i].
func demands(charges []rate.Charge) (list []demand, of []int) {
	type bucket struct{ rule, key string }
	joined := make([]rate.Charge, 0, len(charges))
	seen := make(map[bucket]int, len(charges))
	of = make([]int, len(charges))
	for i, c := range charges {
		c.Amount = max(c.Amount, 1)
		b := bucket{c.Rule.Name, c.Key}
		at, again := seen[b]
		if !again {
			at = len(joined)
			seen[b] = at
			joined = append(joined, c)
		} else {
			joined[at].Amount += min(c.Amount, math.MaxInt64-joined[at].Amount)
		}
		of[i] = at
	}
	list = make([]demand, len(joined))
	for i, c := range joined {
		list[i] = price(c)
	}
	return list, of
}

// price works out what a charge costs. Rounding down errs in favour of the
// sender, by less than a microsecond a charge; still nothing costs nothing.
func price(c rate.Charge) demand {
	per := period(c.Rule)
	d := demand{
		rule: c.Rule.Name, key: c.Key, hard: c.Rule.OnLimit != verdict.Tag,
		cost:      spread(c.Amount, per, c.Limit),
		tolerance: min(spread(c.Burst, per, c.Limit), longest),
		period:    min(per, longest),
	}
	if c.Amount > max(c.Burst, 1) || d.cost > d.tolerance {
		d.never, d.cost = true, d.tolerance+1
	}
	return d
}

// period is a rule's Per in microseconds.
func period(r *rate.Rule) int64 { return min(max(r.Per, 1), math.MaxInt64/second) * second }

// spread returns the time in which amount comes back when limit does in per:
// amount*per/limit rounded down, from 1 to longest+1.
func spread(amount, per, limit int64) int64 {
	high, low := bits.Mul64(uint64(max(amount, 1)), uint64(per))
	by := uint64(max(limit, 1))
	if high >= by {
		return longest + 1
	}
	time, _ := bits.Div64(high, low, by)
	return int64(min(max(time, 1), longest+1))
}

// look tells whether a bucket has room for the demand now. empty is when the
// bucket will be empty, or any instant in the past. start is that instant brought
// between now and when a full bucket would be empty: no more can be in it, save
// after a clock went back or a limit was lowered. Granted, the demand makes
// it start plus its cost.
func (d *demand) look(empty, now int64) (start int64, answer rate.Grant) {
	start = min(max(now, empty), now+d.tolerance)
	return start, d.answer(start + d.cost - d.tolerance - now)
}

// answer makes a grant of the time that is missing; none is missing where it is
// 0 or less.
func (d *demand) answer(wait int64) rate.Grant {
	switch {
	case wait <= 0:
		return rate.Grant{}
	case d.never:
		return rate.Grant{Over: true, Wait: rate.Never}
	}
	return rate.Grant{Over: true, Wait: wait}
}

// grants gives each charge the answer to the demand that it is part of.
func grants(answers []rate.Grant, of []int) []rate.Grant {
	list := make([]rate.Grant, len(of))
	for i, at := range of {
		list[i] = answers[at]
		answers[at].First = false
	}
	return list
}
