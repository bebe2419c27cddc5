package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

// startDemo builds the demonstration with some changes and runs it, for an MTA and a coexistd
// program, with a folder of its own for its files. It calls during, when that is not nil,
// while it sends its messages. It returns the exit status and what was printed. That
// anything is left fails the test.
func startDemo(t *testing.T, mta lab.MTA, program string, changes map[string][2]string, during func(cmd *exec.Cmd, dir string)) (status int, printed string) {
	t.Helper()
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	demo := filepath.Join(t.TempDir(), "demo")
	if err := buildChanged(demo, demoPath, changes); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(t), demo, "--mta", string(mta), "--program", program)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed += lines.Text() + "\n"
		if during != nil && strings.HasPrefix(lines.Text(), "demo: sending") {
			during(cmd, dir)
		}
	}
	cmd.Wait()
	printed += complaint.String()
	if left := processes(t, dir); len(left) > 0 {
		t.Errorf("processes are left of the demonstration: %q", left)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Errorf("a file is left of the demonstration: %s", file.Name())
	}
	return cmd.ProcessState.ExitCode(), printed
}

// processes lists the command lines of the processes that have a folder in
// their environment, arguments or open files.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, name := range names {
		// A process that has gone meanwhile has no files.
		environment, _ := os.ReadFile(name + "/environ")
		command, _ := os.ReadFile(name + "/cmdline")
		about := string(environment) + string(command)
		open, _ := filepath.Glob(name + "/fd/*")
		for _, file := range open {
			target, _ := os.Readlink(file)
			about += "\x00" + target
		}
		if strings.Contains(about, dir) {
			list = append(list, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return list
}

func TestDemoDeliversEveryMessageAndLeavesNothing(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		beside := startSite(t, lab.SiteConfig{MTA: mta})
		for range 2 {
			status, printed := startDemo(t, mta, path, nil, func(cmd *exec.Cmd, dir string) {
				// It is stopped meanwhile, since a look at all processes takes its time.
				cmd.Process.Signal(syscall.SIGSTOP)
				defer cmd.Process.Signal(syscall.SIGCONT)
				// The demonstration, the daemon and the MTA at least: otherwise
				// finding none at the end would mean nothing.
				if n := len(processes(t, dir)); n < 3 {
					t.Errorf("%d processes of the demonstration were found while it runs", n)
				}
			})
			if status != exitYes || !strings.Contains(printed, "Every message arrived where it should, and nowhere else, and is told of as it went") {
				t.Fatalf("demo ended with %d and said:\n%s", status, printed)
			}
		}
		beside.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")
	})
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	status, printed := startDemo(t, lab.PostfixMTA, path, nil, func(cmd *exec.Cmd, _ string) {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
	})
	if status != exitWrong && status != exitYes {
		t.Errorf("demo ended with %d and said:\n%s", status, printed)
	}
}

// TestDemoFailsWhenMailGoesAstray runs a demonstration in which one who lives at both
// places is listed as living here, of a program that is built with a fault: recipients
// who live elsewhere keep their old address too.
func TestDemoFailsWhenMailGoesAstray(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "coexistd")
	if err := buildChanged(program, commandPath, map[string][2]string{
		"../../policy/edits.go": {"return r.isRemoved() || r.Instead", "return r.isRemoved()"},
	}); err != nil {
		t.Fatal(err)
	}
	status, printed := startDemo(t, lab.PostfixMTA, program, map[string][2]string{
		"../../contrib/lab/site.go": {"carol@acmecorp.com,both,carol", "carol@acmecorp.com,here,carol"},
	}, nil)
	if status != exitNo {
		t.Errorf("demo ended with %d; 1 is right", status)
	}
	for _, text := range []string{"NOT THERE", "NOT EXPECTED", "WRONG: ", "Not every message went where it should"} {
		if !strings.Contains(printed, text) {
			t.Errorf("demo does not say %q:\n%s", text, printed)
		}
	}
}

// TestDemoFailsWhenMailIsCountedWrong runs a demonstration of a program that is built with faults
// in all that tells of messages.
func TestDemoFailsWhenMailIsCountedWrong(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "coexistd")
	if err := buildChanged(program, commandPath, map[string][2]string{
		"../../milter/messages/counts.go":  {"tally{n.messages + 1,", "tally{n.messages + 2,"},
		"../../milter/metrics/metrics.go":  {"for i := range d.Recipients {", "for i := range d.Recipients[1:] {"},
		"../../milter/messages/message.go": {"Platform: d.Platform, Verdict: d.Verdict,", "Platform: d.Platform, Verdict: max(d.Verdict, verdict.Tag),"},
	}); err != nil {
		t.Fatal(err)
	}
	status, printed := startDemo(t, lab.PostfixMTA, program, nil, nil)
	if status != exitNo {
		t.Errorf("demo ended with %d; 1 is right", status)
	}
	for _, text := range []string{
		"WRONG: 0 were sent, and 2 are told: messages of S1 ", "WRONG: 1 were sent, and 0 are told: message: S0 accept ",
		`WRONG: 1 were sent, and 0 are told: coexistd_recipients_total{check="",flow="S0=>LD",point="S0",verdict="accept"}`, "Not every message went where it should",
	} {
		if !strings.Contains(printed, text) {
			t.Errorf("demo does not say %q:\n%s", text, printed)
		}
	}
}
