// Package human writes numbers as people read them.
package human

import (
	"fmt"
	"strings"
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

// Count writes a number of things: "1 network", "3 networks".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if strings.HasSuffix(thing, "s") {
		thing += "e"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Age writes how long ago something was, in the unit that fits.
func Age(age time.Duration) string {
	count := func(n time.Duration, unit string) string { return Count(int(n), unit) + " ago" }
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
