package main

import "testing"

func TestASocketOfOursIsKnownInEverySpelling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		theirs, ours string
		same         bool
	}{
		{"127.0.0.1:8891", "127.0.0.1:8891", true},
		{"localhost:8891", "127.0.0.1:8891", true},
		{"LOCALHOST:8891", "[::1]:8891", true},
		{"[::ffff:127.0.0.1]:8891", "127.0.0.1:8891", true},
		{"10.0.0.1:8891", "0.0.0.0:8891", true},
		{"milter.acmecorp.com:8891", "milter.acmecorp.com:8891", true},
		{"127.0.0.1:8892", "127.0.0.1:8891", false},
		{"127.0.0.2:8891", "127.0.0.1:8891", false},
		{"localhost:8891", "10.0.0.1:8891", false},
		{"8891@127.0.0.1", "127.0.0.1:8891", false}, // which Postfix does not understand
		{"", "127.0.0.1:8891", false},
	} {
		if got := sameSocket(c.theirs, c.ours); got != c.same {
			t.Errorf("%q and %q: the same is %v", c.theirs, c.ours, got)
		}
	}
}
