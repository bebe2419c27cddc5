package archive

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
)

// The properties of an attachment that tell of its file ([MS-OXPROPS]), and the types of
// properties ([MS-OXCDATA] section 2.11.1).
const (
	mapiDisplayName = 0x3001
	mapiData        = 0x3701
	mapiName        = 0x3704
	mapiLongName    = 0x3707

	mapiObject   = 0x000d
	mapiString8  = 0x001e
	mapiUnicode  = 0x001f
	mapiBinary   = 0x0102
	mapiMultiple = 0x1000
)

// mapiSizes are the sizes of the values that have one, filled up to four bytes.
var mapiSizes = map[uint16]int64{
	0x0001: 4, 0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000a: 4, 0x000b: 4, 0x0014: 8, 0x0040: 8, 0x0048: 16,
}

// mapiList reads a list of properties ([MS-OXTNEF] section 2.1.3.4).
type mapiList struct {
	r      io.Reader
	left   uint32 // properties
	id     uint16 // of the one that is being read
	kind   uint16
	values uint32 // of it that are left
	value  io.LimitedReader
	padded int64 // bytes behind the value
}

// newMAPIList begins a list. One that cannot be read has no properties.
func newMAPIList(r io.Reader) *mapiList {
	l := &mapiList{r: r}
	l.left, _ = l.long()
	return l
}

// next returns the next property that tells of a file: one of its names, or its content,
// which is of the file called name. The entry is nil for another one, and the end is io.EOF.
func (l *mapiList) next(name string) (*Entry, error) {
	if _, err := io.CopyN(io.Discard, l.r, l.value.N+l.padded); err != nil {
		return nil, errBroken
	}
	l.value, l.padded = io.LimitedReader{}, 0
	if l.values == 0 {
		if l.left == 0 {
			return nil, io.EOF
		}
		l.left--
		if err := l.property(); err != nil {
			return nil, errBroken
		}
	}
	if l.values == 0 {
		return nil, nil
	}
	l.values--
	if err := l.begin(); err != nil {
		return nil, errBroken
	}
	switch {
	case l.id == mapiData && l.kind == mapiBinary:
		return &Entry{Names: []string{name}, IsRenamed: true, Content: &l.value}, nil
	case l.id == mapiData && l.kind == mapiObject:
		// The interface that the object is of stands before it.
		if _, err := io.CopyN(io.Discard, &l.value, 16); err != nil {
			return nil, errBroken
		}
		return &Entry{Names: []string{name}, IsRenamed: true, Content: &l.value}, nil
	case (l.id == mapiDisplayName || l.id == mapiName || l.id == mapiLongName) && (l.kind == mapiString8 || l.kind == mapiUnicode):
		text, err := io.ReadAll(io.LimitReader(&l.value, 8<<10))
		if err != nil {
			return nil, errBroken
		}
		return &Entry{Names: []string{mapiText(text, l.kind)}, IsTitle: l.id == mapiDisplayName}, nil
	}
	return nil, nil
}

// property reads what stands before a property's values.
func (l *mapiList) property() error {
	tag, err := l.long()
	if err != nil {
		return err
	}
	l.kind, l.id = uint16(tag)&^mapiMultiple, uint16(tag>>16)
	if l.id >= 0x8000 {
		if err := l.name(); err != nil {
			return err
		}
	}
	_, hasSize := mapiSizes[l.kind]
	if l.values = 1; uint16(tag)&mapiMultiple != 0 || !hasSize {
		l.values, err = l.long()
	}
	return err
}

// name reads the name of a property that has one.
func (l *mapiList) name() error {
	if _, err := io.CopyN(io.Discard, l.r, 16); err != nil { // of the set of names
		return err
	}
	isText, err := l.long()
	if err != nil {
		return err
	}
	size, err := l.long()
	if err == nil && isText != 0 {
		_, err = io.CopyN(io.Discard, l.r, (int64(size)+3)&^3)
	}
	return err
}

// begin begins a value.
func (l *mapiList) begin() error {
	size, known := mapiSizes[l.kind]
	if !known {
		long, err := l.long()
		if err != nil {
			return err
		}
		size = int64(long)
		l.padded = -size & 3
	}
	l.value = io.LimitedReader{R: l.r, N: size}
	return nil
}

func (l *mapiList) long() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(l.r, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// mapiText decodes a name.
func mapiText(text []byte, kind uint16) string {
	if kind == mapiString8 {
		return strings.TrimRight(string(text), "\x00")
	}
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(text[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
