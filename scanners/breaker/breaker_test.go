package breaker

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shy opens at the first failure, for a second, and only who tries closes it.
func shy() *Breaker {
	return New(Options{Failures: 1, MinPause: time.Second, MaxPause: time.Second, TrialOnly: true})
}

// patient opens at the third failure, for growing pauses.
func patient() *Breaker {
	return New(Options{Failures: 3, MinPause: time.Second, MaxPause: 30 * time.Second})
}

// enter wants leave to be given.
func enter(t *testing.T, b *Breaker) Pass {
	t.Helper()
	p, err := b.Enter()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// refused wants it to be refused with that error.
func refused(t *testing.T, b *Breaker, want string) {
	t.Helper()
	if _, err := b.Enter(); err == nil || err.Error() != want {
		t.Fatalf("the breaker says %v; want %s", err, want)
	}
}

func settle(t *testing.T, b *Breaker, p Pass, o Outcome, want Change) {
	t.Helper()
	if got := b.Settle(p, o, "no route"); got != want {
		t.Fatalf("the change is %d; want %d", got, want)
	}
}

const (
	waits  = "does not answer; it is asked again in 1 s"
	asking = "does not answer; it is being asked again"
)

func TestOneAtATimeTriesAndNoneThatAskedBeforeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := shy()
		fast, slow, slower := enter(t, b), enter(t, b), enter(t, b)
		settle(t, b, fast, Failed, Opened)
		refused(t, b, waits)
		settle(t, b, slow, Answered, None) // one that had asked before
		refused(t, b, waits)

		time.Sleep(time.Second)
		trial := enter(t, b)
		refused(t, b, asking)
		settle(t, b, slower, Failed, None)
		refused(t, b, asking) // the trial is still under way
		settle(t, b, trial, Failed, None)
		refused(t, b, waits)

		time.Sleep(time.Second)
		trial = enter(t, b)
		settle(t, b, trial, Answered, Closed)
		settle(t, b, slower, Failed, None)
		enter(t, b)
	})
}

func TestThePauseStaysWhereItsBoundsAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := shy()
		settle(t, b, enter(t, b), Failed, Opened)
		for range 5 {
			refused(t, b, waits)
			time.Sleep(time.Second)
			settle(t, b, enter(t, b), Failed, None)
		}
	})
}

func TestATrialThatTellsNothingIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := shy()
		settle(t, b, enter(t, b), Nothing, None)
		settle(t, b, enter(t, b), Failed, Opened)
		time.Sleep(time.Second)
		settle(t, b, enter(t, b), Nothing, None)
		settle(t, b, enter(t, b), Answered, Closed)
	})
}

func TestALateAnswerClosesWhereTrialsAreNotAllThatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := patient()
		late := enter(t, b)
		for _, change := range []Change{None, None, Opened} {
			settle(t, b, enter(t, b), Failed, change)
		}
		time.Sleep(time.Second)
		old := enter(t, b) // a trial
		settle(t, b, late, Answered, Closed)

		// The breaker opens again, and the trial of the last time ends during the next.
		for _, change := range []Change{None, None, Opened} {
			settle(t, b, enter(t, b), Failed, change)
		}
		time.Sleep(time.Second)
		enter(t, b)
		settle(t, b, old, Failed, None)
		refused(t, b, asking)
	})
}

func TestWhoeverWaitsIsToldWhenItOpens(t *testing.T) {
	b := shy()
	waiting, asked := enter(t, b), enter(t, b)
	var all sync.WaitGroup
	all.Go(func() { <-waiting.Revoked() })
	settle(t, b, asked, Failed, Opened)
	all.Wait()
}

func TestTheStateTellsSinceWhenAndUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := patient()
		want := func(want State) {
			t.Helper()
			if got := b.State(); got != want {
				t.Errorf("the state is %+v; want %+v", got, want)
			}
		}
		want(State{})
		b.Settle(enter(t, b), Failed, "one")
		want(State{Since: time.Now(), Reason: "one"})
		b.Settle(enter(t, b), Answered, "")
		want(State{})
		b.Settle(enter(t, b), Failed, "one")
		b.Settle(enter(t, b), Failed, "two")
		time.Sleep(time.Minute)
		want(State{Since: time.Now().Add(-time.Minute), Reason: "two"})
		opened := time.Now()
		b.Settle(enter(t, b), Failed, "three")
		want(State{Open: true, Since: opened, Reason: "three", Next: opened.Add(time.Second)})
		time.Sleep(3 * time.Second)
		trial := enter(t, b)
		want(State{Open: true, Since: opened, Reason: "three", Next: opened.Add(time.Second), Trying: true})
		b.Settle(trial, Failed, "four")
		want(State{Open: true, Since: opened, Reason: "four", Next: opened.Add(5 * time.Second)})
		time.Sleep(2 * time.Second)
		b.Settle(enter(t, b), Answered, "")
		want(State{})
	})
}

func TestWhatWasHeardOfTheServerIsToldAndChangesNothing(t *testing.T) {
	b := shy()
	b.Heard("it is away")
	if got := b.State(); got.Open || got.Reason != "it is away" || got.Since.IsZero() {
		t.Errorf("after a bad answer to others, the state is %+v", got)
	}
	b.Heard("")
	if got := b.State(); got != (State{}) {
		t.Errorf("after a good answer to others, the state is %+v", got)
	}
	settle(t, b, enter(t, b), Failed, Opened)
	before := b.State()
	b.Heard("")
	if got := b.State(); got != before {
		t.Errorf("what was heard has changed the state of an open breaker from %+v to %+v", before, got)
	}
}
