package scanners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// The bounds of one scan. What lies beyond them makes the finding unknown.
const (
	maxParts   = 10_000 // MIME parts
	maxLevels  = 100    // MIME parts within each other
	maxEntries = 10_000 // files in all archives together
	// maxUnpack is how many bytes are read from and written by decompressors
	// and scans of whole files. A message of less than its hundredth part may
	// unpack to a hundred times its own size, or to minUnpack if that is more.
	minUnpack = 32 << 20
	maxUnpack = 256 << 20
)

// AttachmentRules say which attachments are hits.
type AttachmentRules struct {
	// Extensions are those of file names that are hits, in lower case and
	// without the dot; names inside archives count too. Content that tells by its
	// first bytes what it is counts as a file with the usual extension, whatever
	// it is called: exe stands for every Windows program, sh for every script
	// with an interpreter line, elf, macho, class, lnk, msi, hta, chm, iso, img,
	// vhd, vhdx, cab, rar, 7z, xz, lzh and ace for their kinds.
	Extensions []string
	// Macros makes documents with macros (VBA, Excel 4, OpenDocument Basic), those
	// whose extension says so (docm), and those with embedded packages or RTF
	// objects hits.
	Macros bool
	// Encrypted makes archives and Office documents hits of which a part can be
	// read with a password only.
	Encrypted bool
	// Mismatch makes a program a hit that passes for an image, a document or
	// the like, even when programs are none.
	Mismatch bool
	// Depth is how many archives and encoded messages within each other are
	// looked into.
	Depth int
	// TempDir is where attachments larger than 256 KiB are kept while they are
	// looked into, in files without a name. Empty is the system's own place.
	TempDir string
}

// DefaultAttachmentRules returns rules that suit an organisation's incoming
// mail. The extensions are those that Exchange Online's common attachments
// filter and Outlook block and that nobody sends as a document. RAR and 7z are
// not among them: such an archive is a hit when it is encrypted or, for RAR, by
// the names in it, and its content is the virus scanner's to judge.
func DefaultAttachmentRules() AttachmentRules {
	return AttachmentRules{
		Extensions: strings.Fields(`
			ace ade adp ani apk app appcontent-ms application appref-ms appx appxbundle arj asp
			bas bat bgi cab cdxml chm class cmd cnt com cpl crx
			deb desktop dex diagcab dll elf exe fxp gadget grp
			hlp hpj hta htc img inf ins iso isp its
			jar jnlp js jse kext ksh lha library-ms lnk lzh
			macho mad maf mag mam mar mas mau mav maw mcf mda mdw mdz mht mhtml
			msc msh msh1 msh1xml msh2 msh2xml mshxml msi msix msixbundle msp mst msu
			ocx ops osd pcd pif pl plg prf prg printerexport ps1 ps1xml ps2 ps2xml
			psc1 psc2 psd1 psdm1 psm1 pyc pyo pyw pyz pyzw reg rpm
			scf scr sct search-ms settingcontent-ms sh shb shs sys theme themepack udl uif url
			vb vbe vbp vbs vhd vhdx vsmacros vsw vxd webpnp website wll wsb wsc wsf wsh
			xbap xll xnk xz z`),
		Macros:    true,
		Encrypted: true,
		Mismatch:  true,
		Depth:     5,
	}
}

// Attachments is the check verdict.CheckMalware: it looks at the names of a
// message's attachments and at what they are, inside archives too.
//
// It is no virus scanner. It does not see: macros in PowerPoint 97 files, Excel 4
// macros in OLE files, the old encryption of such files, what PDF, OneNote and
// Outlook's .msg files embed, files in 7z, CAB and other archives without a
// reader here, S/MIME and PGP content. Such attachments are clean as far as
// their names and first bytes are.
//
// A message that mail programs may read in several ways is unknown, as is an
// archive that cannot be read to its end. What ordinary mail programs do wrong is
// not held against a message: a missing last boundary, unquoted names, wrong
// charsets, broken encodings of text that has no file name, line ends of
// one LF, the same field twice with the same value.
//
// Each scan holds some 200 KB, and up to 256 KiB for each level of archives.
type Attachments struct {
	rules   AttachmentRules
	blocked map[string]bool
	scans   sync.Pool // of *attachmentScan, for their buffers
}

// NewAttachments makes the check with these rules.
func NewAttachments(rules AttachmentRules) *Attachments {
	rules.Depth = max(rules.Depth, 0)
	a := &Attachments{rules: rules, blocked: make(map[string]bool, len(rules.Extensions))}
	for _, extension := range rules.Extensions {
		a.blocked[extension] = true
	}
	a.scans.New = func() any { return new(attachmentScan) }
	return a
}

// Check returns verdict.CheckMalware.
func (a *Attachments) Check() string { return verdict.CheckMalware }

