package main

import (
	"bytes"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy/config"
)

// configuration writes a configuration and its directory, and returns the
// path.
func configuration(t *testing.T, toml, users string) string {
	t.Helper()
	path, err := lab.WriteConfiguration(t.TempDir(), toml, users)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads a configuration that has no mistakes.
func load(t *testing.T, path string) *config.Config {
	t.Helper()
	reading := config.Load(path)
	if len(reading.Problems) > 0 {
		t.Fatal(reading.Problems)
	}
	return reading.Config
}

// tell runs a command of coexistd in this process. It returns the exit status, and what
// was printed on standard output and on standard error, in which the folder dir is
// written as {dir}.
func tell(dir string, args ...string) (status int, out, complaint string) {
	var stdout, stderr bytes.Buffer
	status = run(args, &stdout, &stderr)
	clean := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), dir, "{dir}") }
	return status, clean(stdout), clean(stderr)
}
