// Command bench measures coexistd beside a C milter on libmilter, straight on
// the milter protocol over unix sockets, in one run.
//
// It plays the MTA as Postfix 3.7 does, and at its end as Sendmail 8.17 does, over a
// unix socket and over TCP. It lets both sides do the same job:
// look a recipient up in a directory of 100,000 addresses, count the trace
// headers, and rewrite the recipient to the platform's alternate domain. Every
// answer is checked; a wrong one ends the benchmark. The runs alternate, so
// that a machine whose speed wanders treats both alike, and a ratio compares a
// run of the C milter with the runs of coexistd just before and just after it.
// The MTA's own work is part of every message and the same for both, which
// brings the ratios of messages a second nearer to 1; processor time is that
// of the milter's process alone.
//
// With -flood it measures instead what a flood of connections does to the others:
// see flood.go. With -directories it measures what a list of a million addresses costs, on
// real servers: see directories.go. With -index it measures what the records of messages
// cost: see messages.go.
//
// Run it in the repository's root: go run ./contrib/bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// settings are the command line's.
type settings struct {
	rounds      int
	seconds     float64
	connections int
	messages    int    // on one connection, then the MTA reconnects
	program     string // a built coexistd; empty: build it
	flood       bool   // measure a flood
	directories bool   // measure a large directory
	addresses   int    // that it has
	index       bool   // measure the records of messages
	records     int    // how many there are
}

// rival is one way to run the C milter, or coexistd itself over its unix socket.
type rival struct {
	option string
	name   string
}

var (
	sameJob  = rival{"", "C, the same job"}
	noReply  = rival{"-n", "C, the same job, asks for no-reply"}
	envelope = rival{"-e", "C, envelope only, no loop check"}
	content  = rival{"-b", "C, the same job, reads the body"}
	itself   = rival{"", "coexistd, over a unix socket"}
	// uncounted is coexistd whose configuration has no [metrics].
	uncounted = rival{"", "coexistd without metrics"}
	// unkept is one that keeps no records of messages, as in all trials that are not of them.
	unkept = rival{"", "coexistd without records"}
)

// trial is one kind of message with the rivals that are worth measuring there: a
// milter that declines the body does the same work at every size.
type trial struct {
	name string
	size int
	// checks has coexistd look at attachments, as it does when it is told
	// nothing; otherwise it reads no body. The message has one then. No other
	// check is made: those of the sender would measure the DNS.
	checks bool
	rivals []rival
	mta    *speaker
	tcp    bool // coexistd is spoken to over TCP
	counts bool // it has [metrics]
	keeps  bool // it keeps records of messages
}

