package archive

import (
	"bytes"
	"io"
	"os"
)

// spoolMemory is how much of a file is kept in memory before it goes to disk.
const spoolMemory = 256 << 10

// spool holds a decoded file for reading at any place: in memory, or past
// spoolMemory in a file that has no name any more.
type spool struct {
	io.ReaderAt
	size int64
	file *os.File // nil when in memory
}

// newSpool reads r to its end. What fits is in memory, which is used anew; a file is made
// in dir. When r fails, what came before stands in the spool; it is nil only when there
// was no room to keep it.
func newSpool(r io.Reader, dir string, memory *bytes.Buffer) (*spool, error) {
	memory.Reset()
	memory.Grow(spoolMemory + bytes.MinRead)
	kept, err := io.CopyN(memory, r, spoolMemory)
	if err != nil {
		if err == io.EOF {
			err = nil
		}
		return &spool{ReaderAt: bytes.NewReader(memory.Bytes()), size: kept}, err
	}
	file, err := os.CreateTemp(dir, "coexistd-attachment-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		_, err = file.Write(memory.Bytes())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	rest, err := io.Copy(file, r)
	return &spool{ReaderAt: file, size: kept + rest, file: file}, err
}

func (f *spool) close() {
	if f.file != nil {
		f.file.Close()
	}
}
