package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"coexistd/contrib/lab"
)

// pollEvery is the least interval at which a source may be asked, and pollsCounted over how
// many polls without a change the daemon's processor time is taken.
const (
	pollEvery    = 5 * time.Second
	pollsCounted = 4
)

// stay is what was measured of a daemon from its first start to its second. Times are in
// seconds, but those of a poll in milliseconds, and sizes in MB.
type stay struct {
	read, first     float64 // from the start until the list was read and saved, and until it counted
	poll, pollCPU   float64 // a poll that finds nothing new, and the daemon's processor time for it
	change, reload  float64 // from a change, and from the poll that finds it, until it counts
	restart, reread float64 // from the second start until the saved list counted; reading the whole list, with nothing new

	rest                              float64 // resident some polls after the first load
	peakFirst, peakReload, peakReread float64
}

// benchDirectories measures what a list of very many addresses costs, by where it comes
// from, and prints it.
func benchDirectories(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "coexistd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	load := loadAverage()
	if err := buildSubject(ctx, dir, &s.program); err != nil {
		return err
	}
	servers, err := lab.OpenDirectories(ctx, "", os.Stderr)
	if err != nil {
		return err
	}
	report := directoriesReport{load: load, rounds: s.rounds, staff: staff(s.addresses)}
	for _, open := range []func(context.Context, *lab.Directories, staff, string) (*home, error){openSlapd, openPostgres, openMariaDB, openFile} {
		h, err := open(ctx, servers, report.staff, dir)
		if err != nil {
			return err
		}
		stays, err := h.stays(ctx, s, dir, report.staff)
		if err = errors.Join(err, h.stop()); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		report.add(h.name, stays)
	}
	return report.write(os.Stdout)
}

// stays measures each round with an empty state.
func (h *home) stays(ctx context.Context, s settings, dir string, people staff) (all []stay, err error) {
	for round := range s.rounds {
		fmt.Fprintf(os.Stderr, "bench: %d addresses by %s, round %d of %d\n", s.addresses, h.name, round+1, s.rounds)
		t := &tenant{home: h, program: s.program, dir: filepath.Join(dir, fmt.Sprintf("%s-%d", h.kind, round)), mover: people.mover(round)}
		one, err := t.stay(ctx)
		if err != nil {
			if t.daemon != nil {
				err = fmt.Errorf("%w; the daemon said:\n%s", err, t.daemon.Log())
			}
			return nil, errors.Join(err, t.end())
		}
		if err := os.RemoveAll(t.dir); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "bench: %.4g\n", one) // for who does not wait for the end
		all = append(all, one)
	}
	return all, nil
}

// tenant is a daemon that has its list from a home.
type tenant struct {
	*home
	program, dir string
	mover        int // the mailbox that moves
	daemon       *lab.Daemon
}

// stay measures all, from the first start on.
func (t *tenant) stay(ctx context.Context) (one stay, err error) {
	if err := t.prepare(); err != nil {
		return one, err
	}
	steps := []func(context.Context, *stay) error{t.measureFirst, t.measurePolls, t.measureChange, t.measureRestart}
	for _, step := range steps {
		limited, cancel := context.WithTimeout(ctx, 10*time.Minute) // for what hangs
		err := step(limited, &one)
		cancel()
		if err != nil {
			return one, err
		}
	}
	return one, t.end()
}

// prepare writes the configuration.
func (t *tenant) prepare() error {
	if err := os.MkdirAll(filepath.Join(t.dir, "state"), 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf(`hostname = "mail.acmecorp.com"
state_dir = %q

[[listen]]
address = "unix:%s/milter.sock"

[[lookup]]
address = "unix:%[2]s/lookup.sock"

[platform.%s]
networks = ["40.92.0.0/15"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

[domain.%q]
directory = %q
alternate = { %[3]s = %[6]q }

[checkpoint.S0]
checks = []

%[7]s`, filepath.Join(t.dir, "state"), t.dir, platform, domain, t.directory, alternate, t.source)
	return errors.Join(
		os.WriteFile(filepath.Join(t.dir, "password"), []byte(t.password+"\n"), 0o600),
		os.WriteFile(filepath.Join(t.dir, "coexistd.toml"), []byte(text), 0o600))
}

// begin starts the daemon.
func (t *tenant) begin(ctx context.Context) (err error) {
	t.daemon, err = lab.StartDaemon(ctx, t.program, filepath.Join(t.dir, "coexistd.toml"))
	return err
}

func (t *tenant) end() (err error) {
	if t.daemon != nil {
		err = t.daemon.Stop()
	}
	t.daemon = nil
	return err
}

func (t *tenant) measureFirst(ctx context.Context, one *stay) error {
	begin := time.Now()
	if err := t.begin(ctx); err != nil {
		return err
	}
	if t.source != "" {
		_, read, err := t.awaitReading(ctx)
		if err != nil {
			return err
		}
		one.read = read.Sub(begin).Seconds()
	}
	if err := t.awaitAnswer(ctx, "OK here"); err != nil {
		return err
	}
	one.first = time.Since(begin).Seconds()
	return t.memory("VmHWM", &one.peakFirst)
}

// measurePolls asks as the daemon does, and then takes the daemon's processor time.
func (t *tenant) measurePolls(ctx context.Context, one *stay) error {
	if t.marks != nil {
		begin := time.Now()
		for range pollsCounted {
			if mark, err := t.marks.Mark(ctx); err != nil || len(mark) == 0 {
				return fmt.Errorf("it gives the mark %v, and the error %w", mark, err)
			}
		}
		one.poll = time.Since(begin).Seconds() * 1000 / pollsCounted
	}
	before, err := t.cpu()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollsCounted * pollEvery):
	}
	after, err := t.cpu()
	one.pollCPU = (after - before).Seconds() * 1000 / pollsCounted
	return errors.Join(err, t.memory("VmRSS", &one.rest))
}

