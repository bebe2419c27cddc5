package sources

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// event is one thing that happens to a source: a new list with its mark, or that somebody
// accepts what waits. After it the list that counts has so many addresses, and waits is what
// is said of the one that waits.
type event struct {
	about  string
	mark   string
	to     int // users 0 to this
	accept bool
	counts int
	waits  string
}

var events = []event{
	{"the first list", "5", 100, false, 100, ""},
	{"half is lost", "6", 50, false, 100, "lacks 50 of 100"},
	{"a backup is restored", "3", 99, false, 100, "at an earlier time"},
	{"it is accepted", "3", 99, true, 99, ""},
	{"a new user", "4", 101, false, 101, ""},
	{"another backup is restored", "3", 100, false, 101, "at an earlier time"},
	{"somebody writes there", "7", 100, false, 101, "it lacks 1"},
	{"it catches up", "8", 102, false, 102, ""},
	{"somebody goes", "9", 101, false, 101, ""},
	{"a third backup is restored", "8", 100, false, 101, "at an earlier time"},
	{"somebody writes there, too", "91", 99, false, 101, "it lacks 2"},
	{"that is accepted", "91", 99, true, 99, ""},
	{"somebody goes, too", "92", 98, false, 98, ""},
}

// happen lets an event happen.
func (f *followed) happen(t *testing.T, e event) {
	t.Helper()
	f.mark, f.rows = Mark{"a": e.mark}, users(0, e.to)
	if !e.accept {
		f.turn(t)
	} else if _, digest, err := f.lists[0].Waiting(); err == nil && digest != "" {
		_, _ = f.lists[0].Accept(digest) // what came of it is seen by the list
	}
}

// steps has the steps of the source's files fail from the nth on, or only that one, and says
// whether there were so many.
func (f *followed) steps(n int, once bool) (reached *bool) {
	reached, done := new(bool), 0
	step := func(what string) error {
		if done++; done < n || once && done > n {
			return nil
		}
		*reached = true
		return fmt.Errorf("%s: no space left on device", what)
	}
	f.Poller.copies.step, f.lists[0].step = step, step
	return reached
}

// eachStep makes a source to which the events before e have happened, for each of the steps
// that e takes.
func eachStep(t *testing.T, once bool, do func(t *testing.T, f *followed, before int, e event)) {
	before := 0
	for i, e := range events {
		for n, reached := 1, true; reached; n++ {
			t.Run(fmt.Sprint(e.about, ", step ", n), func(t *testing.T) {
				f := follow(t)
				for _, earlier := range events[:i] {
					f.happen(t, earlier)
				}
				failed := f.steps(n, once)
				f.happen(t, e)
				reached = *failed
				f.Poller.copies.step, f.lists[0].step = nil, nil
				do(t, f, before, e)
			})
			if n > 50 {
				t.Fatal("there is no end of steps")
			}
		}
		before = e.counts
	}
}

func TestADaemonThatIsKilledAtAnyStepHasTheListThatCountedOrTheNext(t *testing.T) {
	t.Parallel()
	eachStep(t, false, func(t *testing.T, f *followed, before int, e event) {
		// The source is away at the next start.
		f.restart(t)
		f.fails = errors.New("the server has gone")
		f.turn(t)
		if list := f.lists[0].Snapshot; list == nil && before > 0 || list != nil && list.Len() != before && list.Len() != e.counts {
			t.Errorf("while the source is away, the list is %v; right is one of %d or %d addresses", list, before, e.counts)
		}
	})
}

func TestWhatWaitsIsToldAfterADaemonWasKilledAtAnyStep(t *testing.T) {
	t.Parallel()
	eachStep(t, false, func(t *testing.T, f *followed, before int, e event) {
		f.restart(t)
		accepted := !e.accept || f.lists[0].Snapshot.Len() == e.counts
		e.accept = false
		f.happen(t, e)
		if accepted {
			f.must(t, "after the next start", e.counts, e.waits)
		} else {
			f.must(t, "after the next start", before, "restored backup")
		}
	})
}

func TestAStepThatFailsOnceIsMadeUpFor(t *testing.T) {
	t.Parallel()
	eachStep(t, true, func(t *testing.T, f *followed, before int, e event) {
		f.happen(t, e)
		f.must(t, "once more", e.counts, e.waits)
		if f.unsaved {
			t.Error("what the next start is to know is not kept")
		}
		f.restart(t)
		e.accept = false
		f.happen(t, e)
		f.must(t, "after the next start", e.counts, e.waits)
	})
}

func TestTheFirstListCountsThoughWhatIsKnownOfItCannotBeKept(t *testing.T) {
	f := follow(t)
	f.Poller.copies.step = func(what string) error {
		if what == "save "+memory {
			return errors.New("no space left on device")
		}
		return nil
	}
	f.mark, f.rows = Mark{"a": "1"}, users(0, 10)
	for range 2 {
		f.turn(t)
		f.must(t, "kept in part", 10, "")
		if s := f.State(); s.Failed != "its state cannot be kept: no space left on device" {
			t.Errorf("the state is %+v", s)
		}
	}
	f.Poller.copies.step = nil
	f.turn(t)
	if s := f.State(); s.Failed != "" {
		t.Errorf("with room again, the state is %+v", s)
	}
	if _, err := os.Stat(f.source.Copy + memory); err != nil {
		t.Error(err)
	}
}

func TestAFullDiskIsToldAndLeavesTheLastList(t *testing.T) {
	for _, ending := range []string{part, memory + fresh} {
		f := follow(t)
		f.mark, f.rows = Mark{"a": "1"}, users(0, 10)
		f.turn(t)
		if err := os.Symlink("/dev/full", f.source.Copy+ending); err != nil {
			t.Fatal(err)
		}
		f.mark, f.rows = Mark{"a": "2"}, users(0, 11)
		f.turn(t)
		if s := f.State(); !strings.Contains(s.Failed, "no space left on device") {
			t.Errorf("%s: the state is %+v", ending, s)
		}
		if n := f.lists[0].Snapshot.Len(); ending == part && n != 10 || n < 10 {
			t.Errorf("%s: the list has %d addresses", ending, n)
		}
		f.turn(t) // what was not written is gone, and there is room again
		f.must(t, ending, 11, "")
		if s := f.State(); s.Failed != "" {
			t.Errorf("%s: with room again, the state is %+v", ending, s)
		}
		f.restart(t)
		f.must(t, ending, 11, "")
		if f.kept.Mark["a"] != "2" {
			t.Errorf("%s: a start knows the mark %v", ending, f.kept.Mark)
		}
	}
}
