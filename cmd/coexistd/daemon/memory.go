package daemon

import (
	"os"
	"runtime/debug"
	"time"
)

// spare is how much garbage may pile up beside large lists before it is collected, in bytes.
// By itself Go lets as much pile up as there is of all else, which for a list of a million
// addresses would be as much again, for nothing: a list is a few objects, so that a
// collection takes no longer with it than without.
const spare = 32 << 20

// bulk is what is known of the lists when memory was last given back.
type bulk struct {
	size   int
	loaded time.Time // the newest
}

// giveBack sees to it that lists take the memory that they need and little else: what they
// took while they were read goes back to the system at once. The caller has d.mu.
func (d *Daemon) giveBack() {
	var now bulk
	for _, one := range d.current.directories {
		if one.Snapshot != nil {
			now.size += one.Snapshot.Size()
		}
		if one.Loaded.After(now.loaded) {
			now.loaded = one.Loaded
		}
	}
	if now == d.bulk {
		return
	}
	// An administrator who has set it knows better.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent(now.size))
	}
	if max(now.size, d.bulk.size) > spare/4 {
		debug.FreeOSMemory()
	}
	d.bulk = now
}

// garbagePercent is how much garbage may pile up beside lists of so many bytes, in percent of
// what is no garbage.
func garbagePercent(size int) int {
	const usual, least = 100, 10
	return max(least, min(usual, usual*spare/max(size, 1)))
}
