package quarantine

import (
	"fmt"
	"time"
)

// Next returns the first time after the given one at which reports are due, or zero
// when they never are: on every day of the zone's calendar, at each time of At. Where the
// clock is put forward past such a time they are due as much later, and where the clock
// shows it twice, at the first.
func (r *Reporter) Next(after time.Time) (first time.Time) {
	for _, of := range r.At {
		if at := r.nextAt(of, after); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// nextAt is Next for one time of day.
func (r *Reporter) nextAt(of time.Duration, after time.Time) time.Time {
	year, month, day := after.In(r.Zone).Date()
	hour, minute := int(of/time.Hour), int(of%time.Hour/time.Minute)
	// A time that the clock skips may lie on the day after its own.
	for i := -1; ; i++ {
		if at := onClock(year, month, day+i, hour, minute, r.Zone); at.After(after) {
			return at
		}
	}
}

// onClock returns the first instant at which the zone's clocks show a time.
func onClock(year int, month time.Month, day, hour, minute int, zone *time.Location) time.Time {
	utc := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
	_, before := utc.Add(-24 * time.Hour).In(zone).Zone()
	_, behind := utc.Add(24 * time.Hour).In(zone).Zone()
	// The larger offset from UTC gives the earlier instant.
	for _, offset := range [...]int{max(before, behind), min(before, behind)} {
		at := utc.Add(-time.Duration(offset) * time.Second).In(zone)
		if at.Hour() == hour && at.Minute() == minute {
			return at
		}
	}
	return utc.Add(-time.Duration(before) * time.Second).In(zone)
}

// Due reports that a time for reports has passed since the last ones. Reports
// that were never sent are due.
func (r *Reporter) Due(now time.Time) (bool, error) {
	last, err := r.Store.LastReport()
	if err != nil {
		return false, fmt.Errorf("when the last quarantine reports were sent is not known: %w", err)
	}
	// A last report in the future was sent by a clock that was wrong.
	return last.IsZero() || last.After(now) || !r.Next(last).After(now), nil
}
