package limits

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

// follow has the answers come in pieces of that size.
func follow(text string, size int) error {
	var a answers
	for piece := range slices.Chunk([]byte(text), size) {
		if err := a.take(piece); err != nil {
			return err
		}
	}
	return nil
}

func TestAnswersOfARedisPassAndWhatWouldTakeTooMuchDoesNot(t *testing.T) {
	const long = "82000"
	for _, c := range []struct {
		about, text string
		reason      string // a part of it; empty: it passes
	}{
		{"each kind", "+OK\r\n-ERR no\r\n:-1\r\n$2\r\n\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", ""},
		{"each kind of version 3", "%1\r\n+a\r\n_\r\n~1\r\n#t\r\n>2\r\n,1.5\r\n(12\r\n=5\r\ntxt:x\r\n!3\r\nERR\r\n%0\r\n:1\r\n", ""},
		{"what looks like a length within a string", "$13\r\n*2147483647\r\n\r\n:1\r\n", ""},
		{"the longest of the script", "*" + long + "\r\n" + strings.Repeat(":31622400000000\r\n", 82_000), ""},
		{"many, one after another", strings.Repeat("*2\r\n:1\r\n$100000\r\n"+strings.Repeat("x", 100_000)+"\r\n", 200), ""},
		{"eight arrays within each other", strings.Repeat("*1\r\n", 8) + ":1\r\n", ""},

		{"a long array", "*2147483647\r\n", "an answer of a length of 2147483647"},
		{"an array that is too long for its elements", "*1000000\r\n", "would take more than"},
		{"a long string", "$9000000000000\r\n", "an answer of a length of 9000000000000"},
		{"strings that are long together", "*2\r\n" + strings.Repeat("$4000000\r\n"+strings.Repeat("x", 4_000_000)+"\r\n", 2), ""},
		{"strings that are too long together", "*3\r\n" + strings.Repeat("$4000000\r\n"+strings.Repeat("x", 4_000_000)+"\r\n", 3), "would take more than"},
		{"a length past all numbers", "$99999999999999999999\r\n", "no answer of a Redis"},
		{"a length below none", "*-2\r\n", "no answer of a Redis"},
		{"a length that is none", "$x\r\n", "no answer of a Redis"},
		{"arrays within arrays", strings.Repeat("*1\r\n", 9), "within more than 8"},
		{"arrays that each have many", strings.Repeat("*30000\r\n", 8), "would take more than"},
		{"a line without an end", "+" + strings.Repeat("x", 5000), "a line of more than 4096 bytes"},
		{"a line that ends otherwise", "+OK\n", "no answer of a Redis"},
		{"an empty line", "\r\n", "no answer of a Redis"},
		{"a long map", "%2147483647\r\n", "a length of 2147483647"},
		{"a map that is too long for its pairs", "%70000\r\n", "would take more than"},
		{"a long push", ">2147483647\r\n", "a length of 2147483647"},
		{"a long set", "~2147483647\r\n", "a length of 2147483647"},
		{"a long verbatim string", "=2147483647\r\n", "a length of 2147483647"},
		{"a long error", "!2147483647\r\n", "a length of 2147483647"},
		{"an attribute", "|0\r\n", "no answer of a Redis"},
		{"a mail server", "220 mail ESMTP\r\n", "220 mail ESMTP"},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			err := follow(c.text, size)
			if (err == nil) != (c.reason == "") || err != nil && !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%s, %d bytes at a time: %v; want %q", c.about, size, err, c.reason)
			}
		}
	}
}

func TestTheSocketOfATCPConnectionCanBeLookedAt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := dialer(new(net.Dialer).DialContext).bounded(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(boundedSocket); !ok {
		t.Errorf("the connection is a %T", conn)
	}
}

// talk is a Redis that answers HELLO and scripts as it is told, again and again. Without
// words for HELLO it is an old one, which does not know it.
type talk struct{ hello, script []byte }

// serve answers who connects until the test ends.
func (a talk) serve(t *testing.T) (address string) {
	t.Helper()
	return lab.Listen(t, a.answer)
}

func (a talk) answer(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		var answer []byte
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "hello":
			answer = a.hello
			if len(answer) == 0 {
				io.WriteString(conn, "-ERR unknown command\r\n")
			}
		case "evalsha":
			answer = a.script
		}
		for len(answer) > 0 && err == nil {
			_, err = conn.Write(answer)
		}
		if err != nil {
			return
		}
	}
}

