package attachments

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

const (
	// oleRecord is the size of a directory entry of an OLE compound file ([MS-CFB]
	// section 2.6), and every such entry stands at a multiple of it.
	oleRecord = 128
	// oleMaxEntries bounds the entries that are remembered of one file.
	oleMaxEntries = 4096
	// oleNone is where a chain, or a branch of the tree of entries, ends.
	oleNone = 0xfffffffa
)

// ole looks for directory entries in an OLE compound file. It looks at each
// place where one can stand and follows no chain of sectors, so a chain that is
// broken, or hides its end, makes no difference. A chain is followed only to see
// that a place for macros is empty.
func (s *scan) ole(f *file, r io.Reader) error {
	var directory oleDirectory
	buf := s.piece(16 << 10)
	for at := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		directory.take(at, buf[:n])
		directory.lookForSource(buf[:n])
		for i := 0; i+oleRecord <= n; i += oleRecord {
			record := buf[i : i+oleRecord]
			if err := s.oleContent(f, at+int64(i), record); err != nil {
				return err
			}
			if entry, ok := parseOLEEntry(record); ok {
				directory.add(at+int64(i), entry)
				if err := s.oleEntry(f, entry, record); err != nil {
					return err
				}
			}
		}
		at += int64(n)
		if err != nil {
			s.readToEnd(f, err)
			break
		}
	}
	if s.rules.Macros && directory.hasMacros() {
		return s.found("macro", f, "is a document with macros")
	}
	return nil
}

// oleEntry judges one entry by itself.
func (s *scan) oleEntry(f *file, entry oleEntry, record []byte) error {
	switch entry.name {
	case "\x01ole10native":
		if s.rules.Macros {
			return s.found("object", f, "is a document with an embedded package")
		}
	case "encryptedpackage", "encryptedsummary":
		if s.rules.Encrypted {
			return s.found("encrypted", f, "is a document that only a password opens")
		}
	case "root entry":
		// The class of Windows Installer's packages, transforms and patches.
		if string(record[81:96]) == "\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46" && s.blocked["msi"] &&
			(record[80] == 0x82 || record[80] == 0x84 || record[80] == 0x86) {
			return s.found("installer", f, "is a Windows Installer package")
		}
	}
	return nil
}

// oleContent finds documents of Word and Excel that are encrypted as they were before
// Office 2007, by the beginnings of their streams: the flag fEncrypted of [MS-DOC] section
// 2.5.2, the record FilePass of [MS-XLS] section 2.4.117.
func (s *scan) oleContent(f *file, at int64, head []byte) error {
	isWord := at%512 == 0 && string(head[:4]) == "\xec\xa5\xc1\x00" && head[11]&1 != 0
	if s.rules.Encrypted && (isWord || isPassNeeded(filePass(head))) {
		return s.found("encrypted", f, "is a document that only a password opens")
	}
	return nil
}

// filePass looks through the first records of a workbook for FilePass, and returns what it
// holds.
func filePass(head []byte) []byte {
	const bof, filePass, writeProtect = 0x0809, 0x002f, 0x0086
	for first := true; len(head) >= 4; first = false {
		kind, size := binary.LittleEndian.Uint16(head), int(binary.LittleEndian.Uint16(head[2:]))
		value := head[4:min(4+size, len(head))]
		switch {
		case first && (kind != bof || size != 16 && size != 8):
			return nil
		case kind == filePass:
			return value
		case !first && kind != writeProtect:
			return nil
		}
		head = head[4+len(value):]
	}
	return nil
}

// excelPassword is what Excel tries before it asks for a password. It encrypts with it the
// workbooks of which only the structure is protected.
const excelPassword = "VelvetSweatshop"

