package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Filters are the programs that work beside the MTA: the virus and the spam
// scanner, OpenDKIM, Redis and Dovecot. They are those that are installed, or those that
// fetch.sh has unpacked. The zero value is of no use; call OpenFilters.
type Filters struct {
	clamd, rspamd, opendkim, redis, dovecot filterProgram
}

// filterProgram is one of these. The tree and the loadPath are empty where it
// is installed.
type filterProgram struct {
	path     string
	tree     string // what fetch.sh has unpacked
	loadPath string // LD_LIBRARY_PATH
}

// OpenFilters finds clamd, rspamd, opendkim, redis-server and dovecot. Where one is not
// installed it runs fetch.sh, as Open does; dir and progress are Open's too.
func OpenFilters(ctx context.Context, dir string, progress io.Writer) (*Filters, error) {
	f := &Filters{}
	err := findAll(ctx, dir, progress, "--scanners", func(dir string) error {
		for _, p := range []struct {
			program          *filterProgram
			name, tree, path string
		}{
			{&f.clamd, "clamd", "clamd", "usr/sbin/clamd"},
			{&f.rspamd, "rspamd", "rspamd", "usr/bin/rspamd"},
			{&f.opendkim, "opendkim", "opendkim", "usr/sbin/opendkim"},
			{&f.redis, "redis-server", "redis", "usr/bin/redis-server"},
			{&f.dovecot, "dovecot", "dovecot", "usr/sbin/dovecot"},
		} {
			var err error
			if *p.program, err = findFilter(p.name, filepath.Join(dir, p.tree), p.path); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// findAll has find look for programs in the folder for fetch.sh, and does so again with
// what fetch.sh has fetched by that option where one was missing.
func findAll(ctx context.Context, dir string, progress io.Writer, option string, find func(dir string) error) error {
	dir, err := fetchFolder(dir)
	if err != nil {
		return err
	}
	if err := find(dir); !errors.Is(err, errNotFetched) {
		return err
	}
	if err := fetch(ctx, progress, option, dir); err != nil {
		return err
	}
	return find(dir)
}

var errNotFetched = errors.New("it is not installed and was not unpacked")

func findFilter(name, tree, program string) (filterProgram, error) {
	for _, dir := range []string{"", "/usr/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return filterProgram{path: path}, nil
		}
	}
	return findUnpacked(name, tree, program)
}

// findUnpacked takes a program from a tree that fetch.sh has made.
func findUnpacked(name, tree, program string) (filterProgram, error) {
	if !isDir(tree) {
		return filterProgram{}, fmt.Errorf("lab: no %s: %w", name, errNotFetched)
	}
	p := filterProgram{path: filepath.Join(tree, program), tree: tree}
	if _, err := os.Stat(p.path); err != nil {
		return filterProgram{}, fmt.Errorf("lab: no usable %s: %w; remove %s to have it fetched again", name, err, tree)
	}
	var err error
	p.loadPath, err = libraryPath(tree)
	return p, err
}

// command prepares a program that was unpacked beside this one, or was installed as it
// was, to run until ctx ends. The path is that below the root.
func (p filterProgram) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.tree, "/", path), args...)
	cmd.Env = environment(p.loadPath)
	cmd.Dir = "/"
	return cmd
}

// filter is a program that the lab runs: a process with those that it starts,
// in one process group or as its children, and a folder. Its methods may be called side by side.
type filter struct {
	name    string
	program filterProgram
	args    []string
	dir     string
	files   map[string]string           // what the folder holds at each start, by name
	socket  string                      // the path that it listens at; empty: a port
	prepare func(context.Context) error // called before each start; nil: nothing is to be done
	apart   *syscall.SysProcAttr        // the user and the namespaces that it has for itself; nil: none
	ready   func(context.Context) error
	log     *logbook

	mu    sync.Mutex // held while the processes are started, stopped or ended
	cmd   *exec.Cmd  // nil: it does not run
	guard *guard
	ended chan struct{} // closed when no process is left
}

