package scanners_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coexistd/contrib/fake"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// scripted is a scanner that does as a test says.
type scripted struct {
	check string
	scan  func(ctx context.Context) verdict.Finding
	asked atomic.Int32
}

func (s *scripted) Check() string { return s.check }

func (s *scripted) Scan(ctx context.Context, _ *scanners.Message) verdict.Finding {
	s.asked.Add(1)
	return s.scan(ctx)
}

// hang is how a scan of a server that is hung goes.
func hang(ctx context.Context) verdict.Finding {
	<-ctx.Done()
	return scanners.Down(verdict.CheckVirus, "no answer: "+ctx.Err().Error())
}

func isDown(context.Context) verdict.Finding {
	return scanners.Down(verdict.CheckVirus, "connection refused")
}

func isUp(context.Context) verdict.Finding { return verdict.Passed(verdict.CheckVirus) }

func isAboutTheMessage(context.Context) verdict.Finding {
	return scanners.Unknown(verdict.CheckVirus, "too large")
}

// virusRunner runs one scanner, with a timeout of 30 s and ten places. It has
// the log too.
func virusRunner(s *scripted) (*scanners.Runner, *fake.Log) {
	log := fake.NewLog()
	s.check = verdict.CheckVirus
	return scanners.NewRunner(scanners.NewGuard(log.Logger, scanners.Guarded{
		Scanner: s, Name: "clamd", Timeout: 30 * time.Second, MaxScans: 10,
	})), log
}

func runOne(ctx context.Context, r *scanners.Runner) verdict.Finding {
	return r.Run(ctx, []string{verdict.CheckVirus}, &scanners.Message{})[0]
}

// fail makes the runner's server fail so often that it is taken for down.
func fail(t *testing.T, r *scanners.Runner, s *scripted) {
	t.Helper()
	s.scan = isDown
	for range 3 {
		runOne(t.Context(), r)
	}
	if asked := s.asked.Load(); runOne(t.Context(), r).State != verdict.Unknown || s.asked.Load() != asked {
		t.Fatal("the server is asked after three failures in a row")
	}
}

func TestARunHasOneFindingForEachCheckInTheirOrder(t *testing.T) {
	var guards []*scanners.Guard
	for _, check := range []string{verdict.CheckSpam, verdict.CheckVirus} {
		guards = append(guards, scanners.NewGuard(slog.New(slog.DiscardHandler), scanners.Guarded{
			Scanner: &scripted{check: check, scan: func(context.Context) verdict.Finding {
				return scanners.Hit(check, "name of "+check, "why")
			}},
			Name: check, Timeout: time.Minute, MaxScans: 1,
		}))
	}
	r := scanners.NewRunner(guards...)
	got := r.Run(t.Context(), []string{verdict.CheckVirus, verdict.CheckMalware, verdict.CheckSpam}, &scanners.Message{})
	if len(got) != 3 || got[0].Name != "name of virus" || got[2].Name != "name of spam" {
		t.Errorf("got %v", got)
	}
	if f := got[1]; f.Check != verdict.CheckMalware || f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "no scanner is configured") {
		t.Errorf("a check without a scanner: %+v", f)
	}
	if got := r.Run(t.Context(), nil, nil); got != nil {
		t.Errorf("no checks: %v", got)
	}
}

func TestScannersWorkSideBySideEachWithinItsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var guards []*scanners.Guard
		timeouts := map[string]time.Duration{verdict.CheckVirus: 30 * time.Second, verdict.CheckSpam: 10 * time.Second, verdict.CheckMalware: 20 * time.Second}
		took := make(map[string]time.Duration)
		var mu sync.Mutex
		for check, timeout := range timeouts {
			guards = append(guards, scanners.NewGuard(slog.New(slog.DiscardHandler), scanners.Guarded{Name: check, MaxScans: 1, Timeout: timeout, Scanner: &scripted{check: check,
				scan: func(ctx context.Context) verdict.Finding {
					begun := time.Now()
					finding := hang(ctx)
					mu.Lock()
					defer mu.Unlock()
					took[check] = time.Since(begun)
					return finding
				}}}))
		}
		begun := time.Now()
		checks := []string{verdict.CheckMalware, verdict.CheckVirus, verdict.CheckSpam}
		for i, f := range scanners.NewRunner(guards...).Run(t.Context(), checks, &scanners.Message{}) {
			if time.Duration(f.Took) != timeouts[checks[i]] {
				t.Errorf("the finding of %s says that it took %v", checks[i], time.Duration(f.Took))
			}
		}
		if all := time.Since(begun); all != 30*time.Second {
			t.Errorf("the run took %v, want the longest of the timeouts", all)
		}
		for check, timeout := range timeouts {
			if took[check] != timeout {
				t.Errorf("%s took %v, want %v", check, took[check], timeout)
			}
		}
	})
}

func TestAPanicOfAScannerIsUnknownAndLogged(t *testing.T) {
	s := &scripted{scan: func(context.Context) verdict.Finding {
		maps.Copy(map[string]string(nil), map[string]string{"x": "y"})
		return verdict.Finding{}
	}}
	r, log := virusRunner(s)
	f := r.Run(t.Context(), []string{verdict.CheckVirus}, &scanners.Message{QueueID: "4QID"})[0]
	if f.State != verdict.Unknown || f.Down || f.Check != verdict.CheckVirus || f.Reasons.String() == "" {
		t.Errorf("got %+v", f)
	}
	for _, want := range []string{"nil map", "4QID", "scanner=clamd", "runner_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
	s.scan = isUp
	for range 20 { // more than there are places
		if f := runOne(t.Context(), r); f.State != verdict.Clean {
			t.Fatalf("after a panic: %+v", f)
		}
	}
}

func TestNoMoreScansRunAtOnceThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		s := &scripted{scan: func(context.Context) verdict.Finding {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(4 * time.Second)
			return verdict.Passed(verdict.CheckVirus)
		}}
		r, _ := virusRunner(s)
		findings := parallel(t.Context(), r, 100)
		if most.Load() != 10 {
			t.Errorf("%d scans at once, want 10", most.Load())
		}
		// 30 s are enough for seven rounds of 4 s and the start of an eighth,
		// which this scanner ends in spite of its context.
		var clean int
		for _, f := range findings {
			switch {
			case f.State == verdict.Clean:
				clean++
			case f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "all 10 scans of clamd stayed in use"):
				t.Errorf("got %+v", f)
			}
		}
		if clean != 80 {
			t.Errorf("%d messages were scanned, want 80", clean)
		}
	})
}

// parallel runs that many messages at once.
func parallel(ctx context.Context, r *scanners.Runner, messages int) []verdict.Finding {
	findings := make([]verdict.Finding, messages)
	var all sync.WaitGroup
	for i := range findings {
		all.Go(func() { findings[i] = runOne(ctx, r) })
	}
	all.Wait()
	return findings
}

func TestAHungServerCostsManyMessagesOneTimeoutAndLaterOnesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := virusRunner(&scripted{scan: hang})
		begun := time.Now()
		for _, f := range parallel(t.Context(), r, 100) {
			if f.State != verdict.Unknown || !f.Down || f.Reasons.String() == "" {
				t.Errorf("got %+v", f)
			}
		}
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("100 messages took %v, want one timeout", took)
		}
		begun = time.Now()
		for _, f := range parallel(t.Context(), r, 100) {
			if f.Reasons.String() != "clamd does not answer; it is asked again in 1 s" || !f.Down {
				t.Errorf("got %+v", f)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("later messages took %v", took)
		}
	})
}

