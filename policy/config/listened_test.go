package config

import "testing"

func TestASocketOfOursIsKnownInEverySpelling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		theirs, ours string
		same         bool
	}{
		{"127.0.0.1:8701", "127.0.0.1:8701", true},
		{"localhost:8701", "127.0.0.1:8701", true},
		{"LOCALHOST:8701", "[::1]:8701", true},
		{"[::ffff:127.0.0.1]:8701", "127.0.0.1:8701", true},
		{"10.0.0.1:8701", "0.0.0.0:8701", true},
		{"milter.acmecorp.com:8701", "milter.acmecorp.com:8701", true},
		{"127.0.0.1:8702", "127.0.0.1:8701", false},
		{"127.0.0.2:8701", "127.0.0.1:8701", false},
		{"localhost:8701", "10.0.0.1:8701", false},
		{"8701@127.0.0.1", "127.0.0.1:8701", false}, // which Postfix does not understand
		{"", "127.0.0.1:8701", false},
	} {
		if got := SameSocket(c.theirs, c.ours); got != c.same {
			t.Errorf("%q and %q: the same is %v", c.theirs, c.ours, got)
		}
	}
}