// Start starts the program again after Kill or Stop, at the same address, and
// returns when it answers. The error holds what it said. ctx bounds
// the start only.
func (f *filter) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cmd != nil {
		return fmt.Errorf("lab: %s is started already: end it with Kill or Stop first", f.name)
	}
	err := f.writeFiles()
	if err == nil && f.prepare != nil {
		err = f.prepare(ctx)
	}
	if err == nil {
		err = f.begin(ctx)
	}
	if err != nil {
		return errors.Join(err, f.end(), os.RemoveAll(f.dir))
	}
	return nil
}

func (f *filter) writeFiles() error {
	for name, content := range f.files {
		path := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}

func (f *filter) begin(ctx context.Context) error {
	cmd := exec.Command(f.program.path, f.args...)
	cmd.Env = environment(f.program.loadPath)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = f.log, f.log
	if f.apart != nil {
		own := *f.apart
		cmd.SysProcAttr = &own
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: starting %s: %w", f.name, err)
	}
	ended := make(chan struct{})
	f.cmd, f.ended = cmd, ended
	go func() {
		// The output is read to its end, which is when every process that
		// inherited it has gone.
		cmd.Wait()
		close(ended)
	}()
	var err error
	if f.guard, err = startGuard(cmd.Process.Pid, f.dir, "KILL"); err != nil {
		return err
	}
	if err := f.awaitReady(ctx); err != nil {
		return fmt.Errorf("lab: %s did not start: %w; it said:\n%s", f.name, err, f.log)
	}
	return nil
}

// readyTime is how long one question whether a program is ready may take. Only a
// connection on which nobody will ever answer takes so long.
const readyTime = 10 * time.Second

// awaitReady asks again and again: no program tells when it is ready.
func (f *filter) awaitReady(ctx context.Context) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, readyTime)
		err := f.ready(asking)
		cancel()
		select {
		case <-f.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-f.ended:
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

// Suspend has the program hang: its processes stop where they are, and what
// connects to it is accepted by the kernel alone. It returns when all of them
// have stopped.
func (f *filter) Suspend() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The first process may start another before it stops. The second time it cannot.
	for range 2 {
		if err := f.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if err := awaitGroup(f.cmd.Process.Pid, stopped); err != nil {
			return fmt.Errorf("lab: %s is not suspended: %w", f.name, err)
		}
	}
	return nil
}

// Continue ends what Suspend began.
func (f *filter) Continue() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signal(syscall.SIGCONT)
}

// Kill ends the program with SIGKILL, suspended or not, and returns when no
// process and no socket of it is left. Its folder stays for the next Start.
// Killing one that does not run does nothing.
func (f *filter) Kill() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end()
}

// Stop is Kill, and removes the program's folder. A second call does nothing.
func (f *filter) Stop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.end()
	if e := os.RemoveAll(f.dir); e != nil {
		err = errors.Join(err, fmt.Errorf("lab: %w", e))
	}
	return err
}

// Log is all that the program has said, at every start.
func (f *filter) Log() string { return f.log.String() }

// Pid is the process ID of the program's first process, or 0 where it does not
// run.
func (f *filter) Pid() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cmd == nil {
		return 0
	}
	return f.cmd.Process.Pid
}

func (f *filter) signal(s syscall.Signal) error {
	if f.cmd == nil {
		return fmt.Errorf("lab: %s does not run: start it first", f.name)
	}
	first := f.cmd.Process.Pid
	if err := syscall.Kill(-first, s); err != nil {
		return fmt.Errorf("lab: sending %s to %s: %w", s, f.name, err)
	}
	for pid, group := range members(first) {
		if group == first {
			continue
		}
		// One that has ended needs no signal.
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("lab: sending %s to process %d of %s: %w", s, pid, f.name, err)
		}
	}
	return nil
}

func (f *filter) end() error {
	if f.cmd == nil {
		return nil
	}
	// A group that has no process left is as good as one that was killed.
	err := syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("lab: ending %s: %w", f.name, err)
	}
	<-f.ended
	if err = awaitGroup(f.cmd.Process.Pid, gone); err != nil {
		err = fmt.Errorf("lab: %s has not ended: %w", f.name, err)
	}
	if f.guard != nil {
		f.guard.dismiss()
	}
	f.cmd, f.guard = nil, nil
	if f.socket != "" {
		if e := os.Remove(f.socket); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("lab: %w", e))
		}
	}
	return err
}

