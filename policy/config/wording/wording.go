// Package wording has what errors about a file say of its words: how one is shown, and
// which of the known ones was probably meant.
package wording

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/config/document"
)

// maxWord bounds the words for which a known one is looked for, in bytes: the work grows
// with their length, and nobody misspells a longer one.
const maxWord = document.MaxKey

// Quote shows a text from the file in an error. A long one is cut.
func Quote(s string) string {
	const most = 100
	if runes := []rune(s); len(runes) > most {
		return fmt.Sprintf("%q…", string(runes[:most]))
	}
	return fmt.Sprintf("%q", s)
}

// Suggest says which of the known words was probably meant.
func Suggest(word string, known []string) string {
	best, least := "", (len(word)+2)/3+1
	if len(word) <= maxWord {
		for _, candidate := range known {
			if len(word) >= 3 && strings.HasPrefix(candidate, word) {
				best = candidate
				break
			}
			if d := distance(strings.ToLower(word), candidate); d < least {
				best, least = candidate, d
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	sorted := slices.Sorted(slices.Values(known))
	if len(sorted) == 1 {
		return "it would be " + sorted[0]
	}
	return "it would be one of " + strings.Join(sorted, ", ")
}

// distance is the Levenshtein distance of two words, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
