package lab

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
)

// Promtool judges Prometheus' rules, and what they make of numbers. The zero value is of no
// use; call OpenPromtool.
type Promtool struct{ program filterProgram }

// OpenPromtool finds promtool. Where it is not installed it runs fetch.sh, as Open does; dir
// and progress are Open's too.
func OpenPromtool(ctx context.Context, dir string, progress io.Writer) (*Promtool, error) {
	p := &Promtool{}
	err := findAll(ctx, dir, progress, "--prometheus", func(dir string) (err error) {
		p.program, err = findFilter("promtool", filepath.Join(dir, "prometheus"), "usr/bin/promtool")
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Run runs it in a folder, and returns what it prints. The error is set, too, when a rule or a
// case of a test is wrong.
func (p *Promtool) Run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.program.path, args...)
	cmd.Dir, cmd.Env = dir, environment(p.program.loadPath)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
