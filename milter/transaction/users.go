package transaction

import "sync/atomic"

// Users counts the messages that are decided with the same things, so that these can be
// let go when nothing needs them any more. A nil Users counts nothing.
type Users struct {
	count atomic.Int64
	gone  func()
}

// NewUsers returns a count of one: that of the caller, who leaves when there are to be no
// more messages. Gone is called once, by the last who leaves.
func NewUsers(gone func()) *Users {
	u := &Users{gone: gone}
	u.count.Store(1)
	return u
}

// Enter counts one more. It reports false when all have left: the things are gone.
func (u *Users) Enter() bool {
	if u == nil {
		return true
	}
	for {
		count := u.count.Load()
		if count <= 0 {
			return false
		}
		if u.count.CompareAndSwap(count, count+1) {
			return true
		}
	}
}

// Leave takes back one Enter, or the caller of NewUsers.
func (u *Users) Leave() {
	if u != nil && u.count.Add(-1) == 0 {
		u.gone()
	}
}
