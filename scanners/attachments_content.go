package scanners

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"io"
	"strings"

	"coexistd/policy/mail"
)

// How much of a file is read to tell what it is. An ISO image says so at 32 KiB;
// within an archive its name must do.
const (
	partHead  = 36 << 10
	entryHead = 4 << 10
)

// contentKind is what a file is by its bytes.
type contentKind struct {
	ext  string // the usual extension, which the rules name it by
	word string // for a hit's name: executable; empty when it is never one by itself
	what string // for people: "a Windows program"
	look container
}

// container is a kind of file that has to be looked into.
type container uint8

const (
	closed container = iota // it is not looked into
	zipArchive
	oleFile
	rtfDocument
	gzipFile
	bzip2File
	tarArchive
	tnefFile
	rarArchive
	sevenZipArchive
)

// recognise tells what a file is by its first bytes. The zero kind is any other.
func recognise(head []byte) contentKind {
	if len(head) < 4 {
		return contentKind{}
	}
	for _, magic := range magics {
		if magic.at+len(magic.text) <= len(head) && string(head[magic.at:magic.at+len(magic.text)]) == magic.text {
			return magic.kind
		}
	}
	switch {
	case head[0] == 'M' && head[1] == 'Z' && bytes.IndexByte(head[:min(len(head), 64)], 0) >= 0:
		// A text may begin so as well; a program's header holds zeros.
		return contentKind{"exe", "executable", "a Windows program", closed}
	case isScript(head):
		return contentKind{"sh", "script", "a script with an interpreter line", closed}
	case len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa && (head[0] == 0xeb || head[0] == 0xe9) &&
		(bytes.Contains(head[:512], []byte("FAT")) || bytes.Contains(head[:512], []byte("NTFS"))):
		return contentKind{"img", "image", "a disk image", closed}
	case isHTA(head):
		return contentKind{"hta", "script", "an HTML application", closed}
	}
	return contentKind{}
}

var magics = []struct {
	at   int
	text string
	kind contentKind
}{
	{0, "PK\x03\x04", contentKind{"zip", "", "a zip archive", zipArchive}},
	{0, "PK\x05\x06", contentKind{"zip", "", "a zip archive", zipArchive}},
	{0, "PK\x07\x08", contentKind{"zip", "", "a zip archive", zipArchive}},
	{0, "PK\x30\x30PK", contentKind{"zip", "", "a zip archive", zipArchive}},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", contentKind{"", "", "an OLE file", oleFile}},
	{0, "{\\rt", contentKind{"rtf", "", "an RTF document", rtfDocument}},
	{0, "ActiveMime", contentKind{"", "macro", "a container of macros", closed}},
	{0, "\x7fELF", contentKind{"elf", "executable", "a Unix program", closed}},
	{0, "\xfe\xed\xfa\xce", contentKind{"macho", "executable", "a macOS program", closed}},
	{0, "\xfe\xed\xfa\xcf", contentKind{"macho", "executable", "a macOS program", closed}},
	{0, "\xce\xfa\xed\xfe", contentKind{"macho", "executable", "a macOS program", closed}},
	{0, "\xcf\xfa\xed\xfe", contentKind{"macho", "executable", "a macOS program", closed}},
	{0, "\xca\xfe\xba\xbe", contentKind{"class", "executable", "a Java class or a macOS program", closed}},
	{0, "dex\n03", contentKind{"dex", "executable", "an Android program", closed}},
	{0, "\x4c\x00\x00\x00\x01\x14\x02\x00", contentKind{"lnk", "shortcut", "a Windows shortcut", closed}},
	{0, "ITSF", contentKind{"chm", "executable", "a compiled help file", closed}},
	{0, "conectix", contentKind{"vhd", "image", "a disk image", closed}},
	{0, "vhdxfile", contentKind{"vhdx", "image", "a disk image", closed}},
	{0x8001, "CD001", contentKind{"iso", "image", "a disk image", closed}},
	{0x8001, "BEA01", contentKind{"iso", "image", "a disk image", closed}},
	{0, "\x1f\x8b", contentKind{"gz", "", "a gzip file", gzipFile}},
	{0, "BZh", contentKind{"bz2", "", "a bzip2 file", bzip2File}},
	{257, "ustar", contentKind{"tar", "", "a tar archive", tarArchive}},
	{0, "\x78\x9f\x3e\x22", contentKind{"dat", "", "a TNEF file", tnefFile}},
	{0, "Rar!\x1a\x07", contentKind{"rar", "archive", "a RAR archive", rarArchive}},
	{0, "7z\xbc\xaf\x27\x1c", contentKind{"7z", "archive", "a 7z archive", sevenZipArchive}},
	{0, "MSCF", contentKind{"cab", "archive", "a cabinet archive", closed}},
	{0, "\xfd7zXZ\x00", contentKind{"xz", "archive", "an xz file", closed}},
	{2, "-lh", contentKind{"lzh", "archive", "an LHA archive", closed}},
	{7, "**ACE**", contentKind{"ace", "archive", "an ACE archive", closed}},
}

