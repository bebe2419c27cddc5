package attachments

import (
	"bytes"
	"io"
	"slices"
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

// isOffice reports a file that Word, Excel or PowerPoint open by its name.
func (f *file) isOffice() bool {
	return slices.ContainsFunc([]string{"doc", "dot", "wbk", "rtf", "docx", "dotx", "xls", "xlt", "xlsx", "xltx", "ppt", "pps", "pot", "pptx", "ppsx"}, f.has)
}

// rtfObjects are the RTF control words that embed or link other programs' data.
var rtfObjects = []string{`\objdata`, `\objupdate`, `\objocx`, `\objlink`, `\objautlink`, `\objhtml`}

// rtf looks for objects in an RTF document.
func (s *scan) rtf(f *file, r io.Reader) error {
	if !s.rules.Macros {
		return nil
	}
	if s.contains(f, r, rtfObjects) {
		return s.found("object", f, "is an RTF document with an embedded object")
	}
	return nil
}

// piece returns room for a piece of a document.
func (s *scan) piece(size int) []byte {
	if cap(s.window) < size {
		s.window = make([]byte, size)
	}
	return s.window[:size]
}

// contains looks through a file for words, as watcher does.
func (s *scan) contains(f *file, r io.Reader, words []string) bool {
	w := watcher{words: words}
	buf := s.piece(16 << 10)
	for len(w.seen) == 0 {
		n, err := r.Read(buf)
		_, _ = w.Write(buf[:n])
		if err != nil {
			s.readToEnd(f, err)
			break
		}
	}
	return len(w.seen) > 0
}

// xmlRoots are the elements, and the instruction, that a document in one file of XML begins
// with, and the names of what they are of, whatever stands before them: of Word 2003, of Office
// since (flat OPC), of OpenDocument (flat ODF) and of Visio.
var xmlRoots = []string{
	"<?mso-application", "<w:wordDocument", "<pkg:package", "<office:document ", "<VisioDocument",
	"/office/word/2003/wordml", "/office/2006/xmlPackage", "opendocument:xmlns:office:", "/visio/2003/core",
}

// isXMLDocument reports such a document, in UTF-8 or UTF-16, or one that may be, since it does
// not come to its root so soon.
func isXMLDocument(head []byte) bool {
	const begin = 8 // a mark of the order of bytes, and the first letters
	isWhole := len(head) < fileHead
	if first := head[:min(len(head), begin)]; bytes.IndexByte(first, '<') < 0 && len(bytes.TrimLeft(first, "\xef\xbb\xbf \t\r\n")) > 0 {
		return false
	} else if bytes.IndexByte(first, 0) >= 0 {
		head = bytes.ReplaceAll(head, []byte{0}, nil)
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), "\xff\xfe \t\r\n")
	if !isWhole && bytes.HasPrefix(head, []byte("<?xml")) {
		return true
	}
	return bytes.HasPrefix(head, []byte("<")) &&
		slices.ContainsFunc(xmlRoots, func(root string) bool { return bytes.Contains(head, []byte(root)) })
}

// xmlMacros are what such a document has where it has macros.
var xmlMacros = []string{
	`macrosPresent="yes"`, `macrosPresent='yes'`, "docSuppData", "editdata.mso", "QWN0aXZlTWltZQ", // Word 2003, with what ActiveMime begins with
	"/vbaProject.bin", "ms-office.vbaProject", "relationships/vbaProject", "VBProjectData", // flat OPC, Visio
	"library-embedded", "script:module", // flat ODF
}

// xml looks for macros in a document in one file of XML.
func (s *scan) xml(f *file, r io.Reader) error {
	if s.rules.Macros && s.contains(f, r, xmlMacros) {
		return s.found("macro", f, "is a document with macros")
	}
	return nil
}

// isPage reports an attachment that a browser shows, perhaps.
func (f *file) isPage() bool {
	for _, ext := range f.exts {
		switch ext {
		case "htm", "html", "xhtml", "xht", "shtml", "svg":
			return true
		}
	}
	isHTML := f.media == "text/html" || f.media == "application/xhtml+xml"
	return isHTML && (f.isAttached || f.name != "") || f.media == "image/svg+xml" || f.isRenamed
}

