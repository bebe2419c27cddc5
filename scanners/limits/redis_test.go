package limits_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
	"coexistd/scanners/limits"
)

// do has a Redis do a command.
func do(t testing.TB, r *lab.Redis, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), slack)
	defer cancel()
	answer, err := r.Do(ctx, command...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// await asks again and again until it is true.
func await(t testing.TB, about string, true func() bool) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(2 * slack); !true(); <-again.C {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", 2*slack, about)
		}
	}
}

// TestRedisAndMemoryAnswerTheSame has both take the same random charges at the
// same instants, and compares every bit of their answers.
func TestRedisAndMemoryAnswerTheSame(t *testing.T) {
	t.Parallel()
	r := patient(t, limits.RedisOptions{Addresses: []string{startRedis(t, lab.RedisConfig{}).Addr}})
	for seed := range uint64(60) {
		random := mathrand.New(mathrand.NewPCG(seed, 2))
		clock := random.Int64N(1 << 51)
		m := at(1000, &clock)
		rules := randomRules(random, seed)
		for i := range 25 {
			var charges []rate.Charge
			for range 1 + random.IntN(6) {
				rule := rules[random.IntN(len(rules))]
				amount := 1 + random.Int64N(rule.Burst)
				if random.IntN(10) == 0 {
					amount = random.Int64() >> random.IntN(63)
				}
				c := charge(rule, strconv.Itoa(random.IntN(3)), amount)
				if c.Key == "0" {
					c.Limit, c.Burst = 1+rule.Limit/2, 1+rule.Burst/2
				}
				charges = append(charges, c)
			}
			want := take(t, m, charges...)
			got, err := r.TakeAt(t.Context(), clock, charges)
			if err != nil {
				t.Fatal(err)
			}
			for j := range want {
				if got[j] != want[j] {
					t.Fatalf("seed %d, step %d, charge %d, %+v: Redis says %+v, memory %+v", seed, i, j, charges[j].Rule, got[j], want[j])
				}
			}
			// One that takes a minute to come back has not expired in Redis, where the
			// time of the test passes; and all steps are within each period.
			clock += random.Int64N(2 * 60_000_000)
		}
	}
}

func randomRules(random *mathrand.Rand, seed uint64) (rules []*rate.Rule) {
	for i := range 4 {
		limit := 100 + random.Int64N(1000)
		rules = append(rules, &rate.Rule{
			Name: fmt.Sprintf("%d %d", seed, i), Limit: limit, Per: limit*60 + random.Int64N(100_000), Burst: 1 + random.Int64N(limit),
			OnLimit: []verdict.Verdict{verdict.Tag, verdict.Tempfail, verdict.Reject}[random.IntN(3)],
		})
	}
	return rules
}

func TestWhatRedisKeepsGoesAwayByItself(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	r := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	slow := charge(&rate.Rule{Name: "slow", Limit: 60, Per: 3600, Burst: 5}, "bob", 3)
	take(t, r, slow)
	slow.Amount = 5
	take(t, r, slow)
	bucket, refusal := limits.Keys(slow)
	for key, most := range map[string]int{bucket: 3 * 60_000, refusal: 3_600_000} {
		left, err := strconv.Atoi(do(t, server, "PTTL", key))
		if err != nil || left > most || left < most/2 {
			t.Errorf("%s goes away in %d ms, want %d", key, left, most)
		}
	}
	take(t, r, charge(slow.Rule, "ann", 1))
	if got := do(t, server, "DBSIZE"); got != "3" {
		t.Errorf("there are %s keys, want two buckets and a refusal", got)
	}
	do(t, server, "FLUSHALL")
	fast := charge(&rate.Rule{Name: "fast", Limit: 1, Per: 1, Burst: 1}, "bob", 1)
	take(t, r, fast, charge(fast.Rule, "ann", 1))
	take(t, r, fast)
	await(t, "all keys gone", func() bool { return do(t, server, "DBSIZE") == "0" })
}

