package rspamd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab/scantest"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/rspamd"
)

func newRspamd(url string) *rspamd.Scanner {
	return scantest.NewRspamd(scantest.Patience, url)
}

// fakeRspamd answers each request for /checkv2 by handle, once it has the whole
// of it, and pings with pong.
func fakeRspamd(t *testing.T, handle http.HandlerFunc) *rspamd.Scanner {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			io.WriteString(w, "pong\r\n")
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != "/checkv2" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		io.Copy(io.Discard, r.Body)
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	return newRspamd(server.URL)
}

func TestWhatRspamdAnswersBecomesAFinding(t *testing.T) {
	type want struct {
		state    verdict.State
		name     string
		proposed verdict.Verdict
		score    float64
		reason   string
		detail   string
	}
	hit := func(action string, proposed verdict.Verdict) want {
		return want{verdict.Hit, "spam", proposed, 15.5, "rspamd scores it 15.50 of 15.00: " + action, "B=-9.00 A=4.00 C=0.00"}
	}
	for _, c := range []struct {
		about, answer string
		want          want
	}{
		{"no action", answer("no action"), want{verdict.Clean, "", verdict.None, 15.5, "", "B=-9.00 A=4.00 C=0.00"}},
		{"greylist", answer("greylist"), want{verdict.Clean, "", verdict.None, 15.5, "", "B=-9.00 A=4.00 C=0.00"}},
		{"add header", answer("add header"), hit("add header", verdict.Tag)},
		{"rewrite subject", answer("rewrite subject"), hit("rewrite subject", verdict.Tag)},
		{"soft reject", answer("soft reject"), hit("soft reject", verdict.Tempfail)},
		{"reject", answer("reject"), hit("reject", verdict.None)},
		{"quarantine", answer("quarantine"), hit("quarantine", verdict.None)},
		{"discard", answer("discard"), hit("discard", verdict.None)},
		{"GTUBE", `{"is_skipped":true,"score":15.0,"required_score":15.0,"action":"reject","symbols":{"GTUBE":{"score":0.0}}}`,
			want{verdict.Hit, "GTUBE", verdict.None, 15, "rspamd scores it 15.00 of 15.00: reject", "GTUBE=0.00"}},
		{"a name is for hits", `{"score":1,"action":"no action","symbols":{"GTUBE":{"score":0}}}`,
			want{verdict.Clean, "", verdict.None, 1, "", "GTUBE=0.00"}},
		{"no threshold", `{"score":-3,"action":"reject"}`, want{verdict.Hit, "spam", verdict.None, -3, "rspamd scores it -3.00: reject", ""}},
		{"unknown fields", `{"x":{"y":[1]},"score":1,"action":"no action","messages":{},"symbols":{"A":{"options":["z"]}}}`,
			want{verdict.Clean, "", verdict.None, 1, "", "A=0.00"}},

		{"skipped", `{"is_skipped":true,"score":0,"action":"no action"}`, want{reason: "has not looked"}},
		{"an unknown action", `{"score":1,"action":"explode\u0000"}`, want{reason: `not known here: "explode?"`}},
		{"no action at all", `{"score":1}`, want{reason: `not known here: ""`}},
		{"no score", `{"action":"no action"}`, want{reason: "no score"}},
		{"a null score", `{"action":"no action","score":null}`, want{reason: "no score"}},
		{"a score that is text", `{"action":"no action","score":"1"}`, want{reason: "cannot be read"}},
		{"a score that is no number", `{"action":"no action","score":nan}`, want{reason: "cannot be read"}},
		{"a score past all bounds", `{"action":"no action","score":1e999}`, want{reason: "cannot be read"}},
		{"an error", `{"error":"invalid\ncommand","action":"no action","score":0}`, want{reason: "reports an error: invalid?command"}},
		{"HTML", "<html><body>It works</body></html>", want{reason: "cannot be read"}},
		{"nothing", "", want{reason: "cannot be read"}},
		{"null", "null", want{reason: "no score"}},
		{"a list", "[]", want{reason: "cannot be read"}},
		{"JSON cut off", answer("reject")[:40], want{reason: "cannot be read"}},
		{"text behind the JSON", answer("no action") + "x", want{reason: "cannot be read"}},
		{"two answers", answer("no action") + answer("reject"), want{reason: "cannot be read"}},
		{"JSON nested deeply", strings.Repeat("[", 200_000), want{reason: "cannot be read"}},
		{"a huge answer", `{"x":"` + strings.Repeat("x", 1<<20) + `","score":1,"action":"no action"}`, want{reason: "longer than 1048576 bytes"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			f := fakeRspamd(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, c.answer) }).
				Scan(t.Context(), scantest.Message("Subject: x\r\n\r\n"))
			if f.Check != verdict.CheckSpam || f.Down {
				t.Errorf("got %+v", f)
			}
			if c.want.state == verdict.Unknown {
				if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), c.want.reason) || f.Scored {
					t.Errorf("got %+v, want unknown: %s", f, c.want.reason)
				}
				return
			}
			if got := (want{f.State, f.Name, f.Proposed, f.Score, f.Reasons.String(), f.Detail}); got != c.want || !f.Scored {
				t.Errorf("got  %+v,\nwant %+v", got, c.want)
			}
		})
	}
}

