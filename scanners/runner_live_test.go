package scanners_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/scanners"
)

func TestARunLivesThroughTheFailuresOfARealServer(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(*testing.T) subject
	}{
		{"clamd", clamdSubject},
		{"rspamd", rspamdSubject},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.open(t)
			const timeout = 2 * time.Second
			live{t, s, timeout, scanners.NewRunner(slog.New(slog.DiscardHandler), scanners.Guarded{
				Scanner: s.scanner, Name: c.name, Timeout: timeout, MaxScans: 10,
			})}.through()
		})
	}
}

// live is a Runner of one scanner with a real server.
type live struct {
	*testing.T
	subject
	timeout time.Duration
	runner  *scanners.Runner
}

func (l live) through() {
	l.wantBack()
	l.must(l.server.Suspend())
	l.wantDown(l.timeout)
	l.must(l.server.Continue())
	l.wantBack()
	l.must(l.server.Kill())
	l.wantDown(0)
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	l.must(l.server.Start(ctx))
	l.wantBack()
}

func (l live) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// run has that many messages checked at once.
func (l live) run(messages int) (findings []policy.Finding, took time.Duration) {
	begun := time.Now()
	findings = make([]policy.Finding, messages)
	var all sync.WaitGroup
	for i := range findings {
		all.Go(func() {
			findings[i] = l.runner.Run(l.Context(), []string{l.scanner.Check()}, message(cleanMail))[0]
		})
	}
	all.Wait()
	return findings, time.Since(begun)
}

// wantBack waits until the runner's pause is over, and wants many messages to
// be checked then.
func (l live) wantBack() {
	l.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-again.C {
		findings, _ := l.run(1)
		if findings[0].State == policy.Clean {
			break
		}
		if time.Now().After(end) {
			l.Fatalf("the server is back, and the runner has %v", findings[0])
		}
	}
	findings, _ := l.run(100)
	for _, f := range findings {
		if f.State != policy.Clean {
			l.Errorf("the server is back, and one of many messages has %v", f)
		}
	}
}

// wantDown wants a hundred messages to have their findings within about that
// time, and another hundred at once.
func (l live) wantDown(within time.Duration) {
	l.Helper()
	for _, limit := range []time.Duration{within, 0} {
		findings, took := l.run(100)
		if took > limit+1500*time.Millisecond {
			l.Errorf("they took %v, want %v", took, limit)
		}
		for _, f := range findings {
			if f.State != policy.Unknown || !f.Down {
				l.Errorf("got %v", f)
			}
		}
	}
}
