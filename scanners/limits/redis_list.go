package limits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	// pageSize is how many keys Redis looks at in one step, in a millisecond or so.
	pageSize = 500
	// maxPages bounds a walk. The keys of other programs in the same database count, too.
	maxPages = 200
	// longestEmpty is the length of 2^53, below which every instant is.
	longestEmpty = 16
	// longestKey is the length of the longest key of a bucket.
	longestKey = len(bucketPrefix) + 2*longestPart + 1
)

// List is that of Limiter. It looks at 100,000 keys of the database, in steps that
// hold up others for a millisecond or so, and returns when ctx ends.
func (r *Redis) List(ctx context.Context, q Query) (Listing, error) {
	l, damaged := newListing(q), 0
	pattern := bucketPrefix + "*"
	if len(q.Rules) == 1 {
		pattern = bucketPrefix + literally(keyPart(q.Rules[0].Name, ":")) + ":*"
	}
	partly, err := r.walk(ctx, listScript, pattern, func(page []any) error {
		now, strange, pairs, err := readPage(page)
		if err != nil {
			return err
		}
		damaged += strange
		for i := 0; i+1 < len(pairs); i += 2 {
			b, ok := readBucket(pairs[i], pairs[i+1])
			if !ok {
				damaged++
				continue
			}
			l.add(b.rule, b.key, b.empty, now, false)
		}
		return nil
	})
	if err != nil {
		return Listing{}, r.failed(err)
	}
	return l.end(partly, damaged), nil
}

// Reset is that of Limiter. With AllKeys it looks at as many keys as List; when there
// are more, that is an error.
func (r *Redis) Reset(ctx context.Context, rule, key string) (bool, error) {
	if key == AllKeys {
		return r.resetAll(ctx, rule)
	}
	was := false
	for _, part := range partsOf(key) {
		name := keyPart(rule, ":") + ":" + part
		deleted := once{redis.NewCmd(ctx, "eval", resetScript, 2, bucketPrefix+name, refusalPrefix+name)}
		deleted.SetFirstKeyPos(3)
		if err := r.client.Process(ctx, deleted); err != nil {
			return was, r.failed(mayNot(err))
		}
		n, err := deleted.Int64()
		if err != nil {
			return was, r.failed(err)
		}
		was = was || n > 0
	}
	return was, nil
}

func (r *Redis) resetAll(ctx context.Context, rule string) (was bool, _ error) {
	// The question marks stand for what tells buckets from refusals.
	pattern := keyTag + ":????:" + literally(keyPart(rule, ":")) + ":*"
	partly, err := r.walk(ctx, resetAllScript, pattern, func(page []any) error {
		n, ok := page[0].(int64)
		if !ok {
			return errStrange
		}
		was = was || n > 0
		return nil
	})
	switch {
	case err != nil:
		return was, r.failed(err)
	case partly:
		return was, fmt.Errorf("%s holds too many keys: only %d of them were looked at for the limit %q; give coexistd a database of its own, or name single keys", r.name, pageSize*maxPages, rule)
	}
	return was, nil
}

// partsOf are what may stand for a key in Redis: what Take writes, and, of a key as List
// shows it, the key itself.
func partsOf(key string) []string {
	parts := []string{keyPart(key, "")}
	if isHashed(key) {
		parts = append(parts, key)
	}
	return parts
}

// errStrange is of an answer that the script does not make.
var errStrange = errors.New("the answer is none of coexistd's script; another program answers at that address")

// walk runs a script that looks at a page of the keys like a pattern, and gives its
// answers to each without the cursor. They have one element at least. It does not look
// at all keys when there are too many.
func (r *Redis) walk(ctx context.Context, script, pattern string, each func(page []any) error) (partly bool, _ error) {
	cursor := "0"
	for range maxPages {
		cmd := once{redis.NewCmd(ctx, "eval", script, 1, bucketPrefix, cursor, pattern, pageSize, longestKey, longestEmpty)}
		cmd.SetFirstKeyPos(3)
		if err := r.client.Process(ctx, cmd); err != nil {
			return true, mayNot(err)
		}
		page, err := cmd.Slice()
		if err != nil {
			return true, err
		}
		if len(page) < 2 {
			return true, errStrange
		}
		next, ok := page[0].(string)
		if _, err := strconv.ParseUint(next, 10, 64); !ok || err != nil {
			return true, errStrange
		}
		if err := each(page[1:]); err != nil {
			return true, err
		}
		if cursor = next; cursor == "0" {
			return false, nil
		}
	}
	return true, nil
}