// Scan looks through m. The first hit ends it; without one, the first thing that
// it could not tell makes the finding unknown. A hit's name begins with one of
// the words extension, executable, script, shortcut, installer, image, archive,
// macro, object, encrypted and mismatch, and goes on with the file's name.
func (a *Attachments) Scan(ctx context.Context, m *Message) verdict.Finding {
	s := a.scans.Get().(*attachmentScan)
	defer a.scans.Put(s)
	s.Attachments, s.ctx, s.unpack = a, ctx, min(max(m.Size*100, minUnpack), maxUnpack)
	s.parts, s.entries, s.inside = 0, 0, s.inside[:0]
	s.hit, s.doubt, s.failure = verdict.Finding{}, "", nil
	for len(s.decoders) <= a.rules.Depth {
		s.decoders = append(s.decoders, base64Body{})
	}
	if err := s.message(m.Reader(), 0, 0); err != nil && err != errSettled && s.failure == nil {
		s.failure = err
	}
	f := s.finding()
	s.end()
	return f
}

// errSettled ends a scan: it has its finding.
var errSettled = errors.New("the scan is settled")

// attachmentScan is one scan under way.
type attachmentScan struct {
	*Attachments
	ctx            context.Context
	unpack         int64 // how many bytes may still be unpacked
	parts, entries int
	inside         []string // the files that are being looked into, outermost first
	hit            verdict.Finding
	doubt          string // the first thing that it could not tell
	failure        error  // why the message could not be read to its end
	// Buffers, one for each level of archives and encoded messages.
	lines, heads [][]byte
	memory       []bytes.Buffer // of spools
	decoders     []base64Body
	inflaters    []io.Reader
	fields       fieldReader
}

// end drops what the message left, so that the pool keeps buffers only.
func (s *attachmentScan) end() {
	clear(s.inside)
	s.Attachments, s.ctx = nil, nil
	for i := range s.decoders {
		s.decoders[i].body = nil
	}
	for i := range s.inflaters {
		s.inflater(i, strings.NewReader(""))
	}
}

func (s *attachmentScan) finding() verdict.Finding {
	switch {
	case s.hit.State == verdict.Hit:
		return s.hit
	case s.failure != nil:
		return Unknown(verdict.CheckMalware, fmt.Sprintf("the attachments were not looked through to the end: %v", s.failure))
	case s.doubt != "":
		return Unknown(verdict.CheckMalware, s.doubt)
	}
	return verdict.Passed(verdict.CheckMalware)
}

// found settles the scan: f is a hit of that word, which what explains: "is a
// Windows program".
func (s *attachmentScan) found(word string, f *attachedFile, what string) error {
	name := mail.PrintableName(f.name)
	s.hit = Hit(verdict.CheckMalware, word+" "+name, "the attachment "+name+s.where()+" "+what)
	return errSettled
}

// unsure notes what the scan cannot tell and why.
func (s *attachmentScan) unsure(format string, args ...any) {
	if s.doubt == "" {
		s.doubt = fmt.Sprintf(format, args...) + s.where()
	}
}

// where names the files around the place where the scan is, innermost first.
func (s *attachmentScan) where() string {
	var b strings.Builder
	for i := len(s.inside) - 1; i >= 0; i-- {
		b.WriteString(" inside " + s.inside[i])
	}
	return b.String()
}

// enter and leave surround looking into a file.
func (s *attachmentScan) enter(f *attachedFile) {
	s.inside = append(s.inside, mail.PrintableName(f.name))
}
func (s *attachmentScan) leave() { s.inside = s.inside[:len(s.inside)-1] }

// buffer returns the buffer of a level, which it makes when there is none yet.
func buffer(list *[][]byte, level, size int) []byte {
	for len(*list) <= level {
		*list = append(*list, nil)
	}
	if (*list)[level] == nil {
		(*list)[level] = make([]byte, size)
	}
	return (*list)[level]
}

// messageReader reads a message for a scan: no further than until the context
// ends, and an error is the scan's failure.
type messageReader struct {
	s *attachmentScan
	r io.Reader
}

func (m messageReader) Read(p []byte) (int, error) {
	err := m.s.ctx.Err()
	n := 0
	if err == nil {
		n, err = m.r.Read(p)
	}
	if err != nil && err != io.EOF && m.s.failure == nil {
		m.s.failure = err
	}
	return n, err
}

var errUnpack = errors.New("the message unpacks to more than is looked through")

// unpackReader counts what goes through it against the scan's bound.
type unpackReader struct {
	s *attachmentScan
	r io.Reader
}

func (u unpackReader) Read(p []byte) (int, error) {
	if err := u.s.ctx.Err(); err != nil {
		u.s.failure = err
		return 0, err
	}
	if u.s.unpack <= 0 {
		u.s.unsure("%v", errUnpack)
		return 0, errUnpack
	}
	n, err := u.r.Read(p)
	u.s.unpack -= int64(n)
	return n, err
}
