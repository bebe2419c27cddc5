package lab

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startRedis(t *testing.T, c RedisConfig) *Redis {
	t.Helper()
	f := LendFilters(t)
	r, err := f.StartRedis(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, r.filter)
	return r
}

// ask has the Redis do the command, which must succeed.
func ask(t *testing.T, r *Redis, command ...string) string {
	t.Helper()
	answer, err := r.Do(deadline(t), command...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestAKilledRedisStartsAgainWithWhatItHadOnDisk(t *testing.T) {
	t.Parallel()
	const value = "two\r\nlines"
	for _, appendOnly := range []bool{false, true} {
		r := startRedis(t, RedisConfig{AppendOnly: appendOnly})
		address := r.Addr
		ends := map[string]func() error{
			"Kill":             r.Kill,
			"Suspend and Kill": func() error { return errors.Join(r.Suspend(), r.Kill()) },
			"Stop":             r.Stop,
		}
		for name, end := range ends {
			ask(t, r, "SET", "key", value)
			pid := r.Pid()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				t.Errorf("%s: process %d is still there", name, pid)
			}
			if _, err := r.Do(deadline(t), "PING"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: when it is gone, connecting says: %v", name, err)
			}
			if err := r.Start(deadline(t)); err != nil {
				t.Fatal(err)
			}
			want := ""
			if appendOnly && name != "Stop" {
				want = value
			}
			if got := ask(t, r, "GET", "key"); got != want || r.Addr != address {
				t.Errorf("%s, append only %v: started again at %s instead of %s it has %q; want %q", name, appendOnly, r.Addr, address, got, want)
			}
		}
	}
}

func TestASuspendedRedisAnswersNobodyUntilItContinues(t *testing.T) {
	t.Parallel()
	r := startRedis(t, RedisConfig{})
	if err := r.Suspend(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
	defer cancel()
	if got, err := r.Do(short, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("suspended it answered %q, %v", got, err)
	}
	if err := r.Continue(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, r, "PING"); got != "PONG" {
		t.Errorf("after that: %q", got)
	}
}

func TestRedisLetsNobodyInWithoutItsPassword(t *testing.T) {
	t.Parallel()
	r := startRedis(t, RedisConfig{Password: `a "word" \n`})
	if got := ask(t, r, "PING"); got != "PONG" {
		t.Errorf("with the password: %q", got)
	}
	for password, want := range map[string]string{"": "NOAUTH", "wrong": "WRONGPASS"} {
		stranger := &Redis{Addr: r.Addr, password: password}
		if got, err := stranger.Do(deadline(t), "PING"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the password %q: %q, %v; want %s", password, got, err, want)
		}
	}
}

func TestARedisClusterSharesTheSlots(t *testing.T) {
	t.Parallel()
	f := LendFilters(t)
	c, err := f.StartRedisCluster(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range c.Nodes {
		stopAtEnd(t, node.filter)
	}
	if addrs := slices.Compact(slices.Sorted(slices.Values(c.Addrs()))); len(addrs) != 3 {
		t.Fatalf("the addresses are %q; want three", c.Addrs())
	}
	owners := map[int]bool{}
	for key := 'a'; key <= 'z'; key++ {
		slot, err := strconv.Atoi(ask(t, c.Nodes[0], "CLUSTER", "KEYSLOT", string(key)))
		if err != nil {
			t.Fatal(err)
		}
		owner := slot * 3 / redisSlots
		owners[owner] = true
		for i, node := range c.Nodes {
			_, err := node.Do(deadline(t), "SET", string(key), "x")
			if i == owner && err != nil {
				t.Errorf("%c at its own node: %v", key, err)
			}
			if want := "MOVED " + strconv.Itoa(slot) + " " + c.Nodes[owner].Addr; i != owner && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%c at another's node: %v; want %s", key, err, want)
			}
		}
	}
	if len(owners) != 3 {
		t.Errorf("the keys are at the nodes %v; want all three", owners)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, node := range c.Nodes {
		if _, err := node.Do(deadline(t), "PING"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("closed, connecting to %s says: %v", node.Addr, err)
		}
	}
}

func TestASentinelPutsTheReplicaInTheDeadMastersPlace(t *testing.T) {
	t.Parallel()
	master := startRedis(t, RedisConfig{Password: "secret"})
	ask(t, master, "SET", "key", "value")
	replica := startRedis(t, RedisConfig{Password: "secret", Master: master})
	f := LendFilters(t)
	sentinel, err := f.StartSentinel(deadline(t), master, "limits")
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, sentinel.filter)
	named := func() string {
		return strings.Replace(ask(t, sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "limits"), "\n", ":", 1)
	}
	if got := named(); got != master.Addr {
		t.Errorf("the Sentinel names %s as the master; want %s", got, master.Addr)
	}
	if _, err := replica.Do(deadline(t), "SET", "key", "new"); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("writing to the replica: %v; want READONLY", err)
	}
	if err := errors.Join(master.Kill(), sentinel.Lose(deadline(t), "limits")); err != nil {
		t.Fatal(err)
	}
	for ctx, again := deadline(t), time.Tick(10*time.Millisecond); named() != replica.Addr; <-again {
		if ctx.Err() != nil {
			t.Fatalf("the Sentinel still names %s\n%s", named(), sentinel.Log())
		}
	}
	if got := ask(t, replica, "GET", "key"); got != "value" {
		t.Errorf("the new master has %q; want value", got)
	}
	ask(t, replica, "SET", "key", "new")
}

func TestARedisThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	f := LendFilters(t)
	_, err := f.startRedis(deadline(t), redisStart{settings: []string{"no-such-setting yes"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("%v; want an error that names the setting", err)
	}
}