func answer(action string) string {
	return `{"is_skipped":false,"score":15.5,"required_score":15.0,"action":"` + action +
		`","symbols":{"A":{"name":"A","score":4.0},"B":{"name":"B","score":-9},"C":{"name":"C","score":0}}}`
}

func TestTheDetailIsShortAndPrintable(t *testing.T) {
	var symbols []string
	for i := range 1000 {
		symbols = append(symbols, fmt.Sprintf(`"\u001b\nSYMBOL_WITH_A_LONG_NAME_%04d%s":{"score":%d}`, i, strings.Repeat("x", 500), i))
	}
	f := fakeRspamd(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"action":"no action","score":1,"symbols":{`+strings.Join(symbols, ",")+`}}`)
	}).Scan(t.Context(), scantest.Message("x"))
	if !strings.HasPrefix(f.Detail, "??SYMBOL_WITH_A_LONG_NAME_0999") || !strings.HasSuffix(f.Detail, " more") || len(f.Detail) > 420 {
		t.Errorf("got %d bytes: %q", len(f.Detail), f.Detail)
	}
}

func TestRspamdIsToldTheEnvelopeAndGetsTheWholeMessage(t *testing.T) {
	content := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef", 100_000)
	var header http.Header
	var length int64
	var got []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header, length = r.Header, r.ContentLength
		got, _ = io.ReadAll(r.Body)
		io.WriteString(w, answer("no action"))
	}))
	defer server.Close()
	m := scantest.Message(content)
	m.Sender, m.Recipients = "alice@example.org", []string{"bob@acmecorp.com", "jürgen@acmecorp.com"}
	m.Client, m.Helo, m.ClientName = netip.MustParseAddr("::ffff:192.0.2.1"), "client.example.org", "mx.example.org"
	m.Login, m.QueueID = "carol", "4QID"
	if f := newRspamd(server.URL+"/").Scan(t.Context(), m); f.State != verdict.Clean {
		t.Fatalf("got %+v", f)
	}
	if length != m.Size || string(got) != content {
		t.Errorf("%d bytes were announced and %d came, want %d", length, len(got), m.Size)
	}
	for name, want := range map[string][]string{
		"From": {"<alice@example.org>"}, "Rcpt": {"<bob@acmecorp.com>", "<jürgen@acmecorp.com>"}, "Ip": {"192.0.2.1"},
		"Helo": {"client.example.org"}, "Hostname": {"mx.example.org"}, "User": {"carol"}, "Queue-Id": {"4QID"},
		"Mta-Name": {"mail.acmecorp.com"},
	} {
		if !slices.Equal(header[name], want) {
			t.Errorf("%s: got %q, want %q", name, header[name], want)
		}
	}
}

func TestAHostileEnvelopeCannotForgeWhatRspamdIsTold(t *testing.T) {
	var header http.Header
	rspamd := fakeRspamd(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		io.WriteString(w, answer("no action"))
	})
	for _, bad := range []string{"a\r\nPass: all", "a\nSettings: {}", "a\rb", "a\x00b", "a\x1bb", "a\x7fb", "a\tb", strings.Repeat("x", 1000)} {
		m := scantest.Message("x")
		m.Sender, m.Helo, m.ClientName, m.Login, m.QueueID = bad, bad, bad, bad, bad
		m.Recipients = []string{bad, "bob@acmecorp.com"}
		if f := rspamd.Scan(t.Context(), m); f.State != verdict.Clean {
			t.Fatalf("%q: %+v", bad, f)
		}
		if !slices.Equal(header["Rcpt"], []string{"<bob@acmecorp.com>"}) {
			t.Errorf("%q: recipients %q", bad, header["Rcpt"])
		}
		for _, name := range []string{"From", "Helo", "Hostname", "User", "Queue-Id", "Pass", "Settings"} {
			if header[name] != nil {
				t.Errorf("%q: %s: %q", bad, name, header[name])
			}
		}
	}

	m := scantest.Message("x") // the null sender, no client
	m.ClientName = "[192.0.2.1]"
	m.Recipients = append(slices.Repeat([]string{"bob@acmecorp.com"}, 150), "a,postmaster@acmecorp.com")
	rspamd.Scan(t.Context(), m)
	if n := len(header["Rcpt"]); n != 100 {
		t.Errorf("%d recipients are told, want 100", n)
	}
	if header.Get("From") != "<>" || header["Ip"] != nil || header["Hostname"] != nil {
		t.Errorf("got %v", header)
	}
	m.Recipients = []string{"a,postmaster@acmecorp.com"}
	rspamd.Scan(t.Context(), m)
	if got := header["Rcpt"]; got != nil {
		t.Errorf("a recipient with a comma: %q", got)
	}
}

func TestAnAnswerThatIsNoJudgementIsUnknown(t *testing.T) {
	var others atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		others.Add(1)
		io.WriteString(w, answer("no action"))
	}))
	defer other.Close()
	for _, c := range []struct {
		about  string
		handle http.HandlerFunc
		reason string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, answer("no action"), 500) }, "status 500"},
		{"404", http.NotFound, "status 404"},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "status 307"},
		{"a huge header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 100_000))
			io.WriteString(w, answer("no action"))
		}, "rspamd is there"},
		{"an endless answer", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "longer than"},
	} {
		t.Run(c.about, func(t *testing.T) {
			f := fakeRspamd(t, c.handle).Scan(t.Context(), scantest.Message("x"))
			if f.State != verdict.Unknown || f.Down || !strings.Contains(f.Reasons.String(), c.reason) {
				t.Errorf("got %+v, want %q", f, c.reason)
			}
		})
	}
	if n := others.Load(); n > 0 {
		t.Errorf("the message was sent to where the redirect leads to, %d times", n)
	}
}

// rawServer accepts connections and hands each to talk, which closes it.
func rawServer(t *testing.T, talk func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c)
		}
	}()
	return "http://" + l.Addr().String()
}

func TestAServerThatDoesNotAnswerLikeRspamdIsDownWithinTheTimeout(t *testing.T) {
	const timeout = 300 * time.Millisecond
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			defer c.Close()
			c.Read(make([]byte, 1<<16))
			io.WriteString(c, text)
		}
	}
	hold := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			c.Read(make([]byte, 1<<16))
			io.WriteString(c, text)
			io.Copy(io.Discard, c) // until the client leaves
			c.Close()
		}
	}
	for _, c := range []struct {
		about string
		talk  func(net.Conn)
	}{
		{"it closes at once", func(c net.Conn) { c.Close() }},
		{"it closes without an answer", says("")},
		{"garbage", says("220 mail.example.org ESMTP\r\n")},
		{"binary garbage", says(strings.Repeat("\x00\xff", 50_000))},
		{"an answer cut off", says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"action\":\"no action\",\"score\":1}")},
		{"a header cut off", says("HTTP/1.1 200 OK\r\nContent-Len")},
		{"it never answers", hold("")},
		{"it stops in the header", hold("HTTP/1.1 200 OK\r\nContent-")},
		{"it stops in the answer", hold("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")},
		{"it answers byte by byte", func(c net.Conn) {
			defer c.Close()
			c.Read(make([]byte, 1<<16))
			for {
				if _, err := io.WriteString(c, "H"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}},
		{"it says to go on and no more", hold(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3))},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			rspamd := rspamd.New(rspamd.Options{Address: rawServer(t, c.talk), MaxSize: 1 << 20, Timeout: timeout})
			ctx, cancel := context.WithTimeout(t.Context(), scantest.Patience)
			defer cancel()
			f := rspamd.Scan(ctx, scantest.Message("Subject: x\r\n\r\nx"))
			if f.State != verdict.Unknown || !f.Down || f.Reasons.String() == "" {
				t.Errorf("got %+v", f)
			}
			if ctx.Err() != nil {
				t.Error("the timeout did not end it")
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if f := newRspamd("http://"+l.Addr().String()).Scan(t.Context(), scantest.Message("x")); !f.Down || !strings.Contains(f.Reasons.String(), "connection refused") {
			t.Errorf("got %+v", f)
		}
	})
}

func TestAMessageThatRspamdClosesTheConnectionOnDoesNotMakeItDown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			io.WriteString(w, "pong\r\n")
			return
		}
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	for _, size := range []int{0, 1, 100_000, 20 << 20} {
		f := newRspamd(server.URL).Scan(t.Context(), scantest.Message(strings.Repeat("x", size)))
		if f.State != verdict.Unknown || f.Down || !strings.Contains(f.Reasons.String(), "max_message") {
			t.Errorf("%d bytes: %+v", size, f)
		}
	}
}

func TestAnAnswerToHalfAMessageIsNotTaken(t *testing.T) {
	url := rawServer(t, func(c net.Conn) {
		c.Read(make([]byte, 1<<16))
		text := answer("no action")
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		io.Copy(io.Discard, c)
		c.Close()
	})
	content := &slowly{left: 32 << 20}
	f := newRspamd(url).Scan(t.Context(), &scanners.Message{Content: content, Size: content.left})
	if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "before it had the last") {
		t.Errorf("got %+v", f)
	}
}

// slowly is content of zeros that keeps its reader from being ahead of the
// server's answer.
type slowly struct{ left int64 }

func (s *slowly) ReadAt(p []byte, off int64) (int, error) {
	if off > 1<<20 {
		time.Sleep(10 * time.Millisecond)
	}
	return int(min(int64(len(p)), s.left-off)), nil
}

// broken is content that cannot be read past the first 100,000 bytes.
type broken struct{ err error }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	const end = 100_000
	if off+int64(len(p)) > end {
		return int(max(0, end-off)), b.err
	}
	return len(p), nil
}

func TestAMessageThatCannotBeReadIsUnknown(t *testing.T) {
	rspamd := fakeRspamd(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer("no action")) })
	for _, err := range []error{errors.New("input/output error"), io.EOF} {
		f := rspamd.Scan(t.Context(), &scanners.Message{Content: broken{err}, Size: 1 << 20})
		if f.State != verdict.Unknown || f.Down || !strings.Contains(f.Reasons.String(), "could not be read") {
			t.Errorf("%v: got %+v", err, f)
		}
	}
}

func TestRspamdIsNotAskedAboutAMessageThatIsTooLarge(t *testing.T) {
	rspamd := rspamd.New(rspamd.Options{Address: rawServer(t, func(c net.Conn) {
		t.Error("it is asked")
		c.Close()
	}), MaxSize: 1000, Timeout: time.Second})
	f := rspamd.Scan(t.Context(), scantest.Message(strings.Repeat("x", 1001)))
	if f.State != verdict.Unknown || f.Down || !strings.Contains(f.Reasons.String(), "1001 bytes") || !strings.Contains(f.Reasons.String(), "(1000)") {
		t.Errorf("got %+v", f)
	}
}

func TestACallerThatLeavesEndsTheScan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := rawServer(t, func(c net.Conn) {
		c.Read(make([]byte, 100))
		cancel()
		io.Copy(io.Discard, c)
		c.Close()
	})
	begun := time.Now()
	f := newRspamd(url).Scan(ctx, scantest.Message("x"))
	if f.State != verdict.Unknown || f.Down || time.Since(begun) >= scantest.Patience {
		t.Errorf("got %+v after %v", f, time.Since(begun))
	}
}

func TestPingTellsRspamdFromOthers(t *testing.T) {
	for _, c := range []struct {
		about, server, text string
		status              int
		version             string
		fails               bool
	}{
		{"rspamd", "rspamd/3.4", "pong\r\n", 200, "rspamd/3.4", false},
		{"rspamd behind a proxy", "nginx", "pong\r\n", 200, "", false},
		{"a version with control characters", "rspamd/3.4\t1", "pong", 200, "rspamd/3.4?1", false},
		{"a web server", "nginx", "<html>", 200, "", true},
		{"an error", "rspamd/3.4", "pong\r\n", 503, "", true},
		{"much text", "rspamd/3.4", strings.Repeat("pong", 1<<20), 200, "", true},
	} {
		t.Run(c.about, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Server", c.server)
				w.WriteHeader(c.status)
				io.WriteString(w, c.text)
			}))
			defer server.Close()
			version, err := newRspamd(server.URL).Ping(t.Context())
			if version != c.version || (err != nil) != c.fails {
				t.Errorf("got %q, %v", version, err)
			}
		})
	}
	if _, err := newRspamd(rawServer(t, func(c net.Conn) { c.Close() })).Ping(t.Context()); err == nil {
		t.Error("a closed connection is a pong")
	}
}
