package quantity

import (
	"testing"
	"time"
)

func TestQuantitiesHaveUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0K": 0, "1K": 1 << 10, "25M": 25 << 20, "25m": 25 << 20, "25MB": 25 << 20, "25MiB": 25 << 20, "25mib": 25 << 20, "10G": 10 << 30, "2T": 2 << 40,
		"8388607T": 8388607 << 40,
		// These are refused.
		"8388608T": -1, "": -1, "K": -1, "25": -1, "25B": -1, "25X": -1, "1.5G": -1, "-1G": -1, "+1G": -1, "1e3K": -1, " 1K": -1, "1K ": -1, "1 K": -1, "٣K": -1,
	} {
		got, err := Sizes.Parse(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d, not %d", text, got, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "2h": 2 * time.Hour, "30d": 720 * time.Hour, "106751d": 106751 * 24 * time.Hour,
		"106752d": -1, "5M": -1, "30": -1, "1h30m": -1, "1ms": -1, "1w": -1,
	} {
		got, err := Durations.Parse(text)
		if err != nil {
			got = -1
		}
		if time.Duration(got) != want {
			t.Errorf("%q is %v, not %v", text, time.Duration(got), want)
		}
	}
	for value, want := range map[int64]string{1 << 10: "1K", 25 << 20: "25M", 1536 << 20: "1536M", 1 << 50: "1024T"} {
		if got := Sizes.Text(value); got != want {
			t.Errorf("%d is %q in words, not %q", value, got, want)
		}
	}
}
