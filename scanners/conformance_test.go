package scanners_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/contrib/lab/scantest"
	"coexistd/policy/verdict"
)

// TestConformance holds every scanner to the promises of Scanner.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(*testing.T) scantest.Subject
	}{
		{"clamd", scantest.Clamd},
		{"rspamd", scantest.Rspamd},
	} {
		t.Run(c.name, func(t *testing.T) { conform(t, c.open(t)) })
	}
}

func conform(t *testing.T, s scantest.Subject) {
	t.Run("a message is clean, a bad one is a hit with a name", func(t *testing.T) {
		scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, scantest.Text(scantest.CleanMail)), verdict.Clean)
		finding := scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, scantest.Text(s.Bad)), verdict.Hit)
		if finding.Name == "" || finding.Reasons.String() == "" {
			t.Errorf("the hit has the name %q and the reason %q, want both", finding.Name, finding.Reasons.String())
		}
	})
	t.Run("an empty message is no hit", func(t *testing.T) {
		if finding := scantest.Scan(t, s.Scanner, scantest.Text("")); finding.State == verdict.Hit {
			t.Errorf("found %v", finding)
		}
	})
	t.Run("many at once do not mix", func(t *testing.T) {
		var scans sync.WaitGroup
		for i := range 50 {
			scans.Go(func() {
				if i%2 == 0 {
					scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, scantest.Text(scantest.CleanMail)), verdict.Clean)
				} else {
					scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, scantest.Text(s.Bad)), verdict.Hit)
				}
			})
		}
		scans.Wait()
	})
	t.Run("content", func(t *testing.T) { conformOnContent(t, s) })
	t.Run("context", func(t *testing.T) { conformOnContext(t, s) })
	if s.Server != nil {
		t.Run("server", func(t *testing.T) { conformOnServer(t, s) })
		t.Run("stranger", func(t *testing.T) { conformOnStrangers(t, s) })
	}
	scantest.NoneLeft(t)
}

// conformOnContent has the message itself fail.
func conformOnContent(t *testing.T, s scantest.Subject) {
	for _, c := range []struct {
		about   string
		content *scantest.Content
	}{
		{"unreadable from the start", &scantest.Content{Text: scantest.Long(scantest.CleanMail), Size: 1 << 20, Fails: 0}},
		{"unreadable from the middle", &scantest.Content{Text: scantest.Long(scantest.CleanMail), Size: 1 << 20, Fails: 300_000}},
		{"unreadable at the end", &scantest.Content{Text: scantest.Long(scantest.CleanMail), Size: 1 << 20, Fails: 1<<20 - 1}},
		{"shorter than it should be", &scantest.Content{Text: scantest.CleanMail, Size: int64(len(scantest.CleanMail)) + 1, Fails: -1}},
	} {
		finding := scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, c.content), verdict.Unknown)
		if finding.Down {
			t.Errorf("%s: %q blames the server", c.about, finding.Reasons.String())
		}
	}
}

// conformOnContext ends the context before a scan, and during one.
func conformOnContext(t *testing.T, s scantest.Subject) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	scantest.Want(t, s.Scanner, scantest.ScanWith(ended, t, s.Scanner, scantest.Text(s.Bad)), verdict.Unknown)
	if took := time.Since(begun); took >= scantest.Patience {
		t.Errorf("a scan whose context has ended took %v", took)
	}

	during, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &scantest.Content{Text: scantest.Long(scantest.CleanMail), Size: 8 << 20, Fails: -1}
	c.OnRead = sync.OnceFunc(func() { begun = time.Now(); cancel() })
	scantest.Want(t, s.Scanner, scantest.ScanWith(during, t, s.Scanner, c), verdict.Unknown)
	if took := time.Since(begun); took >= scantest.Patience {
		t.Errorf("a scan returned %v after the end of its context", took)
	}
}

