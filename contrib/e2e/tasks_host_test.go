package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

// taskHost is a mail server whose administrator goes by the page of tasks: a fresh Postfix, and
// coexistd as "make install" puts it there. The commands of the page are run as they stand but for
// the paths, addresses and accounts of words.
type taskHost struct {
	*bareSite
	root  string // where make install writes, in the place of /
	clone string // of the repository
	run   string // for sockets
	state string // in the place of /var/lib/coexistd
	words []string
	asked chan []string // the arguments of systemctl and its like
	reply string        // the pipe for what came of it
	first *taskHost     // whose configuration is copied to this host; nil: it is that one
}

// startTaskHost starts a host on which nothing is installed yet. Its words come before those that
// all hosts have.
func startTaskHost(t *testing.T, first *taskHost, words ...string) *taskHost {
	t.Helper()
	root, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	h := &taskHost{bareSite: startBareSite(t, lab.SiteConfig{}), root: root, first: first, clone: filepath.Join(t.TempDir(), "clone"), asked: make(chan []string)}
	h.do(h.Daemon.Stop())
	for _, name := range []string{"coexistd.toml", "users.csv", "state"} {
		h.do(os.RemoveAll(filepath.Join(h.Dir, name)))
	}
	h.run, h.state = filepath.Join(h.root, "run"), filepath.Join(h.root, "var/lib/coexistd")
	h.do(errors.Join(os.Mkdir(h.run, 0o755), os.MkdirAll(h.state, 0o755)))
	h.writeCommands()
	h.words = append(words,
		"/etc/systemd/system", filepath.Join(h.root, "etc/systemd/system"),
		"/usr/local/sbin/coexistd", filepath.Join(h.root, "usr/local/sbin/coexistd"),
		"/var/lib/coexistd", h.state,
		"/etc/coexistd", h.Dir,
		`"inet:127.0.0.1:8701"`, `"unix:`+h.run+`/milter.sock"`+"\nmode = \"0666\"",
		`"inet:127.0.0.1:8702"`, `"unix:`+h.run+`/lookup.sock"`+"\nmode = \"0666\"",
		`our_networks = ["127.0.0.0/8", "::1"]`, fmt.Sprintf("hostname = \"mail.acmecorp.com\"\nresolver = %q\nstate_dir = %q\nour_networks = [\"127.0.4.0/24\", \"127.0.0.1\"]", h.DNS.Addr, h.state),
		"-o coexistd", "-o root", "-g coexistd", "-g root", "coexistd:coexistd", "root:root", "chgrp -R coexistd", "chgrp -R root")
	return h
}

// writeCommands makes the commands of the page that are not coexistd's own. Those that ask systemd
// or Postfix hand what they were asked to this process, and wait for what came of it. The
// compiler has been here before: go gives the program under test.
func (h *taskHost) writeCommands() {
	h.t.Helper()
	built, err := program()
	h.do(err)
	dir := h.t.TempDir()
	ask, reply := filepath.Join(dir, "ask"), filepath.Join(dir, "reply")
	h.do(errors.Join(syscall.Mkfifo(ask, 0o600), syscall.Mkfifo(reply, 0o600)))
	h.reply = reply
	handed := "echo \"$(basename \"$0\") $*\" > '" + ask + "'; read status < '" + reply + "'; exit \"$status\"\n"
	h.do(os.Remove(filepath.Join(h.bin, "coexistd")))
	for name, script := range map[string]string{
		"systemctl": handed, "postqueue": handed, "postfix": handed,
		"coexistd":         "exec '" + h.root + "/usr/local/sbin/coexistd' -c '" + h.Config() + "' \"$@\"\n",
		"go":               "case $1 in version) echo go version go1.26.0 linux/amd64;; build) while [ \"$1\" != -o ]; do shift; done; cp '" + built + "' \"$2\";; esac\n",
		"runuser":          "shift 3; exec \"$@\"\n",
		"systemd-sysusers": "", "systemd-tmpfiles": "",
		"scp": "cp -a \"$2\"/. \"$MX2\"/.\n",
	} {
		h.writeCommand(name, script)
	}
	// Open for writing as well, it has no end while no command writes.
	pipe, err := os.OpenFile(ask, os.O_RDWR, 0)
	h.do(err)
	h.t.Cleanup(func() { pipe.Close() })
	go func() {
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			h.asked <- strings.Fields(lines.Text())
		}
	}()
}