// The states, as proc(5) gives them, of a thread that does nothing more, for
// now or for good. A zombie is not there to be continued either.
const (
	stopped = "TZX"
	gone    = "ZX"
)

// awaitGroup returns when each thread of a process, of its children and of its process
// group is in one of the states. A signal that was sent takes effect soon, but not at once.
func awaitGroup(group int, states string) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(stopTime); ; <-again.C {
		now := groupStates(group)
		if strings.Trim(now, states) == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s its threads are in the states %q", stopTime, now)
		}
	}
}

// members are the process IDs of a process group and of its first process's children,
// which may be in groups of their own, as PostgreSQL's are, each with its group.
func members(first int) map[int]int {
	groups := map[int]int{}
	for _, process := range numbersIn("/proc") {
		if _, parent, group := readStat(filepath.Join(process, "stat")); group == first || parent == first {
			pid, _ := strconv.Atoi(filepath.Base(process))
			groups[pid] = group
		}
	}
	return groups
}

// groupStates has the state of each thread of these processes, one letter each, as
// proc(5) gives it.
func groupStates(first int) string {
	var states []byte
	for pid := range members(first) {
		for _, thread := range numbersIn(filepath.Join("/proc", strconv.Itoa(pid), "task")) {
			if state, _, group := readStat(filepath.Join(thread, "stat")); group != 0 {
				states = append(states, state)
			}
		}
	}
	return string(states)
}

// numbersIn lists what has a number as its name in a folder of proc(5). Of a process
// that has gone there is nothing.
func numbersIn(dir string) (paths []string) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		if name[0] >= '0' && name[0] <= '9' {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// readStat reads the state, the parent and the process group from a stat file of
// proc(5). Before them stands the name in parentheses, which may have some itself. The
// group is 0 when the thread has gone.
func readStat(path string) (state byte, parent, group int) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 3 {
		return 0, 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	group, _ = strconv.Atoi(fields[2])
	return fields[0][0], parent, group
}

// freeAddress picks a port of 127.0.0.1 on which nobody listens, below those
// that the kernel gives to whoever asks for none: so it is still free when the
// program is started there again. As long as this process lives, no other call in
// whatever process picks the same one.
func freeAddress() (host, port string, err error) {
	const tries = 100
	host = "127.0.0.1"
	for range tries {
		port = strconv.Itoa(10_000 + rand.IntN(20_000))
		if err = take(port); err == nil {
			err = isFree(net.JoinHostPort(host, port))
		}
		if err == nil {
			return host, port, nil
		}
	}
	return "", "", fmt.Errorf("lab: found no free port of %s: %w", host, err)
}

// freeHost picks an address of 127.0.0.0/8 at whose port nobody listens, for a program
// that insists on that port. No other call picks the same one, as with freeAddress.
func freeHost(port string) (host string, err error) {
	const tries = 100
	for range tries {
		host = fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
		if err = take(host); err == nil {
			err = isFree(net.JoinHostPort(host, port))
		}
		if err == nil {
			return host, nil
		}
	}
	return "", fmt.Errorf("lab: found no address of 127.0.0.0/8 with a free port %s: %w", port, err)
}

// isFree returns an error when somebody listens at an address. Listening there would
// tell too, but a process that is started just then would go on with it for a moment.
func isFree(address string) error {
	conn, err := net.Dial("tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		conn.Close()
		err = fmt.Errorf("somebody listens at %s", address)
	}
	return err
}

// isListening returns an error when nobody listens at an address.
func isListening(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		err = conn.Close()
	}
	return err
}

// take gives this process a port or an address for good, unless another has it. An
// abstract socket that is never closed stands for it (unix(7)).
func take(what string) error {
	token, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := syscall.Bind(token, &syscall.SockaddrUnix{Name: "@coexist-lab-" + what}); err != nil {
		syscall.Close(token)
		return err
	}
	return nil
}
