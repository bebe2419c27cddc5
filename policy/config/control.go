package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

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
	said := struct {
		StateDir string `toml:"state_dir"`
		Control  struct{ Address string }
	}{}
	// What stands above a line that is no TOML is read without it.
	for lines := strings.SplitAfter(text, "\n"); ; {
		_, err := toml.Decode(strings.Join(lines, ""), &said)
		wrong, is := errors.AsType[toml.ParseError](err)
		if !is {
			break
		}
		lines = lines[:max(min(wrong.Position.Line, len(lines))-1, 0)]
	}
	if said.StateDir == "" {
		said.StateDir = usualStateDir
	}
	r := &reader{folder: filepath.Dir(path), config: &Config{}}
	r.config.StateDir = r.path(said.StateDir)
	address, err := controlAddress(r, said.Control.Address)
	if err != nil {
		address, err = controlAddress(r, usualControl)
	}
	return strings.TrimPrefix(address, "unix:"), err
}
