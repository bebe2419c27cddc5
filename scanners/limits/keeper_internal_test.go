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
	"coexistd/scanners/breaker"
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

func TestARedisThatFailsOnceIsDownUntilWhoeverTriesItHasAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeeper(slog.New(slog.DiscardHandler), nil, NewMemory(1))
		failed := errors.New("failed")
		enter := func() breaker.Pass {
			t.Helper()
			pass, refused := k.breaker.Enter()
			if refused != nil {
				t.Fatalf("Redis is not asked: %v", refused)
			}
			return pass
		}
		open := func(want bool) {
			t.Helper()
			if got := k.State(); got.Open != want || want && got.Reason != "failed" {
				t.Fatalf("the state is %+v; want it to be open: %v", got, want)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		k.settle(gone, enter(), failed)
		open(false)
		fast, slow := enter(), enter()
		k.settle(t.Context(), fast, failed)
		k.settle(t.Context(), slow, nil)
		open(true)
		for range 3 { // the pause does not grow
			time.Sleep(time.Second)
			k.settle(t.Context(), enter(), failed)
			open(true)
		}
		time.Sleep(time.Second)
		k.settle(t.Context(), enter(), nil)
		open(false)
	})
}
