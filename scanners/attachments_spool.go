package scanners

import (
	"bytes"
	"io"
	"os"
	"slices"
)

// spoolMemory is how much of a file is kept in memory before it goes to disk.
const spoolMemory = 256 << 10

// fileSpool holds a decoded file for reading at any place: in memory, or past
// spoolMemory in a file that has no name any more.
type fileSpool struct {
	io.ReaderAt
	size int64
	file *os.File // nil when in memory
}

// spoolFile reads r to its end. memory is used as far as it goes, which is given
// back grown. A file is made in dir. When r fails, what came before stands in the
// spool; it is nil only when there was no room to keep it.
func spoolFile(r io.Reader, dir string, memory *[]byte) (*fileSpool, error) {
	kept := (*memory)[:0]
	defer func() { *memory = kept }()
	for len(kept) < spoolMemory {
		kept = slices.Grow(kept, min(max(len(kept), 16<<10), spoolMemory-len(kept)))
		n, err := r.Read(kept[len(kept):min(cap(kept), spoolMemory)])
		kept = kept[:len(kept)+n]
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return &fileSpool{ReaderAt: bytes.NewReader(kept), size: int64(len(kept))}, err
		}
	}
	file, err := os.CreateTemp(dir, "coexistd-attachment-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Write(kept); err != nil {
		file.Close()
		return nil, err
	}
	// What is in the file needs the memory no more: it serves as the buffer.
	rest, err := io.CopyBuffer(onlyWriter{file}, onlyReader{r}, kept[:64<<10])
	return &fileSpool{ReaderAt: file, size: int64(len(kept)) + rest, file: file}, err
}

// onlyReader and onlyWriter hide what would let a copy go round its buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func (f *fileSpool) close() {
	if f.file != nil {
		f.file.Close()
	}
}
