package attachments

import (
	"context"
	"slices"
	"sync"

	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/attachments/mime"
)

// The bounds of one scan. What lies beyond them makes the finding unknown.
const (
	maxParts   = 10_000 // MIME parts
	maxEntries = 10_000 // files in all archives together
	// maxUnpack is how many bytes are read from and written by decompressors
	// and scans of whole files. A message of less than its hundredth part may
	// unpack to a hundred times its own size, or to minUnpack if that is more.
	minUnpack = 32 << 20
	maxUnpack = 256 << 20
)

// Rules say which attachments are hits.
type Rules struct {
	// Extensions are those of file names that are hits, in lower case and
	// without the dot; names inside archives count too. Content that tells by its
	// first bytes what it is counts as a file with the usual extension, whatever
	// it is called: exe stands for every Windows program, sh for every script
	// with an interpreter line, elf, macho, class, lnk, msi, hta, chm, iso, img,
	// vhd, vhdx, cab, rar, 7z, xz, lzh and ace for their kinds.
	Extensions []string
	// Macros makes documents with macros (VBA, Excel 4, OpenDocument Basic), whatever
	// they are saved as, those whose extension says so (docm), and those with embedded packages
	// or RTF objects hits.
	Macros bool
	// Encrypted makes archives and documents (Office, OpenDocument, PDF) hits of which a
	// part can be read with a password only.
	Encrypted bool
	// Mismatch makes a program a hit that passes for an image, a document or
	// the like, even when programs are none.
	Mismatch bool
	// Smuggling is done with a page of HTML or SVG that builds a file by a script, which no
	// filter has seen then; at most what is done with hits. Accept: it is not looked for.
	Smuggling verdict.Verdict
	// Depth is how many archives and encoded messages within each other are
	// looked into.
	Depth int
	// TempDir is where attachments larger than 256 KiB are kept while they are
	// looked into, in files without a name. Empty is the system's own place.
	TempDir string
}

// DefaultRules returns rules that suit an organisation's incoming mail. RAR and 7z are not
// among the extensions: such an archive is a hit when it is encrypted or, for RAR, by
// the names in it, and its content is the virus scanner's to judge.
func DefaultRules() Rules {
	return Rules{
		Extensions: slices.Clone(usualExtensions), Macros: true, Encrypted: true, Mismatch: true, Smuggling: verdict.Tag, Depth: 5,
	}
}

// Scanner makes the check verdict.CheckMalware: it looks at the names of a
// message's attachments and at what they are, inside archives too.
//
// It is no virus scanner. It does not see: macros in PowerPoint 97 files, Excel 4
// macros in OLE files, what PDF, OneNote and Outlook's .msg files embed, what files in RAR
// archives hold, files in 7z, CAB and other archives without a reader here, S/MIME and PGP
// content. Such attachments are
// clean as far as their names and first bytes are.
//
// A message that mail programs may read in several ways is unknown, as is an
// archive that cannot be read to its end: unless all that anybody can read in it is text, or
// it is the copy of a message that a report returns. What ordinary mail programs do wrong is
// not held against a message: a missing last boundary, unquoted names, wrong
// charsets, broken encodings of text that has no file name, line ends of
// one LF, the same field twice.
//
// Each scan holds some 200 KB, and up to 256 KiB for each level of archives.
type Scanner struct {
	rules   Rules
	blocked map[string]bool
	scans   sync.Pool // of *scan, for their buffers
}

// New makes the check with these rules.
func New(rules Rules) *Scanner {
	rules.Depth = max(rules.Depth, 0)
	a := &Scanner{rules: rules, blocked: make(map[string]bool, len(rules.Extensions))}
	for _, extension := range rules.Extensions {
		a.blocked[extension] = true
	}
	a.scans.New = func() any { return new(scan) }
	return a
}

// Check returns verdict.CheckMalware.
func (a *Scanner) Check() string { return verdict.CheckMalware }

// Scan looks through m. The first hit ends it; without one, the first thing that
// it could not tell makes the finding unknown. A hit's name begins with one of
// the words extension, executable, script, shortcut, installer, image, archive,
// macro, object, encrypted, mismatch and smuggling, and goes on with the file's name.
func (a *Scanner) Scan(ctx context.Context, m *scanners.Message) verdict.Finding {
	s := a.scans.Get().(*scan)
	defer a.scans.Put(s)
	s.begin(a, ctx, m.Size)
	if err := s.message(messageReader{s, m.Reader()}, nil, 0); err != nil && err != errSettled && s.budget.Failure == nil {
		s.budget.Failure = err
	}
	// What may be read in several ways is harmless where all of them give texts.
	if s.doubt != "" && mime.OnlyTexts(messageReader{s, m.Reader()}) {
		s.doubt = ""
	}
	f := s.finding()
	s.end()
	return f
}
