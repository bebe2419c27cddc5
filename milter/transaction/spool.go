package transaction

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// SpoolMemory is how much of a body is held in memory; what is longer goes to
	// a file in pieces of this size.
	SpoolMemory = 256 << 10
	// keptMemory is how much of that a session keeps for its next message.
	keptMemory = 32 << 10
)

// spool holds a message's body as the MTA gave it. The zero value is an empty
// one. Its file has no name, so that nothing is left of it when the process ends.
type spool struct {
	memory []byte   // what comes after the file's content
	file   *os.File // nil while the body is short
	inFile int64
	err    error // why the body is not whole
}

// read takes a piece of the body, which next appends to what it is given. An error is that
// of next; what goes wrong with the file in dir is noted in s.err, and the rest of the
// body is not kept.
func (s *spool) read(next func(b []byte) ([]byte, error), dir string) error {
	var err error
	if s.memory, err = next(s.memory); err != nil {
		return err
	}
	switch {
	case s.err != nil:
		s.memory = s.memory[:0]
	case len(s.memory) >= SpoolMemory:
		if s.err = s.spill(dir); s.err != nil {
			s.memory = nil
		}
	}
	return nil
}

// spill moves what is in memory to the file.
func (s *spool) spill(dir string) error {
	if s.file == nil {
		file, err := os.CreateTemp(dir, "body-")
		if err != nil {
			return fmt.Errorf("the message cannot be put into a temporary file: %w", err)
		}
		s.file = file
		if err := os.Remove(file.Name()); err != nil {
			return fmt.Errorf("the temporary file of a message cannot be unlinked: %w", err)
		}
	}
	n, err := s.file.WriteAt(s.memory, s.inFile)
	if err != nil {
		return fmt.Errorf("the message cannot be put into a temporary file: %w", err)
	}
	s.inFile += int64(n)
	s.memory = s.memory[:0]
	return nil
}

func (s *spool) size() int64 { return s.inFile + int64(len(s.memory)) }

// ReadAt reads the body (io.ReaderAt). Any number of goroutines may call it
// once the body has come.
func (s *spool) ReadAt(p []byte, off int64) (n int, err error) {
	if off < s.inFile {
		want := p[:min(int64(len(p)), s.inFile-off)]
		if n, err = s.file.ReadAt(want, off); n < len(want) {
			return n, errors.Join(errors.New("the temporary file of a message is cut short"), err)
		}
	}
	if n < len(p) {
		n += copy(p[n:], s.memory[min(off+int64(n)-s.inFile, int64(len(s.memory))):])
	}
	return n, nil
}

// reset makes room for the next message. A large one's memory is given back.
func (s *spool) reset() {
	if s.file != nil {
		s.file.Close()
	}
	memory := s.memory[:0]
	if cap(memory) > keptMemory {
		memory = nil
	}
	*s = spool{memory: memory}
}

// content is a whole message: its header, written as on the wire (RFC 5322
// section 2.1), and its body.
type content struct {
	head []byte
	body *spool
}

func (c *content) size() int64 { return int64(len(c.head)) + c.body.size() }

// ReadAt reads the message (io.ReaderAt). Any number of goroutines may call it.
func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("a message has no content before its begin")
	}
	whole := c.size()
	want := p[:max(0, min(int64(len(p)), whole-off))]
	if off < int64(len(c.head)) {
		n = copy(want, c.head[off:])
	}
	if n < len(want) {
		var m int
		m, err = c.body.ReadAt(want[n:], off+int64(n)-int64(len(c.head)))
		n += m
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
