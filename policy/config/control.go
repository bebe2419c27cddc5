package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// defaultStateDir is state_dir where the configuration says nothing.
const defaultStateDir = "/var/lib/coexistd"

// ControlSocket returns the path of the daemon's control socket. It takes from the file what
// tells of that and nothing else, so that a daemon can be asked whose configuration has
// mistakes by now, even such that the file is no TOML from some line on.
func ControlSocket(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("the configuration cannot be read: %w", err)
	}
	var said struct {
		StateDir string `toml:"state_dir"`
	}
	// What stands above a line that is no TOML is read without it.
	for lines := strings.SplitAfter(string(text), "\n"); ; {
		_, err := toml.Decode(strings.Join(lines, ""), &said)
		wrong, is := errors.AsType[toml.ParseError](err)
		if !is {
			break
		}
		lines = lines[:max(min(wrong.Position.Line, len(lines))-1, 0)]
	}
	if said.StateDir == "" {
		said.StateDir = defaultStateDir
	}
	if !filepath.IsAbs(said.StateDir) {
		said.StateDir = filepath.Join(filepath.Dir(path), said.StateDir)
	}
	return filepath.Join(said.StateDir, "control.sock"), nil
}
