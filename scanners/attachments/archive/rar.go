package archive

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	rarMark = "Rar!\x1a\x07"
	// rarMaxFront is how much may stand before an archive: a program that unpacks it, for which
	// unrar takes anything.
	rarMaxFront = 4 << 20
)

// rarReader reads the names in a RAR archive and whether they, or the files, are
// encrypted. The files themselves are not unpacked.
//
// rardecode (github.com/nwaples/rardecode/v2 2.4.6) would unpack them, and cannot be guarded
// against strangers. An empty block of the type 0x77 makes it panic while it lists names. It
// allocates a file's dictionary before it tells the name: 1 GB for an archive of 44 bytes, and
// up to 4 GB; with a bound on that, this name and all behind it are lost. In RAR 3 the bound
// does not hold for the model of a text (342 MB for 123 bytes), and a filter is a program that
// may run for 0.2 s: one more takes 18 bits, so that 132 bytes take 4 s, and 4 KB some 6 minutes
// in which no context is asked.
type rarReader struct {
	file   *spool
	budget *Budget
	block  func(at int64) (rarBlock, bool)
	at     int64
}

func newRAR(file *spool, b *Budget) Reader {
	var mark [8]byte
	at := file.findRAR()
	if _, err := file.ReadAt(mark[:], max(at, 0)); err != nil || at < 0 {
		b.Short("the RAR archive is broken")
		return &packed{}
	}
	if mark[6] == 1 {
		return &rarReader{file, b, file.rar5, at + 8}
	}
	return &rarReader{file, b, file.rar4, at + 7}
}

// findRAR returns where an archive begins; below 0: nowhere.
func (f *spool) findRAR() int64 {
	window := make([]byte, 64<<10)
	for at := int64(0); at <= rarMaxFront; at += int64(len(window) - len(rarMark)) {
		n, err := f.ReadAt(window, at)
		if i := bytes.Index(window[:n], []byte(rarMark)); i >= 0 {
			return at + int64(i)
		}
		if err != nil {
			break
		}
	}
	return -1
}

// Next returns the next file.
func (r *rarReader) Next() (*Entry, error) {
	if r.at == r.file.size {
		return nil, io.EOF
	}
	block, ok := r.block(r.at)
	switch {
	case !ok:
		r.budget.Short("the RAR archive is broken")
		return nil, io.EOF
	case !block.isFile && block.encrypted:
		return nil, ErrSealed
	}
	if r.at += block.size; block.last {
		r.at = r.file.size
	}
	if !block.isFile {
		return &Entry{}, nil
	}
	return &Entry{Names: block.names, Encrypted: block.encrypted}, nil
}

// rarBlock is one block of a RAR archive, of size bytes with its data. One that
// is encrypted and no file hides all that follows.
type rarBlock struct {
	size                    int64
	isFile, encrypted, last bool
	names                   []string
}

// rar4 reads the block at that place of an archive of RAR 1.5 to 4.
func (f *spool) rar4(at int64) (b rarBlock, ok bool) {
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
		b.isFile, b.encrypted, b.names = true, flags&4 != 0, []string{string(head[name:needed])}
		if flags&0x200 != 0 {
			b.names = rar4Names(head[name:needed])
		}
	}
	return b, needed <= size && size <= n && b.size > 0
}

// rar5 reads the block at that place of an archive of RAR 5.
func (f *spool) rar5(at int64) (b rarBlock, ok bool) {
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
		b.isFile, b.names = true, []string{string(v.take(v.next()))}
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
