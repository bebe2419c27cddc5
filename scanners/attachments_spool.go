package scanners

import (
	"bytes"
	"io"
	"os"
)

// spoolMemory is how much of a file is kept in memory before it goes to disk.
const spoolMemory = 1 << 20

// fileSpool holds a decoded file for reading at any place: in memory, or past
// spoolMemory in a file that has no name any more.
type fileSpool struct {
	io.ReaderAt
	size int64
	file *os.File // nil when in memory
}

// spoolFile reads r to its end. A file is made in dir. When r fails, what came
// before stands in the spool; it is nil only when there was no room to keep it.
func spoolFile(r io.Reader, dir string) (*fileSpool, error) {
	var memory bytes.Buffer
	n, err := memory.ReadFrom(io.LimitReader(r, spoolMemory))
	if err != nil || n < spoolMemory {
		return &fileSpool{ReaderAt: bytes.NewReader(memory.Bytes()), size: n}, err
	}
	file, err := os.CreateTemp(dir, "coexistd-attachment-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Write(memory.Bytes()); err != nil {
		file.Close()
		return nil, err
	}
	rest, err := io.Copy(file, onlyReader{r})
	return &fileSpool{ReaderAt: file, size: n + rest, file: file}, err
}

// onlyReader hides WriteTo, so that each piece goes through one Read.
type onlyReader struct{ io.Reader }

func (f *fileSpool) close() {
	if f.file != nil {
		f.file.Close()
	}
}
