package scantest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// Content is a message's content that sees to it that nobody reads it after the
// scan.
type Content struct {
	Text   string
	Size   int64  // what the message says of it
	Fails  int64  // from where on it cannot be read; -1: nowhere
	OnRead func() // called by every read
	closed atomic.Bool
}

// Text is the content that can be read.
func Text(s string) *Content { return &Content{Text: s, Size: int64(len(s)), Fails: -1} }

// Long is that message with a body of some MB.
func Long(s string) string { return s + strings.Repeat("And so on, and so on.\r\n", 400_000) }

var errUnreadable = errors.New("the disk has gone")

// ReadAt is that of io.ReaderAt.
func (c *Content) ReadAt(p []byte, at int64) (int, error) {
	if c.closed.Load() {
		panic("the content is read after the scan")
	}
	if c.OnRead != nil {
		c.OnRead()
	}
	if c.Fails >= 0 && at+int64(len(p)) > c.Fails {
		n := copy(p, c.Text[min(at, c.Fails):c.Fails])
		return n, errUnreadable
	}
	return strings.NewReader(c.Text).ReadAt(p, at)
}

// Message makes a message of which nothing but the content is known.
func Message(content string) *scanners.Message {
	return &scanners.Message{Content: strings.NewReader(content), Size: int64(len(content))}
}

// Scan has the content scanned, with all the time that this may take.
func Scan(t *testing.T, s scanners.Scanner, c *Content) verdict.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	return ScanWith(ctx, t, s, c)
}

// ScanWith has the content scanned until ctx ends.
func ScanWith(ctx context.Context, t *testing.T, s scanners.Scanner, c *Content) verdict.Finding {
	t.Helper()
	defer c.closed.Store(true)
	return s.Scan(ctx, &scanners.Message{
		Content: c, Size: c.Size, Sender: "a@acmecorp.com", Recipients: []string{"b@acmecorp.com"},
	})
}

// Want holds the finding to what every finding of the scanner must be, and to the state.
func Want(t *testing.T, s scanners.Scanner, f verdict.Finding, state verdict.State) verdict.Finding {
	t.Helper()
	if f.Check != s.Check() || f.State != state {
		t.Errorf("found %v, want %s %v", f, s.Check(), state)
	}
	if (f.Reasons.String() == "") != (f.State == verdict.Clean) {
		t.Errorf("a finding that is %v has the reason %q", f.State, f.Reasons.String())
	}
	return f
}
