package scanners_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab/scantest"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

func TestARunLivesThroughTheFailuresOfARealServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		open func(*testing.T) scantest.Subject
	}{
		{"clamd", scantest.Clamd},
		{"rspamd", scantest.Rspamd},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.open(t)
			h := &hasty{Scanner: s.Scanner}
			live{t, s, h, c.name, scanners.NewRunner(scanners.NewGuard(slog.New(slog.DiscardHandler), scanners.Guarded{
				Scanner: h, Name: c.name, Timeout: scantest.Patience, MaxScans: 10,
			}))}.through()
		})
	}
}

// hasty is a scanner that waits for its server as long as that may take on a busy machine,
// and briefly while it hangs.
type hasty struct {
	scanners.Scanner
	hangs atomic.Bool
}

func (h *hasty) Scan(ctx context.Context, m *scanners.Message) verdict.Finding {
	if h.hangs.Load() {
		brief, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		ctx = brief
	}
	return h.Scanner.Scan(ctx, m)
}

// live is a Runner of one scanner with a real server.
type live struct {
	*testing.T
	scantest.Subject
	hasty  *hasty
	name   string
	runner *scanners.Runner
}

func (l live) through() {
	l.wantBack()
	l.must(l.Server.Suspend())
	l.hasty.hangs.Store(true)
	l.wantDown(20)
	l.hasty.hangs.Store(false)
	l.must(l.Server.Continue())
	l.wantBack()
	l.must(l.Server.Kill())
	l.wantDown(100) // none of them waits
	ctx, cancel := context.WithTimeout(l.Context(), scantest.Patience)
	defer cancel()
	l.must(l.Server.Start(ctx))
	l.wantBack()
}

func (l live) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// run has that many messages checked at once.
func (l live) run(messages int) []verdict.Finding {
	findings := make([]verdict.Finding, messages)
	var all sync.WaitGroup
	for i := range findings {
		all.Go(func() {
			findings[i] = l.runner.Run(l.Context(), []string{l.Scanner.Check()}, scantest.Message(scantest.CleanMail))[0]
		})
	}
	all.Wait()
	return findings
}

// wantBack waits until the runner's pause is over, and wants many messages to
// be checked then.
func (l live) wantBack() {
	l.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(scantest.Patience); ; <-again.C {
		findings := l.run(1)
		if findings[0].State == verdict.Clean {
			break
		}
		if time.Now().After(end) {
			l.Fatalf("the server is back, and the runner has %v", findings[0])
		}
	}
	for _, f := range l.run(100) {
		if f.State != verdict.Clean {
			l.Errorf("the server is back, and one of many messages has %v", f)
		}
	}
}

// wantDown wants a hundred messages to have their findings, of which so many at most
// find out that the server is down, and another hundred to have them from the runner,
// save for who tries the server anew.
func (l live) wantDown(first int) {
	l.Helper()
	for _, most := range []int{first, 10} {
		asked := 0
		for _, f := range l.run(100) {
			if f.State != verdict.Unknown || !f.Down {
				l.Errorf("got %v", f)
			}
			reason := f.Reasons.String()
			down, busy := l.name+" does not answer", "scans of "+l.name+" stayed in use"
			if reason != down && !strings.HasPrefix(reason, down+"; ") && !strings.Contains(reason, busy) {
				asked++
			}
		}
		if asked > most {
			l.Errorf("the server was asked about %d messages of a hundred, want %d at most", asked, most)
		}
	}
}
