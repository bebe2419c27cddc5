package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// Sizes and signatures of a zip archive's records (APPNOTE.TXT 4.3).
const (
	zipLocal    = "PK\x03\x04"
	zipCentral  = "PK\x01\x02"
	zipEnd      = "PK\x05\x06"
	zip64End    = "PK\x06\x06"
	zip64Place  = "PK\x06\x07"
	zipLocalLen = 30
	zipEntryLen = 46
	zipEndLen   = 22
	zip64EndLen = 56
	// zipTail is how far from an archive's end its directory's end may stand: a
	// comment, and a place for the 64-bit records.
	zipTail = zipEndLen + 1<<16 + 100
)

// zipReader reads one zip archive. It reads the directory at the
// archive's end, as most programs do, and compares it with the headers before
// the files, which others go by; then it looks for files that the directory does not list.
// Standard Go's reader knows the directory only and holds all of it in memory.
type zipReader struct {
	file      *spool
	budget    *Budget
	opener    *Opener
	base      int64         // where offsets count from: archives may have something in front
	directory *bufio.Reader // nil when it has been read
	begins    int64         // where the directory does
	behind    int64         // where what is behind the archive's end begins, comment and all
	count     uint16        // of its entries, or what is left of that in 16 bits
	extents   []zipExtent
	gaps      []zipExtent // what is left to be looked through
	gap       *bufio.Reader
	isCut     bool // it has no directory
}

// zipExtent is where an entry's header and data stand.
type zipExtent struct{ start, end int64 }

// zipEntry is what the directory says of an entry.
type zipEntry struct {
	name, unicodeName string
	flags, method     uint16
	packed, size      uint64
	offset            uint64
}

func newZip(file *spool, b *Budget, o *Opener) *zipReader {
	z := &zipReader{file: file, budget: b, opener: o}
	start, size, ok := z.findDirectory()
	if !ok {
		b.Short("a zip archive has no directory")
		z.gaps, z.isCut = []zipExtent{{0, file.size}}, true
		return z
	}
	if mark := make([]byte, len(zipCentral)); z.base > 0 {
		if _, err := file.ReadAt(mark, start-z.base); err == nil && string(mark) == zipCentral {
			b.Doubt("a zip archive has two directories")
		}
	}
	z.begins, z.directory = start, bufio.NewReaderSize(b.Reader(io.NewSectionReader(file, start, size)), 8<<10)
	return z
}

// Next returns the next file of the directory, then those that it does not list.
func (z *zipReader) Next() (*Entry, error) {
	if z.directory != nil {
		e, err := readZipEntry(z.directory)
		if err == nil {
			z.count--
			return z.open(e), nil
		}
		if err != io.EOF || z.count != 0 {
			z.budget.Short("a zip archive's directory is broken")
		}
		z.directory, z.gaps = nil, append(z.findGaps(z.begins), zipExtent{z.behind, z.file.size})
	}
	return z.unlisted()
}

// findDirectory finds the archive's directory.
func (z *zipReader) findDirectory() (start, size int64, ok bool) {
	tail := make([]byte, min(z.file.size, zipTail))
	tailStart := z.file.size - int64(len(tail))
	if _, err := z.file.ReadAt(tail, tailStart); err != nil && err != io.EOF {
		return 0, 0, false
	}
	for i := bytes.LastIndex(tail, []byte(zipEnd)); i >= 0; i = bytes.LastIndex(tail[:i], []byte(zipEnd)) {
		if len(tail)-i < zipEndLen {
			z.budget.Short("a zip archive ends within its end")
			continue
		}
		end := tailStart + int64(i)
		dirSize := uint64(binary.LittleEndian.Uint32(tail[i+12:]))
		offset := uint64(binary.LittleEndian.Uint32(tail[i+16:]))
		count := binary.LittleEndian.Uint16(tail[i+10:])
		if dirSize == 1<<32-1 || offset == 1<<32-1 || count == 1<<16-1 {
			if at, record, ok := z.directory64(end); ok {
				end, count = at, binary.LittleEndian.Uint16(record[32:])
				dirSize, offset = binary.LittleEndian.Uint64(record[40:]), binary.LittleEndian.Uint64(record[48:])
			}
		}
		if dirSize > uint64(end) || offset > uint64(end)-dirSize {
			z.budget.Doubt("a zip archive's directory lies outside of it")
			continue
		}
		start = end - int64(dirSize)
		z.base, z.count, z.behind = start-int64(offset), count, tailStart+int64(i)+zipEndLen
		return start, int64(dirSize), true
	}
	return 0, 0, false
}

