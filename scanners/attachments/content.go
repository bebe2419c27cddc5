package attachments

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
	"coexistd/scanners/attachments/archive"
	"coexistd/scanners/attachments/mime"
)

// fileHead is how much of a file is read to tell what it is. An ISO image says so at 32 KiB.
const fileHead = 36 << 10

// container is what a file is opened as by its extension, whatever stands in it
// before the archive.
func (f *file) container() archive.Kind {
	for _, ext := range f.exts {
		switch ext {
		case "zip", "docx", "xlsx", "pptx", "xlsb", "dotx", "xltx", "odt", "ods", "odp", "jar":
			return archive.Zip
		case "tar":
			return archive.Tar
		case "gz", "tgz":
			return archive.Gzip
		case "ics", "vcs":
			return archive.Calendar
		case "rar":
			return archive.RAR
		}
	}
	if f.media == "text/calendar" {
		return archive.Calendar
	}
	return 0
}

// content judges a file by its bytes. It may be a part of a message, which is nil otherwise.
func (s *scan) content(f *file, r io.Reader, part *mime.Part, depth int) error {
	l := s.at(depth)
	if l.head == nil {
		l.head = make([]byte, fileHead)
	}
	n, err := io.ReadFull(r, l.head)
	head := l.head[:n]
	if err != nil {
		s.readToEnd(f, err)
	}
	if n == 0 {
		return nil
	}
	if err := s.judgeHost(f, head); err != nil {
		return err
	}
	k := f.recognise(head)
	f.isOpened = k.isOpened()
	if err := s.program(f, k); err != nil {
		return err
	}
	all := io.MultiReader(bytes.NewReader(head), r)
	var page, form watcher
	if f.isPage() && s.rules.Smuggling > verdict.Accept {
		page = watcher{words: smuggling, tight: true} // a browser shows it as a page, whatever it begins with
	}
	if form = (watcher{words: f.otherForm(k, head), fold: true}); len(page.words)+len(form.words) > 0 {
		all = io.TeeReader(all, io.MultiWriter(&page, &form))
	}
	if err := s.open(f, k, head, all, part, depth); err != nil || len(page.words)+len(form.words) == 0 {
		return err
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		s.readToEnd(f, err)
	}
	if len(form.seen) > 0 {
		s.unsure("the file %s is something else by its beginning than by its name", mail.PrintableName(f.name))
	}
	s.page(f, &page)
	return nil
}

// otherForm is what shows that a file is also, as its name says, what it does not begin with: a
// zip archive, which is found by its end, or a web page that was saved as a message, which Word
// finds behind the beginning of a PDF document.
func (f *file) otherForm(k kind, head []byte) (words []string) {
	if f.container() == archive.Zip && k.isOpened() && k.archive != archive.Zip {
		words = append(words, "pk\x05\x06")
	}
	if f.isOffice() && (k.ext == "pdf" || !k.isOpened()) && !isMHTML(head) {
		words = append(words, "mime-version:")
	}
	return words
}

// open looks into a file of that kind, which begins with head.
func (s *scan) open(f *file, k kind, head []byte, all io.Reader, part *mime.Part, depth int) error {
	isMessage, isSaved := f.isMessage(), isMHTML(head)
	if isMessage && k.isOpened() {
		s.unsure("%s is a message by its type or one of its names and %s by its content", mail.PrintableName(f.name), k.what)
	}
	if bytes.HasPrefix(head, []byte("\x00\x05\x16\x00")) {
		s.unsure("%s has the name of its file and the file within (AppleSingle)", mail.PrintableName(f.name))
	}
	if !k.isOpened() {
		k.archive = f.container()
	}
	switch {
	case k.document != nil && !isMessage:
		return k.document(s, f, s.budget.Reader(all))
	case k.archive == archive.Calendar && !isMessage:
		return s.archive(k.archive, f, all, depth)
	case isMessage || k.archive != 0 || isSaved:
		if depth >= s.rules.Depth {
			s.unsure("%s is nested deeper than %d levels", mail.PrintableName(f.name), s.rules.Depth)
			return nil
		}
	case f.isPage() || mime.IsText(f.media):
		return s.lines(all, depth)
	default:
		return nil
	}
	switch {
	case isMessage:
		return s.inner(f, all, part, depth)
	case k.archive == 0:
		// It is no mail, so that what programs differ on does not matter, but for Word.
		if !f.isOffice() {
			s.quiet++
			defer func() { s.quiet-- }()
		}
		return s.inner(f, all, nil, depth)
	}
	return s.archive(k.archive, f, all, depth)
}

// archive looks into an archive.
func (s *scan) archive(kind archive.Kind, f *file, r io.Reader, depth int) error {
	s.enter(f)
	defer s.leave()
	opener := &s.at(depth).opener
	reader := opener.Open(kind, f.name, r, &s.budget, s.rules.TempDir)
	defer opener.Close()
	for {
		entry, err := reader.Next()
		switch {
		case err == archive.ErrSealed && s.rules.Encrypted:
			s.leave()
			defer s.enter(f)
			return s.found("encrypted", f, "is an archive that only a password opens")
		case err != nil:
			return nil
		}
		if err := s.entry(entry, depth); err != nil {
			return err
		}
	}
}

// entry judges a file in an archive or a text. Too many settle the scan.
func (s *scan) entry(entry *archive.Entry, depth int) error {
	s.entries++
	if s.entries > maxEntries {
		s.unsure("the message has more than %d files in archives and texts", maxEntries)
		return errSettled
	}
	if err := s.budget.Context.Err(); err != nil {
		s.budget.Failure = err
		return errSettled
	}
	media := ""
	if entry.IsTitle {
		media = "message/rfc822"
	}
	f, err := s.named(media, entry.Names...)
	f.isRenamed = entry.IsRenamed
	switch {
	case err != nil:
		return err
	case s.rules.Macros && slices.ContainsFunc(entry.Names, isMacroPath):
		return s.found("macro", f, "holds a document's macros")
	case entry.Encrypted && s.rules.Encrypted:
		return s.found("encrypted", f, "can be read with a password only")
	case entry.Content == nil || entry.Encrypted:
		return s.judgeHost(f, nil)
	case s.rules.Encrypted && slices.Contains(entry.Names, "META-INF/manifest.xml") && s.contains(f, entry.Content, []string{"encryption-data"}),
		s.rules.Encrypted && slices.Contains(entry.Names, "encrypted-package"):
		return s.found("encrypted", f, "says that only a password opens the document")
	}
	return s.content(f, entry.Content, nil, depth+1)
}

// program judges what a file is as a whole.
func (s *scan) program(f *file, k kind) error {
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
func (k kind) isProgram() bool {
	return k.word == "executable" || k.word == "script" || k.word == "shortcut"
}

// isText reports whether a file says that it is text, as scripts are.
func (f *file) isText() bool {
	return strings.HasPrefix(f.media, "text/") || f.has("txt") || f.has("htm") || f.has("html")
}

// isData reports whether a file's name says that it is data in letters, for other programs.
func (f *file) isData() bool {
	return slices.ContainsFunc([]string{"xml", "json", "csv", "ics", "vcf", "log", "asc"}, f.has)
}

// isPassedOff reports whether a file that is a program says that it is something
// that is looked at or listened to.
func (f *file) isPassedOff() bool {
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
