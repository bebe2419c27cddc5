package sender

import (
	"context"
	"time"

	"coexistd/policy/spoof"
	"coexistd/scanners"
)

// SetPatience has the servers get this long to answer, and once more when one was
// silent.
func (r *Resolver) SetPatience(first, again time.Duration) {
	r.patience = [2]time.Duration{first, again}
}

// SetClock has the cache take the time from now.
func (r *Resolver) SetClock(now func() time.Time) { r.now = now }

// ErrSlow is why a context ends when verifying takes too long.
var ErrSlow = errSlow

// MaxVerified is how many bytes DKIM reads at most, or about so.
const MaxVerified = maxVerified

// DKIMWithin is DKIM that reads about that many bytes at most. Only what hangs takes it too
// long, on a machine that does other things as well.
func (v *Verifier) DKIMWithin(ctx context.Context, m *scanners.Message, most int64) []spoof.DKIM {
	return v.signatures(ctx, m, most, 5*time.Minute)
}