// directory64 reads the 64-bit record of an archive whose directory ends at end, and where it
// stands.
func (z *zipReader) directory64(end int64) (at int64, record [zip64EndLen]byte, ok bool) {
	if end < 20+zip64EndLen {
		return 0, record, false
	}
	if _, err := z.file.ReadAt(record[:20], end-20); err != nil || string(record[:4]) != zip64Place {
		return 0, record, false
	}
	// The place that it names counts from the archive's start, wherever that is.
	for _, at := range [...]int64{int64(binary.LittleEndian.Uint64(record[8:]) & (1<<62 - 1)), end - 20 - zip64EndLen} {
		if at > end {
			continue
		}
		if _, err := z.file.ReadAt(record[:], at); err == nil && string(record[:4]) == zip64End {
			return at, record, true
		}
	}
	return 0, record, false
}

// readZipEntry reads the directory's next entry. The end is io.EOF.
func readZipEntry(r *bufio.Reader) (zipEntry, error) {
	var fixed [zipEntryLen]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return zipEntry{}, err
	}
	if string(fixed[:4]) == "PK\x05\x05" || string(fixed[:4]) == zip64End {
		return zipEntry{}, io.EOF
	}
	if string(fixed[:4]) != zipCentral {
		return zipEntry{}, io.ErrUnexpectedEOF
	}
	word := func(at int) uint16 { return binary.LittleEndian.Uint16(fixed[at:]) }
	long := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(fixed[at:])) }
	texts := make([]byte, int(word(28))+int(word(30)))
	if _, err := io.ReadFull(r, texts); err != nil {
		return zipEntry{}, io.ErrUnexpectedEOF
	}
	if _, err := r.Discard(int(word(32))); err != nil {
		return zipEntry{}, io.ErrUnexpectedEOF
	}
	e := zipEntry{
		name: string(texts[:word(28)]), flags: word(8), method: word(10),
		packed: long(20), size: long(24), offset: long(42),
	}
	e.extra(texts[word(28):])
	return e, nil
}

// extra reads the extra fields: sizes of 64 bits (4.5.3), and the name in UTF-8
// (4.6.9).
func (e *zipEntry) extra(fields []byte) {
	for len(fields) >= 4 {
		id, size := binary.LittleEndian.Uint16(fields), int(binary.LittleEndian.Uint16(fields[2:]))
		if fields = fields[4:]; size > len(fields) {
			return
		}
		field := fields[:size]
		fields = fields[size:]
		switch {
		case id == 1:
			for _, value := range []*uint64{&e.size, &e.packed, &e.offset} {
				if *value == 1<<32-1 && len(field) >= 8 {
					*value, field = binary.LittleEndian.Uint64(field), field[8:]
				}
			}
		case id == 0x7075 && size > 5:
			e.unicodeName = string(field[5:])
		}
	}
}

