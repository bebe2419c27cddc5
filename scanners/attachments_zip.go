package scanners

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
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

// zipReader looks into one zip archive. It reads the directory at the
// archive's end, as most programs do, and compares it with the headers before
// the files, which others go by. Standard Go's reader knows the directory only and
// holds all of it in memory.
type zipReader struct {
	*attachmentScan
	file    *fileSpool
	base    int64 // where offsets count from: archives may have something in front
	depth   int
	extents []zipExtent
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

func (s *attachmentScan) zip(file *fileSpool, depth int) error {
	z := &zipReader{attachmentScan: s, file: file, depth: depth}
	start, size, ok := z.directory()
	if !ok {
		s.unsure("a zip archive has no directory")
		return z.gap(0, file.size)
	}
	directory := bufio.NewReaderSize(unpackReader{s, io.NewSectionReader(file, start, size)}, 8<<10)
	for {
		e, err := readZipEntry(directory)
		if err == io.EOF {
			break
		}
		if err != nil {
			s.unsure("a zip archive's directory is broken")
			break
		}
		if err := z.look(e); err != nil {
			return err
		}
	}
	return z.gaps(start)
}

// directory finds the archive's directory.
func (z *zipReader) directory() (start, size int64, ok bool) {
	tail := make([]byte, min(z.file.size, zipTail))
	tailStart := z.file.size - int64(len(tail))
	if _, err := z.file.ReadAt(tail, tailStart); err != nil && err != io.EOF {
		return 0, 0, false
	}
	for i := bytes.LastIndex(tail, []byte(zipEnd)); i >= 0; i = bytes.LastIndex(tail[:i], []byte(zipEnd)) {
		if len(tail)-i < zipEndLen {
			continue
		}
		end := tailStart + int64(i)
		dirSize := uint64(binary.LittleEndian.Uint32(tail[i+12:]))
		offset := uint64(binary.LittleEndian.Uint32(tail[i+16:]))
		if dirSize == 1<<32-1 || offset == 1<<32-1 || binary.LittleEndian.Uint16(tail[i+10:]) == 1<<16-1 {
			if at, size64, offset64, ok := z.directory64(end); ok {
				end, dirSize, offset = at, size64, offset64
			}
		}
		if dirSize > uint64(end) || offset > uint64(end)-dirSize {
			continue
		}
		start = end - int64(dirSize)
		z.base = start - int64(offset)
		return start, int64(dirSize), true
	}
	return 0, 0, false
}

// directory64 reads the 64-bit record of an archive whose directory ends at end.
func (z *zipReader) directory64(end int64) (at int64, size, offset uint64, ok bool) {
	var record [zip64EndLen]byte
	if end < 20+zip64EndLen {
		return 0, 0, 0, false
	}
	if _, err := z.file.ReadAt(record[:20], end-20); err != nil || string(record[:4]) != zip64Place {
		return 0, 0, 0, false
	}
	// The place that it names counts from the archive's start, wherever that is.
	for _, at := range [...]int64{int64(binary.LittleEndian.Uint64(record[8:]) & (1<<62 - 1)), end - 20 - zip64EndLen} {
		if at > end {
			continue
		}
		if _, err := z.file.ReadAt(record[:], at); err == nil && string(record[:4]) == zip64End {
			return at, binary.LittleEndian.Uint64(record[40:]), binary.LittleEndian.Uint64(record[48:]), true
		}
	}
	return 0, 0, 0, false
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

func (z *zipReader) look(e zipEntry) error {
	if err := z.entry(); err != nil {
		return err
	}
	if e.offset > uint64(z.file.size) || e.packed > uint64(z.file.size) {
		z.unsure("a zip archive's entry lies outside of it")
		_, err := z.entryFile(e)
		return err
	}
	at := z.base + int64(e.offset)
	var local [zipLocalLen]byte
	if _, err := z.file.ReadAt(local[:], at); err != nil || string(local[:4]) != zipLocal {
		z.unsure("a zip archive's entry has no header")
		_, err := z.entryFile(e)
		return err
	}
	name := make([]byte, binary.LittleEndian.Uint16(local[26:]))
	data := at + zipLocalLen + int64(len(name)) + int64(binary.LittleEndian.Uint16(local[28:]))
	if n, _ := z.file.ReadAt(name, at+zipLocalLen); n < len(name) || data+int64(e.packed) > z.file.size {
		z.unsure("a zip archive's entry lies outside of it")
	}
	z.extents = append(z.extents, zipExtent{at, data + int64(e.packed)})
	flags := binary.LittleEndian.Uint16(local[6:])
	if string(name) != e.name {
		z.unsure("a zip archive's entry has two names")
		if _, err := z.named("", string(name)); err != nil {
			return err
		}
	}
	if binary.LittleEndian.Uint16(local[8:]) != e.method {
		z.unsure("a zip archive's entry has two ways of compression")
	}
	f, err := z.entryFile(e)
	if err != nil {
		return err
	}
	if strings.HasSuffix(e.name, "/") && e.size == 0 && e.packed <= 2 {
		return nil // a folder
	}
	if (e.flags|flags)&1 != 0 {
		if z.rules.Encrypted {
			return z.found("encrypted", f, "can be read with a password only")
		}
		return nil
	}
	return z.unpackEntry(f, e, io.NewSectionReader(z.file, data, int64(e.packed)))
}

func (z *zipReader) entryFile(e zipEntry) (*attachedFile, error) {
	names := []string{e.name}
	if e.unicodeName != "" {
		names = append(names, e.unicodeName)
	}
	if strings.HasSuffix(e.name, "/") && e.size == 0 {
		names = []string{""} // a folder may be called what it likes
	}
	f, err := z.named("", names...)
	if err == nil && z.rules.Macros && isMacroPath(e.name) {
		err = z.found("macro", f, "holds a document's macros")
	}
	return f, err
}

// isMacroPath reports whether a file of that name within an Office document holds
// macros: VBA (ECMA-376), Excel 4 sheets, or OpenDocument Basic.
func isMacroPath(name string) bool {
	path := strings.ToLower(strings.ReplaceAll(name, `\`, "/"))
	return strings.HasSuffix(path, "vbaproject.bin") || strings.HasSuffix(path, "vbadata.xml") ||
		strings.HasPrefix(path, "xl/macrosheets/") || strings.HasPrefix(path, "basic/") && strings.HasSuffix(path, "/script-lb.xml")
}

// unpackEntry judges an entry's content. What it reads and what it writes both
// count, so that entries that lie on one another cannot be read for ever.
func (z *zipReader) unpackEntry(f *attachedFile, e zipEntry, packed io.Reader) error {
	packed = unpackReader{z.attachmentScan, packed}
	switch e.method {
	case 0:
		return z.content(f, packed, z.depth+1, entryHead)
	case 8:
		return z.content(f, unpackReader{z.attachmentScan, z.inflater(z.depth, packed)}, z.depth+1, entryHead)
	}
	z.unsure("the file %s is compressed in a way that is not known", mail.PrintableName(f.name))
	return nil
}

// gaps looks for entries that the directory, which starts at end, does not list.
func (z *zipReader) gaps(end int64) error {
	slices.SortFunc(z.extents, func(a, b zipExtent) int { return cmp.Compare(a.start, b.start) })
	at := int64(0)
	for _, extent := range z.extents {
		if extent.start < at {
			z.unsure("a zip archive's entries lie on one another")
		}
		if err := z.gap(at, extent.start); err != nil {
			return err
		}
		at = max(at, extent.end)
	}
	if at > end {
		z.unsure("a zip archive's entries lie on its directory")
	}
	return z.gap(at, end)
}

// gap looks for the headers of entries between two places.
func (z *zipReader) gap(from, to int64) error {
	if to-from < zipLocalLen {
		return nil
	}
	r := bufio.NewReaderSize(unpackReader{z.attachmentScan, io.NewSectionReader(z.file, from, to-from)}, 8<<10)
	for {
		ahead, _ := r.Peek(max(zipLocalLen, r.Buffered()))
		if len(ahead) < zipLocalLen {
			return nil
		}
		i := bytes.Index(ahead, []byte(zipLocal))
		if i < 0 {
			r.Discard(len(ahead) - len(zipLocal) + 1)
			continue
		}
		r.Discard(i)
		if ahead, _ = r.Peek(zipLocalLen); len(ahead) < zipLocalLen {
			return nil
		}
		size := int(binary.LittleEndian.Uint16(ahead[26:]))
		r.Discard(zipLocalLen)
		name, _ := r.Peek(min(size, 1<<10))
		z.unsure("a zip archive contains a file that its directory does not list")
		if err := z.entry(); err != nil {
			return err
		}
		if _, err := z.named("", string(name)); err != nil {
			return err
		}
	}
}

// inflater returns the decompressor of a level, reading r.
func (s *attachmentScan) inflater(level int, r io.Reader) io.Reader {
	for len(s.inflaters) <= level {
		s.inflaters = append(s.inflaters, flate.NewReader(r))
	}
	// Without a dictionary it cannot fail.
	_ = s.inflaters[level].(flate.Resetter).Reset(r, nil)
	return s.inflaters[level]
}
