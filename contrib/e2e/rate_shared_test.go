package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// sharedTOML is a limit that hosts share: a thousand an hour, all at once, and then
// one each interval.
const sharedTOML = `
[quarantine.report]
at      = "never"
summary = ["hugo@globex.example"]

[[rate]]
name     = "shared"
by       = "user"
limit    = 1000
per      = "1h"
on_error = "tempfail"
`

const interval = 3600 * time.Millisecond

// buildPatient builds the coexistd under test, but that it waits for Redis as long as
// that may take on a busy machine. Each that is asked in vain takes as long.
var buildPatient = sync.OnceValues(func() (string, error) {
	path := filepath.Join(builds, "coexistd-patient")
	return path, buildChanged(path, commandPath, map[string][2]string{
		"../../scanners/limits/redis.go": {"const patience = 200 * time.Millisecond", "const patience = 5 * time.Second"},
	}, "-race")
})

func patient(t *testing.T) (program string) {
	t.Helper()
	path, err := buildPatient()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	overShared = tooMany + "try again in "
	cannotAsk  = "450 4.7.1 The rate limit cannot be asked at the moment, try again later"
)

// startHost starts a site of several that ask one Redis, of this program, if it is
// not the usual one. Its Postfix neither slows down nor leaves a client who is
// refused often.
func startHost(t *testing.T, program, toml string) *site {
	t.Helper()
	return startSubmission(t, lab.SiteConfig{Program: program, TOML: toml, Main: map[string]string{
		"smtpd_error_sleep_time": "0", "smtpd_soft_error_limit": "1000000", "smtpd_hard_error_limit": "1000000",
	}}, "bob", "carol")
}

// crowd are clients who are all logged in as bob, and send at the same time as
// fast as they can, message after message over one connection each.
type crowd struct {
	hosts   []*site
	clients int

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each message
	tally
}

// tally is what became of a crowd's messages.
type tally struct {
	passed  [2]int // by host
	over    int    // refused by the limit
	unknown int    // refused since Redis could not be asked

	begun       time.Time // before the first message
	firstPassed time.Time // when the first one had passed
	lastOver    time.Time // when the last one was handed in that the limit refused
	slowest     time.Duration
}

func (t tally) all() int { return t.passed[0] + t.passed[1] }

// most and least are how many messages a limit of one thousand an hour lets pass.
// Each is exact for its time: one for the time from before the first message until
// now, the other for that from the first message until the last refusal.
func (t tally) most() int  { return 1000 + int(time.Since(t.begun)/interval) }
func (t tally) least() int { return 1000 + int(t.lastOver.Sub(t.firstPassed)/interval) }

// send has the crowd send until during returns.
func (c *crowd) send(t *testing.T, during func()) {
	t.Helper()
	c.changed, c.begun = make(chan struct{}), time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	var clients sync.WaitGroup
	for i := range c.clients {
		clients.Go(func() {
			if err := c.client(ctx, i%len(c.hosts), done); err != nil {
				t.Errorf("client %d: %v", i, err)
				cancel()
			}
		})
	}
	during()
	close(done)
	clients.Wait()
}