// isScript finds a line that names an interpreter: "#! /bin/sh".
func isScript(head []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), []byte("#!"))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte("/"))
}

// isHTA finds the element that makes HTML an application.
func isHTA(head []byte) bool {
	const element = "hta:application"
	for i := bytes.IndexByte(head, '<'); i >= 0; i = bytes.IndexByte(head, '<') {
		head = head[i+1:]
		if len(head) >= len(element) && bytes.EqualFold(head[:len(element)], []byte(element)) {
			return true
		}
	}
	return false
}

// container is what a file is opened as by its extension, whatever stands in it
// before the archive.
func (f *attachedFile) container() container {
	for _, ext := range f.exts {
		switch ext {
		case "zip", "docx", "xlsx", "pptx", "xlsb", "dotx", "xltx", "odt", "ods", "odp", "jar":
			return zipArchive
		case "tar":
			return tarArchive
		case "gz", "tgz":
			return gzipFile
		}
	}
	return closed
}

// content judges a file by its bytes. size is how many of them may tell what it is.
func (s *attachmentScan) content(f *attachedFile, r io.Reader, depth, size int) error {
	head := buffer(&s.heads, depth, partHead)[:size]
	n, err := io.ReadFull(r, head)
	head = head[:n]
	if err != nil {
		s.readToEnd(f, err)
	}
	if n == 0 {
		return nil
	}
	k := recognise(head)
	if err := s.program(f, k); err != nil {
		return err
	}
	all := io.MultiReader(bytes.NewReader(head), r)
	if k.look == closed {
		k.look = f.container()
	}
	switch {
	case k.look == closed && strings.HasPrefix(f.media, "text/"):
		return s.text(&lineReader{r: all, buf: make([]byte, entryHead)})
	case k.look == closed:
		return nil
	case depth >= s.rules.Depth:
		s.unsure("%s is nested deeper than %d levels", mail.PrintableName(f.name), s.rules.Depth)
		return nil
	}
	return s.look(k.look, f, all, depth)
}

// look looks into a file of that kind, whose bytes r gives.
func (s *attachmentScan) look(kind container, f *attachedFile, r io.Reader, depth int) error {
	switch kind {
	case oleFile:
		return s.ole(f, r)
	case rtfDocument:
		return s.rtf(f, r)
	}
	s.enter(f)
	defer s.leave()
	switch kind {
	case gzipFile:
		z, err := gzip.NewReader(unpackReader{s, r})
		if err != nil {
			s.unsure("its gzip header cannot be read")
			return nil
		}
		return s.packed(z, depth, packedName(f.name), z.Name)
	case bzip2File:
		return s.packed(bzip2.NewReader(unpackReader{s, r}), depth, packedName(f.name))
	case tarArchive:
		return s.tar(r, depth)
	case tnefFile:
		return s.tnef(r, depth)
	}
	for len(s.memory) <= depth {
		s.memory = append(s.memory, bytes.Buffer{})
	}
	spool, err := spoolFile(unpackReader{s, r}, s.rules.TempDir, &s.memory[depth])
	if err != nil {
		s.unsure("the file cannot be read to its end (%v)", err)
	}
	if spool == nil {
		return nil
	}
	defer spool.close()
	switch kind {
	case rarArchive:
		return s.rar(f, spool)
	case sevenZipArchive:
		return s.sevenZip(f, spool)
	}
	return s.zip(spool, depth)
}

// program judges what a file is as a whole.
func (s *attachmentScan) program(f *attachedFile, k contentKind) error {
	switch {
	case k.word == "macro":
		if s.rules.Macros {
			return s.found("macro", f, "is "+k.what)
		}
	case s.rules.Mismatch && k.isProgram() && f.isPassedOff() && !(k.ext == "sh" && f.isText()):
		return s.found("mismatch", f, "passes for something harmless and is "+k.what)
	case s.blocked[k.ext] && k.word != "" && !(k.ext == "sh" && f.isText() && f.name == ""):
		return s.found(k.word, f, "is "+k.what)
	}
	return nil
}

// isProgram reports whether opening such a file runs it.
func (k contentKind) isProgram() bool {
	return k.word == "executable" || k.word == "script" || k.word == "shortcut"
}

// isText reports whether a file says that it is text, as scripts are.
func (f *attachedFile) isText() bool {
	return strings.HasPrefix(f.media, "text/") || f.has("txt") || f.has("htm") || f.has("html")
}

