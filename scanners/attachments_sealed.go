package scanners

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// errBroken says that a sealed file is not as it should be.
var errBroken = errors.New("broken")

// tnef looks at the attachments in an Exchange server's winmail.dat ([MS-OXTNEF]
// section 2.1): at their names of eight and three letters, which keep the
// extension, and at their content.
func (s *attachmentScan) tnef(r io.Reader, depth int) error {
	f := &attachedFile{}
	_, err := io.ReadFull(r, make([]byte, 6)) // its signature and a key
	if err != nil {
		err = errBroken
	}
	for err == nil {
		err = s.tnefAttribute(&f, r, depth)
	}
	switch err {
	case io.EOF:
		return nil
	case errSettled:
		return err
	}
	s.unsure("the TNEF file is broken")
	return nil
}

// tnefAttribute looks at the next attribute, which may say what file f is. The end is io.EOF.
func (s *attachmentScan) tnefAttribute(f **attachedFile, r io.Reader, depth int) error {
	const (
		attachTitle = 0x00018010
		attachData  = 0x0006800f
	)
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if head[0] != 1 && head[0] != 2 {
		return errBroken
	}
	if err := s.entry(); err != nil {
		return err
	}
	value := &io.LimitedReader{R: r, N: int64(binary.LittleEndian.Uint32(head[5:]))}
	switch binary.LittleEndian.Uint32(head[1:]) {
	case attachTitle:
		name, err := io.ReadAll(io.LimitReader(value, 4<<10))
		if err != nil {
			return err
		}
		if *f, err = s.named("", string(bytes.TrimRight(name, "\x00"))); err != nil {
			return err
		}
	case attachData:
		if err := s.content(*f, value, depth+1, entryHead); err != nil {
			return err
		}
	}
	// The rest of it, and a checksum of two bytes.
	if _, err := io.CopyN(io.Discard, r, value.N+2); err != nil {
		return errBroken
	}
	return nil
}

// rar looks at the names in a RAR archive and whether they, or the files, are
// encrypted. The files themselves are not unpacked.
func (s *attachmentScan) rar(f *attachedFile, file *fileSpool) error {
	var mark [8]byte
	if _, err := file.ReadAt(mark[:], 0); err != nil {
		s.unsure("the RAR archive is broken")
		return nil
	}
	var next func(at int64) (rarBlock, bool)
	start := int64(7)
	if next = file.rar4; mark[6] == 1 {
		next, start = file.rar5, 8
	}
	for at := start; at != file.size; {
		block, ok := next(at)
		if !ok {
			s.unsure("the RAR archive is broken")
			return nil
		}
		if err := s.entry(); err != nil {
			return err
		}
		if block.isFile {
			inner, err := s.named("", block.name)
			if err != nil {
				return err
			}
			if block.encrypted && s.rules.Encrypted {
				return s.found("encrypted", inner, "can be read with a password only")
			}
		} else if block.encrypted {
			return s.sealed(f)
		}
		if block.last {
			return nil
		}
		at += block.size
	}
	return nil
}

// rarBlock is one block of a RAR archive, of size bytes with its data. One that
// is encrypted and no file hides all that follows.
type rarBlock struct {
	size                    int64
	isFile, encrypted, last bool
	name                    string
}

// rar4 reads the block at that place of an archive of RAR 1.5 to 4.
func (f *fileSpool) rar4(at int64) (b rarBlock, ok bool) {
	head := make([]byte, 1<<16+40) // where a broken header points
	n, _ := f.ReadAt(head[:1<<16], at)
	kind, flags := head[2], binary.LittleEndian.Uint16(head[3:])
	size, needed := int(binary.LittleEndian.Uint16(head[5:])), 7
	b.size = int64(size)
	if flags&0x8000 != 0 {
		needed = 11
		b.size += int64(binary.LittleEndian.Uint32(head[7:]))
	}
	switch kind {
	case 0x73: // the archive's header
		b.encrypted = flags&0x80 != 0
	case 0x7b:
		b.last = true
	case 0x74:
		name := 32
		if flags&0x100 != 0 { // sizes of 64 bits
			b.size += int64(binary.LittleEndian.Uint32(head[32:])) << 32
			name = 40
		}
		needed = name + int(binary.LittleEndian.Uint16(head[26:]))
		b.isFile, b.encrypted, b.name = true, flags&4 != 0, string(head[name:needed])
	}
	return b, needed <= size && size <= n && b.size > 0
}

