package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"coexistd/contrib/lab"
)

func TestMain(m *testing.M) { os.Exit(testAll(m)) }

func testAll(m *testing.M) (status int) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("nothing is driven end to end: -short leaves out what needs a server program")
		return 0
	}
	// A program built with the race detector waits for a second at its end, unless it
	// is told not to.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	var err error
	if builds, err = lab.TempDir(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(builds)
	return m.Run()
}

// lookAtSources reads the folders of which the programs are made. They are no imports of
// these tests, so that go test would otherwise keep a result from before its last change.
func lookAtSources() error {
	for _, dir := range []string{"cmd", "contrib/demo", "milter", "policy", "scanners"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return err
		}
	}
	_, err := os.Stat("../../go.mod")
	return err
}

// The packages of the programs.
const (
	commandPath = "coexistd/cmd/coexistd"
	demoPath    = "coexistd/contrib/demo"
)

// builds is the folder for programs that more than one test uses.
var builds string

// program is the coexistd under test, built once with the race detector.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(builds, "coexistd")
	return path, build(path, commandPath, "-race")
})

// build builds the program of a package, without what only a debugger reads.
func build(program, pkg string, flags ...string) error {
	if err := lookAtSources(); err != nil {
		return err
	}
	out, err := exec.Command("go", slices.Concat([]string{"build", "-ldflags=-s -w", "-o", program}, flags, []string{pkg})...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building %s with %q: %w\n%s", pkg, flags, err, out)
	}
	return nil
}

// buildChanged builds the program of a package, of which one text in each of some files
// has been replaced by another.
func buildChanged(program, pkg string, changes map[string][2]string, flags ...string) error {
	dir, err := lab.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	replace := map[string]string{}
	for path, change := range changes {
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		right, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(right, []byte(change[0])) {
			return fmt.Errorf("%s lacks %q: name another change", path, change[0])
		}
		changed := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(changed, bytes.ReplaceAll(right, []byte(change[0]), []byte(change[1])), 0o600); err != nil {
			return err
		}
		replace[path] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	return build(program, pkg, append([]string{"-overlay", file}, flags...)...)
}
