package attachments_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The messages in testdata are what programs send: testdata/verdicts has each with its
// finding. Those in "ordinary" are of programs that are old or sloppy. Those in "disguised"
// hide something, and each has a twin that does not.
func TestTheCorpusHasItsVerdicts(t *testing.T) {
	list, err := os.ReadFile("testdata/verdicts")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	var rows []expect
	for line := range strings.Lines(string(list)) {
		name, want, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		known[filepath.Join("testdata", name)] = true
		rows = append(rows, expect{name, string(content), strings.TrimSpace(want)})
	}
	check(t, defaults(), rows)
	files, err := filepath.Glob("testdata/*/*.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !known[file] {
			t.Errorf("testdata/verdicts lacks %s", file)
		}
	}
}