func TestARedisThatAnswersNonsenseIsOneThatCannotAnswer(t *testing.T) {
	rule := &rate.Rule{Name: "hourly", Limit: 1, Per: 1, Burst: 1, OnLimit: verdict.Tempfail, OnError: rate.ErrorTempfail}
	for _, nonsense := range []string{
		"*2147483647\r\n", "$9000000000000\r\n", "*100000000\r\n", "*1\r\n", "*1000\r\n", "+and so on", "%2147483647\r\n", "|0\r\n", "%1\r\n",
		"*2\r\n$2000000\r\n" + strings.Repeat("x", 2_000_000) + "\r\n:1\r\n", "!2000000\r\n" + strings.Repeat("x", 2_000_000) + "\r\n",
		"$4000000\r\n" + strings.Repeat("x", 4_000_000),
	} {
		for when, a := range map[string]talk{"HELLO": {hello: []byte(nonsense)}, "the script": {script: []byte(nonsense)}} {
			log := fake.NewLog()
			redis := newRedis(RedisOptions{Addresses: []string{a.serve(t)}}, time.Minute)
			k := NewKeeper(log.Logger, redis, NewMemory(1))
			k.patience = time.Minute
			took := allocated(func() {
				if g := k.Take(t.Context(), []rate.Charge{{Rule: rule, Key: "bob", Amount: 1, Limit: 1, Burst: 1}})[0]; !g.Unknown {
					t.Errorf("%.20q to %s is the answer %+v", nonsense, when, g)
				}
			})
			if took > 4*maxAnswer {
				t.Errorf("%.20q to %s takes %d MiB", nonsense, when, took>>20)
			}
			if len(log.String()) > 2*maxReason {
				t.Errorf("%.20q to %s makes the log %d bytes long", nonsense, when, len(log.String()))
			}
			if s := k.State(); !s.Open || !strings.Contains(s.Reason, redis.name) || strings.Contains(s.Reason, "in time") || !strings.Contains(log.String(), "Redis does not answer") {
				t.Errorf("after %.20q to %s the state is %+v, and the log says %s", nonsense, when, s, log.String())
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// redisThat is one whose connections the test makes.
func redisThat(connect func() net.Conn) *Redis {
	r := newRedis(RedisOptions{Addresses: []string{"redis.example:6379"}}, time.Minute)
	r.client.(*redis.Client).Options().Dialer = dialer(func(context.Context, string, string) (net.Conn, error) {
		return connect(), nil
	}).bounded
	return r
}

// saying is a connection to what answers just that, whatever it is asked, in pieces.
type saying struct {
	net.Conn
	text io.Reader
	size int
}

func (s *saying) Read(p []byte) (int, error) { return s.text.Read(p[:min(len(p), s.size)]) }

func (s *saying) Write(p []byte) (int, error) { return len(p), nil }

func (s *saying) SetDeadline(time.Time) error      { return nil }
func (s *saying) SetReadDeadline(time.Time) error  { return nil }
func (s *saying) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswers holds that no answer takes more than its bound, or ends the process, however
// it comes.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n+OK\r\n*2\r\n:0\r\n:0\r\n", "-ERR unknown command\r\n*2147483647\r\n", "$9000000000000\r\n", strings.Repeat("*1\r\n", 100),
		"*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n*-1\r\n$-1\r\n", "%1\r\n+a\r\n+b\r\n", "-NOSCRIPT x\r\n-NOSCRIPT x\r\n*2\r\n:1\r\n:1\r\n",
		"+OK\r\n>2\r\n+invalidate\r\n_\r\n~2\r\n#t\r\n(1\r\n", "|0\r\n|0\r\n+OK\r\n", "!3\r\nERR\r\n=5\r\ntxt:x\r\n",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(200))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		r := redisThat(func() net.Conn {
			ours, theirs := net.Pipe()
			theirs.Close()
			return &saying{Conn: ours, text: bytes.NewReader(text), size: 1 + int(size)}
		})
		defer r.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		took := allocated(func() {
			if numbers, err := r.run(ctx, "evalsha", r.digest, []demand{{rule: "r", key: "k", cost: 1, tolerance: 1, period: 1}}); err == nil && numbers == nil {
				t.Error("there is neither an answer nor an error")
			}
		})
		if took > 4*maxAnswer {
			t.Errorf("%d MiB are allocated for %d bytes", took>>20, len(text))
		}
		if whole, pieces := follow(string(text), len(text)+1), follow(string(text), 1+int(size)); (whole == nil) != (pieces == nil) {
			t.Errorf("as a whole: %v; in pieces: %v", whole, pieces)
		}
	})
}

// allocated returns how many bytes were while f ran.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
