package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Directories are the servers that can hold a directory of users. They are those that
// fetch.sh has unpacked, even where others are installed. The zero value is of no use;
// call OpenDirectories.
type Directories struct {
	slapd, postgres, mariadb, samba filterProgram
}

// OpenDirectories finds the servers. Where some are missing it runs fetch.sh, as Open
// does; dir and progress are Open's too.
func OpenDirectories(ctx context.Context, dir string, progress io.Writer) (*Directories, error) {
	d := &Directories{}
	err := findAll(ctx, dir, progress, "--directories", func(dir string) error {
		for _, p := range []struct {
			program    *filterProgram
			tree, path string
		}{
			{&d.slapd, "slapd", "usr/sbin/slapd"},
			{&d.postgres, "postgres", postgresBin + "/postgres"},
			{&d.mariadb, "mariadb", "usr/sbin/mariadbd"},
			{&d.samba, "samba", "usr/sbin/samba"},
		} {
			var err error
			if *p.program, err = findUnpacked(p.tree, filepath.Join(dir, p.tree), p.path); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// place is where a server of the lab listens and has its files.
type place struct {
	host, port, dir string
	files           map[string]string // of the authority, if there is one
	authority       string            // the path of its certificate, or empty
}

// newPlace finds one for a server that clients know by a name.
func newPlace(a *Authority, name string) (p place, err error) {
	if p.host, p.port, err = freeAddress(); err != nil {
		return p, err
	}
	if p.files, err = a.loopbackFiles(name, p.host); err != nil {
		return p, err
	}
	if p.dir, err = TempDir(); err == nil && a != nil {
		p.authority = filepath.Join(p.dir, authorityFile)
	}
	return p, err
}

// What the SQL servers have from the beginning: an empty database, and one who may log in
// over TCP and read all of it.
const (
	SQLDatabase       = "mail"
	SQLReader         = "reader"
	SQLReaderPassword = "reader's secret"
)

// sqlText is a text as SQL has it.
func sqlText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// nobody is the user, and the group, of those who refuse to be root.
const nobody = 65534

// apartAsNobody has a program run as nobody, with its processes and its shared memory
// in namespaces of their own: of them nothing is left when the first has been killed.
func apartAsNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
	}
}

// folderOfNobody makes a folder that nobody but nobody may use.
func folderOfNobody(path string) error {
	err := os.MkdirAll(path, 0o700)
	if err == nil {
		err = os.Chown(path, nobody, nobody)
	}
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
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
