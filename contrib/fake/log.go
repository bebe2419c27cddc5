// Package fake has what tests put in the place of a log and of a clock.
package fake

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for a line. Only what hangs takes so long, on a
// machine that does other things as well.
const patience = 5 * time.Minute

// Log keeps what is logged, of level INFO and above, for a test to read or to wait for.
// Its Logger is for what is tested. It may be used side by side.
type Log struct {
	*slog.Logger

	mu      sync.Mutex
	text    bytes.Buffer
	objects bytes.Buffer  // the same lines, as JSON
	changed chan struct{} // closed and replaced at each line
}

// NewLog makes a Log that has no line yet.
func NewLog() *Log {
	l := &Log{changed: make(chan struct{})}
	l.Logger = slog.New(slog.NewMultiHandler(
		slog.NewJSONHandler(part{l, &l.objects}, nil),
		slog.NewTextHandler(part{l, &l.text}, nil)))
	return l
}

// part is one of the two buffers of a Log.
type part struct {
	log *Log
	to  *bytes.Buffer
}

func (p part) Write(line []byte) (int, error) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	close(p.log.changed)
	p.log.changed = make(chan struct{})
	return p.to.Write(line)
}

// String returns the lines as slog's TextHandler writes them.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Take returns the lines since the last call, which are then forgotten.
func (l *Log) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	defer l.objects.Reset()
	return l.text.String()
}

// Count is how often the lines say something.
func (l *Log) Count(what string) int { return strings.Count(l.String(), what) }

// Lines returns the lines with a message as their keys and values.
func (l *Log) Lines(message string) []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for text := range bytes.Lines(l.objects.Bytes()) {
		var line map[string]any
		if json.Unmarshal(text, &line) == nil && line[slog.MessageKey] == message {
			found = append(found, line)
		}
	}
	return found
}

// Wait returns the log once it says something, and ends the test when it does not.
func (l *Log) Wait(t testing.TB, what string) string {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		text, changed := l.text.String(), l.changed
		l.mu.Unlock()
		if strings.Contains(text, what) {
			return text
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("the log does not say %q:\n%s", what, text)
		}
	}
}
