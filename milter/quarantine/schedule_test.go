package quarantine

import (
	"testing"
	"time"
)

func TestReportsAreDueOnceADayWhateverTheClocksDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		hour, minute int
		after, want  string
	}{
		{"later on the same day", 7, 0, "2026-11-23T06:59:59+01:00", "2026-11-23T07:00:00+01:00"},
		{"not at once again", 7, 0, "2026-11-23T07:00:00+01:00", "2026-11-24T07:00:00+01:00"},
		{"over the end of a year", 7, 0, "2026-12-31T12:00:00+01:00", "2027-01-01T07:00:00+01:00"},
		{"at midnight", 0, 0, "2026-11-23T12:00:00+01:00", "2026-11-24T00:00:00+01:00"},
		{"asked in another zone", 7, 0, "2026-11-22T23:30:00Z", "2026-11-23T07:00:00+01:00"},
		{"clocks go forward in between", 7, 0, "2026-03-28T07:00:00+01:00", "2026-03-29T07:00:00+02:00"},
		{"clocks go back in between", 7, 0, "2026-10-24T07:00:00+02:00", "2026-10-25T07:00:00+01:00"},
		{"a time that is skipped", 2, 30, "2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00"},
		{"behind a time that is skipped", 2, 30, "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"between the change and a time that is skipped", 2, 30, "2026-03-29T03:10:00+02:00", "2026-03-29T03:30:00+02:00"},
		{"the moment of the change forward", 2, 0, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"a time that comes twice", 2, 30, "2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"between the two", 2, 30, "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"the moment of the change back", 3, 0, "2026-10-24T12:00:00+02:00", "2026-10-25T03:00:00+01:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			after, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			r := &Reporter{Hour: c.hour, Minute: c.minute, Zone: berlin(t)}
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
			r := &Reporter{Hour: minutes / 60, Minute: minutes % 60, Zone: zone}
			n, end := 0, time.Date(2012, 1, 1, 0, 0, 0, 0, zone)
			for at := r.Next(time.Date(2011, 1, 1, 0, 0, 0, -1, zone)); at.Before(end); at = r.Next(at) {
				n++
			}
			if n != days {
				t.Errorf("%s: %02d:%02d has %d reports in a year, right is %d", zoneName, r.Hour, r.Minute, n, days)
			}
		}
	}
}
