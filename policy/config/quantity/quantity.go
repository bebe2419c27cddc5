// Package quantity reads and writes what the configuration has with a unit: durations and sizes.
package quantity

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"coexistd/policy/config/wording"
)

// unit is a word behind a number and what it stands for.
type unit struct {
	word string
	of   int64
}

// Kind is a kind of value that is written as a number with a unit.
type Kind struct {
	what  string // with its article
	Like  string // examples
	units []unit // ascending
}

// Durations are kept in nanoseconds, Sizes in bytes. "MB" and "MiB" are the same
// as "M": a mail administrator's sizes are powers of 1024.
var (
	Durations = Kind{"a duration", `"30s", "5m", "2h" or "30d"`, []unit{
		{"s", int64(time.Second)}, {"m", int64(time.Minute)}, {"h", int64(time.Hour)}, {"d", 24 * int64(time.Hour)},
	}}
	Sizes = Kind{"a size", `"512K", "25M" or "10G"`, []unit{
		{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40},
	}}
)

// Parse reads a whole number with a unit. The error says what would be right.
func (q Kind) Parse(text string) (int64, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	word := text[len(digits):]
	if q.units[0].word == "K" {
		word = strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(word), "B"), "I")
	}
	number, err := strconv.ParseUint(digits, 10, 63)
	if err == nil && word == "" {
		return 0, fmt.Errorf("%s has no unit; write it like %s", wording.Quote(text), q.Like)
	}
	for _, u := range q.units {
		if err == nil && u.word == word && number <= uint64(math.MaxInt64/u.of) {
			return int64(number) * u.of, nil
		}
	}
	return 0, fmt.Errorf("%s is not %s; write it like %s", wording.Quote(text), q.what, q.Like)
}

// Text writes a value in the largest unit that divides it.
func (q Kind) Text(value int64) string {
	u := q.units[0]
	for _, larger := range q.units {
		if value%larger.of == 0 {
			u = larger
		}
	}
	return strconv.FormatInt(value/u.of, 10) + u.word
}

// Want says what such a value must be.
func (q Kind) Want() string { return q.what + " in quotes, like " + q.Like }

// Within reads a value within bounds.
func (q Kind) Within(text string, low, high int64) (int64, error) {
	value, err := q.Parse(text)
	if err == nil && (value < low || value > high) {
		err = fmt.Errorf("%s is out of range; it must be from %s to %s", wording.Quote(text), q.Text(low), q.Text(high))
	}
	return value, err
}
