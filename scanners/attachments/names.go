package attachments

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"coexistd/policy/mail"
)

// file is a file as its names and its sender's words describe it.
type file struct {
	name string   // one of its names, for people; empty when it has none
	exts []string // every extension that a program may find in one of its names
	// media is the declared type, "image/png", or empty.
	media string
}

func (f *file) has(ext string) bool { return slices.Contains(f.exts, ext) }

// macroExtensions are those of Office documents that hold macros.
var macroExtensions = map[string]bool{
	"docm": true, "dotm": true, "xlsm": true, "xltm": true, "xlam": true,
	"pptm": true, "potm": true, "ppsm": true, "ppam": true, "sldm": true,
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
		exts := extensions(name)
		if f.name == "" {
			f.name = name
		}
		for _, ext := range exts {
			if ext == classExtension || s.blocked[ext] {
				f.name = name
				return f, s.found("extension", f, "has the extension "+mail.PrintableName(ext)+", which is not accepted")
			}
			if s.rules.Macros && macroExtensions[ext] {
				f.name = name
				return f, s.found("macro", f, "is a document with macros by its extension "+ext)
			}
		}
		f.exts = append(f.exts, exts...)
	}
	return f, nil
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
