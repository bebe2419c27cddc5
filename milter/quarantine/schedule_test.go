package quarantine

import (
	"testing"
	"time"
)

func TestReportsAreDueAtTheirTimesWhateverTheClocksDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		at          []time.Duration
		after, want string
	}{
		{"later on the same day", []time.Duration{7 * time.Hour}, "2026-11-23T06:59:59+01:00", "2026-11-23T07:00:00+01:00"},
		{"not at once again", []time.Duration{7 * time.Hour}, "2026-11-23T07:00:00+01:00", "2026-11-24T07:00:00+01:00"},
		{"over the end of a year", []time.Duration{7 * time.Hour}, "2026-12-31T12:00:00+01:00", "2027-01-01T07:00:00+01:00"},
		{"at midnight", []time.Duration{0}, "2026-11-23T12:00:00+01:00", "2026-11-24T00:00:00+01:00"},
		{"asked in another zone", []time.Duration{7 * time.Hour}, "2026-11-22T23:30:00Z", "2026-11-23T07:00:00+01:00"},
		{"clocks go forward in between", []time.Duration{7 * time.Hour}, "2026-03-28T07:00:00+01:00", "2026-03-29T07:00:00+02:00"},
		{"clocks go back in between", []time.Duration{7 * time.Hour}, "2026-10-24T07:00:00+02:00", "2026-10-25T07:00:00+01:00"},
		{"a time that is skipped", []time.Duration{2*time.Hour + 30*time.Minute}, "2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00"},
		{"behind a time that is skipped", []time.Duration{2*time.Hour + 30*time.Minute}, "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"between the change and a time that is skipped", []time.Duration{2*time.Hour + 30*time.Minute}, "2026-03-29T03:10:00+02:00", "2026-03-29T03:30:00+02:00"},
		{"the moment of the change forward", []time.Duration{2 * time.Hour}, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"a time that comes twice", []time.Duration{2*time.Hour + 30*time.Minute}, "2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"between the two", []time.Duration{2*time.Hour + 30*time.Minute}, "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"several times, the next on the same day", []time.Duration{7 * time.Hour, 13 * time.Hour}, "2026-11-23T07:00:00+01:00", "2026-11-23T13:00:00+01:00"},
		{"several times, the next on the day after", []time.Duration{7 * time.Hour, 13 * time.Hour}, "2026-11-23T13:00:00+01:00", "2026-11-24T07:00:00+01:00"},
		{"several times, of which one is skipped", []time.Duration{2*time.Hour + 30*time.Minute, 3 * time.Hour}, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"the moment of the change back", []time.Duration{3 * time.Hour}, "2026-10-24T12:00:00+02:00", "2026-10-25T03:00:00+01:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			after, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			r := &Reporter{At: c.at, Zone: berlin(t)}
			if got := r.Next(after).Format(time.RFC3339); got != c.want {
				t.Errorf("after %s reports are due at %s, right is %s", c.after, got, c.want)
			}
		})
	}
}

func TestEveryDayOfAYearHasOneReport(t *testing.T) {
	t.Parallel()
	// Lord Howe's clocks change by half an hour, and Apia once left out a day.
	for zoneName, days := range map[string]int{"Europe/Berlin": 365, "Australia/Lord_Howe": 365, "Pacific/Apia": 364} {
		zone, err := time.LoadLocation(zoneName)
		if err != nil {
			t.Fatal(err)
		}
		for minutes := 0; minutes < 24*60; minutes += 15 {
			r := &Reporter{At: []time.Duration{time.Duration(minutes) * time.Minute}, Zone: zone}
			n, end := 0, time.Date(2012, 1, 1, 0, 0, 0, 0, zone)
			for at := r.Next(time.Date(2011, 1, 1, 0, 0, 0, -1, zone)); at.Before(end); at = r.Next(at) {
				n++
			}
			if n != days {
				t.Errorf("%s: %02d:%02d has %d reports in a year, right is %d", zoneName, minutes/60, minutes%60, n, days)
			}
		}
	}
}
