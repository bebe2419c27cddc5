package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// brokenFile is a file that cannot be read behind its first bytes.
type brokenFile struct{ content []byte }

func (f brokenFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(f.content)) {
		return 0, errors.New("the disk is broken")
	}
	return copy(p, f.content[off:]), nil
}

func TestAZipArchiveThatCannotBeReadIsDoubtful(t *testing.T) {
	var doubts []string
	doubt := func(format string, args ...any) { doubts = append(doubts, fmt.Sprintf(format, args...)) }
	b := &Budget{Context: t.Context(), Left: 1 << 20, Doubt: doubt, Short: doubt}
	z := &zipReader{file: &spool{ReaderAt: brokenFile{bytes.Repeat([]byte("x"), 8<<10)}, size: 16 << 10}, budget: b, gaps: []zipExtent{{0, 16 << 10}}}
	if entry, err := z.Next(); err != io.EOF {
		t.Errorf("got %v and %v", entry, err)
	}
	if len(doubts) != 1 || !strings.Contains(doubts[0], "the disk is broken") {
		t.Errorf("the doubts are %q", doubts)
	}
}