// mapped is a text of the page as it is for this host.
func (h *taskHost) mapped(text string) string { return strings.NewReplacer(h.words...).Replace(text) }

// shell runs commands of the page under sh -e, which must end well, and returns what they printed.
func (h *taskHost) shell(commands string) string {
	h.t.Helper()
	h.settleIn()
	ctx := deadline(h.t)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", h.mapped(commands))
	cmd.Dir = h.clone
	cmd.Env = append(os.Environ(), "PATH="+h.bin+":"+os.Getenv("PATH"), "DESTDIR="+h.root, "GIT_CONFIG_GLOBAL=/dev/null")
	if h.first == nil {
		cmd.Env = append(cmd.Env, "MX2="+filepath.Join(h.root, "mx2"))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	h.do(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case asked := <-h.asked:
			err := h.serve(ctx, asked)
			status := "0"
			if err != nil {
				h.t.Errorf("%q: %v", asked, err)
				status = "1"
			}
			h.do(os.WriteFile(h.reply, []byte(status+"\n"), 0))
		case err := <-ended:
			if err != nil {
				h.t.Fatalf("%s\nended with %v and printed\n%s", h.mapped(commands), err, out.String())
			}
			return out.String()
		}
	}
}

// serve does what a command asks of systemd or of Postfix.
func (h *taskHost) serve(ctx context.Context, asked []string) error {
	switch strings.Join(asked, " ") {
	case "postqueue -f":
		return h.Flush(ctx)
	case "postfix check":
		return nil
	case "postfix reload", "systemctl restart postfix":
		return h.Host.Again(ctx)
	}
	verb, units := asked[1], asked[2:]
	if len(units) > 0 && units[0] == "--now" {
		verb, units = map[string]string{"enable": "start", "disable": "stop"}[verb], units[1:]
	}
	for _, unit := range units {
		switch {
		case unit == "coexistd.socket" && verb == "stop":
		case unit != "coexistd":
			return fmt.Errorf("the host has no unit %s", unit)
		}
	}
	switch {
	case verb == "daemon-reload", len(units) > 0 && units[0] != "coexistd":
		return nil
	case verb == "stop":
		return h.Daemon.Stop()
	case verb == "restart":
		return errors.Join(h.Daemon.Stop(), h.start(ctx))
	case verb == "start":
		return h.start(ctx)
	}
	return fmt.Errorf("systemctl does not know %s", verb)
}

// start starts the daemon as the installed unit, and what was put beside it, say.
func (h *taskHost) start(ctx context.Context) error {
	if strings.Contains(h.Daemon.Log(), "DATA RACE") {
		return fmt.Errorf("coexistd has a data race:\n%s", h.Daemon.Log())
	}
	h.settleIn()
	unit, err := os.ReadFile(filepath.Join(h.root, "usr/lib/systemd/system/coexistd.service"))
	if err != nil {
		return err
	}
	dropped, _ := filepath.Glob(filepath.Join(h.root, "etc/systemd/system/coexistd.service.d/*.conf"))
	for _, path := range dropped {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		unit = append(unit, text...)
	}
	command := ""
	for line := range strings.Lines(string(unit)) {
		if text, is := strings.CutPrefix(line, "ExecStart="); is && strings.TrimSpace(text) != "" {
			command = text
		}
	}
	// What the page wrote has this host's paths already.
	words := strings.Fields(strings.ReplaceAll(command, " /etc/coexistd/", " "+h.Dir+"/"))
	if len(words) < 4 || words[1] != "serve" || words[2] != "-c" {
		return fmt.Errorf("the unit runs %q", words)
	}
	program := filepath.Join(h.root, "usr/local/sbin/coexistd")
	if words[0] != program && words[0] != "/usr/local/sbin/coexistd" {
		return fmt.Errorf("the unit runs %s", words[0])
	}
	_, unasked := os.Stat(filepath.Join(h.state, "networks"))
	if h.Daemon, err = lab.StartDaemon(ctx, program, words[3], words[4:]...); err != nil || unasked == nil {
		return err
	}
	// An administrator is slower than the DNS.
	_, err = h.Daemon.WaitLog(ctx, regexp.MustCompile("the networks of a platform are known"))
	return err
}

