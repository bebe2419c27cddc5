package daemon

import (
	"reflect"
	"slices"
	"sync"
)

// shared are the things that outlive a reload. Each is found by its settings, so that a
// configuration that says the same of it gets the same one, with all that it knows; and it
// is closed when nobody holds it any more.
type shared struct {
	mu     sync.Mutex
	things []*thing
}

type thing struct {
	settings, value any
	close           func()
	users           int
}

// holds are the shared things that one generation uses.
type holds struct {
	of     *shared
	things []*thing
}

// hold returns the thing of these settings, which are of a type that no other kind of thing
// has. Where there is none yet, fresh makes it, and says how it is closed; nil: nothing is
// to be done.
func hold[S, T any](h *holds, settings S, fresh func(S) (value T, close func())) T {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	at := slices.IndexFunc(h.of.things, func(t *thing) bool { return reflect.DeepEqual(t.settings, any(settings)) })
	if at < 0 {
		value, end := fresh(settings)
		at = len(h.of.things)
		h.of.things = append(h.of.things, &thing{settings: settings, value: value, close: end})
	}
	one := h.of.things[at]
	one.users++
	h.things = append(h.things, one)
	return one.value.(T)
}

// release lets go of all that is held.
func (h *holds) release() {
	for _, one := range h.unused() {
		if one.close != nil {
			one.close()
		}
	}
}

// unused takes from the shared things those that nobody else holds. They are closed without
// the lock: a server that hangs may hold that up, and nobody who needs another thing waits
// for it.
func (h *holds) unused() (unused []*thing) {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	for _, one := range h.things {
		if one.users--; one.users == 0 {
			h.of.things = slices.DeleteFunc(h.of.things, func(t *thing) bool { return t == one })
			unused = append(unused, one)
		}
	}
	h.things = nil
	return unused
}