// conformOnServer has the real server fail, and come back.
func conformOnServer(t *testing.T, s scantest.Subject) {
	steps := func(do ...error) {
		t.Helper()
		if err := errors.Join(do...); err != nil {
			t.Fatal(err)
		}
	}
	steps(s.Server.Suspend())
	limited, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	wantDown(t, s, scantest.ScanWith(limited, t, s.Scanner, scantest.Text(scantest.CleanMail)))
	if took := time.Since(begun); took >= scantest.Patience {
		t.Errorf("a scan by a server that hangs took %v, want 300ms", took)
	}
	steps(s.Server.Continue())
	scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, scantest.Text(scantest.CleanMail)), verdict.Clean)

	// The server is killed once it has some of the message.
	c := &scantest.Content{Text: scantest.Long(scantest.CleanMail), Size: 8 << 20, Fails: -1}
	c.OnRead = sync.OnceFunc(func() {
		if err := s.Server.Kill(); err != nil {
			t.Error(err)
		}
	})
	wantDown(t, s, scantest.Scan(t, s.Scanner, c))
	wantDown(t, s, scantest.Scan(t, s.Scanner, scantest.Text(scantest.CleanMail)))
	starting, cancel := context.WithTimeout(t.Context(), scantest.Patience)
	defer cancel()
	steps(s.Server.Start(starting))
	scantest.Want(t, s.Scanner, scantest.Scan(t, s.Scanner, scantest.Text(s.Bad)), verdict.Hit)
}

// conformOnStrangers has something answer that is not the server at all.
func conformOnStrangers(t *testing.T, s scantest.Subject) {
	const timeout = 300 * time.Millisecond
	for _, c := range []struct {
		about string
		serve func(net.Conn)
		down  bool
	}{
		{"closes at once", func(net.Conn) {}, true},
		{"closes after the request", func(c net.Conn) { scantest.ReadSome(c) }, true},
		{"never answers", func(c net.Conn) { io.Copy(io.Discard, c) }, true},
		{"answers with a line and nothing more", func(c net.Conn) {
			scantest.ReadSome(c)
			io.WriteString(c, "220 mail ESMTP\r\n")
			io.Copy(io.Discard, c)
		}, false},
		{"answers with zeroes", func(c net.Conn) { scantest.ReadSome(c); c.Write(make([]byte, 100)) }, false},
		{"answers with a web page", func(c net.Conn) {
			scantest.ReadSome(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<p>OK\r\n\r\n")
		}, false},
		{"never stops answering", func(c net.Conn) {
			scantest.ReadSome(c)
			w := bufio.NewWriter(c)
			for err := error(nil); err == nil; {
				_, err = w.WriteString("OK OK OK ")
			}
		}, false},
	} {
		served := make(chan struct{}, 100)
		scanner := s.At(lab.Listen(t, func(conn net.Conn) { c.serve(conn); served <- struct{}{} }), timeout)
		for _, m := range []*scantest.Content{scantest.Text(scantest.CleanMail), scantest.Text(scantest.Long(scantest.CleanMail))} {
			begun := time.Now()
			finding := scantest.Want(t, s.Scanner, scantest.Scan(t, scanner, m), verdict.Unknown)
			if c.down && !finding.Down {
				t.Errorf("%s: %q does not say that the server is down", c.about, finding.Reasons.String())
			}
			if took := time.Since(begun); took >= scantest.Patience {
				t.Errorf("%s: the scan took %v, want at most %v", c.about, took, timeout)
			}
			select {
			case <-served:
			case <-time.After(scantest.Patience):
				t.Errorf("%s: the connection stays open after the scan", c.about)
			}
		}
	}
}

func wantDown(t *testing.T, s scantest.Subject, f verdict.Finding) {
	t.Helper()
	if scantest.Want(t, s.Scanner, f, verdict.Unknown); !f.Down {
		t.Errorf("%v does not say that the server is down", f)
	}
}
