package scanners_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// subject is a scanner to be held to the promises of Scanner.
type subject struct {
	scanner scanners.Scanner
	// bad is a message that the scanner finds something in.
	bad string
	// server is what the scanner asks; nil when it asks nobody, and then at is
	// too.
	server server
	// at makes a scanner of the same kind that asks whoever listens on a TCP port
	// of 127.0.0.1, for no longer than the timeout.
	at func(address string, timeout time.Duration) scanners.Scanner
}

// server is a real server that the lab runs.
type server interface {
	Suspend() error
	Continue() error
	Kill() error
	Start(context.Context) error
}

// TestConformance holds every scanner to the promises of Scanner.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(*testing.T) subject
	}{
		{"clamd", clamdSubject},
		{"rspamd", rspamdSubject},
	} {
		t.Run(c.name, func(t *testing.T) { conform(t, c.open(t)) })
	}
}

const cleanMail = "From: a@acmecorp.com\r\nTo: b@acmecorp.com\r\nSubject: the minutes\r\n" +
	"Date: Mon, 5 Jan 2026 09:26:41 +0100\r\nMessage-ID: <minutes@acmecorp.com>\r\n\r\nAs we agreed.\r\n"

// patience is how long a scan may take that nothing holds up. Only what hangs takes
// so long, on a machine that does other things as well.
const patience = 2 * time.Minute

func conform(t *testing.T, s subject) {
	t.Run("a message is clean, a bad one is a hit with a name", func(t *testing.T) {
		want(t, s, scan(t, s.scanner, text(cleanMail)), verdict.Clean)
		finding := want(t, s, scan(t, s.scanner, text(s.bad)), verdict.Hit)
		if finding.Name == "" || finding.Reasons.String() == "" {
			t.Errorf("the hit has the name %q and the reason %q, want both", finding.Name, finding.Reasons.String())
		}
	})
	t.Run("an empty message is no hit", func(t *testing.T) {
		if finding := scan(t, s.scanner, text("")); finding.State == verdict.Hit {
			t.Errorf("found %v", finding)
		}
	})
	t.Run("many at once do not mix", func(t *testing.T) {
		var scans sync.WaitGroup
		for i := range 50 {
			scans.Go(func() {
				if i%2 == 0 {
					want(t, s, scan(t, s.scanner, text(cleanMail)), verdict.Clean)
				} else {
					want(t, s, scan(t, s.scanner, text(s.bad)), verdict.Hit)
				}
			})
		}
		scans.Wait()
	})
	t.Run("content", func(t *testing.T) { conformOnContent(t, s) })
	t.Run("context", func(t *testing.T) { conformOnContext(t, s) })
	if s.server != nil {
		t.Run("server", func(t *testing.T) { conformOnServer(t, s) })
		t.Run("stranger", func(t *testing.T) { conformOnStrangers(t, s) })
	}
	noneLeft(t)
}

// conformOnContent has the message itself fail.
func conformOnContent(t *testing.T, s subject) {
	for _, c := range []struct {
		about   string
		content *content
	}{
		{"unreadable from the start", &content{text: long(cleanMail), size: 1 << 20, fails: 0}},
		{"unreadable from the middle", &content{text: long(cleanMail), size: 1 << 20, fails: 300_000}},
		{"unreadable at the end", &content{text: long(cleanMail), size: 1 << 20, fails: 1<<20 - 1}},
		{"shorter than it should be", &content{text: cleanMail, size: int64(len(cleanMail)) + 1, fails: -1}},
	} {
		finding := want(t, s, scan(t, s.scanner, c.content), verdict.Unknown)
		if finding.Down {
			t.Errorf("%s: %q blames the server", c.about, finding.Reasons.String())
		}
	}
}

// conformOnContext ends the context before a scan, and during one.
func conformOnContext(t *testing.T, s subject) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	want(t, s, scanWith(ended, t, s.scanner, text(s.bad)), verdict.Unknown)
	if took := time.Since(begun); took >= patience {
		t.Errorf("a scan whose context has ended took %v", took)
	}

	during, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &content{text: long(cleanMail), size: 8 << 20, fails: -1}
	c.onRead = sync.OnceFunc(func() { begun = time.Now(); cancel() })
	want(t, s, scanWith(during, t, s.scanner, c), verdict.Unknown)
	if took := time.Since(begun); took >= patience {
		t.Errorf("a scan returned %v after the end of its context", took)
	}
}

// conformOnServer has the real server fail, and come back.
func conformOnServer(t *testing.T, s subject) {
	steps := func(do ...error) {
		t.Helper()
		if err := errors.Join(do...); err != nil {
			t.Fatal(err)
		}
	}
	steps(s.server.Suspend())
	limited, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	wantDown(t, s, scanWith(limited, t, s.scanner, text(cleanMail)))
	if took := time.Since(begun); took >= patience {
		t.Errorf("a scan by a server that hangs took %v, want 300ms", took)
	}
	steps(s.server.Continue())
	want(t, s, scan(t, s.scanner, text(cleanMail)), verdict.Clean)

	// The server is killed once it has some of the message.
	c := &content{text: long(cleanMail), size: 8 << 20, fails: -1}
	c.onRead = sync.OnceFunc(func() {
		if err := s.server.Kill(); err != nil {
			t.Error(err)
		}
	})
	wantDown(t, s, scan(t, s.scanner, c))
	wantDown(t, s, scan(t, s.scanner, text(cleanMail)))
	starting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	steps(s.server.Start(starting))
	want(t, s, scan(t, s.scanner, text(s.bad)), verdict.Hit)
}

