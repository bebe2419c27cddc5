package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"coexistd/policy/config/document"
	"coexistd/policy/config/files"
	"coexistd/policy/config/schema"
)

func (r *reader) controlKeys() schema.Section {
	return schema.Section{Path: "control", Header: "[control]", About: "the daemon's own socket, for its commands", Keys: []schema.Key{
		{Name: "address", Kind: schema.Text(schema.AString, r.controlAddress), Usual: usualControl, Meaning: "`unix:PATH`; a relative path is in `state_dir`. At most 107 bytes with it"},
	}}
}

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
	r := newReader(path, path)
	if dir, _ := entries["state_dir"].(string); dir != "" {
		r.config.StateDir = r.path(dir)
	}
	control, _ := entries["control"].(map[string]any)
	said, _ := control["address"].(string)
	address, err := r.controlAddress(said)
	if err != nil {
		address, err = r.controlAddress(usualControl)
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
