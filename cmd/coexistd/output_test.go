package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestACommandWhoseOutputIsNotCompleteSaysSo(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	const complaint = "the output is not complete: write /dev/full: no space left on device\n"
	for _, line := range []string{
		"version", "version --json", "check -c " + path, "check --json -c " + path, "explain --flows -c " + path, "quarantine help", "--version",
	} {
		var stderr bytes.Buffer
		if status := run(strings.Fields(line), full, &stderr); status != exitWrong || stderr.String() != complaint {
			t.Errorf("%q ended with %d and %q, want %d and %q", line, status, stderr.String(), exitWrong, complaint)
		}
	}
}
