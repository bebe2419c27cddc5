// Package human writes numbers as people read them.
package human

import (
	"fmt"
	"time"
)

// Size writes a number of bytes.
func Size(bytes int64) string {
	const units = "KMGTPE"
	if bytes < 1<<10 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	size, unit := float64(bytes)/(1<<10), 0
	for size >= 1<<10 {
		size /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}

// Count writes a number of things, of which one and several are called so.
func Count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// Age writes how long ago something was, in the unit that fits.
func Age(age time.Duration) string {
	count := func(n time.Duration, unit string) string { return Count(int(n), unit, unit+"s") + " ago" }
	const day = 24 * time.Hour
	switch {
	case age < 0:
		return "in the future"
	case age < time.Minute:
		return "less than a minute ago"
	case age < time.Hour:
		return count(age/time.Minute, "minute")
	case age < 2*day:
		return count(age/time.Hour, "hour")
	}
	return count(age/day, "day")
}