// open compares an entry of the directory with the header before its file, and opens it.
func (z *zipReader) open(e zipEntry) *Entry {
	entry := &Entry{Names: e.names()}
	if e.offset > uint64(z.file.size) || e.packed > uint64(z.file.size) {
		z.budget.Doubt("a zip archive's entry lies outside of it")
		return entry
	}
	at := z.base + int64(e.offset)
	var local [zipLocalLen]byte
	if _, err := z.file.ReadAt(local[:], at); err != nil || string(local[:4]) != zipLocal {
		z.budget.Doubt("a zip archive's entry has no header")
		return entry
	}
	name := make([]byte, binary.LittleEndian.Uint16(local[26:]))
	data := at + zipLocalLen + int64(len(name)) + int64(binary.LittleEndian.Uint16(local[28:]))
	if n, _ := z.file.ReadAt(name, at+zipLocalLen); n < len(name) || data+int64(e.packed) > z.file.size {
		z.budget.Doubt("a zip archive's entry lies outside of it")
	}
	z.extents = append(z.extents, zipExtent{at, data + int64(e.packed)})
	if string(name) != e.name {
		z.budget.Doubt("a zip archive's entry has two names")
		entry.Names = append(entry.Names, string(name))
	}
	if binary.LittleEndian.Uint16(local[8:]) != e.method {
		z.budget.Doubt("a zip archive's entry has two ways of compression")
	}
	entry.Encrypted = (e.flags|binary.LittleEndian.Uint16(local[6:]))&1 != 0
	switch {
	case strings.HasSuffix(e.name, "/") && e.size == 0 && e.packed <= 2: // a folder
		entry.Encrypted = false
	case !entry.Encrypted:
		entry.Content = z.content(e, io.NewSectionReader(z.file, data, int64(e.packed)))
	}
	return entry
}

// names are what programs may take for the entry's name.
func (e zipEntry) names() []string {
	switch {
	case strings.HasSuffix(e.name, "/") && e.size == 0:
		return nil
	case e.unicodeName != "":
		return []string{e.name, e.unicodeName}
	}
	return []string{e.name}
}

// content unpacks an entry's content. What it reads and what it writes both
// count, so that entries that lie on one another cannot be read for ever.
func (z *zipReader) content(e zipEntry, packed io.Reader) io.Reader {
	packed = z.budget.Reader(packed)
	switch e.method {
	case 0:
		return packed
	case 8:
		return z.budget.Reader(z.opener.inflater(packed))
	}
	z.budget.Doubt("the file %s is compressed in a way that is not known", mail.PrintableName(e.name))
	return nil
}

// findGaps returns what lies between the entries, up to the directory.
func (z *zipReader) findGaps(end int64) (gaps []zipExtent) {
	slices.SortFunc(z.extents, func(a, b zipExtent) int { return cmp.Compare(a.start, b.start) })
	at := int64(0)
	for _, extent := range z.extents {
		if extent.start < at {
			z.budget.Doubt("a zip archive's entries lie on one another")
		}
		gaps = append(gaps, zipExtent{at, extent.start})
		at = max(at, extent.end)
	}
	if at > end {
		z.budget.Doubt("a zip archive's entries lie on its directory")
	}
	return append(gaps, zipExtent{at, end})
}

// unlisted returns the next file of which only the header before it tells.
func (z *zipReader) unlisted() (*Entry, error) {
	for len(z.gaps) > 0 || z.gap != nil {
		if z.gap == nil {
			gap := z.gaps[0]
			if z.gaps = z.gaps[1:]; gap.end-gap.start < zipLocalLen {
				continue
			}
			z.gap = bufio.NewReaderSize(z.budget.Reader(io.NewSectionReader(z.file, gap.start, gap.end-gap.start)), 8<<10)
		}
		name, found, err := nextHeader(z.gap)
		if err != nil && err != io.EOF {
			z.budget.Short("a zip archive cannot be looked through (%v)", err)
		}
		if found {
			if !z.isCut {
				z.budget.Doubt("a zip archive contains a file that its directory does not list")
			}
			return &Entry{Names: []string{name}}, nil
		}
		z.gap = nil
	}
	return nil, io.EOF
}

// nextHeader finds the next header of a file, and returns its name. An error is why no more was
// read, io.EOF at the end.
func nextHeader(r *bufio.Reader) (name string, found bool, err error) {
	for {
		ahead, err := r.Peek(max(zipLocalLen, r.Buffered()))
		if len(ahead) < zipLocalLen {
			return "", false, err
		}
		i := bytes.Index(ahead, []byte(zipLocal))
		if i < 0 {
			r.Discard(len(ahead) - len(zipLocal) + 1)
			continue
		}
		r.Discard(i)
		if ahead, err = r.Peek(zipLocalLen); len(ahead) < zipLocalLen {
			return "", false, err
		}
		size := int(binary.LittleEndian.Uint16(ahead[26:]))
		r.Discard(zipLocalLen)
		name, _ := r.Peek(min(size, 1<<10))
		return string(name), true, nil
	}
}