func TestAMessageThatTakesTooLongIsNotTakenForAServerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{check: verdict.CheckVirus, scan: hang}
		isThere, asked := true, 0
		r := scanners.NewRunner(scanners.NewGuard(fake.NewLog().Logger, scanners.Guarded{
			Scanner: s, Name: "clamd", Timeout: 30 * time.Second, MaxScans: 10,
			Answers: func(ctx context.Context) bool {
				if asked++; !isThere {
					<-ctx.Done()
				}
				return isThere
			},
		}))
		for i := range 5 {
			if f := runOne(t.Context(), r); f.State != verdict.Unknown || s.asked.Load() != int32(i+1) {
				t.Errorf("message %d: the scanner was asked %d times; %+v", i, s.asked.Load(), f)
			}
		}
		// The server hangs as a whole.
		isThere = false
		for range 3 {
			begun := time.Now()
			runOne(t.Context(), r)
			if took := time.Since(begun); took > 33*time.Second {
				t.Errorf("a message took %v", took)
			}
		}
		before := s.asked.Load()
		if f := runOne(t.Context(), r); !f.Down || s.asked.Load() != before || asked != 8 {
			t.Errorf("a server that hangs is asked: %+v; whether it is there was asked %d times", f, asked)
		}
	})
}

func TestMessagesThatWaitForAPlaceAreRefusedWhenTheBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		s := &scripted{scan: func(ctx context.Context) verdict.Finding {
			if n.Add(1) > 7 {
				time.Sleep(5 * time.Second) // the last three of ten places
				return isDown(ctx)
			}
			return hang(ctx)
		}}
		r, _ := virusRunner(s)
		var first, waiting sync.WaitGroup
		for range 10 {
			first.Go(func() { runOne(t.Context(), r) })
		}
		synctest.Wait()
		begun := time.Now()
		for range 50 {
			waiting.Go(func() { runOne(t.Context(), r) })
		}
		waiting.Wait()
		// Places come free one by one before the third failure; who gets one then
		// scans, for 5 s.
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("those that waited took %v", took)
		}
		if asked := s.asked.Load(); asked > 13 {
			t.Errorf("%d scans began", asked)
		}
		first.Wait()
	})
}

func TestOnlyFailuresOfTheServerInARowOpenTheBreaker(t *testing.T) {
	down, up, message := isDown, isUp, isAboutTheMessage
	for _, c := range []struct {
		about string
		scans []func(context.Context) verdict.Finding
		opens bool
	}{
		{"two failures", []func(context.Context) verdict.Finding{down, down}, false},
		{"three failures", []func(context.Context) verdict.Finding{down, down, down}, true},
		{"a success between", []func(context.Context) verdict.Finding{down, down, up, down, down}, false},
		{"a success before", []func(context.Context) verdict.Finding{up, down, down, down}, true},
		{"what is about the message tells nothing", []func(context.Context) verdict.Finding{down, message, down, message, down}, true},
		{"much that is about messages", slices.Repeat([]func(context.Context) verdict.Finding{message}, 20), false},
		{"much success", slices.Repeat([]func(context.Context) verdict.Finding{up}, 20), false},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := &scripted{}
			r, log := virusRunner(s)
			for _, scan := range c.scans {
				s.scan = scan
				runOne(t.Context(), r)
			}
			s.scan = isUp
			if opened := runOne(t.Context(), r).State == verdict.Unknown; opened != c.opens {
				t.Errorf("opened: %v, want %v", opened, c.opens)
			}
			if logged := log.Count("does not answer"); logged != map[bool]int{true: 1}[c.opens] {
				t.Errorf("logged %d times: %s", logged, log)
			}
		})
	}
}

func TestADownServerIsAskedAgainAfterGrowingPausesByOneMessageEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		r, log := virusRunner(s)
		fail(t, r, s)
		for _, pause := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			asked := s.asked.Load()
			if f := runOne(t.Context(), r); f.Reasons.String() != fmt.Sprintf("clamd does not answer; it is asked again in %d s", pause) {
				t.Errorf("at the start of the pause of %d s: %q", pause, f.Reasons.String())
			}
			time.Sleep(time.Duration(pause)*time.Second - 1)
			if f := runOne(t.Context(), r); f.Reasons.String() != "clamd does not answer; it is asked again in 1 s" || s.asked.Load() != asked {
				t.Errorf("just before the end of the pause of %d s: %q", pause, f.Reasons.String())
			}
			time.Sleep(time.Nanosecond)
			parallel(t.Context(), r, 20)
			if n := s.asked.Load() - asked; n != 1 {
				t.Errorf("%d messages tried after %d s, want 1", n, pause)
			}
		}
		if n := log.Count("\n"); n != 1 {
			t.Errorf("%d lines in the log, want 1: %s", n, log)
		}
	})
}

