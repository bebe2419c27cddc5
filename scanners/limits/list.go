package limits

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"strings"
	"time"

	"coexistd/policy/rate"
)

// AllKeys in the place of a key is all keys of a rule. One who logs in as "*" is
// forgotten with all others only.
const AllKeys = "*"

// Query says which buckets are wanted.
type Query struct {
	// Rules are those whose buckets are listed.
	Rules []rate.Rule
	// Books tell limits of accounts that stand in the directory.
	Books rate.Books
	// Most bounds the number of buckets, and with it the memory that a List takes.
	Most int
}

// Listing is the answer to a Query.
type Listing struct {
	// Buckets are the fullest first.
	Buckets []Bucket
	// Cut is set when there are more than Query.Most.
	Cut bool
	// Partly is set when some have not been looked at: there are too many keys in
	// Redis, or of some in memory nothing is known but a number.
	Partly bool
	// Damaged counts what lies in Redis under the names of buckets and is none.
	Damaged int
}

// Bucket is what one key has used of one rule's limit.
type Bucket struct {
	// Rule is one of Query.Rules.
	Rule *rate.Rule
	// Key is what Rule.By counts for. A key that is long, or not of printable ASCII,
	// is shown as "#" and a hash, here and in Redis.
	Key string
	// Allowance is what it may use at the moment. A limit may have been another when
	// it was counted: what is in the bucket is told by the present one.
	rate.Allowance
	// Used is how much of Burst is used, in the rule's unit, rounded up, and Share the
	// same of a full bucket, from 0 to 1. Both are 0 when the limit is rate.Unlimited.
	Used  int64
	Share float64
	// EmptyIn is the time in which it will be empty.
	EmptyIn time.Duration
	// Over says that there is no room for 1 more.
	Over bool
	// InMemory says that this process alone has it.
	InMemory bool
}

// List is that of Limiter. When Redis does not answer, there is an error, and the
// listing is of what this process counts in its memory meanwhile, for the rules with
// rate.ErrorMemory. Messages do not wait for a List, nor does it say to them that
// Redis is away or back.
func (k *Keeper) List(ctx context.Context, q Query) (Listing, error) {
	if k.redis == nil {
		return k.memory.List(ctx, q)
	}
	listing, err := k.redis.List(ctx, q)
	if err == nil {
		return listing, nil
	}
	q.Rules = slices.DeleteFunc(slices.Clone(q.Rules), func(r rate.Rule) bool { return r.OnError != rate.ErrorMemory })
	listing, _ = k.memory.List(ctx, q) // which never fails
	return listing, err
}

// Reset is that of Limiter, in Redis and in this process's memory. When Redis does not
// answer, there is an error, and memory has forgotten nevertheless. As List, it keeps
// nobody waiting.
func (k *Keeper) Reset(ctx context.Context, rule, key string) (bool, error) {
	was, err := k.memory.Reset(ctx, rule, key)
	if k.redis == nil {
		return was, err
	}
	there, err := k.redis.Reset(ctx, rule, key)
	return was || there, err
}

// listing collects buckets, and keeps the fullest of them.
type listing struct {
	query Query
	rules map[string]*rate.Rule // by what stands for their names in keys
	// kept holds twice as many as are wanted at most. Redis may tell of one twice.
	kept map[[2]string]Bucket
	cut  bool
}

func newListing(q Query) *listing {
	l := &listing{query: q, rules: make(map[string]*rate.Rule, len(q.Rules)), kept: make(map[[2]string]Bucket)}
	for i := range q.Rules {
		l.rules[keyPart(q.Rules[i].Name, ":")] = &q.Rules[i]
	}
	return l
}

// add adds the bucket of a rule, if it is wanted, by what stands for its names in keys
// and by the instant at which it will be empty.
func (l *listing) add(rule, key string, empty, now int64, inMemory bool) {
	r, wanted := l.rules[rule]
	if !wanted || empty <= now {
		return
	}
	b := bucketOf(r, key, r.Allows(key, l.query.Books), empty, now)
	// The hash of a key tells of no exception that is made for it.
	b.Unsure = b.Unsure || strings.HasPrefix(key, "#") && (len(r.Accounts) > 0 || r.Column != "")
	b.InMemory = inMemory
	l.kept[[2]string{rule, key}] = b
	if len(l.kept) > 2*max(l.query.Most, 0) {
		l.fullest()
	}
}

// bucketOf is a bucket that will be empty at that instant.
func bucketOf(r *rate.Rule, key string, a rate.Allowance, empty, now int64) Bucket {
	b := Bucket{Rule: r, Key: key, Allowance: a}
	if a.Limit == rate.Unlimited {
		b.EmptyIn = time.Duration(min(max(empty-now, 0), longest)) * time.Microsecond
		return b
	}
	d := price(rate.Charge{Rule: r, Key: key, Amount: 1, Limit: a.Limit, Burst: a.Burst})
	start, answer := d.look(empty, now)
	left := start - now
	b.EmptyIn = time.Duration(left) * time.Microsecond
	b.Share = float64(left) / float64(d.tolerance)
	b.Used = min(amount(left, period(r), a.Limit), max(a.Burst, 1))
	b.Over = answer.Over
	return b
}

// amount returns what comes back in a time when limit does in per: rounded up, what
// spread is the other way.
func amount(left, per, limit int64) int64 {
	high, low := bits.Mul64(uint64(left), uint64(max(limit, 1)))
	if high >= uint64(per) {
		return 1<<63 - 1
	}
	n, rest := bits.Div64(high, low, uint64(per))
	if rest > 0 {
		n++
	}
	return int64(min(n, 1<<63-1))
}

// fullest drops all but the fullest buckets, and returns these in order.
func (l *listing) fullest() []Bucket {
	all := make([]Bucket, 0, len(l.kept))
	for _, b := range l.kept {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b Bucket) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(b.EmptyIn, a.EmptyIn),
			strings.Compare(a.Rule.Name, b.Rule.Name), strings.Compare(a.Key, b.Key))
	})
	most := min(len(all), max(l.query.Most, 0))
	for _, b := range all[most:] {
		delete(l.kept, [2]string{keyPart(b.Rule.Name, ":"), b.Key})
		l.cut = true
	}
	return all[:most]
}

// end makes the answer.
func (l *listing) end(partly bool, damaged int) Listing {
	buckets := l.fullest()
	return Listing{Buckets: buckets, Cut: l.cut, Partly: partly, Damaged: damaged}
}
