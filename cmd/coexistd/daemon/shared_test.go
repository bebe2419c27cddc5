package daemon

import (
	"testing"
	"time"
)

func TestNobodyWaitsForAThingThatTakesLongToClose(t *testing.T) {
	var all shared
	closing, closed := make(chan struct{}), make(chan struct{})
	held := &holds{of: &all}
	hold(held, "one that hangs", func(string) (int, func()) {
		return 1, func() { close(closing); <-closed }
	})
	released := make(chan struct{})
	go func() { held.release(); close(released) }()
	<-closing
	other := &holds{of: &all}
	got := make(chan int, 1)
	go func() {
		got <- hold(other, "one that hangs", func(string) (int, func()) { return 2, nil })
	}()
	select {
	case value := <-got:
		if value != 2 {
			t.Errorf("what is being closed is held again: %d", value)
		}
	case <-time.After(patience):
		t.Error("who needs one waits for another's end")
	}
	close(closed)
	<-released
}