// What a script has, without its blanks, that builds a file, or that decodes a further script.
var (
	smugglesFile   = []string{"Blob(", "newFile(", "createObjectURL", "msSaveBlob", "msSaveOrOpenBlob", "showSaveFilePicker"}
	smugglesOut    = []string{".download", ".click(", "msSaveBlob", "msSaveOrOpenBlob", "showSaveFilePicker", "location"}
	smugglesCode   = []string{"atob(", "unescape(", "fromCharCode", "decodeURIComponent("}
	smugglesRun    = []string{"eval(", "document.write(", "Function("}
	smugglesInLink = []string{`"data:application/`, `'data:application/`}
)

// smuggling are all of them.
var smuggling = slices.Concat(smugglesFile, smugglesOut, smugglesCode, smugglesRun, smugglesInLink, []string{"download"})

// page judges a page that a browser shows, in which w has looked for smuggling.
func (s *scan) page(f *file, w *watcher) {
	switch {
	case w.hasAny(smugglesFile) && w.hasAny(smugglesOut):
		s.suspect(s.rules.Smuggling, "smuggling", f, "is a page whose script builds a file")
	case w.hasAny(smugglesCode) && w.hasAny(smugglesRun):
		s.suspect(s.rules.Smuggling, "smuggling", f, "is a page whose script decodes another")
	case w.hasAny(smugglesInLink) && w.seen["download"]:
		s.suspect(s.rules.Smuggling, "smuggling", f, "is a page that holds a file to be downloaded")
	}
}

// watcher looks for words of at most 32 bytes in what is written to it. NULs are passed
// over, so that UTF-16 is read as well.
type watcher struct {
	words []string
	fold  bool // the words are in lower case, and any case is that
	tight bool // blanks and line ends are passed over as well
	seen  map[string]bool
	text  []byte
}

// Write never fails.
func (w *watcher) Write(p []byte) (int, error) {
	const longest = 32
	n := len(p)
	if w.tight {
		p = bytes.Map(tight, p)
	} else if bytes.IndexByte(p, 0) >= 0 {
		p = bytes.ReplaceAll(p, []byte{0}, nil)
	}
	w.text = append(w.text, p...)
	if w.fold {
		lower(w.text[len(w.text)-len(p):])
	}
	for _, word := range w.words {
		if !w.seen[word] && bytes.Contains(w.text, []byte(word)) {
			if w.seen == nil {
				w.seen = make(map[string]bool)
			}
			w.seen[word] = true
		}
	}
	w.text = w.text[:copy(w.text, w.text[max(0, len(w.text)-longest):])]
	return n, nil
}

// tight drops NULs, blanks and line ends.
func tight(c rune) rune {
	switch c {
	case 0, ' ', '\t', '\r', '\n':
		return -1
	}
	return c
}

// lower makes lower case of the letters of ASCII.
func lower(text []byte) {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
}

func (w *watcher) hasAny(words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return w.seen[word] })
}

// fileReader reads a file for a scan, and notes when that fails.
type fileReader struct {
	s *scan
	f *file
	r io.Reader
}

func (r fileReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil {
		r.s.readToEnd(r.f, err)
	}
	return n, err
}

// readToEnd notes that a file's bytes ended in an error, unless that is its end.
func (s *scan) readToEnd(f *file, err error) {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		s.short("the file %s cannot be read (%v)", mail.PrintableName(f.name), err)
	}
}

// isMHTML reports what begins as a message does: a web page that was saved as one (RFC 2557).
// Office opens it under any name, macros included.
func isMHTML(head []byte) bool {
	const field = "mime-version:"
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	for line := range bytes.Lines(head[:min(len(head), 4<<10)]) {
		if len(line) >= len(field) && bytes.EqualFold(line[:len(field)], []byte(field)) {
			return true
		}
		if line[0] != ' ' && line[0] != '\t' && bytes.IndexByte(line, ':') <= 0 {
			return false
		}
	}
	return false
}
