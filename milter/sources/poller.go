package sources

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/directory"
)

// Polling is what a Poller goes by.
type Polling struct {
	// Name is the source's, and Copy directory.Source.Copy of its list.
	Name, Copy string
	// Columns are the further columns of its rows, in lower case.
	Columns []string
	// Domains are those whose addresses the Reader gives, by their normal forms.
	Domains []string
	// Interval is how often the source is asked whether something has changed, and
	// FullInterval how often it is read in any case.
	Interval, FullInterval time.Duration
	// FullTimeout bounds the reading of the whole list: a server that gives row after row, each
	// in time, may yet never come to an end.
	FullTimeout time.Duration
}

// Poller asks a source outside this host for its list, time and again, and leaves each new
// one in a file, for Directories.Poll to judge. What it saw last it keeps beside it, for the
// next start.
type Poller struct {
	Polling
	open   func() (Reader, error)
	reader Reader // nil until open has made it
	log    *slog.Logger
	copies copies

	// Of the one goroutine that runs.
	kept    kept
	unsaved bool // kept is not what the next start would find

	mu    sync.Mutex
	state State
}

// kept is what the next start is to know.
type kept struct {
	Mark Mark   `json:"mark"` // that of the list that was read last
	Seen Mark   `json:"seen"` // what each server's counters were last
	Sum  string `json:"-"`    // the digest of that list; what became of its file before this start, nobody knows
	Back bool   `json:"back"` // it was left as one of an earlier time
	// Onward is set when the source went back and on from there, and no list from then on has
	// been taken.
	Onward bool `json:"onward,omitempty"`
	// BackSum is then its digest, by which it is known when it has been taken.
	BackSum string    `json:"back_sum,omitempty"`
	Read    time.Time `json:"read"`
	Rows    int       `json:"rows"`
}

// State is what is known of a source.
type State struct {
	// Read is when the list was read last, with so many Rows, and Asked when the source
	// last said that nothing has changed since, or gave a list.
	Read, Asked time.Time
	Rows        int
	// Failed is why the source cannot be read, in its own words, since the time Since. It
	// is empty when the last attempt succeeded.
	Failed string
	Since  time.Time
	// Reading is when the reading of the whole list began that is under way; zero: none is.
	Reading time.Time
	// Waits is set while the source is not asked, since who asked before has not ended.
	Waits bool
}

// NewPoller returns a Poller, which does nothing before Run. It has open make the Reader, time
// and again until it can.
func NewPoller(p Polling, open func() (Reader, error), log *slog.Logger) *Poller {
	return &Poller{Polling: p, open: open, log: log, copies: copies{path: p.Copy}}
}

