package e2e

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"coexistd/milter/quarantine"
	"coexistd/policy/config"
	"coexistd/policy/seal"
)

// Exit statuses of the commands.
const (
	exitYes   = 0
	exitNo    = 1
	exitWrong = 2 // it could not be told, or the usage was wrong
)

// explanation is what explain --json prints.
type explanation struct {
	Checkpoint string          `json:"checkpoint"`
	Checks     []string        `json:"checks"`
	Verdict    string          `json:"verdict"`
	Reply      string          `json:"reply"`
	Recipients []explainedRcpt `json:"recipients"`
	Trace      []string        `json:"trace"`
}

type explainedRcpt struct {
	Address   string   `json:"address"`
	Residence string   `json:"residence"`
	Flow      string   `json:"flow"`
	Rewritten []string `json:"rewritten"`
	Verdict   string   `json:"verdict"`
	Reply     string   `json:"reply"`
}

// flowTable is one of the tables that explain --flows --json prints.
type flowTable struct {
	Domain   string     `json:"domain"`
	Platform string     `json:"platform"`
	MX       string     `json:"mx"`
	Flows    []flowLine `json:"flows"`
}

type flowLine struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Flow     string `json:"flow"`
	PassesUs bool   `json:"passes_us"`
}

// outcome is what release --json prints of one entry.
type outcome struct {
	Result string `json:"result"`
	Detail string `json:"detail"`
	// Learned and NotLearned tell what rspamd was told.
	Learned    string `json:"learned"`
	NotLearned string `json:"not_learned"`
}

// finding is what doctor --json prints of one thing it looked at.
type finding struct {
	Subject string `json:"subject"`
	Status  string `json:"status"`
	Found   string `json:"found"`
	Remedy  string `json:"remedy"`
}

// run runs a command of coexistd, and returns its exit status and what it printed on
// standard output and on standard error.
func run(t *testing.T, args ...string) (status int, out, complaint string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(deadline(t), path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// ask is run for a command whose complaints are for the log alone.
func ask(t *testing.T, args ...string) ([]byte, int) {
	t.Helper()
	status, out, complaint := run(t, args...)
	if complaint != "" {
		t.Logf("coexistd %q said: %s", args, complaint)
	}
	return []byte(out), status
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

// keyFile is the key that the daemon has made beside a configuration.
func keyFile(config string) string {
	return filepath.Join(filepath.Dir(config), "state", "secret.key")
}

// keysOf are the keys of the daemon that has run with a configuration.
func keysOf(t *testing.T, config string) seal.Keys {
	t.Helper()
	key, err := os.ReadFile(keyFile(config))
	if err != nil {
		t.Fatal(err)
	}
	return seal.NewKeys(key)
}

// heldBy says where the quarantine of a configuration is.
func heldBy(t *testing.T, config string) quarantine.Options {
	t.Helper()
	q := load(t, config).Quarantine
	return quarantine.Options{Dir: q.Dir, Keep: q.Keep, MaxBytes: q.MaxBytes, Zone: q.Report.Zone, Log: slog.New(slog.DiscardHandler)}
}