// conformOnStrangers has something answer that is not the server at all.
func conformOnStrangers(t *testing.T, s subject) {
	const timeout = 300 * time.Millisecond
	for _, c := range []struct {
		about string
		serve func(net.Conn)
		down  bool
	}{
		{"closes at once", func(net.Conn) {}, true},
		{"closes after the request", func(c net.Conn) { readSome(c) }, true},
		{"never answers", func(c net.Conn) { io.Copy(io.Discard, c) }, true},
		{"answers with a line and nothing more", func(c net.Conn) { readSome(c); io.WriteString(c, "220 mail ESMTP\r\n"); io.Copy(io.Discard, c) }, false},
		{"answers with zeroes", func(c net.Conn) { readSome(c); c.Write(make([]byte, 100)) }, false},
		{"answers with a web page", func(c net.Conn) {
			readSome(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<p>OK\r\n\r\n")
		}, false},
		{"never stops answering", func(c net.Conn) {
			readSome(c)
			w := bufio.NewWriter(c)
			for err := error(nil); err == nil; {
				_, err = w.WriteString("OK OK OK ")
			}
		}, false},
	} {
		served := make(chan struct{}, 100)
		scanner := s.at(listen(t, func(conn net.Conn) { c.serve(conn); served <- struct{}{} }), timeout)
		for _, m := range []*content{text(cleanMail), text(long(cleanMail))} {
			begun := time.Now()
			finding := want(t, s, scan(t, scanner, m), verdict.Unknown)
			if c.down && !finding.Down {
				t.Errorf("%s: %q does not say that the server is down", c.about, finding.Reasons.String())
			}
			if took := time.Since(begun); took >= patience {
				t.Errorf("%s: the scan took %v, want at most %v", c.about, took, timeout)
			}
			select {
			case <-served:
			case <-time.After(patience):
				t.Errorf("%s: the connection stays open after the scan", c.about)
			}
		}
	}
}

// want holds the finding to what every finding must be, and to the state.
func want(t *testing.T, s subject, f verdict.Finding, state verdict.State) verdict.Finding {
	t.Helper()
	if f.Check != s.scanner.Check() || f.State != state {
		t.Errorf("found %v, want %s %v", f, s.scanner.Check(), state)
	}
	if (f.Reasons.String() == "") != (f.State == verdict.Clean) {
		t.Errorf("a finding that is %v has the reason %q", f.State, f.Reasons.String())
	}
	return f
}

func wantDown(t *testing.T, s subject, f verdict.Finding) {
	t.Helper()
	if want(t, s, f, verdict.Unknown); !f.Down {
		t.Errorf("%v does not say that the server is down", f)
	}
}

// content is a message's content that sees to it that nobody reads it after the
// scan.
type content struct {
	text   string
	size   int64  // what the message says of it
	fails  int64  // from where on it cannot be read; -1: nowhere
	onRead func() // called by every read
	closed atomic.Bool
}

func text(s string) *content { return &content{text: s, size: int64(len(s)), fails: -1} }

// long is that message with a body of some MB.
func long(s string) string { return s + strings.Repeat("And so on, and so on.\r\n", 400_000) }

var errUnreadable = errors.New("the disk has gone")

func (c *content) ReadAt(p []byte, at int64) (int, error) {
	if c.closed.Load() {
		panic("the content is read after the scan")
	}
	if c.onRead != nil {
		c.onRead()
	}
	if c.fails >= 0 && at+int64(len(p)) > c.fails {
		n := copy(p, c.text[min(at, c.fails):c.fails])
		return n, errUnreadable
	}
	return strings.NewReader(c.text).ReadAt(p, at)
}

func scan(t *testing.T, s scanners.Scanner, c *content) verdict.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return scanWith(ctx, t, s, c)
}

func scanWith(ctx context.Context, t *testing.T, s scanners.Scanner, c *content) verdict.Finding {
	t.Helper()
	defer c.closed.Store(true)
	return s.Scan(ctx, &scanners.Message{
		Content: c, Size: c.size, Sender: "a@acmecorp.com", Recipients: []string{"b@acmecorp.com"},
	})
}

// noneLeft waits for the goroutines of scans to end: they are those that
// package scanners, or what it uses, has started or runs in.
func noneLeft(t *testing.T) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); <-again.C {
		left = nil
		stacks := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			for _, of := range []string{"coexistd/scanners.", "dutchcoders/go-clamd.", "net/http."} {
				if strings.Contains(stack, of) {
					left = append(left, stack)
					break
				}
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}

// listen serves each connection to a port of 127.0.0.1 until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// readSome waits for the first bytes of a request.
func readSome(c net.Conn) { c.Read(make([]byte, 1024)) }