// mayNot says what would be right where Redis' user has too few rights. Redis tells
// them of a script by its text alone.
func mayNot(err error) error {
	_, answered := errors.AsType[redis.Error](err)
	refuses := func(text string) bool { return strings.Contains(err.Error(), text) }
	if answered && slices.ContainsFunc([]string{"NOPERM", "ACL failure", "can't run this command"}, refuses) {
		return fmt.Errorf("%w; to list limits, Redis' user needs +scan, and to reset them +del", err)
	}
	return err
}

// readPage reads a page of listScript: the seconds and microseconds of Redis' clock, the
// number of what is no bucket, and keys and values in turn.
func readPage(page []any) (now int64, strange int, pairs []string, _ error) {
	const head = 3
	if len(page) < head || len(page)%2 != head%2 {
		return 0, 0, nil, errStrange
	}
	texts := make([]string, len(page))
	for i, part := range page {
		switch part := part.(type) {
		case string:
			texts[i] = part
		case int64:
			texts[i] = strconv.FormatInt(part, 10)
		default:
			return 0, 0, nil, errStrange
		}
	}
	seconds, err := strconv.ParseUint(texts[0], 10, 32)
	micros, err2 := strconv.ParseUint(texts[1], 10, 32)
	count, err3 := strconv.ParseUint(texts[2], 10, 31)
	if errors.Join(err, err2, err3) != nil || micros >= second {
		return 0, 0, nil, errStrange
	}
	return int64(seconds)*second + int64(micros), int(count), texts[head:], nil
}

// stored is a bucket as it is in Redis.
type stored struct {
	rule, key string // what stands for them
	empty     int64
}

// readBucket reads a key of Redis with its value. It is false for what Take never
// writes.
func readBucket(name, value string) (stored, bool) {
	name, ours := strings.CutPrefix(name, bucketPrefix)
	rule, key, found := strings.Cut(name, ":")
	empty, err := strconv.ParseUint(value, 10, 53)
	ok := ours && found && len(value) <= longestEmpty && err == nil && isPart(rule) && isPart(key)
	return stored{rule, key, int64(empty)}, ok
}

// isPart reports a text that keyPart makes of some text.
func isPart(text string) bool { return isHashed(text) || keyPart(text, "") == text }

// isHashed reports a text that may be what keyPart makes of a long or awkward one.
func isHashed(text string) bool {
	digits, ok := strings.CutPrefix(text, "#")
	return ok && len(digits) == 32 && strings.Trim(digits, "0123456789abcdef") == ""
}

// literally returns a pattern of Redis that is like this text alone.
func literally(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// listScript tells of a page of buckets, of whatever lies there no more than has room
// in a bucket.
//
// KEYS has no key, but what a cluster's node is found by. ARGV are the cursor, the
// pattern, the number of keys to look at, and the greatest lengths of a key and of a value.
const listScript = `
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local time, strange = redis.call('TIME'), 0
local answer = {page[1], time[1], time[2], 0}
for _, key in ipairs(page[2]) do
  local value
  if #key <= tonumber(ARGV[4]) then
    value = redis.pcall('GET', key)
  end
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then
    return value
  elseif type(value) == 'string' and #value <= tonumber(ARGV[5]) then
    answer[#answer + 1], answer[#answer + 2] = key, value
  else
    strange = strange + 1
  end
end
answer[4] = strange
return answer
`

// resetScript deletes a bucket and the mark of its refusal, and tells whether there was
// the bucket.
const resetScript = `
redis.call('DEL', KEYS[2])
return redis.call('DEL', KEYS[1])
`

// resetAllScript does so for a page of them, with the first three of listScript's ARGV,
// and tells how many buckets there were.
const resetAllScript = `
local page, buckets = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3]), 0
for _, key in ipairs(page[2]) do
  if string.find(key, '` + bucketPrefix + `', 1, true) == 1 then
    buckets = buckets + redis.call('DEL', key)
  elseif string.find(key, '` + refusalPrefix + `', 1, true) == 1 then
    redis.call('DEL', key)
  end
end
return {page[1], buckets}
`
