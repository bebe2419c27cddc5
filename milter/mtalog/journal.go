package mtalog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// longestEntry bounds an entry of the journal, in bytes, and mostEntries those that are
	// taken together.
	longestEntry = 64 << 10
	mostEntries  = 1000
	// gatherTime is how long an entry waits for others to be taken with it.
	gatherTime = 200 * time.Millisecond
	// startTime is how long journalctl may take to say what is wrong.
	startTime = 10 * time.Second
	// mostComplaint bounds what is kept of journalctl's complaints.
	mostComplaint = 1 << 10
)

// entry is an entry of the journal, as journalctl writes it. A text that is no UTF-8 is a list
// of numbers, and one that is too long is null.
type entry struct {
	Cursor     string          `json:"__CURSOR"`
	Time       string          `json:"__REALTIME_TIMESTAMP"` // in microseconds since 1970
	Identifier json.RawMessage `json:"SYSLOG_IDENTIFIER"`
	Message    json.RawMessage `json:"MESSAGE"`
}

// followJournal has journalctl follow the journal, until it ends.
func (f *Follower) followJournal(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(ctx, "journalctl", f.journalArguments()...)
	complaint := &firstBytes{}
	command.Stderr = complaint
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("the journal cannot be read: there is no program journalctl on this host; name the file of the MTA's log in mta_log")
	}
	if err != nil {
		return fmt.Errorf("the journal cannot be read: %w", err)
	}
	// One that has nothing to complain of at once reads the journal, even if that is empty.
	well := time.AfterFunc(startTime, func() { f.note(nil) })
	err = f.readJournal(ctx, output)
	well.Stop()
	cancel()
	if ended := command.Wait(); err == nil {
		err = fmt.Errorf("journalctl has ended: %w", errors.Join(ended, io.ErrUnexpectedEOF))
	}
	said := complaint.String()
	if said != "" {
		err = fmt.Errorf("%w; it says: %s", err, said)
	}
	if strings.Contains(said, "cursor") {
		// The entry is gone, and journalctl finds no way on from it.
		f.lose()
		f.position.Cursor = ""
	}
	if strings.Contains(said, "permission") {
		err = fmt.Errorf("%w; put the user of coexistd into the group systemd-journal, and restart it", err)
	}
	return err
}

// journalArguments ask for all entries of the facility mail from the position on.
func (f *Follower) journalArguments() []string {
	arguments := []string{"--output=json", "--output-fields=SYSLOG_IDENTIFIER,MESSAGE", "--follow", "--no-tail", "--quiet"}
	if f.position.Cursor != "" {
		arguments = append(arguments, "--after-cursor="+f.position.Cursor)
	} else {
		since := time.Now().Add(-f.options.Since)
		if f.position.Time.After(since) {
			since = f.position.Time
		}
		arguments = append(arguments, "--since=@"+strconv.FormatInt(since.Unix(), 10))
	}
	return append(arguments, "SYSLOG_FACILITY=2")
}

// readJournal takes the entries that journalctl writes, until it ends.
func (f *Follower) readJournal(ctx context.Context, output io.Reader) error {
	entries, failed := make(chan entry, mostEntries), make(chan error, 1)
	go func() {
		defer close(entries)
		failed <- readEntries(ctx, output, entries)
	}()
	for first := range entries {
		if err := f.takeEntries(ctx, gather(first, entries)); err != nil {
			return err
		}
	}
	return <-failed
}

// gather returns an entry with those that follow it soon.
func gather(first entry, more <-chan entry) []entry {
	list := []entry{first}
	patience := time.NewTimer(gatherTime)
	defer patience.Stop()
	for len(list) < mostEntries {
		select {
		case one, ok := <-more:
			if !ok {
				return list
			}
			list = append(list, one)
		case <-patience.C:
			return list
		}
	}
	return list
}

func (f *Follower) takeEntries(ctx context.Context, list []entry) error {
	var lines []Line
	at := f.position
	for _, one := range list {
		micros, err := strconv.ParseInt(one.Time, 10, 64)
		if err != nil || one.Cursor == "" {
			continue
		}
		at = Position{Cursor: one.Cursor, Time: time.UnixMicro(micros)}
		if program, text := textOf(one.Identifier), textOf(one.Message); program != "" && text != "" && len(text) <= longestLine {
			lines = append(lines, Line{Time: at.Time, Program: program, Text: text})
		}
	}
	return f.take(ctx, lines, at)
}

// readEntries reads the entries, one a line. One that is too long is left out.
func readEntries(ctx context.Context, output io.Reader, entries chan<- entry) error {
	in := bufio.NewReaderSize(output, longestEntry)
	for {
		text, err := in.ReadSlice('\n')
		whole := err == nil
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("what journalctl writes cannot be read: %w", err)
		}
		var one entry
		if !whole || json.Unmarshal(text, &one) != nil {
			continue
		}
		select {
		case entries <- one:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// textOf is the text of a field; empty: it has none.
func textOf(field json.RawMessage) string {
	var text string
	if json.Unmarshal(field, &text) == nil {
		return text
	}
	var numbers []int
	if json.Unmarshal(field, &numbers) != nil {
		return ""
	}
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return string(b)
}

// firstBytes keeps the beginning of what is written to it.
type firstBytes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (k *firstBytes) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.b.Write(p[:min(len(p), max(0, mostComplaint-k.b.Len()))])
	return len(p), nil
}

func (k *firstBytes) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.TrimSpace(k.b.String())
}
