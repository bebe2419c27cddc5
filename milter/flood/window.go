package flood

import "time"

// harvestTime is the time in which unknown recipients are counted.
const harvestTime = 10 * time.Minute

// slots is the number of parts that a window counts in: those that a period is
// divided into, and the one that has begun.
const slots = 7

// window counts what happened in a period: all that is no older than the
// period, and nothing that is older by more than a sixth of it. All calls for
// one window are for one period.
type window struct {
	now    uint32 // the slot that has begun
	counts [slots]uint32
}

// slot numbers the parts of a period, over all time.
func slot(at, period time.Duration) uint32 { return uint32(at / (period / (slots - 1))) }

// begin is when a slot begins.
func begin(slot uint32, period time.Duration) time.Duration {
	return time.Duration(slot) * (period / (slots - 1))
}

// advance forgets what is too old in the slot now. A slot that is past already,
// because another goroutine read the clock later and came first, is the one
// that has begun.
func (w *window) advance(now uint32) {
	if now <= w.now {
		return
	}
	for i := range min(now-w.now, slots) {
		w.counts[(w.now+1+i)%slots] = 0
	}
	w.now = now
}

func (w *window) add(now uint32) {
	w.advance(now)
	w.counts[w.now%slots]++
}

func (w *window) sum(now uint32) int {
	w.advance(now)
	var n int
	for _, count := range w.counts {
		n += int(count)
	}
	return n
}

// until returns the first slot from now on in which the sum is the bound or less, if
// nothing more is added.
func (w *window) until(now uint32, bound int) uint32 {
	sum := w.sum(now)
	// A slot that came first by another's clock is the one that has begun.
	at := w.now
	for range slots {
		if sum <= bound {
			break
		}
		at++
		sum -= int(w.counts[at%slots]) // of the slot that is forgotten then
	}
	return at
}
