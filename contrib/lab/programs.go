// Package lab runs real mail servers on loopback, for tests and for the
// demonstration.
//
// A lab is a private Postfix (Programs.Start) with as many smtpd listeners as
// wanted, some sinks (StartSink) that stand for whatever receives mail (the
// Internet, another platform, the local mailboxes), and clients (Client) that
// hand messages in from addresses of 127.0.0.0/8 of their choice. Beside them
// it has the real virus and spam scanners, Redis and Dovecot (Filters), servers
// that hold a directory of users (Directories), a name server (StartDNS) and
// certificates (NewAuthority). Nothing of it touches a mail system of the machine:
// programs that are installed are lent only, and where there are none Debian's are
// unpacked into a folder (fetch.sh).
// Whatever was started is gone after Stop and Close.
//
// Postfix's master process starts as root only, so a lab needs root.
package lab

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

//go:embed fetch.sh
var fetchScript string

// Programs are the programs of the MTAs: the installed Postfix, if it can ask LDAP and MySQL, or the one
// that fetch.sh has unpacked, and an unpacked Sendmail. The zero value is of no use; call Open.
type Programs struct {
	commands  string // postqueue, smtp-source, …
	daemons   string // master, smtpd, …
	libraries string // libpostfix-*.so
	meta      string // dynamicmaps.cf
	sendmail  string
	loadPath  string // LD_LIBRARY_PATH of unpacked programs, otherwise empty

	sendmailTree string // Sendmail, as fetch.sh has unpacked it
	sendmailPath string // LD_LIBRARY_PATH of that tree
}

// Open finds the programs. Where some are missing it runs fetch.sh, which leaves them in
// dir for the next time and tells each of its steps to progress in one line. An empty dir
// means the folder .lab beside the go.mod at or above the working directory.
func Open(ctx context.Context, dir string, progress io.Writer) (*Programs, error) {
	dir, err := fetchFolder(dir)
	if err != nil {
		return nil, err
	}
	postfix, sendmail := filepath.Join(dir, "postfix"), filepath.Join(dir, "sendmail")
	p, found := installed(ctx)
	if !isDir(sendmail) || !found && !hasPlugins(postfix) {
		if err := fetch(ctx, progress, dir); err != nil {
			return nil, err
		}
	}
	if !found {
		if p, err = unpacked(postfix); err != nil {
			return nil, err
		}
	}
	p.sendmailTree = sendmail
	p.sendmailPath, err = libraryPath(sendmail)
	return p, err
}

// saslPlugins is where Sendmail finds the mechanisms of AUTH.
func (p *Programs) saslPlugins() string {
	found, _ := filepath.Glob(filepath.Join(p.sendmailTree, "usr/lib/*/sasl2"))
	return strings.Join(found, ":")
}

// fetchFolder is the absolute path of the folder for fetch.sh. An empty dir
// means .lab beside the go.mod.
func fetchFolder(dir string) (string, error) {
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".lab")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	if strings.ContainsAny(dir, ": \t\n") {
		return "", fmt.Errorf("lab: the folder %q has a colon or a space in its name, which LD_LIBRARY_PATH and main.cf cannot hold: choose another", dir)
	}
	return dir, nil
}

// Command prepares one of Postfix's commands, such as "smtp-source", to run
// until ctx ends. A command that asks for a configuration gets that of the
// machine, not that of an instance of the lab.
func (p *Programs) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path := filepath.Join(p.commands, name)
	if name == "sendmail" {
		path = p.sendmail
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = p.environment()
	return cmd
}

// WriteCommands writes into a folder a postconf and a postmap command that read the configuration
// in another.
func (p *Programs) WriteCommands(dir, etc string) error {
	for _, name := range []string{"postconf", "postmap"} {
		cmd := p.Command(context.Background(), name)
		script := "#!/bin/sh\nexec env '" + strings.Join(cmd.Env, "' '") + "' '" + cmd.Path + "' -c '" + etc + "' \"$@\"\n"
		if err := writeCommand(filepath.Join(dir, name), script); err != nil {
			return err
		}
	}
	return nil
}

