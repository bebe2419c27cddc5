package scanners_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/breaker"
)

func virusGuard(s *scripted) *scanners.Guard {
	s.check = verdict.CheckVirus
	return scanners.NewGuard(slog.New(slog.DiscardHandler), scanners.Guarded{
		Scanner: s, Name: "clamd", Timeout: 30 * time.Second, MaxScans: 10,
	})
}

func TestAServerThatIsDownStaysSoForTheNextRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		g := virusGuard(s)
		fail(t, scanners.NewRunner(g), s)
		asked := s.asked.Load()
		if f := runOne(t.Context(), scanners.NewRunner(g)); f.Reasons.String() != "clamd does not answer; it is asked again in 1 s" || s.asked.Load() != asked {
			t.Errorf("another runner asks it again: %+v", f)
		}
		now := time.Now()
		want := scanners.GuardState{Name: "clamd", Slots: 10, Breaker: breaker.State{
			Open: true, Since: now, Reason: "connection refused", Next: now.Add(time.Second),
		}}
		if got := g.State(); got != want {
			t.Errorf("the state is %+v; want %+v", got, want)
		}
	})
}

func TestTheSlotsOfAScannerAreThoseOfAllItsRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{scan: func(context.Context) verdict.Finding {
			time.Sleep(time.Second)
			return verdict.Passed(verdict.CheckVirus)
		}}
		g := virusGuard(s)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { parallel(t.Context(), scanners.NewRunner(g), 5) })
		}
		synctest.Wait()
		if got := g.State(); got.Scans != 10 || s.asked.Load() != 10 {
			t.Errorf("%d of 10 slots are in use and %d scans have begun, want 10 of 15", got.Scans, s.asked.Load())
		}
		all.Wait()
		if got := g.State(); got != (scanners.GuardState{Name: "clamd", Slots: 10}) || s.asked.Load() != 15 {
			t.Errorf("after %d scans the state is %+v", s.asked.Load(), got)
		}
	})
}
