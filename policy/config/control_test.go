package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheControlSocketIsFoundWhateverElseIsWrong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "coexistd.toml")
	for text, want := range map[string]string{
		"":                                   "/var/lib/coexistd/control.sock",
		"state_dir = \"state\"\n":            filepath.Join(dir, "state", "control.sock"),
		"state_dir = \"/s\"\nnonsense = 1\n": "/s/control.sock",
		"state_dir = \"/s\"\n[control]\naddress = \"unix:c.sock\"\n[broken\nx = 1\n[also broken\n": "/s/c.sock",
		"state_dir = \"/s\"\n[control]\naddress = \"unix:/run/c.sock\"\n":                          "/run/c.sock",
		"state_dir = \"/s\"\n[control]\naddress = \"inet:127.0.0.1:1\"\n":                          "/s/control.sock",
		"[broken": "/var/lib/coexistd/control.sock",
		"state_dir = 5\n[control]\naddress = \"unix:c.sock\"\n":       "/var/lib/coexistd/c.sock",
		"state_dir = \"/s\"\nx = " + strings.Repeat("[", maxFile-100): "/s/control.sock",
		// To try each line from the end on would take minutes.
		"state_dir = \"/s\"\nx = \"\"\"\n" + strings.Repeat("a\n", 10_000): "/s/control.sock",
		"state_dir = \"/s\"\nx = [\n" + strings.Repeat("\"a\",\n", 10_000): "/s/control.sock",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ControlSocket(path); got != want || err != nil {
			t.Errorf("%.200q: %s, %v; %s is right", text, got, err, want)
		}
	}
	if _, err := ControlSocket(dir); err == nil {
		t.Error("a folder tells of a socket")
	}
}
