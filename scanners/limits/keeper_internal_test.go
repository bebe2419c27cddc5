package limits

import (
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestOneAtATimeAsksWhetherRedisIsBack(t *testing.T) {
	k := NewKeeper(slog.New(slog.DiscardHandler), nil, NewMemory(1))
	failed := errors.New("failed")
	enter := func(want bool) int {
		t.Helper()
		state, ok := k.enter()
		if ok != want {
			t.Fatalf("it may ask Redis: %v, want %v", ok, want)
		}
		return state
	}
	fast, slow, slower := enter(true), enter(true), enter(true)
	k.leave(t.Context(), fast, failed)
	enter(false)
	k.leave(t.Context(), slow, nil) // Redis answered one that had asked before
	enter(false)

	k.next = time.Now()
	trial := enter(true)
	enter(false)
	k.leave(t.Context(), slower, failed)
	enter(false) // the trial is still under way
	k.leave(t.Context(), trial, failed)
	enter(false)

	k.next = time.Now()
	trial = enter(true)
	k.leave(t.Context(), trial, nil)
	enter(true)
	k.leave(t.Context(), slower, failed)
	enter(true)
}
