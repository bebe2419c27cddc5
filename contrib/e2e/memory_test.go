package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"coexistd/contrib/lab"
)

// plainProgram builds coexistd as it is installed: the race detector needs
// several times the memory.
func plainProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coexistd")
	if err := build(path, commandPath); err != nil {
		t.Fatal(err)
	}
	return path
}

// residentNow and residentPeak are a process's memory (proc(5)), in bytes: what
// it has now, and the most that it has had since forgetPeak.
func residentNow(t *testing.T, pid int) int64  { return memoryOf(t, pid, "VmRSS") }
func residentPeak(t *testing.T, pid int) int64 { return memoryOf(t, pid, "VmHWM") }

func memoryOf(t *testing.T, pid int, field string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kB int64
	_, line, _ := strings.Cut(string(status), field+":")
	if _, err := fmt.Sscanf(line, "%d kB", &kB); err != nil {
		t.Fatalf("%s of the daemon is not known: %v\n%s", field, err, status)
	}
	return kB << 10
}

func forgetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryDoesNotGrowWithTheSizeOfMessages(t *testing.T) {
	t.Parallel()
	const (
		size        = 25 << 20  // octets of a message, at least
		mostGrowth  = 8_000_000 // bytes over the idle daemon, messages coming one by one
		mostForEach = 3_000_000 // bytes over the idle daemon for each of several at once
		inTurn      = 3
		atOnce      = 8
	)
	page := bytes.Repeat([]byte("What compresses well is long when it is unpacked.\n"), 400_000)
	form := attaching(t,
		attachment{name: "first.bin", content: random(1, 6_500_000)},
		attachment{name: "second.bin", content: random(2, 6_500_000)},
		attachment{name: "archive.zip", content: zipped(t, "inner.zip", zipped(t, "third.dat", random(3, 6_500_000)))},
		attachment{name: "pages.zip", content: zipped(t, "pages.txt", page)})
	clean := carrier{form: form}
	if len(form) < size {
		t.Fatalf("the message has %d octets only", len(form))
	}
	// What is measured is coexistd; clamd need not look into what it is given.
	clamd := startClamd(t, lab.ClamdConfig{Settings: map[string]string{"ScanMail": "no", "ScanArchive": "no"}})
	rspamd := startRspamd(t, lab.RspamdConfig{})
	toml := strings.NewReplacer(
		"[scanner.clamd]\n", "[scanner.clamd]\nmax_size = \"64M\"\n",
		"[scanner.rspamd]\n", "[scanner.rspamd]\nmax_size = \"64M\"\n",
		inTime, "10m", // for so much, on a busy machine
	).Replace(checkedTOML(clamd.Addr(), rspamd.URL()))
	s := startSite(t, lab.SiteConfig{Program: plainProgram(t), TOML: toml, Main: map[string]string{"message_size_limit": "60000000", "milter_content_timeout": "1200s"}})
	// What counts is a daemon that has done nothing yet, not even a reload.
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.StartDaemon(deadline(t)); err != nil {
		t.Fatal(err)
	}
	s.waitDaemonLog("clamd answers")
	s.waitDaemonLog("rspamd answers")
	pid := s.Daemon.Pid()
	idle := residentNow(t, pid)

	pass := func(m []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
		defer cancel()
		r, err := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}.Send(ctx,
			lab.Mail{From: "x@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
		if err != nil || !r.Accepted() {
			t.Errorf("the message was not taken: %+v, %v", r, err)
		}
	}
	arrived := func(m []byte) {
		t.Helper()
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
	}
	forgetPeak(t, pid)
	for range inTurn {
		m := clean.letter("one by one")
		pass(m)
		arrived(m)
		growth := residentPeak(t, pid) - idle
		t.Logf("one by one: %.1f MB over %.1f MB", float64(growth)/1e6, float64(idle)/1e6)
		if growth > mostGrowth {
			t.Errorf("the daemon's memory grew by %d bytes over the idle one's %d; %d is the most", growth, idle, mostGrowth)
		}
	}

	forgetPeak(t, pid)
	messages := make([][]byte, atOnce)
	var sending sync.WaitGroup
	for i := range messages {
		messages[i] = clean.letter("at once")
		sending.Go(func() { pass(messages[i]) })
	}
	sending.Wait()
	growth := residentPeak(t, pid) - idle
	t.Logf("%d at once: %.1f MB for each", atOnce, float64(growth)/1e6/atOnce)
	if growth > atOnce*mostForEach {
		t.Errorf("with %d messages at once the daemon's memory grew by %d bytes for each; %d is the most", atOnce, growth/atOnce, mostForEach)
	}
	for _, m := range messages {
		arrived(m)
	}
	for _, finding := range []string{"virus clean", "spam clean", "malware clean"} {
		if n := strings.Count(s.Daemon.Log(), finding); n != inTurn+atOnce {
			t.Errorf("the finding %q stands %d times in the log; it must for each of the %d messages", finding, n, inTurn+atOnce)
		}
	}
}