func TestOthersDoNotWaitForTheMessageThatTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		r, _ := virusRunner(s)
		fail(t, r, s)
		time.Sleep(time.Second)
		s.scan = hang
		var try sync.WaitGroup
		try.Go(func() { runOne(t.Context(), r) })
		synctest.Wait()
		begun := time.Now()
		for _, f := range parallel(t.Context(), r, 20) {
			if f.Reasons.String() != "clamd does not answer; it is being asked again" {
				t.Errorf("got %+v", f)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("they waited %v", took)
		}
		try.Wait()
	})
}

func TestASuccessClosesTheBreakerAndForgetsThePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		r, log := virusRunner(s)
		for range 3 {
			fail(t, r, s)
			time.Sleep(time.Second)
			s.scan = isUp
			for i, f := range append([]verdict.Finding{runOne(t.Context(), r)}, parallel(t.Context(), r, 20)...) {
				if f.State != verdict.Clean {
					t.Errorf("message %d: %+v", i, f)
				}
			}
		}
		for _, want := range []string{"a scanner does not answer", "a scanner answers again"} {
			if n := log.Count(want); n != 3 {
				t.Errorf("%q is logged %d times, want 3: %s", want, n, log)
			}
		}
	})
}

func TestATryThatTellsNothingLetsTheNextMessageTry(t *testing.T) {
	for _, c := range []struct {
		about string
		scan  func(context.Context) verdict.Finding
	}{
		{"a message that the scanner does not take", isAboutTheMessage},
		{"a caller that leaves", hang},
		{"a panic", func(context.Context) verdict.Finding { panic("oh") }},
	} {
		t.Run(c.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{}
				r, _ := virusRunner(s)
				fail(t, r, s)
				time.Sleep(time.Second)
				s.scan = c.scan
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				runOne(ctx, r)
				s.scan = isUp
				if f := runOne(t.Context(), r); f.State != verdict.Clean {
					t.Errorf("the next message: %+v", f)
				}
			})
		})
	}
}

func TestScansThatTheCallerBreaksOffSayNothingOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{scan: hang}
		r, _ := virusRunner(s)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			parallel(ctx, r, 30)
			cancel()
		}
		s.scan = isUp
		if f := runOne(t.Context(), r); f.State != verdict.Clean {
			t.Errorf("got %+v", f)
		}
	})
}

func TestABusyServerIsNotTakenForDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each scan needs 20 s. Of three rounds of ten messages the second has
		// 10 s left when its turn comes, the third none.
		s := &scripted{scan: func(ctx context.Context) verdict.Finding {
			select {
			case <-time.After(20 * time.Second):
				return verdict.Passed(verdict.CheckVirus)
			case <-ctx.Done():
				return hang(ctx)
			}
		}}
		r, log := virusRunner(s)
		for _, f := range parallel(t.Context(), r, 30) {
			if f.State == verdict.Hit {
				t.Errorf("got %+v", f)
			}
		}
		if f := runOne(t.Context(), r); f.State != verdict.Clean || log.String() != "" {
			t.Errorf("got %+v, log %s", f, log)
		}
	})
}

func TestAFailureFromBeforeTheServerCameBackDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{scan: hang}
		r, _ := virusRunner(s)
		var old sync.WaitGroup
		for range 5 {
			old.Go(func() { runOne(t.Context(), r) })
		}
		synctest.Wait()
		fail(t, r, s)
		time.Sleep(time.Second)
		s.scan = isUp
		if f := runOne(t.Context(), r); f.State != verdict.Clean {
			t.Fatalf("the server is back: %+v", f)
		}
		old.Wait()
		if f := runOne(t.Context(), r); f.State != verdict.Clean {
			t.Errorf("after the end of the old scans: %+v", f)
		}
	})
}