// rar5 reads the block at that place of an archive of RAR 5.
func (f *fileSpool) rar5(at int64) (b rarBlock, ok bool) {
	head := make([]byte, 1<<16)
	n, _ := f.ReadAt(head, at)
	v := vints{rest: head[min(n, 4):n]}
	size := v.next()
	b.size = int64(n-len(v.rest)) + int64(size)
	v.rest = v.take(size)
	kind, flags := v.next(), v.next()
	if flags&1 != 0 {
		v.next() // the extra area's size
	}
	if flags&2 != 0 {
		data := v.next()
		if data > 1<<40 {
			return b, false
		}
		b.size += int64(data)
	}
	switch kind {
	case 2:
		fileFlags := v.next()
		v.next() // size
		v.next() // attributes
		if fileFlags&2 != 0 {
			v.take(4) // time
		}
		if fileFlags&4 != 0 {
			v.take(4) // checksum
		}
		v.next() // compression
		v.next() // system
		b.isFile, b.name = true, string(v.take(v.next()))
		b.encrypted = hasRAR5Encryption(v.rest)
	case 4:
		b.encrypted = true
	case 5:
		b.last = true
	}
	return b, !v.broken
}

// hasRAR5Encryption looks through a file's extra records for that of encryption.
func hasRAR5Encryption(extra []byte) bool {
	for v := (vints{rest: extra}); len(v.rest) > 0; {
		record := vints{rest: v.take(v.next())}
		if v.broken || len(record.rest) == 0 {
			return false
		}
		if record.next() == 1 {
			return true
		}
	}
	return false
}

// vints reads RAR 5's numbers, seven bits a byte, the lowest first, and what stands
// between them.
type vints struct {
	rest   []byte
	broken bool
}

func (v *vints) next() uint64 {
	n, size := binary.Uvarint(v.rest)
	if size <= 0 {
		v.broken, v.rest = true, nil
		return 0
	}
	v.rest = v.rest[size:]
	return n
}

func (v *vints) take(n uint64) (taken []byte) {
	if n > uint64(len(v.rest)) {
		v.broken, n = true, uint64(len(v.rest))
	}
	taken, v.rest = v.rest[:n], v.rest[n:]
	return taken
}

// sevenZip looks whether a 7z archive's header names the coder of its
// encryption. The header itself is compressed, as a rule, so names and files
// cannot be read; where the files only are encrypted that stays unseen with it.
func (s *attachmentScan) sevenZip(f *attachedFile, file *fileSpool) error {
	const aes = "\x06\xf1\x07\x01"
	var start [32]byte
	if _, err := file.ReadAt(start[:], 0); err != nil {
		s.unsure("the 7z archive is broken")
		return nil
	}
	offset, size := binary.LittleEndian.Uint64(start[12:]), binary.LittleEndian.Uint64(start[20:])
	behind := uint64(file.size) - uint64(len(start))
	if offset > behind || size > behind-offset {
		s.unsure("the 7z archive is broken")
		return nil
	}
	header := make([]byte, min(size, 1<<20))
	if n, _ := file.ReadAt(header, int64(len(start))+int64(offset)); n < len(header) {
		s.unsure("the 7z archive is broken")
		return nil
	}
	if bytes.Contains(header, []byte(aes)) {
		return s.sealed(f)
	}
	return nil
}

// sealed judges an archive, which the scan is in, as one that it cannot read.
func (s *attachmentScan) sealed(f *attachedFile) error {
	if !s.rules.Encrypted {
		return nil
	}
	s.leave()
	defer s.enter(f)
	return s.found("encrypted", f, "is an archive that only a password opens")
}
