package limits

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"coexistd/policy/mail"
	"coexistd/policy/rate"
)

// patience is how long Redis is waited for: for a connection, an answer, and by
// Keeper for all of it.
const patience = 200 * time.Millisecond

// RedisOptions say where Redis is.
type RedisOptions struct {
	// Addresses are HOST:PORT: one of a server, several of a cluster's nodes, or
	// with Master those of Sentinels. There is at least one.
	Addresses []string
	// Master is the name that the Sentinels know the master by; empty without them.
	Master string
	// Username and Password are those of the servers, not of the Sentinels. Without
	// a Username, the Password is the default user's; empty: there is none.
	Username, Password string
	// TLS has every connection encrypted, and the server prove its name by a
	// certificate that this machine trusts.
	TLS bool
}

// Redis is the Limiter of all hosts that share one Redis, 5.0 or later. Its
// clock is Redis' own. What it keeps goes away by itself.
//
// Whether counts outlive Redis is Redis' configuration: with "appendonly yes" and
// "appendfsync always", nothing that was counted is forgotten.
type Redis struct {
	client redis.UniversalClient
	name   string // for errors
	single bool
	digest string // of the script
}

// NewRedis returns a Redis. It connects when it is first asked.
func NewRedis(o RedisOptions) *Redis { return newRedis(o, patience) }

func newRedis(o RedisOptions, patience time.Duration) *Redis {
	// go-redis would write of each failure to standard error. It returns the same
	// as errors.
	logging.Disable()
	universal := redis.UniversalOptions{
		Addrs: o.Addresses, MasterName: o.Master, Username: o.Username, Password: o.Password,
		DisableIdentity: true, Protocol: 2,
		// A context would not end a command without this.
		ContextTimeoutEnabled: true,
		DialTimeout:           patience, ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience,
		DialerRetries: 1, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.TLS {
		universal.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	universal.Dialer = dialer(redis.NewDialer(&redis.Options{DialTimeout: patience, TLSConfig: universal.TLSConfig})).bounded
	r := &Redis{name: "Redis at " + strings.Join(o.Addresses, ", "), digest: redis.NewScript(script).Hash()}
	switch {
	case o.Master != "":
		r.name = "Redis " + o.Master + " of the Sentinels at " + strings.Join(o.Addresses, ", ")
		r.client = redis.NewFailoverClient(universal.Failover())
	case len(o.Addresses) > 1:
		cluster := universal.Cluster()
		// It would ask for a list of all commands first, whatever the context says.
		cluster.DisableRoutingPolicies = true
		r.client = redis.NewClusterClient(cluster)
	default:
		r.single = true
		r.client = redis.NewClient(universal.Simple())
	}
	return r
}

// Take asks Redis once, in one round trip. It returns when ctx ends; where
// ctx has no end, after a fraction of a second at the latest for each step.
func (r *Redis) Take(ctx context.Context, charges []rate.Charge) ([]rate.Grant, error) {
	list, of := demands(charges)
	answers, err := r.ask(ctx, list)
	if err != nil {
		return nil, r.failed(err)
	}
	return grants(answers, of), nil
}

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }

// Ping does what Take does, counting nothing of anybody's, and returns Redis'
// version. That is empty where Redis does not tell it to this user.
func (r *Redis) Ping(ctx context.Context) (version string, err error) {
	info, err := r.client.Info(ctx, "server").Result()
	if err != nil && !redis.HasErrorPrefix(err, "NOPERM") {
		return "", r.failed(err)
	}
	var mode string
	for line := range strings.Lines(info) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "redis_version":
			version = mail.Excerpt(value, 50)
		case "redis_mode":
			mode = value
		}
	}
	switch {
	case mode == "sentinel":
		return version, fmt.Errorf("%s is a Sentinel: name the master that it watches, too", r.name)
	case mode == "cluster" && r.single:
		return version, fmt.Errorf("%s is a node of a cluster: give the addresses of several of its nodes", r.name)
	}
	if _, err := r.ask(ctx, []demand{{rule: "coexistd", key: "doctor", cost: 1, tolerance: longest, period: 1}}); err != nil {
		return version, r.failed(err)
	}
	return version, nil
}

// maxReason bounds what is told of an error, in bytes: go-redis quotes answers that it
// cannot read whole.
const maxReason = 500

// failure is an error of asking Redis, in a text that is short whatever Redis answers.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

func (r *Redis) failed(err error) error {
	what := ": "
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		what = " has not answered in time: "
	}
	return &failure{r.name + what + mail.Excerpt(err.Error(), maxReason), err}
}