// isPassNeeded reports a FilePass that excelPassword does not open: by XOR ([MS-OFFCRYPTO]
// section 2.3.7.1) or RC4 (section 2.3.6).
func isPassNeeded(pass []byte) bool {
	switch {
	case pass == nil:
		return false
	case len(pass) >= 6 && binary.LittleEndian.Uint16(pass) == 0:
		return binary.LittleEndian.Uint16(pass[4:]) != xorVerifier(excelPassword)
	case len(pass) < 54 || string(pass[:6]) != "\x01\x00\x01\x00\x01\x00":
		return true
	}
	var password []byte
	for _, c := range []byte(excelPassword) {
		password = append(password, c, 0)
	}
	hash, salt := md5.Sum(password), pass[6:22]
	hash = md5.Sum(bytes.Repeat(slices.Concat(hash[:5], salt), 16))
	hash = md5.Sum(append(hash[:5:5], 0, 0, 0, 0)) // of the first block
	verifier := bytes.Clone(pass[22:54])
	rc4Over(hash[:], verifier, 0)
	want := md5.Sum(verifier[:16])
	return !bytes.Equal(want[:], verifier[16:])
}

func xorVerifier(password string) (verifier uint16) {
	for i := len(password); i >= 0; i-- {
		c := uint16(len(password))
		if i > 0 {
			c = uint16(password[i-1])
		}
		verifier = (verifier>>14&1 | verifier<<1&0x7fff) ^ c
	}
	return verifier ^ 0xce4b
}

// oleEntry is one entry of a compound file's directory.
type oleEntry struct {
	name               string // in lower case
	kind               byte   // 1 is a storage, a folder; 2 a stream, a file
	left, right, child uint32
}

// parseOLEEntry reads a record, if it can be an entry whose name is ASCII.
func parseOLEEntry(record []byte) (oleEntry, bool) {
	size := int(binary.LittleEndian.Uint16(record[64:]))
	if size < 4 || size > 64 || size%2 != 0 || record[66] == 0 || record[66] > 5 {
		return oleEntry{}, false
	}
	name := make([]byte, 0, 32)
	for i := 0; i < size-2; i += 2 {
		if record[i+1] != 0 {
			return oleEntry{}, false
		}
		name = append(name, record[i])
	}
	long := func(at int) uint32 { return binary.LittleEndian.Uint32(record[at:]) }
	return oleEntry{strings.ToLower(string(name)), record[66], long(68), long(72), long(76)}, true
}

// oleDirectory remembers what may be the entries of a compound file's directory, and the
// table that says which sector follows which.
type oleDirectory struct {
	shift   uint   // a sector has 1<<shift bytes; 0: the header cannot be read
	first   uint32 // sector of the directory
	table   []uint32
	places  []int64 // where the sectors of the table stand
	entries map[int64]oleEntry
	missed  bool   // one for macros is not among the entries: there are too many
	source  bool   // the text of a module is in the file, whatever the stream is called
	end     []byte // of the piece that was looked at last
}

// moduleSource is what the text of a module begins with ([MS-OVBA] section 2.3.4.3): as it
// is, and behind the flags of its compression (section 2.4.1), of which the first say that
// letters follow.
var moduleSource = [][]byte{[]byte("Attribute VB_"), []byte("\x00Attribut")}

// lookForSource looks for it in a piece of the file, and where it joins the one before.
func (d *oleDirectory) lookForSource(piece []byte) {
	const longest = len("Attribute VB_")
	joint := append(d.end, piece[:min(len(piece), longest)]...)
	for _, text := range moduleSource {
		d.source = d.source || bytes.Contains(joint, text) || bytes.Contains(piece, text)
	}
	d.end = append(d.end[:0], piece[max(0, len(piece)-longest):]...)
}

// take reads the header and the table out of a piece of the file, which stands at a multiple
// of its length.
func (d *oleDirectory) take(at int64, piece []byte) {
	if at == 0 && len(piece) >= 512 {
		d.header(piece)
	}
	size := int64(1) << d.shift
	for i, place := range d.places {
		if from := place - at; from >= 0 && from+size <= int64(len(piece)) {
			for j := range int(size / 4) {
				d.table[i*int(size/4)+j] = binary.LittleEndian.Uint32(piece[from+4*int64(j):])
			}
		}
	}
}

