package transaction

import (
	"sync"
	"testing"
)

func TestTheLastOfTheUsersLetsGoOnce(t *testing.T) {
	gone := 0
	u := NewUsers(func() { gone++ })
	var messages sync.WaitGroup
	for range 100 {
		messages.Go(func() {
			if !u.Enter() {
				t.Error("what is in use is gone")
				return
			}
			u.Leave()
		})
	}
	messages.Wait()
	if gone != 0 {
		t.Error("it is gone while its owner has it")
	}
	if u.Leave(); gone != 1 || u.Enter() {
		t.Errorf("after the last has left, it went %d times", gone)
	}
	if u.Leave(); gone != 1 || u.Enter() {
		t.Errorf("who leaves once too often has it go %d times", gone)
	}
	var uncounted *Users
	if uncounted.Leave(); !uncounted.Enter() {
		t.Error("where nothing is counted, something is gone")
	}
}
