package attachments

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"coexistd/policy/mail"
)

// document looks into a file that is no archive.
type document func(s *scan, f *file, r io.Reader) error

// isMacroPath reports whether a file of that name within an Office document holds
// macros: VBA (ECMA-376), Excel 4 sheets, or OpenDocument Basic.
func isMacroPath(name string) bool {
	path := strings.ToLower(strings.ReplaceAll(name, `\`, "/"))
	return strings.HasSuffix(path, "vbaproject.bin") || strings.HasSuffix(path, "vbadata.xml") ||
		strings.HasPrefix(path, "xl/macrosheets/") || strings.HasPrefix(path, "basic/") && strings.HasSuffix(path, "/script-lb.xml")
}

// rtfObjects are the RTF control words that embed or link other programs' data.
var rtfObjects = []string{`\objdata`, `\objupdate`, `\objocx`, `\objlink`, `\objautlink`, `\objhtml`}

// rtf looks for objects in an RTF document.
func (s *scan) rtf(f *file, r io.Reader) error {
	if !s.rules.Macros {
		return nil
	}
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
func (s *scan) readToEnd(f *file, err error) {
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
func (s *scan) ole(f *file, r io.Reader) error {
	buf := make([]byte, 16<<10)
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

func (s *scan) oleEntry(f *file, record []byte) error {
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