// header reads what the file begins with ([MS-CFB] section 2.2).
func (d *oleDirectory) header(head []byte) {
	const inHeader = 109
	shift, count := binary.LittleEndian.Uint16(head[30:]), binary.LittleEndian.Uint32(head[44:])
	if shift != 9 && shift != 12 || count > inHeader {
		return
	}
	d.shift, d.first = uint(shift), binary.LittleEndian.Uint32(head[48:])
	for i := range int(count) {
		d.places = append(d.places, d.place(binary.LittleEndian.Uint32(head[76+4*i:])))
	}
	d.table = slices.Repeat([]uint32{oleNone - 1}, int(count)<<(shift-2)) // no sector that there is
}

// place is where a sector stands.
func (d *oleDirectory) place(sector uint32) int64 { return (int64(sector) + 1) << d.shift }

// add remembers what may be an entry.
func (d *oleDirectory) add(at int64, entry oleEntry) {
	if d.entries == nil {
		d.entries = make(map[int64]oleEntry)
	}
	if len(d.entries) < oleMaxEntries {
		d.entries[at] = entry
	} else if entry.isMacros() {
		d.missed = true
	}
}

// isMacros reports an entry that a document has for macros.
func (e oleEntry) isMacros() bool {
	return e.isMacroFolder() || e.name == "_vba_project"
}

func (e oleEntry) isMacroFolder() bool {
	return e.name == "macros" || e.name == "_vba_project_cur" || e.name == "vba"
}

// hasMacros reports that an entry is one for macros, unless the whole directory can be read
// and shows that there is no macro in any of them: Publisher and old versions of Word make
// the folder for nothing.
func (d *oleDirectory) hasMacros() bool {
	suspects := 0
	for _, entry := range d.entries {
		if entry.isMacros() {
			suspects++
		}
	}
	if suspects == 0 || d.missed {
		return d.missed
	}
	list, ok := d.list()
	if !ok || d.source || len(d.entries) >= oleMaxEntries {
		return true
	}
	for _, entry := range list {
		if entry.isMacros() {
			suspects--
		}
		if entry.isMacroFolder() && (entry.kind != 1 || !isEmptyOfMacros(list, entry.child)) {
			return true
		}
	}
	return suspects != 0 // one is not in the directory, or twice
}

// list returns the entries in the directory's order, by which they name each other. It
// reports false when the directory cannot be read.
func (d *oleDirectory) list() (all []oleEntry, ok bool) {
	if d.shift == 0 {
		return nil, false
	}
	for sector := d.first; sector < oleNone; sector = d.table[sector] {
		if int64(sector) >= int64(len(d.table)) || len(all) > 2*oleMaxEntries {
			return nil, false
		}
		for i := range 1 << d.shift / oleRecord {
			all = append(all, d.entries[d.place(sector)+int64(i)*oleRecord])
		}
	}
	return all, true
}

// isEmptyOfMacros reports that a folder, of which child is the root of the tree of its
// entries, has nothing that could be a macro's module: only what describes the project
// ([MS-OVBA] section 2.2).
func isEmptyOfMacros(list []oleEntry, child uint32) bool {
	seen := make(map[uint32]bool)
	for open := []uint32{child}; len(open) > 0; {
		id := open[len(open)-1]
		open = open[:len(open)-1]
		if id >= oleNone {
			continue
		}
		if int64(id) >= int64(len(list)) || seen[id] {
			return false
		}
		seen[id] = true
		entry := list[id]
		switch entry.kind {
		case 1:
			if !entry.isMacroFolder() { // which is looked at by itself
				return false
			}
		case 2:
			if !slices.Contains([]string{"dir", "_vba_project", "project", "projectwm", "projectlk"}, entry.name) && !strings.HasPrefix(entry.name, "__srp_") {
				return false
			}
		default:
			return false
		}
		open = append(open, entry.left, entry.right)
	}
	return true
}
