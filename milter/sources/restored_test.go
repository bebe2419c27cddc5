package sources

import (
	"errors"
	"slices"
	"testing"

	"coexistd/policy/directory"
)

func TestARestoredSourceThatGoesOnWaitsWhileItLacksAnybody(t *testing.T) {
	f := follow(t)
	f.mark, f.rows = Mark{"a": "5"}, users(0, 100)
	f.turn(t)
	f.mark, f.rows = Mark{"a": "3"}, users(0, 99)
	f.turn(t)
	f.must(t, "restored", 100, "at an earlier time")
	const lacks = "source:people went back, as after a restored backup, and on from there: of the addresses from before it lacks 1, and 0 live elsewhere, user99@acmecorp.com for one. The old list stays"
	f.mark, f.rows = Mark{"a": "6"}, append(users(0, 99), users(100, 101)...)
	f.turn(t)
	f.must(t, "somebody writes there", 100, lacks)
	f.turn(t)
	f.must(t, "nothing happens", 100, lacks)
	if f.asked != 3 {
		t.Errorf("with the same mark it was read %d times", f.asked)
	}
	f.restart(t)
	f.turn(t)
	f.must(t, "after a restart", 100, lacks)
	f.lists = Open([]directory.Source{f.source}, f.lists)
	f.must(t, "after a reload", 100, lacks)
	f.fails = errors.New("the server has gone")
	f.turn(t)
	f.must(t, "away", 100, lacks)
	f.fails, f.mark, f.rows = nil, Mark{"a": "7"}, users(0, 101)
	f.turn(t)
	f.must(t, "they are back", 101, "")
	f.mark, f.rows = Mark{"a": "8"}, users(1, 101)
	f.turn(t)
	f.must(t, "somebody goes", 100, "")
}

func TestARestoredSourceThatGoesOnWaitsWhileItHasAnybodyElsewhere(t *testing.T) {
	f := follow(t)
	moved := slices.Clone(users(0, 100))
	moved[7].Residence, moved[7].Target = "office365", "u7@acmecorp-com.onmicrosoft.com"
	f.mark, f.rows = Mark{"a": "5"}, moved
	f.turn(t)
	f.mark, f.rows = Mark{"a": "3"}, users(0, 100)
	f.turn(t)
	f.must(t, "restored", 100, "at an earlier time")
	f.mark, f.rows = Mark{"a": "6"}, users(0, 101)
	f.turn(t)
	f.must(t, "somebody writes there", 100, "it lacks 0, and 1 live elsewhere, user7@acmecorp.com for one")
	if found, err := f.accept(t); !found || err != nil {
		t.Errorf("accepted: %v, %v", found, err)
	}
	f.must(t, "accepted", 101, "")
	f.mark, f.rows = Mark{"a": "7"}, users(0, 100)
	f.turn(t)
	f.must(t, "somebody goes", 100, "")
}