// settleIn has a configuration that was copied from the first host name this one's folders and MTA,
// which have the same names where each host is a machine of its own.
func (h *taskHost) settleIn() {
	h.t.Helper()
	text, err := os.ReadFile(h.Config())
	if h.first == nil || errors.Is(err, os.ErrNotExist) {
		return
	}
	h.do(err)
	own := strings.NewReplacer(h.first.state, h.state, h.first.run, h.run, h.first.Addr("public"), h.Addr("public")).Replace(string(text))
	h.do(os.WriteFile(h.Config(), []byte(own), 0o644))
}

// layTOML adds a block of the page to coexistd.toml: lines of a section that is there already change
// it, and a new section is added.
func (h *taskHost) layTOML(block string) {
	h.t.Helper()
	text, err := os.ReadFile(h.Config())
	if errors.Is(err, os.ErrNotExist) {
		text, err = []byte(h.mapped(block)+"\n[quarantine]\nsmtp = \"{mta}\"\n[quarantine.report]\nat = \"never\"\n"), nil
		block = ""
	}
	h.do(err)
	file := sectionsOf(string(text))
	for _, s := range sectionsOf(h.mapped(block)) {
		file = lay(file, s)
	}
	var whole strings.Builder
	for _, s := range file {
		whole.WriteString(strings.Join(s, "\n") + "\n")
	}
	h.do(h.WriteTOML(whole.String()))
}

// sectionsOf cuts TOML into the lines of its sections, the first of which has no header.
func sectionsOf(text string) [][]string {
	list := [][]string{{}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "[") {
			list = append(list, nil)
		}
		if line != "" {
			list[len(list)-1] = append(list[len(list)-1], line)
		}
	}
	return list
}

// lay puts the lines of a section into a file.
func lay(file [][]string, section []string) [][]string {
	key := func(line string) string {
		name, _, _ := strings.Cut(line, "=")
		return strings.TrimSpace(name)
	}
	at := 0 // of the section in the file
	if len(section) > 0 && strings.HasPrefix(section[0], "[") {
		for at = len(file) - 1; at > 0 && file[at][0] != section[0]; at-- {
		}
		if at == 0 {
			return append(file, section)
		}
	}
lines:
	for _, line := range section {
		for i, old := range file[at] {
			if key(old) == key(line) {
				file[at][i] = line
				continue lines
			}
		}
		file[at] = append(file[at], line)
	}
	return file
}

// layCSV adds the rows of a block of the page to users.csv, in the place of those for the same
// address.
func (h *taskHost) layCSV(block string) {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir, "users.csv"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(text)), "\n")
rows:
	for _, row := range strings.Split(strings.TrimSpace(block), "\n") {
		address, _, _ := strings.Cut(row, ",")
		for i, old := range rows {
			if old == "" || strings.HasPrefix(old, address+",") {
				rows[i] = row
				continue rows
			}
		}
		rows = append(rows, row)
	}
	h.do(h.WriteDirectory(strings.Join(rows, "\n") + "\n"))
}