// writeCommand writes a script that can be run. A process that another test starts just now would
// keep the file open for writing, and what is open for writing cannot be run.
func writeCommand(path, script string) error {
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte(script), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// environment is all that Postfix is given of the caller's environment.
func (p *Programs) environment() []string { return environment(p.loadPath) }

// environment is what programs of the lab are given. The path is the
// LD_LIBRARY_PATH of unpacked ones, otherwise empty.
func environment(loadPath string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	if loadPath != "" {
		env = append(env, "LD_LIBRARY_PATH="+loadPath)
	}
	return env
}

func installed(ctx context.Context) (*Programs, bool) {
	path, err := exec.LookPath("postconf")
	if err != nil {
		path = "/usr/sbin/postconf"
	}
	// Without a configuration postconf still knows what it was compiled with.
	out, err := exec.CommandContext(ctx, path, "-dh", "command_directory", "daemon_directory",
		"shlib_directory", "meta_directory", "sendmail_path").Output()
	if err != nil {
		return nil, false
	}
	v := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(v) != 5 {
		return nil, false
	}
	p := &Programs{commands: v[0], daemons: v[1], libraries: v[2], meta: v[3], sendmail: v[4]}
	kinds, err := exec.CommandContext(ctx, path, "-m").Output()
	for _, plugin := range plugins {
		if !slices.Contains(strings.Fields(string(kinds)), plugin) {
			return p, false
		}
	}
	return p, err == nil && p.complete() == nil
}

// plugins are the kinds of tables for which Postfix must have a plug-in.
var plugins = []string{"ldap", "mysql"}

// hasPlugins reports that a tree of Postfix is there with all plugins: an earlier fetch.sh
// fetched fewer.
func hasPlugins(tree string) bool {
	for _, plugin := range plugins {
		if _, err := os.Stat(filepath.Join(tree, "usr/lib/postfix/postfix-"+plugin+".so")); err != nil {
			return false
		}
	}
	return true
}

// unpacked takes a tree that fetch.sh has made, in the layout of Debian.
func unpacked(tree string) (*Programs, error) {
	p := &Programs{
		commands:  filepath.Join(tree, "usr/sbin"),
		daemons:   filepath.Join(tree, "usr/lib/postfix/sbin"),
		libraries: filepath.Join(tree, "usr/lib/postfix"),
		meta:      filepath.Join(tree, "etc/postfix"),
		sendmail:  filepath.Join(tree, "usr/sbin/sendmail"),
	}
	var err error
	if p.loadPath, err = libraryPath(tree); err != nil {
		return nil, err
	}
	if err := p.complete(); err != nil {
		return nil, fmt.Errorf("%w; remove %s to have it fetched again", err, tree)
	}
	return p, nil
}

// libraryPath lists the folders where a tree that fetch.sh has made may have
// libraries, as LD_LIBRARY_PATH does.
func libraryPath(tree string) (string, error) {
	var path []string
	for _, pattern := range []string{"usr/lib/*/", "lib/*/", "usr/lib/dovecot/modules/old-stats/", "usr/lib/*/samba/", "usr/lib/*/systemd/", "usr/lib/"} {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return "", fmt.Errorf("lab: %w", err)
		}
		path = append(path, found...)
	}
	return strings.Join(path, ":"), nil
}

// complete looks for the youngest program that the lab relies on: postlogd
// came with Postfix 3.4.
func (p *Programs) complete() error {
	for _, path := range []string{filepath.Join(p.daemons, "postlogd"), filepath.Join(p.commands, "postqueue"), p.sendmail} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("lab: no usable Postfix (3.4 or later): %w", err)
		}
	}
	return nil
}

func fetch(ctx context.Context, progress io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-s", "--"}, args...)...)
	cmd.Stdin = strings.NewReader(fetchScript)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("lab: fetch.sh: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: fetch.sh: %w", err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(progress, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("lab: fetch.sh %s could not get the programs: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	for from := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("lab: no go.mod at or above %s, so there is no default folder for the lab's programs: name one", from)
		}
	}
}

// TempDir makes an empty folder, for the caller to remove, that Postfix's
// processes can reach into: they run under another user, to whom the folders
// of os.MkdirTemp and of testing's TempDir are closed. It is the place for
// sockets and files that a main.cf setting names.
func TempDir() (string, error) {
	dir, err := os.MkdirTemp("", "coexist-lab-")
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", errors.Join(fmt.Errorf("lab: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
