package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"coexistd/policy/config/document"
	"coexistd/policy/config/files"
)

// ControlSocket returns the path of the daemon's control socket. It takes from the file what
// tells of that and nothing else, so that a daemon can be asked whose configuration has
// mistakes by now, even such that the file is no TOML from some line on.
func ControlSocket(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	text, _, err := files.Read(path, maxFile)
	if err != nil {
		return "", fmt.Errorf("the configuration %s %w", path, err)
	}
	entries := readable(text)
	r := &reader{folder: filepath.Dir(path), config: &Config{StateDir: usualStateDir}}
	if dir, _ := entries["state_dir"].(string); dir != "" {
		r.config.StateDir = r.path(dir)
	}
	control, _ := entries["control"].(map[string]any)
	said, _ := control["address"].(string)
	address, err := controlAddress(r, said)
	if err != nil {
		address, err = controlAddress(r, usualControl)
	}
	return strings.TrimPrefix(address, "unix:"), err
}

// readable returns what stands above the first entry that is no TOML.
func readable(text string) map[string]any {
	for lines := strings.SplitAfter(text, "\n"); ; {
		written, err := document.Parse(strings.Join(lines, ""))
		wrong, is := errors.AsType[*document.Mistake](err)
		if !is {
			return written.Entries
		}
		lines = lines[:max(min(wrong.Begins, len(lines))-1, 0)]
	}
}