func TestGarbageInRedisIsAnEmptyBucketOrAnError(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	r := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	c := charge(long("garbage", 2, verdict.Tempfail), "bob", 1)
	bucket, _ := limits.Keys(c)
	for value, over := range map[string]bool{"": false, "x": false, "nan": false, "-1": false, "-1e99": false, "inf": true, "1e99": true} {
		do(t, server, "FLUSHALL")
		do(t, server, "SET", bucket, value)
		if g := take(t, r, c)[0]; g.Over != over || g.Wait > unit.Microseconds() {
			t.Errorf("the bucket holds %q: %+v", value, g)
		}
	}
	do(t, server, "FLUSHALL")
	do(t, server, "LPUSH", bucket, "1")
	if _, err := r.Take(t.Context(), []rate.Charge{c}); err == nil || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("the bucket is a list: %v; want an error with the address", err)
	}
}

// TestWhatRedisMayHaveDoneIsNotSentAgain loses an answer, where there would be
// time for several tries.
func TestWhatRedisMayHaveDoneIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		open func(*testing.T) (through *lossy, addresses []string)
	}{
		{"a server", func(t *testing.T) (*lossy, []string) {
			through := newLossy(t, startRedis(t, lab.RedisConfig{}))
			return through, []string{through.address}
		}},
		{"a cluster", func(t *testing.T) (*lossy, []string) {
			cluster := startCluster(t)
			return announced(t, cluster), cluster.Addrs()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			through, addresses := c.open(t)
			r := patient(t, limits.RedisOptions{Addresses: addresses})
			asked := charge(long("once", 10, verdict.Tempfail), "bob", 4)
			take(t, r, charge(asked.Rule, "ann", 1)) // there is a connection
			through.loses.Store(true)
			if got, err := r.Take(t.Context(), []rate.Charge{asked}); err == nil {
				t.Errorf("without an answer it is %+v", got)
			}
			if through.loses.Load() {
				t.Fatal("no answer was lost")
			}
			asked.Amount = 6
			if g := take(t, r, asked)[0]; g.Over {
				t.Errorf("it was counted more than once: %+v", g)
			}
			if g := take(t, r, asked)[0]; !g.Over {
				t.Errorf("it was not counted: %+v", g)
			}
		})
	}
}

// lossy stands before a Redis. When it loses, it breaks the connection on which
// the next answer comes, instead of passing that on.
type lossy struct {
	address string
	loses   atomic.Bool
}

func newLossy(t *testing.T, server *lab.Redis) *lossy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	through := &lossy{address: l.Addr().String()}
	relayAll(t, l, server.Addr, func(to net.Conn, from net.Conn) {
		answer := make([]byte, 4096)
		for {
			n, err := from.Read(answer)
			if err != nil || through.loses.CompareAndSwap(true, false) {
				return
			}
			to.Write(answer[:n])
		}
	})
	return through
}

// announced has the cluster tell its clients to go through a lossy for the node
// that has our keys.
func announced(t *testing.T, cluster *lab.RedisCluster) *lossy {
	t.Helper()
	slot, err := strconv.Atoi(do(t, cluster.Nodes[0], "CLUSTER", "KEYSLOT", "{coexistd}"))
	if err != nil {
		t.Fatal(err)
	}
	ours := cluster.Nodes[slot*len(cluster.Nodes)/16384]
	through := newLossy(t, ours)
	_, port, err := net.SplitHostPort(through.address)
	if err != nil {
		t.Fatal(err)
	}
	do(t, ours, "CONFIG", "SET", "cluster-announce-port", port)
	for _, node := range cluster.Nodes {
		await(t, "a node knows the other port", func() bool { return strings.Contains(do(t, node, "CLUSTER", "SLOTS"), port) })
	}
	return through
}

func TestAMessageIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	server, cluster := startRedis(t, lab.RedisConfig{}), startCluster(t)
	for _, c := range []struct {
		nodes     []*lab.Redis
		addresses []string
	}{{[]*lab.Redis{server}, []string{server.Addr}}, {cluster.Nodes, cluster.Addrs()}} {
		for _, node := range c.nodes {
			do(t, node, "CONFIG", "RESETSTAT")
		}
		r := patient(t, limits.RedisOptions{Addresses: c.addresses})
		const messages = 10
		for range messages {
			charges := []rate.Charge{}
			for _, name := range []string{"a", "b", "c"} {
				charges = append(charges, charge(long(name, 100, verdict.Tempfail), "bob", 1))
			}
			take(t, r, charges...)
		}
		asked := map[string]int{}
		for _, node := range c.nodes {
			for line := range strings.Lines(do(t, node, "INFO", "commandstats")) {
				var calls int
				name, stats, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
				if _, err := fmt.Sscanf(stats, "calls=%d,", &calls); err == nil {
					asked[name] += calls
				}
			}
		}
		if asked["evalsha"] != messages || asked["eval"] != 1 {
			t.Errorf("%d messages were EVALSHA %d times and EVAL %d times, want each once, and EVAL for the first", messages, asked["evalsha"], asked["eval"])
		}
		for _, name := range []string{"evalsha", "eval", "hello", "time", "get", "set", "cluster|slots", "config|resetstat", "info"} {
			delete(asked, name)
		}
		// What the nodes of the cluster send each other is not among these.
		if len(asked) > 0 {
			t.Errorf("what else was asked: %v", asked)
		}
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	r := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	charges := []rate.Charge{charge(long("ended", 1, verdict.Tempfail), "bob", 1)}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := r.Take(ended, charges); err == nil {
		t.Errorf("the context has ended, and the answer is %+v", got)
	}
	if g := take(t, r, charges[0])[0]; g.Over {
		t.Errorf("and it was counted: %+v", g)
	}
	if err := server.Suspend(); err != nil {
		t.Fatal(err)
	}
	during, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if got, err := r.Take(during, charges); err == nil {
		t.Errorf("a hung Redis answered %+v", got)
	}
	if took := time.Since(begun); took >= slack {
		t.Errorf("it returned after %v, the context ended after 0.1 s", took)
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	open, locked := startRedis(t, lab.RedisConfig{}), startRedis(t, lab.RedisConfig{Password: "sesame street"})
	replica := startRedis(t, lab.RedisConfig{Master: open})
	cluster := startCluster(t)
	sentinel, err := lab.LendFilters(t).StartSentinel(starting(t), open, "mail")
	started(t, sentinel, err)
	do(t, open, "ACL", "SETUSER", "coexistd", "on", ">pw", "~{coexistd}:*", "+evalsha", "+eval", "+time", "+get", "+set")
	do(t, open, "ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@read")
	here := open.Addr
	for _, c := range []struct {
		about   string
		options limits.RedisOptions
		want    string // a part of the error; empty: none
		silent  bool   // no version
	}{
		{"a server", limits.RedisOptions{Addresses: []string{here}}, "", false},
		{"a password", limits.RedisOptions{Addresses: []string{locked.Addr}, Password: "sesame street"}, "", false},
		{"a wrong password", limits.RedisOptions{Addresses: []string{locked.Addr}, Password: "sesame"}, "WRONGPASS", false},
		{"no password", limits.RedisOptions{Addresses: []string{locked.Addr}}, "NOAUTH", false},
		{"a user with just enough rights", limits.RedisOptions{Addresses: []string{here}, Username: "coexistd", Password: "pw"}, "", true},
		{"a user with too few", limits.RedisOptions{Addresses: []string{here}, Username: "guest", Password: "pw"}, "NOPERM", true},
		{"a replica", limits.RedisOptions{Addresses: []string{replica.Addr}}, "READONLY", false},
		{"a cluster", limits.RedisOptions{Addresses: cluster.Addrs()}, "", false},
		{"one node of it", limits.RedisOptions{Addresses: cluster.Addrs()[:1]}, "several of its nodes", false},
		{"a Sentinel and its master", limits.RedisOptions{Addresses: []string{sentinel.Addr}, Master: "mail"}, "", false},
		{"a Sentinel and another master", limits.RedisOptions{Addresses: []string{sentinel.Addr}, Master: "news"}, "Redis news of the Sentinels at " + sentinel.Addr, false},
		{"a Sentinel without a master", limits.RedisOptions{Addresses: []string{sentinel.Addr}}, "name the master", false},
		{"TLS where there is none", limits.RedisOptions{Addresses: []string{here}, TLS: true}, here, false},
		{"nobody", limits.RedisOptions{Addresses: []string{"127.0.0.1:1"}}, "127.0.0.1:1", false},
	} {
		patience := slack
		if c.options.TLS {
			patience = time.Second // which one without it does not answer in
		}
		r := limits.NewPatientRedis(c.options, patience)
		ctx, cancel := context.WithTimeout(t.Context(), slack)
		version, err := r.Ping(ctx)
		cancel()
		closeAtEnd(t, r)
		switch {
		case c.want == "" && (err != nil || strings.HasPrefix(version, "7.") == c.silent):
			t.Errorf("%s: version %q, %v", c.about, version, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: version %q, %v; want an error with %q", c.about, version, err, c.want)
		case c.want != "" && strings.Contains(err.Error(), "sesame"):
			t.Errorf("%s: %v tells the password", c.about, err)
		}
	}
}

func TestTheServerMustProveItsNameOverTLS(t *testing.T) {
	server := startRedis(t, lab.RedisConfig{})
	// The roots are read once in a process, when the first certificate is looked at.
	trusted.once.Do(func() { trusted.certificate, trusted.roots = certificate(t) })
	forged, _ := certificate(t)
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, trusted.roots, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	for _, c := range []struct {
		certificate tls.Certificate
		ok          bool
	}{{trusted.certificate, true}, {forged, false}} {
		r := patient(t, limits.RedisOptions{Addresses: []string{encrypted(t, c.certificate, server.Addr)}, TLS: true})
		if _, err := r.Ping(t.Context()); (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "x509") {
			t.Errorf("the certificate is trusted: %v, and Ping says %v", c.ok, err)
		}
	}
}

// trusted is the certificate that the process trusts, and the roots that it reads for it.
var trusted struct {
	once        sync.Once
	certificate tls.Certificate
	roots       []byte
}

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// encrypted puts TLS in front of a server.
func encrypted(t *testing.T, c tls.Certificate, server string) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		t.Fatal(err)
	}
	relayAll(t, l, server, func(to, from net.Conn) { io.Copy(to, from) })
	return l.Addr().String()
}

// relayAll connects all who come to the server, until the test ends. Its answers
// are passed on by back.
func relayAll(t *testing.T, l net.Listener, server string, back func(to, from net.Conn)) {
	var conns sync.WaitGroup
	relay := func(conn net.Conn) {
		defer conn.Close()
		behind, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer behind.Close()
		conns.Go(func() { back(conn, behind); conn.Close(); behind.Close() })
		io.Copy(behind, conn)
	}
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { relay(conn) })
		}
	})
	// The clients have closed their connections by then.
	t.Cleanup(func() { l.Close(); conns.Wait() })
}

func BenchmarkRedis(b *testing.B) {
	r := patient(b, limits.RedisOptions{Addresses: []string{startRedis(b, lab.RedisConfig{}).Addr}})
	user, client := long("per user", 1000, verdict.Tempfail), long("per client", 1000, verdict.Tempfail)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			key := strconv.Itoa(i) + "@example.net"
			take(b, r, charge(user, key, 1), charge(client, key, 1))
		}
	})
}