// client sends at one of the hosts.
func (c *crowd) client(ctx context.Context, host int, done <-chan struct{}) error {
	s, err := lab.Client{Server: c.hosts[host].Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "secret"}.Dial(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	const from, to = "bob@acmecorp.com", "hugo@globex.example"
	for c.share(host, done) {
		handed := time.Now()
		during, cancel := context.WithTimeout(ctx, patience)
		r, err := s.Send(during, lab.Mail{From: from, To: lab.To(to), Data: lab.Plain(from, to, "one of many")})
		cancel()
		if err == nil {
			err = c.note(host, r.Data, handed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// share waits while one host has taken nearly all and the other hardly any, so that
// both have a part in it on any machine. It reports whether to go on.
func (c *crowd) share(host int, done <-chan struct{}) bool {
	for {
		c.mu.Lock()
		wait, changed := c.passed[host] >= 500 && c.passed[1-host] < 100, c.changed
		c.mu.Unlock()
		select {
		case <-done:
			return false
		default:
		}
		if !wait {
			return true
		}
		select {
		case <-changed:
		case <-done:
		}
	}
}

// note counts the reply to a message.
func (c *crowd) note(host int, r lab.Reply, handed time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch text := r.String(); {
	case r.Code == 250:
		if c.passed[host]++; c.firstPassed.IsZero() {
			c.firstPassed = now
		}
	case strings.HasPrefix(text, overShared):
		c.over++
		if handed.After(c.lastOver) {
			c.lastOver = handed
		}
	case text == cannotAsk:
		c.unknown++
	default:
		return fmt.Errorf("a message was answered %s", text)
	}
	c.slowest = max(c.slowest, now.Sub(handed))
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// until waits for something to be true of the tally, and returns that. Each message
// has its own bound.
func (c *crowd) until(t *testing.T, what string, is func(*tally) bool) tally {
	t.Helper()
	for {
		c.mu.Lock()
		now, changed := c.tally, c.changed
		c.mu.Unlock()
		if is(&now) {
			return now
		}
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("the crowd did not come to %s: %+v", what, now)
		}
	}
}

// limitReached says that each client was refused ten times.
func (c *crowd) limitReached(over int) func(*tally) bool {
	return func(t *tally) bool { return t.over >= over+10*c.clients }
}

// mustArriveAll checks that what was taken has arrived, and nothing else.
func (c *crowd) mustArriveAll(t *testing.T) {
	t.Helper()
	for i, s := range c.hosts {
		s.settle()
		arrived := 0
		for _, d := range s.Here.All() {
			if d.From == "bob@acmecorp.com" {
				arrived++
			}
		}
		if arrived != c.passed[i] {
			t.Errorf("%d messages arrived by host %d, of %d that were taken", arrived, i, c.passed[i])
		}
	}
}

func TestTwoHostsOnOneRedisLetExactlyAThousandPass(t *testing.T) {
	t.Parallel()
	toml := redisTOML(startRedis(t, lab.RedisConfig{}).Addr) + sharedTOML
	c := &crowd{clients: 16, hosts: []*site{startHost(t, patient(t), toml), startHost(t, patient(t), toml)}}
	c.send(t, func() { c.until(t, "the limit", c.limitReached(0)) })
	most, least, passed := c.most(), c.least(), c.all()
	t.Logf("of %d messages in %v, %v passed by the two hosts: %d; the limit and what came back meanwhile are from %d to %d; the slowest reply took %v",
		passed+c.over+c.unknown, time.Since(c.begun), c.passed, passed, least, most, c.slowest)
	// A message of which Redis has not told in time may have counted.
	if passed > most || passed < least-c.unknown {
		t.Errorf("%d messages passed; from %d to %d is right, less by up to %d of which Redis did not tell in time", passed, least, most, c.unknown)
	}
	if c.passed[0] < 100 || c.passed[1] < 100 {
		t.Errorf("by the hosts passed %v; that hardly tests how they share", c.passed)
	}
	c.mustArriveAll(t)
	// One of the hosts tells the administrators, once.
	var told []string
	for _, s := range c.hosts {
		for _, line := range s.limitLines("bob") {
			told = append(told, line["rule"]+" "+line["sent_messages"])
		}
	}
	if len(told) != 1 {
		t.Fatalf("the hosts' logs have lines of these limits: %q; right is one in all", told)
	}
	for _, s := range c.hosts {
		if len(s.limitLines("bob")) == 0 {
			continue
		}
		s.waitDaemonLog(`msg="limit notice sent" account=bob rule=shared to=hugo@globex.example`)
		if got := s.notices("bob")["hugo@globex.example"]; len(got) != 1 {
			t.Errorf("%d notices arrived", len(got))
		}
	}
}

func TestARedisThatRestartsAndHangsNeverLetsMorePass(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, lab.RedisConfig{AppendOnly: true})
	toml := redisTOML(redis.Addr) + sharedTOML
	c := &crowd{clients: 16, hosts: []*site{startHost(t, patient(t), toml), startHost(t, patient(t), toml)}}
	var away time.Duration
	now := func() tally { return c.until(t, "anything", func(*tally) bool { return true }) }
	// lose has Redis leave, and come back once messages were refused for that.
	lose := func(passed int, leave, comeBack func() error) {
		c.until(t, "some that pass", func(t *tally) bool { return t.all() >= passed })
		gone := time.Now()
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		before := now().unknown
		c.until(t, "many that are refused", func(t *tally) bool { return t.unknown >= before+100 })
		if err := comeBack(); err != nil {
			t.Fatal(err)
		}
		came := now().all()
		c.until(t, "what passes again", func(t *tally) bool { return t.all() >= came+100 })
		away += time.Since(gone)
	}
	c.send(t, func() {
		lose(200, redis.Kill, func() error { return redis.Start(deadline(t)) })
		lose(500, redis.Suspend, redis.Continue)
		over := now().over
		c.until(t, "the limit", c.limitReached(over))
	})
	most, least, passed := c.most(), c.least(), c.all()
	// At each loss each client may have one message under way, and from then on
	// each host asks with one a second.
	inVain := 2*c.clients + len(c.hosts)*int(away/time.Second+2)
	t.Logf("in %v, with Redis away for up to %v, %v passed by the two hosts: %d; the limit and what came back are %d; %d were over it, %d could not ask; the slowest reply took %v",
		time.Since(c.begun), away, c.passed, passed, most, c.over, c.unknown, c.slowest)
	if passed > most || passed < least-inVain {
		t.Errorf("%d messages passed; at most %d is right, and at least %d, less by %d that were asked for in vain", passed, most, least, inVain)
	}
	for i, s := range c.hosts {
		for _, line := range []string{withoutRedis, "Redis answers again"} {
			if n := strings.Count(s.Daemon.Log(), line); n < 2 || n > 4 {
				t.Errorf("the log of host %d says %d times that %q; Redis went twice", i, n, line)
			}
		}
	}
	c.mustArriveAll(t)
}

// withoutRedis is what the log says when Redis goes, once each time.
const withoutRedis = "Redis does not answer: rate limits do without it"

// onErrorTOML is a rule with what it does without Redis.
const onErrorTOML = `
[[rate]]
name     = "per user, then %[1]s"
by       = "user"
limit    = 3
per      = "1d"
on_error = "%[1]s"
`

// fromUser sends messages of a user, and returns the replies to those that are not
// taken.
func fromUser(s *site, login string, n int) (refusals []string) {
	from := login + "@acmecorp.com"
	for range n {
		m := lab.Mail{From: from, To: lab.To("hugo@globex.example"), Data: lab.Plain(from, "hugo@globex.example", "from a user")}
		if r := s.submitAs(submitter{login: login}, m); !r.Accepted() {
			refusals = append(refusals, waiting(r.Data.String()))
		}
	}
	return refusals
}

func TestARuleSaysWhatIsDoneWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, lab.RedisConfig{AppendOnly: true})
	base := submissionTOML + redisTOML(redis.Addr)
	s := startHost(t, patient(t), redisTOML(redis.Addr))
	const over = tooMany + in8Hours
	modes := []struct {
		onError string
		away    []string // how five messages are refused
	}{
		{"accept", nil},
		{"memory", []string{over, over}},
		{"tempfail", slices.Repeat([]string{cannotAsk}, 5)},
	}
	must := func(about, onError string, n int, want []string) {
		t.Helper()
		s.configure(base + fmt.Sprintf(onErrorTOML, onError))
		if got := fromUser(s, "bob", n); !slices.Equal(got, want) {
			t.Errorf("on_error = %q, %s: of %d messages these were refused: %q; right is %q", onError, about, n, got, want)
		}
	}
	for _, m := range modes {
		must("with Redis", m.onError, 2, nil)
	}
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, m := range modes {
		must("without Redis", m.onError, 5, m.away)
	}
	if err := redis.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	// It is found by a message, the first one after a second: not of bob's.
	back := regexp.MustCompile("Redis answers again")
	for until := deadline(t); !back.MatchString(s.Daemon.Log()); {
		if until.Err() != nil {
			t.Fatal("Redis was not found again")
		}
		fromUser(s, "carol", 1)
	}
	// What passed without Redis is not known there.
	for _, m := range modes {
		must("with Redis again", m.onError, 2, []string{over})
	}
	if n := strings.Count(s.Daemon.Log(), withoutRedis); n != 1 {
		t.Errorf("the log says %d times that Redis does not answer; it went once", n)
	}
}

// A Redis that hangs is asked by one message a second, and that one does not wait for
// an answer that never comes.
func TestARedisThatHangsHoldsNoMessageUp(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, lab.RedisConfig{})
	var hangs atomic.Bool
	var asked atomic.Int64 // while it hangs
	through := standIn(t, func(conn *net.TCPConn) {
		server, err := net.Dial("tcp", redis.Addr)
		if err != nil {
			return
		}
		defer server.Close()
		go io.Copy(conn, server)
		question := make([]byte, 64<<10)
		for {
			n, err := conn.Read(question)
			if err != nil {
				return
			}
			if hangs.Load() {
				asked.Add(1)
			}
			server.Write(question[:n])
		}
	})
	s := startHost(t, "", redisTOML(through)+fmt.Sprintf(onErrorTOML, "accept")+`overrides = { bob = 1000000, carol = 1 }
`)
	session, err := lab.Client{Server: s.Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "secret"}.Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	// send hands messages in, which must be taken, until it is enough.
	send := func(enough func(sent int64) bool) (sent int64) {
		for ; !enough(sent); sent++ {
			const from, to = "bob@acmecorp.com", "hugo@globex.example"
			r, err := session.Send(deadline(t), lab.Mail{From: from, To: lab.To(to), Data: lab.Plain(from, to, "one of many")})
			if err != nil || !r.Accepted() {
				t.Fatalf("%+v %v", r, err)
			}
		}
		return sent
	}
	send(func(n int64) bool { return n == 10 })
	if err := redis.Suspend(); err != nil {
		t.Fatal(err)
	}
	hangs.Store(true)
	begun := time.Now()
	n := send(func(n int64) bool { return n >= 30 && asked.Load() >= 3 })
	lasted := time.Since(begun)
	most := 2 + int64(lasted/time.Second)
	t.Logf("while Redis hung for %v, %d messages were taken, and it was asked %d times", lasted, n, asked.Load())
	if asked.Load() > most {
		t.Errorf("in %v, %d messages asked Redis %d times; %d times is the most", lasted, n, asked.Load(), most)
	}
	if count := strings.Count(s.Daemon.Log(), withoutRedis); count == 0 {
		t.Error("the log does not say that Redis does not answer")
	}
	if err := redis.Continue(); err != nil {
		t.Fatal(err)
	}
	// Now it counts again: carol has one message, and more while a busy machine keeps
	// Redis from answering in time.
	again := regexp.MustCompile("Redis answers again")
	send(func(int64) bool { return again.MatchString(s.Daemon.Log()) })
	var refused []string
	for ctx := deadline(t); len(refused) == 0 && ctx.Err() == nil; {
		refused = fromUser(s, "carol", 1)
	}
	if !slices.Equal(refused, []string{tooMany + in1Day}) {
		t.Errorf("of carol's messages these were refused: %q", refused)
	}
}
