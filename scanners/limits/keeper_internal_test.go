package limits

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

// hung is a Redis that takes every connection and answers nothing.
func hung() *Redis {
	r := newRedis(RedisOptions{Addresses: []string{"hung.example:6379"}}, patience)
	o := r.client.(*redis.Client).Options()
	o.Dialer = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		return ours, nil
	}
	return r
}

func TestAHungRedisHoldsUpOneMessageASecondFor200ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeeper(slog.New(slog.DiscardHandler), hung(), NewMemory(1000))
		rule := &rate.Rule{Name: "hung", Limit: 1, Per: 1, Burst: 1, OnLimit: verdict.Tempfail, OnError: rate.ErrorTempfail}
		const goroutines = 20
		var mu sync.Mutex
		waits := map[time.Duration]int{}
		begun := time.Now()
		var crowd sync.WaitGroup
		for range goroutines {
			crowd.Go(func() {
				for time.Since(begun) < 2500*time.Millisecond {
					asking := time.Now()
					if g := k.Take(t.Context(), []rate.Charge{{Rule: rule, Key: "bob", Amount: 1, Limit: 1, Burst: 1}})[0]; !g.Unknown {
						t.Errorf("a hung Redis answered %+v", g)
					}
					mu.Lock()
					waits[time.Since(asking)]++
					mu.Unlock()
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		crowd.Wait()
		// All that came before the first had waited, and one in each second since.
		if waits[patience] != goroutines+2 || len(waits) != 2 || waits[0] < 1000 {
			t.Errorf("messages waited for %v; %d must wait for %v and all others not at all", waits, goroutines+2, patience)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

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
