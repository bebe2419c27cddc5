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
	const lacks = "source:people goes on from an earlier time, as after a restored backup, or where another server lags behind: of the addresses from before it lacks 1, and 0 live elsewhere, user99@acmecorp.com for one. The old list stays"
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

func TestAServerThatIsRestoredWhileAnotherIsAskedIsNotBelieved(t *testing.T) {
	f := follow(t)
	f.mark, f.rows = Mark{"count of a": "5"}, users(0, 100)
	f.turn(t)
	f.mark = Mark{"count of b": "1"}
	f.turn(t)
	f.restart(t)
	f.mark, f.rows = Mark{"count of a": "3"}, users(0, 99)
	f.turn(t)
	f.must(t, "a is restored", 100, "at an earlier time")
	f.mark, f.rows = Mark{"count of b": "2"}, users(0, 101)
	f.turn(t)
	f.must(t, "b is asked again", 101, "")
}

func TestAServerThatHasAnotherIdentityIsNotBelievedWhileItLacksAnybody(t *testing.T) {
	f := follow(t)
	f.mark, f.rows = Mark{"identity of dc": "c", "count of c": "5"}, users(0, 100)
	f.turn(t)
	for _, id := range []string{"b", "d"} {
		f.mark, f.rows = Mark{"identity of dc": id, "count of " + id: "7"}, users(0, 99)
		f.turn(t)
		f.must(t, "restored as "+id, 100, "it lacks 1")
		f.mark, f.rows = Mark{"identity of dc": id, "count of " + id: "8"}, users(0, 100)
		f.turn(t)
		f.must(t, "it has them back from the others", 100, "")
		f.mark = Mark{"identity of dc": id, "count of " + id: "9"}
	}
	f.rows = users(0, 99)
	f.turn(t)
	f.must(t, "somebody goes", 99, "")
}

func TestAServerThatLagsBehindTheOneBeforeIsNotBelievedWhileItLacksAnybody(t *testing.T) {
	f := follow(t)
	at := func(server, count string) Mark { return Mark{"count of " + server: count, "progress of all": count} }
	f.mark, f.rows = at("a", "5"), users(0, 100)
	f.turn(t)
	f.mark, f.rows = at("b", "4"), users(0, 99)
	f.turn(t)
	f.must(t, "b lags behind", 100, "it lacks 1")
	f.restart(t)
	f.turn(t)
	f.must(t, "after a restart", 100, "it lacks 1")
	f.mark, f.rows = at("b", "5"), users(0, 100)
	f.turn(t)
	f.must(t, "b is as far as a was", 100, "")
	f.mark, f.rows = at("b", "6"), users(0, 99)
	f.turn(t)
	f.must(t, "somebody goes", 99, "")
	f.mark = at("a", "5")
	f.turn(t)
	f.must(t, "a lags behind, and lacks nobody", 99, "")
}
