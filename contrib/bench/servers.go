package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a milter under measurement, in a process of its own.
type server struct {
	name    string
	address string // a unix socket's path, or HOST:PORT
	tcp     string // a further one, HOST:PORT, or empty
	log     string // appended to by the process, emptied after each run
	process *exec.Cmd
	ended   chan struct{} // closed when the process is gone
}

// buildSubject makes coexistd in dir. One that program names is taken as it is.
func buildSubject(ctx context.Context, dir string, program *string) error {
	if *program != "" {
		return nil
	}
	*program = filepath.Join(dir, "coexistd")
	return command(ctx, "go", "build", "-o", *program, "./cmd/coexistd")
}

// buildPeer makes the C milter in dir.
func buildPeer(ctx context.Context, dir string) error {
	flags, err := libmilter(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"-std=gnu11", "-O2", "-Wall", "-o", filepath.Join(dir, "peer"), "contrib/bench/peer/peer.c"}, flags...)
	return command(ctx, "gcc", args...)
}

// libmilter returns the compiler flags that find libmilter: the installed
// one, or else the one that contrib/lab/fetch.sh unpacks into .lab.
func libmilter(ctx context.Context) ([]string, error) {
	if _, err := os.Stat("/usr/include/libmilter/mfapi.h"); err == nil {
		return []string{"-lmilter", "-lpthread"}, nil
	}
	if err := command(ctx, "sh", "contrib/lab/fetch.sh", "--bench", ".lab"); err != nil {
		return nil, err
	}
	root := ".lab/libmilter/usr"
	archives, _ := filepath.Glob(root + "/lib/*/libmilter.a")
	if len(archives) != 1 {
		return nil, fmt.Errorf("%s/lib/*/libmilter.a: found %d; want 1: remove .lab and try again", root, len(archives))
	}
	return []string{"-I" + root + "/include", archives[0], "-lpthread"}, nil
}

// command runs a program whose output matters only when it fails.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// startSubject starts coexistd with the smallest configuration that does the
// job, and waits until it listens. Beside that it makes the checks of the list, in
// TOML, on mail from the Internet, and has further lines.
func startSubject(ctx context.Context, dir, program, checks, more string) (*server, error) {
	tcp, err := freeAddress()
	if err != nil {
		return nil, err
	}
	v := &server{name: "coexistd", tcp: tcp, address: filepath.Join(dir, "coexistd.sock"), log: filepath.Join(dir, "coexistd.log")}
	text := fmt.Sprintf(`hostname = "mail.acmecorp.com"
state_dir = %q

[[listen]]
address = "unix:%s"

[[listen]]
address = "inet:%s"

[platform.%s]
networks = ["40.92.0.0/15"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

[domain.%q]
directory = "users.csv"
alternate = { %s = %q }

[checkpoint.S0]
checks = [%s]

%s`, filepath.Join(dir, "state"), v.address, v.tcp, platform, domain, platform, alternate, checks, more)
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "coexistd.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return v, v.start(exec.CommandContext(ctx, program, "serve", "-c", config))
}

// keepsNothing has coexistd keep no records of messages.
const keepsNothing = "[messages]\nkeep = \"0\"\n\n"

// startUncounted starts a coexistd without [metrics] and without records, in a folder of its own.
func startUncounted(ctx context.Context, dir, program, checks string) (*server, error) {
	own := filepath.Join(dir, "uncounted")
	if err := os.RemoveAll(own); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Mkdir(own, 0o700), os.Link(filepath.Join(dir, "users.csv"), filepath.Join(own, "users.csv"))); err != nil {
		return nil, err
	}
	return startSubject(ctx, own, program, checks, keepsNothing)
}

// freeAddress is an address on loopback whose port is free.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startPeer starts the C milter with one of its options, or "".
func startPeer(ctx context.Context, dir, option string) (*server, error) {
	name := "peer" + option
	v := &server{name: name, address: filepath.Join(dir, name+".sock"), log: filepath.Join(dir, name+".log")}
	var args []string
	if option != "" {
		args = append(args, option)
	}
	args = append(args, "unix:"+v.address, filepath.Join(dir, "users.csv"), platform, alternate, v.log)
	return v, v.start(exec.CommandContext(ctx, filepath.Join(dir, "peer"), args...))
}

// start runs the process, its messages going to the log, and returns when its
// socket answers.
func (v *server) start(c *exec.Cmd) error {
	log, err := os.OpenFile(v.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is ours to pass on
	if err := c.Start(); err != nil {
		return err
	}
	v.process, v.ended = c, make(chan struct{})
	go func() {
		c.Wait()
		close(v.ended)
	}()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-v.ended:
			return errors.Join(fmt.Errorf("%s ended before it listened: %v", v.name, c.ProcessState), v.lastWords())
		case <-deadline:
			v.stop()
			return errors.Join(fmt.Errorf("%s does not listen on %s after %v", v.name, v.address, patience), v.lastWords())
		case <-tick.C:
			if conn, err := net.Dial("unix", v.address); err == nil {
				conn.Close()
				return nil
			}
		}
	}
}

// stop ends the process at once; nothing of it is needed any more.
func (v *server) stop() {
	v.process.Process.Kill()
	<-v.ended
}

// cpu is the processor time that the process has used, user and system.
func (v *server) cpu() (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", v.process.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", v.name, errors.Join(err, v.lastWords()))
	}
	return parseCPU(text)
}

// clockTick is the unit of /proc/PID/stat: USER_HZ, 100 on every Linux.
const clockTick = 10 * time.Millisecond

// parseCPU adds utime and stime, fields 14 and 15 of /proc/PID/stat (proc(5)).
// The command's name, field 2, may hold anything, so counting starts behind it.
func parseCPU(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat has %d fields behind the name; want 13 or more", len(fields))
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// peakMemory is the largest resident size that the process has had, in MB.
func (v *server) peakMemory() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.process.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", v.name, err)
	}
	return parseMemory(string(text), "VmHWM")
}

// parseMemory reads a size in /proc/PID/status (proc(5)), in MB.
func parseMemory(status, name string) (float64, error) {
	_, after, ok := strings.Cut(status, name+":")
	if !ok {
		return 0, fmt.Errorf("/proc/PID/status has no %s", name)
	}
	kb, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	return kb / 1024, err
}

// emptyLog empties the log, which would grow to hundreds of megabytes.
func (v *server) emptyLog() error { return os.Truncate(v.log, 0) }

// lastWords is what the process said last, as an error to join to another.
func (v *server) lastWords() error {
	text, err := os.ReadFile(v.log)
	if err != nil || len(text) == 0 {
		return nil
	}
	return fmt.Errorf("its log ends:\n%s", text[max(0, len(text)-2000):])
}