// isOfKey reports an error that is the fault of what Redis holds for the keys in
// question, and says nothing of others. Redis tells it by its text alone: that begins
// with the code from Redis 7 on, and up to Redis 6 has it within the message of an error
// in a script.
func isOfKey(err error) bool {
	answer, answered := errors.AsType[redis.Error](err)
	return answered && strings.Contains(answer.Error(), "WRONGTYPE ")
}

// once is a command that go-redis does not send again after an error that leaves
// open whether Redis has done it: done twice, it would count twice. What sends
// it elsewhere in a cluster (MOVED, ASK) says that it was not done.
type once struct{ *redis.Cmd }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }

// ask has Redis run the script for these demands.
func (r *Redis) ask(ctx context.Context, list []demand) ([]rate.Grant, error) {
	if len(list) == 0 {
		return nil, ctx.Err()
	}
	numbers, err := r.run(ctx, "evalsha", r.digest, list)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		numbers, err = r.run(ctx, "eval", script, list)
	}
	if err != nil {
		return nil, err
	}
	if len(numbers) != 2*len(list) {
		return nil, fmt.Errorf("the script for %d limits answered with %d numbers, not %d", len(list), len(numbers), 2*len(list))
	}
	answers := make([]rate.Grant, len(list))
	for i := range list {
		answers[i] = list[i].answer(numbers[2*i])
		answers[i].First = numbers[2*i+1] == 1
	}
	return answers, nil
}

func (r *Redis) run(ctx context.Context, command, script string, list []demand) ([]int64, error) {
	args := make([]any, 0, 3+6*len(list))
	args = append(args, command, script, 2*len(list))
	for _, d := range list {
		name := keyPart(d.rule, ":") + ":" + keyPart(d.key, "")
		args = append(args, bucketPrefix+name, refusalPrefix+name)
	}
	for _, d := range list {
		hard := 0
		if d.hard {
			hard = 1
		}
		args = append(args, d.cost, d.tolerance, hard, (d.period+999)/1000)
	}
	cmd := once{redis.NewCmd(ctx, args...)}
	cmd.SetFirstKeyPos(3)
	if err := r.client.Process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Int64Slice()
}

// All keys have one hash tag, the text in braces. It keeps them in one slot of
// a cluster, and so on one of its masters: nowhere else could several limits be
// looked at and then counted in one step. What a cluster brings is another master
// when that one fails, not speed.
const (
	keyTag        = "{coexistd}"
	bucketPrefix  = keyTag + ":rate:"
	refusalPrefix = keyTag + ":over:"
)

// longestPart is the length of the longest text that stands in a key as it is.
const longestPart = 128

// keyPart returns a text as it stands in a key: itself, or a hash when it is long,
// or holds bytes that would be awkward there, or one of those not wanted.
func keyPart(text, unwanted string) string {
	awkward := func(c rune) bool { return c < ' ' || c > '~' }
	if text == "" || len(text) > longestPart || text[0] == '#' || strings.ContainsAny(text, unwanted) || strings.ContainsFunc(text, awkward) {
		return fmt.Sprintf("#%.16x", sha256.Sum256([]byte(text)))
	}
	return text
}

// script does in Redis what Memory.take does here.
//
// KEYS are, for each demand, its bucket and the mark of its refusal. ARGV are, for
// each, its cost and tolerance in microseconds, 1 when it is hard and else 0, and
// the rule's period in milliseconds. The answer is, for each, the time that is
// missing, or 0, and 1 for the first refusal.
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function set(bucket, empty)
  redis.call('SET', bucket, string.format('%.0f', empty), 'PX', string.format('%.0f', math.ceil((empty - now) / 1000)))
end

local demands, count = {}, true
for i = 1, #KEYS / 2 do
  local cost, tolerance = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local empty = tonumber(redis.call('GET', KEYS[2 * i - 1])) or 0
  local start = math.min(math.max(now, empty), now + tolerance)
  local wait = math.max(0, start + cost - tolerance - now)
  demands[i] = {empty = empty, start = start, cost = cost, wait = wait}
  if wait > 0 and ARGV[4 * i - 1] == '1' then
    count = false
  end
end

local answer = {}
for i, d in ipairs(demands) do
  local bucket, refusal = KEYS[2 * i - 1], KEYS[2 * i]
  local first = 0
  if d.wait > 0 then
    if d.empty > d.start then
      set(bucket, d.start)
    end
    if redis.call('SET', refusal, '', 'NX', 'PX', ARGV[4 * i]) then
      first = 1
    end
  elseif count then
    set(bucket, d.start + d.cost)
  end
  answer[2 * i - 1], answer[2 * i] = d.wait, first
end
return answer
`
