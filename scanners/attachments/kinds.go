package attachments

import (
	"bytes"

	"coexistd/scanners/attachments/archive"
)

// kind is what a file is by its bytes.
type kind struct {
	ext  string // the usual extension, which the rules name it by
	word string // for a hit's name: executable; empty when it is never one by itself
	what string // for people: "a Windows program"
	// How it is looked into; both are zero for one that is not.
	archive  archive.Kind
	document document
}

// isOpened reports a kind that has to be looked into.
func (k kind) isOpened() bool { return k.archive != 0 || k.document != nil }

// recognise tells what a file is by its first bytes, or by those that its programs look for
// behind something else.
func (f *file) recognise(head []byte) kind {
	k := recognise(head)
	begin := head[:min(len(head), 1024)]
	switch {
	case k.isOpened() || k.word != "":
	case (f.has("pdf") || f.media == "application/pdf") && bytes.Contains(begin, []byte("%PDF-")):
		return kind{"pdf", "", "a PDF document", 0, (*scan).pdf}
	case (f.isOffice() || f.media == "application/msword") && bytes.HasPrefix(bytes.TrimLeft(begin, " \t\r\n"), []byte("{\\rt")):
		return kind{"rtf", "", "an RTF document", 0, (*scan).rtf}
	}
	return k
}

// recognise tells what a file is by its first bytes. The zero kind is any other.
func recognise(head []byte) kind {
	if len(head) < 4 {
		return kind{}
	}
	for _, magic := range magics {
		if magic.at+len(magic.text) <= len(head) && string(head[magic.at:magic.at+len(magic.text)]) == magic.text {
			return magic.kind
		}
	}
	switch {
	case head[0] == 'M' && head[1] == 'Z' && bytes.IndexByte(head[:min(len(head), 64)], 0) >= 0:
		// A text may begin so as well; a program's header holds zeros.
		return kind{"exe", "executable", "a Windows program", 0, nil}
	case isScript(head):
		return kind{"sh", "script", "a script with an interpreter line", 0, nil}
	case len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa && (head[0] == 0xeb || head[0] == 0xe9) &&
		(bytes.Contains(head[:512], []byte("FAT")) || bytes.Contains(head[:512], []byte("NTFS"))):
		return kind{"img", "image", "a disk image", 0, nil}
	case isXMLDocument(head):
		return kind{"xml", "", "a document in XML", 0, (*scan).xml}
	case isHTA(head):
		return kind{"hta", "script", "an HTML application", 0, nil}
	}
	return kind{}
}

var magics = []struct {
	at   int
	text string
	kind kind
}{
	{0, "PK\x03\x04", kind{"zip", "", "a zip archive", archive.Zip, nil}},
	{0, "PK\x05\x06", kind{"zip", "", "a zip archive", archive.Zip, nil}},
	{0, "PK\x07\x08", kind{"zip", "", "a zip archive", archive.Zip, nil}},
	{0, "PK\x30\x30PK", kind{"zip", "", "a zip archive", archive.Zip, nil}},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", kind{"", "", "an OLE file", 0, (*scan).ole}},
	{0, "%PDF-", kind{"pdf", "", "a PDF document", 0, (*scan).pdf}},
	{0, "{\\rt", kind{"rtf", "", "an RTF document", 0, (*scan).rtf}},
	{0, "ActiveMime", kind{"", "macro", "a container of macros", 0, nil}},
	{0, "\x7fELF", kind{"elf", "executable", "a Unix program", 0, nil}},
	{0, "\xfe\xed\xfa\xce", kind{"macho", "executable", "a macOS program", 0, nil}},
	{0, "\xfe\xed\xfa\xcf", kind{"macho", "executable", "a macOS program", 0, nil}},
	{0, "\xce\xfa\xed\xfe", kind{"macho", "executable", "a macOS program", 0, nil}},
	{0, "\xcf\xfa\xed\xfe", kind{"macho", "executable", "a macOS program", 0, nil}},
	{0, "\xca\xfe\xba\xbe", kind{"class", "executable", "a Java class or a macOS program", 0, nil}},
	{0, "dex\n03", kind{"dex", "executable", "an Android program", 0, nil}},
	{0, "\x4c\x00\x00\x00\x01\x14\x02\x00", kind{"lnk", "shortcut", "a Windows shortcut", 0, nil}},
	{0, "ITSF", kind{"chm", "executable", "a compiled help file", 0, nil}},
	{0, "conectix", kind{"vhd", "image", "a disk image", 0, nil}},
	{0, "vhdxfile", kind{"vhdx", "image", "a disk image", 0, nil}},
	{0x8001, "CD001", kind{"iso", "image", "a disk image", 0, nil}},
	{0x8001, "BEA01", kind{"iso", "image", "a disk image", 0, nil}},
	{0, "\x1f\x8b", kind{"gz", "", "a gzip file", archive.Gzip, nil}},
	{0, "BZh", kind{"bz2", "", "a bzip2 file", archive.Bzip2, nil}},
	{257, "ustar", kind{"tar", "", "a tar archive", archive.Tar, nil}},
	{0, "\x78\x9f\x3e\x22", kind{"dat", "", "a TNEF file", archive.TNEF, nil}},
	{0, "Rar!\x1a\x07", kind{"rar", "archive", "a RAR archive", archive.RAR, nil}},
	{0, "7z\xbc\xaf\x27\x1c", kind{"7z", "archive", "a 7z archive", archive.SevenZip, nil}},
	{0, "MSCF", kind{"cab", "archive", "a cabinet archive", 0, nil}},
	{0, "\xfd7zXZ\x00", kind{"xz", "archive", "an xz file", 0, nil}},
	{2, "-lh", kind{"lzh", "archive", "an LHA archive", 0, nil}},
	{0, "RE~^", kind{"rar", "archive", "a RAR archive", 0, nil}},
	{0, "\x60\xea", kind{"arj", "archive", "an ARJ archive", 0, nil}},
	{0, "\x1f\x9d", kind{"z", "archive", "a compressed file", 0, nil}},
	{0, "!<arch>\ndebian", kind{"deb", "archive", "a Debian package", 0, nil}},
	{0, "\xed\xab\xee\xdb", kind{"rpm", "archive", "an RPM package", 0, nil}},
	{0, "xar!", kind{"pkg", "archive", "a macOS package", 0, nil}},
	{0, "MSWIM\x00\x00\x00", kind{"wim", "image", "a disk image", 0, nil}},
	{0, "KDMV", kind{"vmdk", "image", "a disk image", 0, nil}},
	{0, "QFI\xfb", kind{"qcow2", "image", "a disk image", 0, nil}},
	{0, "\x00\x01\x00\x00Standard Jet DB", kind{"mdb", "archive", "a database of Access", 0, nil}},
	{0, "!BDN", kind{"pst", "archive", "a mailbox of Outlook", 0, nil}},
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", kind{"one", "archive", "a notebook of OneNote", 0, nil}},
	{7, "**ACE**", kind{"ace", "archive", "an ACE archive", 0, nil}},
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
