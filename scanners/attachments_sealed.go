package scanners

import (
	"bytes"
	"encoding/binary"
	"io"
)

// tnef looks at the attachments in an Exchange server's winmail.dat ([MS-OXTNEF]
// section 2.1): at their names of eight and three letters, which keep the
// extension, and at their content.
func (s *attachmentScan) tnef(r io.Reader, depth int) error {
	const (
		attachTitle = 0x00018010
		attachData  = 0x0006800f
	)
	var head [9]byte
	if _, err := io.ReadFull(r, head[:6]); err != nil {
		s.unsure("the TNEF file is broken")
		return nil
	}
	f := &attachedFile{}
	for {
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil || head[0] != 1 && head[0] != 2 {
			s.unsure("the TNEF file is broken")
			return nil
		}
		if err := s.entry(); err != nil {
			return err
		}
		size := int64(binary.LittleEndian.Uint32(head[5:]))
		value := &io.LimitedReader{R: r, N: size}
		switch binary.LittleEndian.Uint32(head[1:]) {
		case attachTitle:
			name, err := io.ReadAll(io.LimitReader(value, 4<<10))
			if err != nil {
				return nil
			}
			if f, err = s.named("", string(bytes.TrimRight(name, "\x00"))); err != nil {
				return err
			}
		case attachData:
			if err := s.content(f, value, depth+1, entryHead); err != nil {
				return err
			}
		}
		// The rest of it, and a checksum of two bytes.
		if _, err := io.CopyN(io.Discard, r, value.N+2); err != nil {
			s.unsure("the TNEF file is broken")
			return nil
		}
	}
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
	head := make([]byte, 1<<16)
	n, _ := f.ReadAt(head, at)
	if n < 7 {
		return b, false
	}
	kind, flags := head[2], binary.LittleEndian.Uint16(head[3:])
	size := int(binary.LittleEndian.Uint16(head[5:]))
	if size < 7 || size > n {
		return b, false
	}
	head = head[:size]
	b.size = int64(size)
	if flags&0x8000 != 0 {
		if size < 11 {
			return b, false
		}
		b.size += int64(binary.LittleEndian.Uint32(head[7:]))
	}
	switch kind {
	case 0x73: // the archive's header
		b.encrypted = flags&0x80 != 0
	case 0x7b:
		b.last = true
	case 0x74:
		if size < 32 {
			return b, false
		}
		name := head[32:]
		if flags&0x100 != 0 { // sizes of 64 bits
			if size < 40 {
				return b, false
			}
			b.size += int64(binary.LittleEndian.Uint32(head[32:])) << 32
			name = head[40:]
		}
		length := int(binary.LittleEndian.Uint16(head[26:]))
		if length > len(name) {
			return b, false
		}
		b.isFile, b.encrypted, b.name = true, flags&4 != 0, string(name[:length])
	}
	return b, b.size > 0
}

// rar5 reads the block at that place of an archive of RAR 5.
func (f *fileSpool) rar5(at int64) (b rarBlock, ok bool) {
	head := make([]byte, 1<<16)
	n, _ := f.ReadAt(head, at)
	v := vints{rest: head[min(n, 4):n]}
	size := v.next()
	before := int64(n - len(v.rest))
	if v.broken || size > uint64(len(v.rest)) {
		return b, false
	}
	v.rest = v.rest[:size]
	kind, flags := v.next(), v.next()
	if flags&1 != 0 {
		v.next() // the extra area's size
	}
	b.size = before + int64(size)
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
		skip := 0
		if fileFlags&2 != 0 {
			skip += 4 // time
		}
		if fileFlags&4 != 0 {
			skip += 4 // checksum
		}
		v.skip(skip)
		v.next() // compression
		v.next() // system
		length := v.next()
		if v.broken || length > uint64(len(v.rest)) {
			return b, false
		}
		b.isFile, b.name = true, string(v.rest[:length])
		b.encrypted = hasRAR5Encryption(v.rest[length:])
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
		size := v.next()
		if v.broken || size == 0 || size > uint64(len(v.rest)) {
			return false
		}
		if record := (vints{rest: v.rest[:size]}); record.next() == 1 {
			return true
		}
		v.skip(int(size))
	}
	return false
}

// vints reads RAR 5's numbers: seven bits a byte, the lowest first.
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

func (v *vints) skip(n int) {
	if n > len(v.rest) {
		v.broken, n = true, len(v.rest)
	}
	v.rest = v.rest[n:]
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
	if offset > uint64(file.size) || size > uint64(file.size)-offset || 32+offset+size > uint64(file.size) {
		s.unsure("the 7z archive is broken")
		return nil
	}
	header := make([]byte, min(size, 1<<20))
	if _, err := io.ReadFull(io.NewSectionReader(file, 32+int64(offset), int64(size)), header); err != nil {
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
