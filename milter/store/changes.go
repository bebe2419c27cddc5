package store

import (
	"sync/atomic"
	"time"
)

// Changes are what Update was asked for so far, in this process.
type Changes struct {
	// Asked counts all, and Failed those that the file did not take. One that its caller gave
	// up is none of these.
	Asked, Failed uint64
	// Took is how long all of them took together, the wait for others included.
	Took time.Duration
}

// Changes tells what Update was asked for so far.
func (f *File) Changes() Changes {
	return Changes{f.changes.asked.Load(), f.changes.failed.Load(), time.Duration(f.changes.took.Load())}
}

// counts are what Changes tells.
type counts struct{ asked, failed, took atomic.Uint64 }

func (c *counts) add(took time.Duration, failed bool) {
	c.asked.Add(1)
	c.took.Add(uint64(took))
	if failed {
		c.failed.Add(1)
	}
}