func (t *tenant) measureChange(ctx context.Context, one *stay) error {
	// From here on the kernel counts the peak anew (proc(5)).
	if err := os.WriteFile(t.proc("clear_refs"), []byte("5"), 0); err != nil {
		return err
	}
	if err := t.move(ctx, t.mover); err != nil {
		return err
	}
	changed := time.Now()
	polled := changed
	if t.source != "" {
		var err error
		if polled, _, err = t.awaitReading(ctx); err != nil {
			return err
		}
	}
	if err := t.awaitAnswer(ctx, "OK "+platform); err != nil {
		return err
	}
	one.change, one.reload = time.Since(changed).Seconds(), time.Since(polled).Seconds()
	return t.memory("VmHWM", &one.peakReload)
}

func (t *tenant) measureRestart(ctx context.Context, one *stay) error {
	if err := t.end(); err != nil {
		return err
	}
	begin := time.Now()
	if err := t.begin(ctx); err != nil {
		return err
	}
	if err := t.awaitAnswer(ctx, "OK "+platform); err != nil {
		return err
	}
	one.restart = time.Since(begin).Seconds()
	if t.source == "" {
		return nil
	}
	from, to, err := t.awaitReading(ctx)
	one.reread = to.Sub(from).Seconds()
	return errors.Join(err, t.memory("VmHWM", &one.peakReread))
}

// awaitReading waits until the daemon reads the whole list, and until it has, by the file
// that it writes meanwhile.
func (t *tenant) awaitReading(ctx context.Context) (from, to time.Time, err error) {
	part := filepath.Join(t.dir, "state/directories/people.part")
	there := func() bool { _, err := os.Stat(part); return !errors.Is(err, fs.ErrNotExist) }
	if err = await(ctx, func() (bool, error) { return there(), nil }); err == nil {
		from = time.Now()
		err = await(ctx, func() (bool, error) { return !there(), nil })
	}
	return from, time.Now(), err
}

// awaitAnswer waits until the daemon answers the question for the address of the mailbox
// that moves as wanted.
func (t *tenant) awaitAnswer(ctx context.Context, want string) error {
	lookup, err := net.Dial("unix", filepath.Join(t.dir, "lookup.sock"))
	if err != nil {
		return err
	}
	defer lookup.Close()
	answers := bufio.NewReader(lookup)
	question := "recipients " + mailbox(t.mover)
	return await(ctx, func() (bool, error) {
		if _, err := fmt.Fprintf(lookup, "%d:%s,", len(question), question); err != nil {
			return false, err
		}
		answer, err := answers.ReadString(',')
		_, answer, _ = strings.Cut(strings.TrimSuffix(answer, ","), ":")
		return answer == want, err
	})
}

// await asks again and again: nobody tells when it is so.
func await(ctx context.Context, isSo func() (bool, error)) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if so, err := isSo(); so || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

func (t *tenant) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(t.daemon.Pid()), name)
}

func (t *tenant) cpu() (time.Duration, error) {
	text, err := os.ReadFile(t.proc("stat"))
	if err != nil {
		return 0, err
	}
	return parseCPU(text)
}

// memory reads a figure of the daemon's memory, in MB.
func (t *tenant) memory(name string, figure *float64) error {
	text, err := os.ReadFile(t.proc("status"))
	if err == nil {
		*figure, err = parseMemory(string(text), name)
	}
	return err
}
