package archive

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// rarMaxName bounds a name in characters, as unrar does.
const rarMaxName = 1 << 16

// rar4Names returns what programs may take for the name of a file whose flag says that the
// name is in Unicode too: what stands before a NUL, and what is encoded behind it. Without a
// NUL it is in UTF-8.
func rar4Names(name []byte) []string {
	plain, _, ok := bytes.Cut(name, []byte{0})
	if !ok {
		return []string{string(name)}
	}
	d := rarName{all: name, rest: name[len(plain)+1:]}
	high := uint16(d.byte()) << 8
	for flags, left := byte(0), 0; len(d.rest) > 0 && len(d.decoded) < rarMaxName; left-- {
		if left == 0 {
			flags, left = d.byte(), 4
		}
		d.step(flags>>6, high)
		flags <<= 2
	}
	return []string{string(plain), string(utf16.Decode(d.decoded))}
}

// rarName decodes a name that is written by how it differs from the one in front of it.
type rarName struct {
	all, rest []byte
	decoded   []uint16
}

// step decodes what two bits of a flag stand for.
func (d *rarName) step(kind byte, high uint16) {
	switch kind {
	case 0:
		d.decoded = append(d.decoded, uint16(d.byte()))
	case 1:
		d.decoded = append(d.decoded, high|uint16(d.byte()))
	case 2:
		d.decoded = append(d.decoded, binary.LittleEndian.Uint16([]byte{d.byte(), d.byte()}))
	case 3:
		length, correction := d.byte(), byte(0)
		if length&0x80 != 0 {
			correction = d.byte()
		} else {
			high = 0
		}
		for range length&0x7f + 2 {
			if at := len(d.decoded); at < len(d.all) {
				d.decoded = append(d.decoded, high|uint16(d.all[at]+correction))
			}
		}
	}
}

// byte returns the next byte, or 0 behind the end.
func (d *rarName) byte() (b byte) {
	if len(d.rest) > 0 {
		b, d.rest = d.rest[0], d.rest[1:]
	}
	return b
}
