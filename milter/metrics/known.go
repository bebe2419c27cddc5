package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// known finds the counters of a vector again by keys that cost less to make and to look up
// than their labels. There are as many as the vector has series.
type known struct {
	vector *prometheus.CounterVec

	found atomic.Pointer[map[string]prometheus.Counter] // replaced whole, so that nobody waits to read it
	mu    sync.Mutex                                    // of who replaces it
}

// of returns the counter of a key, which stands for just the labels.
func (k *known) of(key []byte, labels func() []string) prometheus.Counter {
	if all := k.found.Load(); all != nil {
		if one, is := (*all)[string(key)]; is {
			return one
		}
	}
	one := k.vector.WithLabelValues(labels()...)
	k.mu.Lock()
	defer k.mu.Unlock()
	next := make(map[string]prometheus.Counter)
	if all := k.found.Load(); all != nil {
		maps.Copy(next, *all)
	}
	next[string(key)] = one
	k.found.Store(&next)
	return one
}
