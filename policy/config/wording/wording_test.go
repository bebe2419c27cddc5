package wording

import "testing"

func TestNearWordsAreSuggestedAndFarOnesAreNot(t *testing.T) {
	t.Parallel()
	known := []string{"address", "mode", "mx"}
	for word, want := range map[string]string{
		"adress": `did you mean "address"?`,
		"MODE":   `did you mean "mode"?`,
		"my":     `did you mean "mx"?`,
		"color":  "it would be one of address, mode, mx",
		"":       "it would be one of address, mode, mx",
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("for %q: %s, not %s", word, got, want)
		}
	}
}