var trials = []trial{
	{"4 KB", 4 << 10, false, []rival{sameJob, noReply, envelope}, postfix, false, false, false},
	{"100 KB", 100 << 10, false, []rival{sameJob}, postfix, false, false, false},
	{"5 MB", 5 << 20, false, []rival{sameJob}, postfix, false, false, false},
	{"4 KB, attachments checked", 4 << 10, true, []rival{sameJob, content}, postfix, false, false, false},
	{"100 KB, attachments checked", 100 << 10, true, []rival{content}, postfix, false, false, false},
	{"5 MB, attachments checked", 5 << 20, true, []rival{content}, postfix, false, false, false},
	{"4 KB, Sendmail", 4 << 10, false, []rival{sameJob}, sendmail, false, false, false},
	{"4 KB, Sendmail, TCP", 4 << 10, false, []rival{itself}, sendmail, true, false, false},
	{"4 KB, with metrics", 4 << 10, false, []rival{uncounted}, postfix, false, true, false},
	{"4 KB, with records", 4 << 10, false, []rival{unkept}, postfix, false, false, true},
	{"4 KB, attachments checked, with records", 4 << 10, true, []rival{unkept}, postfix, false, false, true},
	{"4 KB, attachments checked, with metrics", 4 << 10, true, []rival{uncounted}, postfix, false, true, false},
	{"4 KB, attachments checked, Sendmail, TCP", 4 << 10, true, []rival{itself}, sendmail, true, false, false},
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 11, "rounds a size")
	flag.Float64Var(&s.seconds, "seconds", 1.2, "length of one run")
	flag.IntVar(&s.connections, "connections", 8, "milter connections at once")
	flag.IntVar(&s.messages, "messages", 10, "messages on one connection")
	flag.StringVar(&s.program, "coexistd", "", "a built `program` to measure; empty: build ./cmd/coexistd")
	flag.BoolVar(&s.flood, "flood", false, "measure instead what a flood of connections does to the mail of others")
	flag.BoolVar(&s.directories, "directories", false, "measure instead what a large directory costs, by LDAP, SQL and CSV")
	flag.IntVar(&s.addresses, "addresses", 1_000_000, "how many it has")
	flag.BoolVar(&s.index, "index", false, "measure instead the records of messages: their size, what they cost, and searching them")
	flag.IntVar(&s.records, "records", 5_000_000, "how many there are")
	flag.Parse()
	if flag.NArg() > 0 || s.addresses < leastAddresses || s.records < searches || s.rounds < 1 || s.seconds <= 0 || s.connections < 1 || s.messages < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := bench
	switch {
	case s.flood:
		run = benchFlood
	case s.directories:
		run = benchDirectories
	case s.index:
		run = benchMessages
	}
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench prepares a folder with the programs and the directory, runs every
// trial there and prints the table.
func bench(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "coexistd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	load := loadAverage()
	if err := writeDirectory(filepath.Join(dir, "users.csv")); err != nil {
		return err
	}
	if err := errors.Join(buildSubject(ctx, dir, &s.program), buildPeer(ctx, dir)); err != nil {
		return err
	}
	var rows []row
	for _, t := range trials {
		fmt.Fprintf(os.Stderr, "bench: %s, %d rounds\n", t.name, s.rounds)
		more, err := s.try(ctx, dir, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		rows = append(rows, more...)
	}
	return writeReport(os.Stdout, s, load, rows)
}

// try runs one trial with fresh servers.
func (s settings) try(ctx context.Context, dir string, t trial) ([]row, error) {
	checks := ""
	if t.checks {
		checks = `"malware"`
	}
	more := ""
	if !t.keeps {
		more = keepsNothing
	}
	if t.counts {
		more += fmt.Sprintf("[metrics]\naddress = \"unix:%s\"\n", filepath.Join(dir, "metrics.sock"))
	}
	subject, err := startSubject(ctx, dir, s.program, checks, more)
	if err != nil {
		return nil, err
	}
	defer subject.stop()
	rivals, stop, err := s.startRivals(ctx, dir, t.rivals, subject, checks)
	defer stop()
	if err != nil {
		return nil, err
	}
	if t.tcp {
		subject.address = subject.tcp
	}
	m := newMessage(t.size, t.checks)
	for _, v := range append([]*server{subject}, rivals...) { // warm up
		if _, err := s.run(ctx, t.mta, v, m, 300*time.Millisecond); err != nil {
			return nil, err
		}
	}
	length := time.Duration(s.seconds * float64(time.Second))
	before, err := s.run(ctx, t.mta, subject, m, length)
	if err != nil {
		return nil, err
	}
	own, pairs := []sample{before}, make([][]pair, len(rivals))
	for range s.rounds {
		for i, v := range rivals {
			theirs, err := s.run(ctx, t.mta, v, m, length)
			if err != nil {
				return nil, err
			}
			after, err := s.run(ctx, t.mta, subject, m, length)
			if err != nil {
				return nil, err
			}
			pairs[i] = append(pairs[i], pair{before, theirs, after})
			own, before = append(own, after), after
		}
	}
	return s.rows(t, subject, rivals, own, pairs)
}

// startRivals starts those that are not the subject itself; another coexistd makes the same
// checks. stop ends them, however many were started.
func (s settings) startRivals(ctx context.Context, dir string, rivals []rival, subject *server, checks string) (servers []*server, stop func(), err error) {
	var started []*server
	stop = func() {
		for _, v := range started {
			v.stop()
		}
	}
	for _, r := range rivals {
		if r == itself {
			same := *subject
			servers = append(servers, &same)
			continue
		}
		start := func() (*server, error) { return startPeer(ctx, dir, r.option) }
		if r == uncounted || r == unkept {
			start = func() (*server, error) { return startUncounted(ctx, dir, s.program, checks) }
		}
		v, err := start()
		if err != nil {
			return nil, stop, err
		}
		started, servers = append(started, v), append(servers, v)
	}
	return servers, stop, nil
}

// sample is what one run measured.
type sample struct {
	rate float64 // messages a second
	cpu  float64 // microseconds of the milter's processor time a message
}

// run sends messages over all connections for the given time.
func (s settings) run(ctx context.Context, mta *speaker, v *server, m *message, length time.Duration) (sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cpuBefore, err := v.cpu()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	end := start.Add(length)
	counts := make([]int, s.connections)
	var clients sync.WaitGroup
	for i := range s.connections {
		clients.Go(func() {
			n, err := s.client(ctx, mta, v.address, m, uint64(i), end)
			if err != nil {
				cancel(fmt.Errorf("%s: %w", v.name, err))
			}
			counts[i] = n
		})
	}
	clients.Wait()
	elapsed := time.Since(start)
	if err := context.Cause(ctx); err != nil {
		return sample{}, errors.Join(err, v.lastWords())
	}
	cpuAfter, err := v.cpu()
	if err != nil {
		return sample{}, err
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	return sample{
		rate: float64(total) / elapsed.Seconds(),
		cpu:  float64((cpuAfter - cpuBefore).Microseconds()) / float64(total),
	}, v.emptyLog()
}

// client is one of the MTA's processes: it connects, sends some messages,
// quits and begins again until the time is up. It returns how many it sent.
func (s settings) client(ctx context.Context, way *speaker, address string, m *message, number uint64, end time.Time) (sent int, err error) {
	random := rand.New(rand.NewPCG(1, number))
	for ctx.Err() == nil && time.Now().Before(end) {
		mta, err := dial(way, address, usualClient)
		if err != nil {
			return sent, err
		}
		for range s.messages {
			if ctx.Err() != nil || !time.Now().Before(end) {
				break
			}
			id := fmt.Sprintf("4B%02X%07X", number, sent)
			local := cloudUser(random)
			if err := mta.send(m, id, "news@example.net", local+"@"+domain, local+"@"+alternate); err != nil {
				mta.conn.Close()
				return sent, err
			}
			sent++
		}
		if err := mta.quit(); err != nil {
			return sent, err
		}
	}
	return sent, nil
}