// State tells what is known of the source.
func (p *Poller) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Run polls until the context ends, and closes the Reader. It begins when before is closed,
// which tells that another Poller of the same copies has ended; nil: there was none.
func (p *Poller) Run(ctx context.Context, before <-chan struct{}) {
	defer p.close()
	if before != nil {
		p.waits(true)
		<-before
		p.waits(false)
	}
	if err := p.recall(); err != nil {
		p.log.Warn("what was known of a source cannot be read: it is read anew", "source", p.Name, "error", err)
	}
	again := time.NewTicker(p.Interval)
	defer again.Stop()
	full := time.Time{} // a restart may have missed what went
	for ctx.Err() == nil {
		if p.poll(ctx, &full) {
			p.succeeded()
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

// poll asks once. Full is when the list was read last.
func (p *Poller) poll(ctx context.Context, full *time.Time) (ok bool) {
	// What a server says is a stranger's, and mail goes on by the last list.
	defer func() {
		if wrong := recover(); wrong != nil {
			p.log.Error("reading a source has failed in an unforeseen way", "source", p.Name, "panic", wrong, "stack", string(debug.Stack()))
			p.failed(fmt.Errorf("unforeseen: %v", wrong))
			ok = false
		}
	}()
	err := p.ask(ctx, full)
	if err != nil && ctx.Err() == nil {
		p.failed(err)
	}
	return err == nil
}

// ask asks the source whether something has changed, and reads the list if that may be.
func (p *Poller) ask(ctx context.Context, full *time.Time) (err error) {
	if p.reader == nil {
		if p.reader, err = p.open(); err != nil {
			return err
		}
	}
	mark, err := p.reader.Mark(ctx)
	if err != nil {
		return err
	}
	if mark.Same(p.kept.Mark) && time.Since(*full) < p.FullInterval {
		return p.remember()
	}
	begun := time.Now()
	if err := p.read(ctx, mark); err != nil {
		return err
	}
	*full = begun
	return nil
}

func (p *Poller) close() {
	if p.reader != nil {
		p.reader.Close()
	}
}

// errSlow ends the reading of a list.
var errSlow = errors.New("the time for the whole list is over")

// fetch writes the list to a file, in the time that it may take.
func (p *Poller) fetch(ctx context.Context) (sum string, rows int, err error) {
	p.reading(time.Now())
	defer p.reading(time.Time{})
	bounded, cancel := context.WithTimeoutCause(ctx, p.FullTimeout, errSlow)
	defer cancel()
	sum, rows, err = p.write(bounded, p.Copy+part)
	if err != nil && context.Cause(bounded) == errSlow {
		err = fmt.Errorf("its list did not come whole within full_timeout, %s: of it came %d rows; see whether the server is overloaded, or allow it more time: %w", p.FullTimeout, rows, err)
	}
	return sum, rows, err
}

func (p *Poller) waits(so bool) {
	p.mu.Lock()
	p.state.Waits = so
	p.mu.Unlock()
}

// reading says since when the list is being read.
func (p *Poller) reading(since time.Time) {
	p.mu.Lock()
	p.state.Reading = since
	p.mu.Unlock()
}

// read reads the list, and leaves it to be judged if it is another than the last.
func (p *Poller) read(ctx context.Context, mark Mark) error {
	defer p.copies.remove(part) //nolint:errcheck // What was not moved is written over.
	sum, rows, err := p.fetch(ctx)
	if err != nil {
		return err
	}
	last := p.kept
	p.kept = p.follows(mark, sum)
	p.kept.Read, p.kept.Rows = time.Now(), rows
	other := sum != last.Sum || p.kept.ending() != last.ending()
	if other {
		if err := p.copies.flush(part); err != nil {
			p.kept = last
			return fmt.Errorf("its list cannot be kept: %w", err)
		}
	}
	// A start that finds the list without what is known of it would take a restored backup
	// for news. But a full disk must not keep a list from being judged that is on it.
	p.unsaved = true
	unsaved := p.remember()
	if other {
		if err := p.copies.leave(p.kept.ending()); err != nil {
			p.kept, p.unsaved = last, true
			return fmt.Errorf("its list cannot be kept: %w", err)
		}
	}
	return unsaved
}

// oneLine keeps a stranger's line break from making a row of its own.
var oneLine = strings.NewReplacer("\n", `\n`, "\r", `\r`)

// write writes the source's rows to a file, and returns a digest of them.
func (p *Poller) write(ctx context.Context, path string) (sum string, rows int, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", 0, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	digest := sha256.New()
	buffer := bufio.NewWriterSize(io.MultiWriter(file, digest), 256<<10)
	table := csv.NewWriter(buffer)
	// A write that fails, and all after it, is told by Error.
	_ = table.Write(slices.Concat([]string{"address", "residence", "login", "target", "kind", "origin"}, p.Columns, []string{coverageColumn(p.Name, p.Domains)}))
	var fields []string
	size := 0
	err = p.reader.Read(ctx, func(r Row) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fields = append(fields[:0], r.Address, r.Residence, r.Login, r.Target, r.Kind, r.Origin)
		for _, column := range p.Columns {
			fields = append(fields, r.Further[column])
		}
		fields = append(fields, "") // of coverageColumn
		for i, field := range fields {
			fields[i] = oneLine.Replace(field)
			size += len(fields[i]) + len(",")
		}
		if rows++; size > directory.MaxSize {
			return fmt.Errorf("its list is larger than %d MiB", directory.MaxSize>>20)
		}
		_ = table.Write(fields)
		return table.Error()
	})
	table.Flush()
	return hex.EncodeToString(digest.Sum(nil)), rows, errors.Join(err, table.Error(), buffer.Flush())
}

// failed keeps why the source cannot be read, and says it once, whatever port the
// connection came from.
func (p *Poller) failed(err error) {
	p.mu.Lock()
	before := p.state.Failed
	p.state.Failed = err.Error()
	if before == "" {
		p.state.Since = time.Now()
	}
	p.mu.Unlock()
	if fromPort.ReplaceAllString(before, "") != fromPort.ReplaceAllString(err.Error(), "") {
		what := "a source cannot be read: its last list stays"
		if p.kept.Read.IsZero() {
			what = "a source cannot be read, and there is no list of it from before"
		}
		p.log.Error(what, "source", p.Name, "error", err)
	}
}

// fromPort is where a connection came from, in the words of package net.
var fromPort = regexp.MustCompile(`\S+:\d+->`)

func (p *Poller) succeeded() {
	p.mu.Lock()
	before := p.state.Failed
	p.state = State{Read: p.kept.Read, Asked: time.Now(), Rows: p.kept.Rows}
	p.mu.Unlock()
	if before != "" {
		p.log.Info("a source can be read again", "source", p.Name)
	}
}

// recall reads what was known before this start.
func (p *Poller) recall() error {
	text, _, err := files.Read(p.Copy+memory, 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return err
	}
	p.kept = k
	p.mu.Lock()
	p.state.Read, p.state.Rows = k.Read, k.Rows
	p.mu.Unlock()
	return nil
}

// remember keeps what the next start is to know, where that is not done yet.
func (p *Poller) remember() error {
	if !p.unsaved {
		return nil
	}
	text, err := json.Marshal(p.kept)
	if err == nil {
		err = p.copies.save(memory, text)
	}
	if err != nil {
		return fmt.Errorf("its state cannot be kept: %w", err)
	}
	p.unsaved = false
	return nil
}
