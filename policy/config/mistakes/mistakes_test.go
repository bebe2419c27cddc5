package mistakes

import (
	"strings"
	"testing"
)

func TestErrorsPrintsAHundredAndCountsTheRest(t *testing.T) {
	t.Parallel()
	all := make(Problems, 103)
	for i := range all {
		all[i] = Problem{Place: Place{File: "f", Line: i + 1, Key: "k"}, Text: "p"}
	}
	lines := strings.Split(all.Error(), "\n")
	if len(lines) != 101 || lines[99] != "f:100: k: p" || lines[100] != "and 3 more" {
		t.Errorf("got %d lines that end with %q", len(lines), lines[len(lines)-2:])
	}
}
