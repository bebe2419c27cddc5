package archive

import (
	"bytes"
	"encoding/binary"
	"io"
)

// sevenZip is a 7z archive, of which is looked whether its header names the coder of its
// encryption. The header itself is compressed, as a rule, so names and files
// cannot be read; where the files only are encrypted that stays unseen with it.
type sevenZip struct {
	file   *spool
	budget *Budget
}

// Next returns ErrSealed or io.EOF.
func (s *sevenZip) Next() (*Entry, error) {
	const aes = "\x06\xf1\x07\x01"
	var start [32]byte
	if _, err := s.file.ReadAt(start[:], 0); err != nil {
		s.budget.Short("the 7z archive is broken")
		return nil, io.EOF
	}
	offset, size := binary.LittleEndian.Uint64(start[12:]), binary.LittleEndian.Uint64(start[20:])
	behind := uint64(s.file.size) - uint64(len(start))
	if offset > behind || size > behind-offset {
		s.budget.Short("the 7z archive is broken")
		return nil, io.EOF
	}
	header := make([]byte, min(size, 1<<20))
	if n, _ := s.file.ReadAt(header, int64(len(start))+int64(offset)); n < len(header) {
		s.budget.Short("the 7z archive is broken")
		return nil, io.EOF
	}
	if bytes.Contains(header, []byte(aes)) {
		return nil, ErrSealed
	}
	return nil, io.EOF
}
