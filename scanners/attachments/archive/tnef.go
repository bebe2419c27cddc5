package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// errBroken says that a TNEF file is not as it should be.
var errBroken = errors.New("broken")

// tnefReader reads the attachments in an Exchange server's winmail.dat ([MS-OXTNEF]
// section 2.1): their names, short and long, and their content.
type tnefReader struct {
	r      io.Reader
	budget *Budget
	value  io.LimitedReader // of the attribute that was read last
	name   string           // of the file whose attributes are being read
	list   *mapiList        // the properties of that file that are being read, or nil
	err    error
}

func newTNEF(r io.Reader, b *Budget) *tnefReader {
	t := &tnefReader{r: r, budget: b}
	if _, err := io.ReadFull(r, make([]byte, 6)); err != nil { // its signature and a key
		t.err = errBroken
	}
	return t
}

// Next returns the next attribute that tells of a file: its name, or its content.
func (t *tnefReader) Next() (*Entry, error) {
	var entry *Entry
	for t.err == nil && entry == nil {
		entry, t.err = t.attribute()
	}
	switch t.err {
	case nil, io.EOF:
	default:
		t.budget.Short("the TNEF file is broken")
		t.err = io.EOF
	}
	return entry, t.err
}

// attribute reads the next attribute. The entry is nil when it tells of no file.
func (t *tnefReader) attribute() (*Entry, error) {
	const (
		attachBegins     = 0x00069002
		attachTitle      = 0x00018010
		attachData       = 0x0006800f
		attachProperties = 0x00069005
	)
	if t.list != nil {
		entry, err := t.list.next(t.name)
		if err == io.EOF {
			t.list, err = nil, nil
		}
		return entry, err
	}
	if t.value.R != nil {
		if _, err := io.CopyN(io.Discard, t.r, t.value.N+2); err != nil { // its rest, and a checksum
			return nil, errBroken
		}
	}
	var head [9]byte
	if _, err := io.ReadFull(t.r, head[:]); err == io.ErrUnexpectedEOF {
		return nil, io.EOF // some programs put a line's end behind the last one
	} else if err != nil {
		return nil, err
	}
	if head[0] != 1 && head[0] != 2 {
		return nil, errBroken
	}
	t.value = io.LimitedReader{R: t.r, N: int64(binary.LittleEndian.Uint32(head[5:]))}
	switch binary.LittleEndian.Uint32(head[1:]) {
	case attachBegins:
		t.name = ""
	case attachProperties:
		t.list = newMAPIList(&t.value)
	case attachTitle:
		name, err := io.ReadAll(io.LimitReader(&t.value, 4<<10))
		if err != nil {
			return nil, err
		}
		t.name = string(bytes.TrimRight(name, "\x00"))
		return &Entry{Names: []string{t.name}}, nil
	case attachData:
		return &Entry{Names: []string{t.name}, IsRenamed: true, Content: &t.value}, nil
	}
	return nil, nil
}
