package notice

import (
	"sync"
	"time"
)

// maxTold is how many subjects are remembered in any case; there may be twice as
// many, of some 600 bytes each at most.
const maxTold = 5000

// subject is of what there is one event in a rule's period.
type subject struct {
	account, rule string
	mail          bool
}

// recently remembers of what was told lately. Of very many subjects it forgets
// those first that were told of first, which may then be told of again.
type recently struct {
	mu sync.Mutex
	// They have when each may be told of again. When newer is full, older is
	// forgotten, and newer takes its place.
	newer, older map[subject]time.Time
}

// isFirst reports that there was no event of the subject lately, and has it be one
// for that long.
func (r *recently) isFirst(s subject, now time.Time, lasting time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, until := range []time.Time{r.newer[s], r.older[s]} {
		// One that is further ahead was noted before the clock was put back.
		if left := until.Sub(now); left > 0 && left <= lasting {
			return false
		}
	}
	if r.newer == nil || len(r.newer) >= maxTold {
		r.newer, r.older = make(map[subject]time.Time), r.newer
	}
	r.newer[s] = now.Add(lasting)
	return true
}
