package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
)

// Directories are the servers that can hold a directory of users. They are those that
// fetch.sh has unpacked, even where others are installed. The zero value is of no use;
// call OpenDirectories.
type Directories struct {
	slapd filterProgram
}

// OpenDirectories finds the servers. Where some are missing it runs fetch.sh, as Open
// does; dir and progress are Open's too.
func OpenDirectories(ctx context.Context, dir string, progress io.Writer) (*Directories, error) {
	d := &Directories{}
	err := findAll(ctx, dir, progress, "--directories", func(dir string) (err error) {
		d.slapd, err = findUnpacked("slapd", filepath.Join(dir, "slapd"), "usr/sbin/slapd")
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// outputOf runs a command that reads the input, and returns what it writes. The error
// has what it complains of.
func outputOf(cmd *exec.Cmd, input io.Reader) (string, error) {
	var output, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &output, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("lab: %s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return output.String(), nil
}
