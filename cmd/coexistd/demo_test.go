package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDemoDeliversEveryMessageAndLeavesNothing(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := exec.CommandContext(deadline(t), path, "demo").CombinedOutput()
		if err != nil {
			t.Fatalf("demo: %v\n%s", err, out)
		}
		if !strings.Contains(string(out), "Every message arrived where it should") {
			t.Fatalf("demo said:\n%s", out)
		}
	}
}
