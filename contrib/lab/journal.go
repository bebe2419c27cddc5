package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// JournalPrograms are systemd's own for a journal: journalctl, which reads it, and
// systemd-journal-remote, which writes one without systemd running. The zero value is of no use;
// call OpenJournalPrograms.
type JournalPrograms struct{ remote, control filterProgram }

// OpenJournalPrograms finds them. Where they were not unpacked it runs fetch.sh, as Open does; dir and
// progress are Open's too.
func OpenJournalPrograms(ctx context.Context, dir string, progress io.Writer) (*JournalPrograms, error) {
	p := &JournalPrograms{}
	err := findAll(ctx, dir, progress, "--journal", func(dir string) (err error) {
		tree := filepath.Join(dir, "journal")
		if p.control, err = findUnpacked("journalctl", tree, "bin/journalctl"); err == nil {
			p.remote, err = findUnpacked("systemd-journal-remote", tree, "lib/systemd/systemd-journal-remote")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Journal is a journal with what was written to it. One goroutine at a time may write.
type Journal struct {
	// Commands is the folder of a journalctl that reads this journal, in the place of the
	// machine's.
	Commands string

	dir     string
	writer  *exec.Cmd
	entries io.WriteCloser
}

// Start makes a journal. Close ends it, and removes its files.
func (p *JournalPrograms) Start() (_ *Journal, err error) {
	j := &Journal{}
	if j.dir, err = TempDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	j.Commands = filepath.Join(j.dir, "bin")
	files := filepath.Join(j.dir, "journal")
	if err := errors.Join(os.Mkdir(j.Commands, 0o755), os.Mkdir(files, 0o755)); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	script := "#!/bin/sh\nexec env '" + strings.Join(environment(p.control.loadPath), "' '") + "' '" + p.control.path + "' --directory='" + files + "' \"$@\"\n"
	if err := writeCommand(filepath.Join(j.Commands, "journalctl"), script); err != nil {
		return nil, err
	}
	j.writer = exec.Command(p.remote.path, "--output="+filepath.Join(files, "lab.journal"), "-")
	j.writer.Env = environment(p.remote.loadPath)
	j.writer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if j.entries, err = j.writer.StdinPipe(); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := j.writer.Start(); err != nil {
		return nil, fmt.Errorf("lab: starting systemd-journal-remote: %w", err)
	}
	return j, nil
}

// Write adds an entry, as syslog's facility of that number has it. The text has no line end.
func (j *Journal) Write(facility int, program, text string) error {
	_, err := fmt.Fprintf(j.entries, "__REALTIME_TIMESTAMP=%d\n_BOOT_ID=0123456789abcdef0123456789abcdef\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n\n",
		time.Now().UnixMicro(), facility, program, text)
	if err != nil {
		return fmt.Errorf("lab: the journal cannot be written: %w", err)
	}
	return nil
}

// Close ends the journal.
func (j *Journal) Close() error {
	var errs []error
	if j.writer != nil && j.writer.Process != nil {
		errs = append(errs, j.entries.Close(), j.writer.Wait())
	}
	return errors.Join(append(errs, os.RemoveAll(j.dir))...)
}
