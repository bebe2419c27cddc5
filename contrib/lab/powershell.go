package lab

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// PowerShell reads scripts in the language of that name, by tree-sitter's grammar for it, which
// runs in node. It runs no script. The zero value is of no use; call OpenPowerShell.
type PowerShell struct{ node, modules string }

//go:embed powershell/parse.mjs
var parsePowerShell string

// OpenPowerShell finds node, and the grammar. Where this was not fetched yet it runs fetch.sh,
// as Open does; dir and progress are Open's too.
func OpenPowerShell(ctx context.Context, dir string, progress io.Writer) (*PowerShell, error) {
	p := &PowerShell{}
	err := findAll(ctx, dir, progress, "--powershell", func(dir string) (err error) {
		p.modules = filepath.Join(dir, "powershell")
		if !isDir(p.modules) {
			return fmt.Errorf("lab: no grammar of PowerShell: %w", errNotFetched)
		}
		if p.node, err = exec.LookPath("node"); err != nil {
			return fmt.Errorf("lab: no node: %w; install Debian's npm, as make test does", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Parse returns a script's tree as JSON. See powershell/parse.mjs.
func (p *PowerShell) Parse(ctx context.Context, script string) (string, error) {
	// Better code for the grammar would take seconds to make, and is not worth it for one script.
	cmd := exec.CommandContext(ctx, p.node, "--liftoff-only", "--input-type=module", "--eval", parsePowerShell)
	cmd.Dir = p.modules
	return outputOf(cmd, strings.NewReader(script))
}
