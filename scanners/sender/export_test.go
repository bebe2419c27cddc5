package sender

import "time"

// SetPatience has the servers get this long to answer, and once more when one was
// silent.
func (r *Resolver) SetPatience(first, again time.Duration) {
	r.patience = [2]time.Duration{first, again}
}

// SetClock has the cache take the time from now.
func (r *Resolver) SetClock(now func() time.Time) { r.now = now }
