package attachments

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"

	"coexistd/policy/mail"
	"coexistd/scanners/attachments/mime"
)

// file is a file as its names and its sender's words describe it.
type file struct {
	name string   // one of its names, for people; empty when it has none
	exts []string // every extension that a program may find in one of its names
	// media is the declared type, "image/png", or empty.
	media string
	// isAttached says that it is an attachment, whether it has a name or not.
	isAttached bool
	// host is the name that is that of a host, perhaps: "www.example.com". What is in the
	// file tells whether it is a program.
	host string
	// isRenamed says that it may have another name, which is not among these.
	isRenamed bool
	// isOpened says that the content was looked into as that of an archive or a document.
	isOpened bool
}

func (f *file) has(ext string) bool { return slices.Contains(f.exts, ext) }

// isMessage reports a file that is a whole message.
func (f *file) isMessage() bool { return mime.IsMessageType(f.media) || f.has("eml") }

// macroExtensions are those of Office documents that hold macros.
var macroExtensions = map[string]bool{
	"docm": true, "dotm": true, "xlsm": true, "xltm": true, "xlam": true,
	"pptm": true, "potm": true, "ppsm": true, "ppam": true, "sldm": true, "vsdm": true, "vssm": true, "vstm": true,
}

// classExtension is the extension of a name that ends in a class identifier,
// which Windows hides and takes for the file's type.
const classExtension = "{clsid}"

// maxFileName is the longest name that is judged as a whole; of one that is longer, the
// end.
const maxFileName = 4 << 10

// named makes a file of its names and judges them. A hit is errSettled.
func (s *scan) named(media string, names ...string) (*file, error) {
	f := &file{media: media}
	for _, name := range names {
		if len(name) > maxFileName {
			s.unsure("a file name is longer than %d bytes", maxFileName)
			name = name[len(name)-maxFileName:]
		}
		if f.name == "" {
			f.name = name
		}
		exts := extensions(name)
		for _, ext := range exts {
			if err := s.extension(f, name, ext); err != nil {
				return f, err
			}
		}
		f.exts = append(f.exts, exts...)
	}
	if ext := programTypes[media]; len(f.exts) == 0 && s.quiet == 0 && s.blocked[ext] {
		return f, s.found("extension", f, "is of the type "+media+", that of files with the extension "+ext+", which is not accepted")
	}
	return f, nil
}

// titled judges a file without a name by what people call it, as far as that ends like a file's
// name and not like that of a host. A hit is errSettled.
func (s *scan) titled(f *file, titles []string) error {
	for _, title := range titles {
		for _, ext := range extensions(title[max(0, len(title)-maxFileName):]) {
			if isTopLevelDomain(ext) {
				continue
			}
			if err := s.extension(f, title, ext); err != nil {
				return err
			}
			f.exts = append(f.exts, ext)
		}
	}
	return nil
}

// extension judges an extension of one of a file's names.
func (s *scan) extension(f *file, name, ext string) error {
	isBlocked := ext == classExtension || s.blocked[ext]
	switch {
	case mime.IsMessageType(f.media) && isTopLevelDomain(ext): // it is called by its subject
	case isBlocked && ext == "com":
		f.host = name
	case isBlocked:
		f.name = name
		return s.found("extension", f, "has the extension "+mail.PrintableName(ext)+", which is not accepted")
	case s.rules.Macros && macroExtensions[ext]:
		f.name = name
		return s.found("macro", f, "is a document with macros by its extension "+ext)
	}
	return nil
}

// judgeHost judges a file whose name may be that of a host, by how it begins: a program is
// binary, and what a host's name is given to is a text, a page or a known kind of document. The
// head is nil when there is no content to be judged.
func (s *scan) judgeHost(f *file, head []byte) error {
	isHarmless := func() bool {
		// A program that is written in letters, such as EICAR's, has no spaces.
		isText := bytes.IndexByte(head, 0) < 0 && bytes.ContainsAny(head[:min(len(head), 512)], " <")
		return isText || slices.ContainsFunc(harmless, func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) })
	}
	if f.host == "" || head != nil && isHarmless() {
		return nil
	}
	f.name = f.host
	return s.found("extension", f, "has the extension com, which is not accepted")
}