// isPassedOff reports whether a file that is a program says that it is something
// that is looked at or listened to.
func (f *attachedFile) isPassedOff() bool {
	family, subtype, _ := strings.Cut(f.media, "/")
	switch family {
	case "image", "audio", "video", "font":
		return true
	case "text":
		return f.name != ""
	case "application":
		if subtype == "pdf" || subtype == "msword" || strings.HasPrefix(subtype, "vnd.openxmlformats") || strings.HasPrefix(subtype, "vnd.ms-excel") {
			return true
		}
	}
	for _, ext := range f.exts {
		switch ext {
		case "pdf", "jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "mp3", "mp4", "avi", "mov", "wav", "txt", "csv", "htm", "html",
			"doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "rtf", "zip":
			return true
		}
	}
	return false
}

// packed judges a file within another one, by the names that it may have and by what r
// unpacks.
func (s *attachmentScan) packed(r io.Reader, depth int, names ...string) error {
	f, err := s.named("", names...)
	if err != nil {
		return err
	}
	return s.content(f, unpackReader{s, r}, depth+1, entryHead)
}

// packedName is the name of the one file in a packed file.
func packedName(name string) string {
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return name[:dot]
	}
	return name
}

func (s *attachmentScan) tar(r io.Reader, depth int) error {
	archive := tar.NewReader(unpackReader{s, r})
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			s.unsure("the tar archive cannot be read")
			return nil
		}
		if err := s.entry(); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if err := s.packed(archive, depth, h.Name); err != nil {
			return err
		}
	}
}

// entry counts the files in archives. Too many settle the scan.
func (s *attachmentScan) entry() error {
	s.entries++
	if s.entries > maxEntries {
		s.unsure("the message has more than %d files in archives", maxEntries)
		return errSettled
	}
	if err := s.ctx.Err(); err != nil {
		s.failure = err
		return errSettled
	}
	return nil
}

// rtfObjects are the RTF control words that embed or link other programs' data.
var rtfObjects = []string{`\objdata`, `\objupdate`, `\objocx`, `\objlink`, `\objautlink`, `\objhtml`}

// rtf looks for objects in an RTF document.
func (s *attachmentScan) rtf(f *attachedFile, r io.Reader) error {
	if !s.rules.Macros {
		return nil
	}
	r = unpackReader{s, r}
	const longest = 16
	buf := make([]byte, 32<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		text := buf[:kept+n]
		for _, word := range rtfObjects {
			if bytes.Contains(text, []byte(word)) {
				return s.found("object", f, "is an RTF document with an embedded object")
			}
		}
		if err != nil {
			s.readToEnd(f, err)
			return nil
		}
		kept = copy(buf, text[max(0, len(text)-longest):])
	}
}

// readToEnd notes that a file's bytes ended in an error, unless that is its end.
func (s *attachmentScan) readToEnd(f *attachedFile, err error) {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		s.unsure("the file %s cannot be read (%v)", mail.PrintableName(f.name), err)
	}
}

// oleRecord is the size of a directory entry of an OLE compound file ([MS-CFB]
// section 2.6), and every such entry stands at a multiple of it.
const oleRecord = 128

// ole looks for directory entries in an OLE compound file. It looks at each
// place where one can stand and follows no chain of sectors, so a chain that is
// broken, or hides its end, makes no difference.
func (s *attachmentScan) ole(f *attachedFile, r io.Reader) error {
	buf := make([]byte, 16<<10)
	r = unpackReader{s, r}
	for {
		n, err := io.ReadFull(r, buf)
		for i := 0; i+oleRecord <= n; i += oleRecord {
			if err := s.oleEntry(f, buf[i:i+oleRecord]); err != nil {
				return err
			}
		}
		if err != nil {
			s.readToEnd(f, err)
			return nil
		}
	}
}

func (s *attachmentScan) oleEntry(f *attachedFile, record []byte) error {
	size := int(binary.LittleEndian.Uint16(record[64:]))
	if size < 4 || size > 64 || size%2 != 0 || record[66] == 0 || record[66] > 5 {
		return nil
	}
	name := make([]byte, 0, 32)
	for i := 0; i < size-2; i += 2 {
		if record[i+1] != 0 {
			return nil
		}
		name = append(name, record[i])
	}
	switch strings.ToLower(string(name)) {
	case "macros", "_vba_project", "_vba_project_cur", "vba":
		if s.rules.Macros {
			return s.found("macro", f, "is a document with macros")
		}
	case "\x01ole10native":
		if s.rules.Macros {
			return s.found("object", f, "is a document with an embedded package")
		}
	case "encryptedpackage":
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
