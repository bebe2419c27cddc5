package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// logSocket is where Postfix's processes send each line of their log, below
// the queue directory. Postfix's own server for it, postlogd, is started by
// the master process and so misses why that one could not start.
const logSocket = "public/postlog"

// What we send into the socket ourselves: endOfLog follows the last line, and a number
// follows markOfLog.
const (
	endOfLog  = "\x00end"
	markOfLog = "\x00mark"
)

// logbook keeps the lines of an instance's log and wakes who waits for one.
type logbook struct {
	socket net.PacketConn

	mu      sync.Mutex
	lines   []string
	partial []byte
	copy    *os.File // gets each line; nil: nobody wants one
	closed  bool
	sent    int           // the last mark that was sent
	passed  int           // the last mark that was read
	changed chan struct{} // closed and replaced at each change
}

var errLogEnded = errors.New("the MTA has ended")

func newLogbook() *logbook { return &logbook{changed: make(chan struct{})} }

// listen opens the socket.
func (b *logbook) listen(path string) error {
	socket, err := net.ListenPacket("unixgram", path)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	b.socket = socket
	if err := os.Chmod(path, 0o666); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// copyTo has each line written to a file, too.
func (b *logbook) copyTo(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copy = file
	return nil
}

// open begins a log, or goes on with one that has ended.
func (b *logbook) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
}

// read takes in what comes over the socket until finish is called.
func (b *logbook) read() {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := b.socket.ReadFrom(buf)
		if err != nil || string(buf[:n]) == endOfLog {
			break
		}
		if mark, isMark := strings.CutPrefix(string(buf[:n]), markOfLog); isMark {
			b.pass(mark)
			continue
		}
		b.Write(append(buf[:n:n], '\n'))
	}
	b.end()
}

func (b *logbook) pass(mark string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	number, _ := strconv.Atoi(mark)
	b.passed = max(b.passed, number)
	b.wake()
}

// catchUp returns when all was read that Postfix has sent so far, or when the log has
// ended.
func (b *logbook) catchUp(ctx context.Context) error {
	b.mu.Lock()
	b.sent++
	mark := b.sent
	b.mu.Unlock()
	failed := b.send(markOfLog + strconv.Itoa(mark))
	for {
		b.mu.Lock()
		done, more := b.closed || b.passed >= mark, b.changed
		b.mu.Unlock()
		switch {
		case done:
			return nil
		case failed != nil:
			return fmt.Errorf("lab: %w", failed)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end says that no more lines will come, until the log is opened again.
func (b *logbook) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wake()
}

// finish has read return once it has all that was sent before; at once where
// the socket is no longer there.
func (b *logbook) finish() {
	if err := b.send(endOfLog); err != nil {
		b.socket.Close()
	}
}

// send puts a text of ours behind what Postfix has sent.
func (b *logbook) send(text string) error {
	conn, err := net.Dial("unixgram", b.socket.LocalAddr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(text))
	return err
}

// Write takes what Postfix says, on its standard output too.
func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.partial = append(b.partial, p...)
	for {
		line, rest, whole := bytes.Cut(b.partial, []byte("\n"))
		if !whole {
			break
		}
		b.lines = append(b.lines, string(line))
		if b.copy != nil {
			b.copy.Write(append(line[:len(line):len(line)], '\n'))
		}
		b.partial = append([]byte(nil), rest...)
	}
	b.wake()
	return len(p), nil
}

func (b *logbook) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *logbook) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines)
}

// since returns the lines from number n on, and a channel that is closed when
// there are more. The channel is nil when there will be none.
func (b *logbook) since(n int) ([]string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.lines[n:], nil
	}
	return b.lines[n:], b.changed
}

// wait returns the first line from number n on that matches.
func (b *logbook) wait(ctx context.Context, n int, re *regexp.Regexp) (string, error) {
	for {
		lines, more := b.since(n)
		for _, line := range lines {
			if re.MatchString(line) {
				return line, nil
			}
		}
		n += len(lines)
		if more == nil {
			return "", errLogEnded
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// waitLine is wait from the first line on, with an error that has the last lines.
func (b *logbook) waitLine(ctx context.Context, re *regexp.Regexp) (string, error) {
	line, err := b.wait(ctx, 0, re)
	if err != nil {
		const tail = 20
		last, _ := b.since(max(0, b.len()-tail))
		return "", fmt.Errorf("lab: nothing in the MTA's log matches %q: %w; its last lines: %q", re, err, last)
	}
	return line, nil
}

// somethingHappens returns when there is another line behind the first seen ones of the
// log, or soon: whatever leaves the queue is logged, but what pickup has handed on leaves
// maildrop behind that, and at times behind the last line of all.
func (b *logbook) somethingHappens(ctx context.Context, seen int) error {
	const soon = 100 * time.Millisecond
	some, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	_, err := b.wait(some, seen, anyLine)
	if err != nil && ctx.Err() == nil && some.Err() != nil {
		return nil
	}
	return err
}

var anyLine = regexp.MustCompile("")

// String is the whole log.
func (b *logbook) String() string {
	lines, _ := b.since(0)
	var s bytes.Buffer
	for _, line := range lines {
		s.WriteString(line + "\n")
	}
	return s.String()
}