// harmless is what files begin with that no system runs.
var harmless = []string{"%PDF-", "\x89PNG", "\xff\xd8\xff", "GIF8", "PK\x03\x04", "\x1f\x8b", "\xd0\xcf\x11\xe0", "\xff\xfe<\x00"}

// programTypes are types of files that run, with the extension that a file without one is
// given when it is saved.
var programTypes = map[string]string{
	"application/bat": "bat", "application/com": "com", "application/dos-exe": "exe", "application/exe": "exe", "application/hta": "hta",
	"application/internet-shortcut": "url", "application/java-archive": "jar", "application/msdos-windows": "exe",
	"application/vnd.android.package-archive": "apk", "application/vnd.debian.binary-package": "deb", "application/vnd.microsoft.portable-executable": "exe",
	"application/vnd.ms-cab-compressed": "cab", "application/vnd.ms-htmlhelp": "chm", "application/winhlp": "hlp", "application/x-bat": "bat",
	"application/ecmascript": "js", "application/javascript": "js", "application/x-javascript": "js", "text/ecmascript": "js", "text/javascript": "js",
	"text/jscript": "js", "application/x-vbscript": "vbs", "application/x-perl": "pl", "text/x-perl": "pl", "application/x-csh": "csh",
	"application/x-apple-diskimage": "dmg", "application/x-chm": "chm", "application/x-com": "com", "application/x-dosexec": "exe", "application/x-exe": "exe", "application/x-iso9660-image": "iso",
	"application/x-java-archive": "jar", "application/x-java-jnlp-file": "jnlp", "application/x-ms-application": "application", "application/x-ms-installer": "msi",
	"application/x-ms-shortcut": "lnk", "application/x-ms-xbap": "xbap", "application/x-msdos-program": "exe", "application/x-msdownload": "exe",
	"application/x-msi": "msi", "application/x-mswebsite": "website", "application/x-redhat-package-manager": "rpm", "application/x-rpm": "rpm", "application/x-sh": "sh",
	"application/x-shellscript": "sh", "application/x-winexe": "exe", "application/x-winhlp": "hlp", "text/scriptlet": "sct", "text/vbs": "vbs",
	"text/vbscript": "vbs", "text/x-sh": "sh", "vms/exe": "exe",
}

// isTopLevelDomain reports an ending that names a host.
func isTopLevelDomain(ext string) bool {
	_, icann := publicsuffix.PublicSuffix("x." + ext)
	return icann
}

// extensions returns what programs may take for the extension of a file's name,
// in lower case and without the dot. They differ in what they drop (control
// characters and marks without width, dots and spaces at the end), in where they
// stop (a NUL, a semicolon, the colon of a Windows stream, a slash of either kind),
// and in how they see full-width letters.
func extensions(name string) []string {
	var exts []string
	for piece := range strings.FieldsFuncSeq(name, func(c rune) bool { return c == 0 || c == ':' || c == ';' }) {
		exts = appendExtension(exts, piece)
	}
	if strings.IndexByte(name, 0) >= 0 {
		exts = appendExtension(exts, name)
	}
	return exts
}

func appendExtension(exts []string, name string) []string {
	if !mail.IsASCII(name) {
		name = norm.NFKC.String(name)
	}
	name = strings.Map(func(c rune) rune {
		switch {
		case c == '。' || c == '․':
			return '.'
		case c <= ' ' || c == 0x7f || c > 0x7f && (unicode.In(c, unicode.C, unicode.Z, unicode.Variation_Selector)):
			return -1
		}
		return c
	}, name)
	name = strings.TrimRight(name, `/\."'<>|`)
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return exts
	}
	ext := strings.ToLower(name[dot+1:])
	if len(ext) == 38 && ext[0] == '{' && ext[37] == '}' {
		return append(exts, classExtension)
	}
	exts = append(exts, ext)
	// What stands behind the extension: a comment, a bracket, an attribute.
	if end := strings.IndexFunc(ext, func(c rune) bool { return !isNameRune(c) }); end > 0 {
		exts = append(exts, ext[:end])
	}
	return exts
}

// isNameRune reports whether c may stand in an extension of the list.
func isNameRune(c rune) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c > 0x7f
}
