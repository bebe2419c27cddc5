package contrib_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeWith runs make in the repository with the tools of a folder of its own alone. The
// text is a shell script that stands for go; empty: there is none.
func makeWith(t *testing.T, script, target string) (status int, out, complaint string) {
	t.Helper()
	program, err := exec.LookPath("make")
	if err != nil {
		t.Skip(err)
	}
	tools := t.TempDir()
	for _, tool := range []string{"sed"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(tools, tool)); err != nil {
			t.Fatal(err)
		}
	}
	if script != "" {
		if err := os.WriteFile(filepath.Join(tools, "go"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "--no-print-directory", target)
	cmd.Dir, cmd.Env = "..", []string{"PATH=" + tools} // nothing of a make around this test
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestMakeSaysInOneLineWhichGoItNeeds(t *testing.T) {
	t.Parallel()
	const wanted = ": install Go 1.21 or later, which fetches by itself the version that go.mod asks for"
	for script, want := range map[string]string{
		"":                                      "there is no go in PATH" + wanted,
		"echo go version go1.19.8 linux/amd64":  "go version go1.19.8 linux/amd64" + wanted,
		"echo go version go1.4 linux/amd64":     "go version go1.4 linux/amd64" + wanted,
		"echo 'invalid go version' >&2; exit 1": "there is no go in PATH" + wanted,
	} {
		for _, target := range []string{"build", "test", "lint", "vuln", "demo", "docs", "install"} {
			status, out, complaint := makeWith(t, script, target)
			if status != 2 || out != "" || !strings.Contains(complaint, want) || strings.Count(complaint, "\n") != 1 {
				t.Errorf("with %q make %s ended with %d, %q and\n%s", script, target, status, out, complaint)
			}
		}
	}
}

func TestMakeLeavesTheRestToAGoThatFetchesItself(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"go1.21.0", "go1.26.8", "devel go1.28-0a1b2c"} {
		status, out, complaint := makeWith(t, `[ "$1" = version ] && echo go version `+version+` linux/amd64 || echo "built: $1"`, "build")
		if status != 0 || complaint != "" || !strings.Contains(out, "built: build\n") {
			t.Errorf("with %s make ended with %d, %q and\n%s", version, status, out, complaint)
		}
	}
}

func TestMakeUninstallTakesAwayAllThatInstallHasBrought(t *testing.T) {
	t.Parallel()
	clone, tools := t.TempDir(), t.TempDir()
	for _, path := range []string{"man", "completions", "systemd"} {
		if err := os.CopyFS(filepath.Join(clone, "contrib", path), os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
	}
	makefile, err := os.ReadFile("../Makefile")
	if err == nil {
		err = os.WriteFile(filepath.Join(clone, "Makefile"), makefile, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(tools, "go"), []byte("#!/bin/sh\n[ $1 = version ] && echo go version go1.26 || echo program > coexistd\n"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"/usr/local", "/usr"} {
		root := t.TempDir()
		do := func(target string) {
			cmd := exec.CommandContext(t.Context(), "make", target, "PREFIX="+prefix, "DESTDIR="+root)
			cmd.Dir, cmd.Env = clone, []string{"PATH=" + tools + ":" + os.Getenv("PATH")}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("make %s: %v\n%s", target, err, out)
			}
		}
		do("install")
		if have := filesBelow(t, root); len(have) < 10 {
			t.Fatalf("make install has brought %q", have)
		}
		others := filepath.Join(root, prefix, "share/man/man8/others.8")
		if err := os.WriteFile(others, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		do("uninstall")
		do("uninstall") // with nothing left to be done
		if left := filesBelow(t, root); len(left) != 1 || left[0] != others {
			t.Errorf("with the prefix %s make uninstall leaves %q", prefix, left)
		}
	}
}

func filesBelow(t *testing.T, root string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
