package attachments

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/scanners/attachments/archive"
	"coexistd/scanners/attachments/mime"
)

// message looks through a whole message, which has so many archives and encoded messages
// around it, and may be within a part of another.
func (s *scan) message(r io.Reader, within *mime.Part, depth int) error {
	reader := &s.at(depth).mime
	reader.Reset(r, within, s.unsure)
	for {
		p, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if !p.IsOutside {
			s.parts++
		}
		if s.parts > maxParts {
			s.unsure("the message has more than %d parts", maxParts)
			return errSettled
		}
		s.isCut = p.Returned
		if err := s.part(p, depth); err != nil {
			return err
		}
	}
}

// part looks at one part, or at what stands outside of parts.
func (s *scan) part(p *mime.Part, depth int) error {
	f, err := s.named(p.Media, p.Names...)
	f.isAttached = p.IsAttached
	for i := 0; i < len(p.Others) && err == nil; i++ {
		var other *file
		other, err = s.named(p.Others[i], p.Names...)
		if other.isAttached = p.IsAttached; other.isPage() {
			f = other
		}
	}
	if err == nil && f.name == "" && !mime.IsMessageType(p.Media) {
		err = s.titled(f, p.Titles)
	}
	switch {
	case err != nil || p.IsMultipart || p.IsMessage:
		return err
	case p.IsOutside:
		return s.text(p.Line, depth)
	case !p.HasBody:
		return nil
	}
	return s.leaf(f, p, depth)
}

// leaf looks at a part that has no parts. It may be a message of its own.
func (s *scan) leaf(f *file, p *mime.Part, depth int) error {
	plain := mime.IsText(p.Media) && f.name == ""
	switch {
	case p.Encoding == "uuencode":
		return s.uuencoded(f, p, depth)
	case plain && p.Encoding == "" && len(p.Others) == 0 && (p.Media == "text/plain" || p.Media == "text/html" && !p.IsAttached):
		return s.plain(p, depth)
	}
	content, broken := p.Content()
	err := s.content(f, content, p, depth)
	// What is no quoted-printable stays as it is or goes, as mail programs differ: that makes
	// another text of a text, but a broken archive of an archive, or an archive of nothing.
	isText := (f.isText() || f.isData() || strings.HasPrefix(p.Media, "message/")) && !f.isOffice() && (f.container() == 0 || f.container() == archive.Calendar)
	if p.Encoding == "quoted-printable" && isText && !f.isOpened {
		return err
	}
	if why := broken(); why != "" && !plain && err == nil {
		what := "attachment"
		if f.isMessage() {
			what = "message"
		}
		s.short("the encoding of the %s %s is broken: %s", what, mail.PrintableName(f.name), why)
	}
	return err
}

// uuencoded looks at a part whose content is a file within a text.
func (s *scan) uuencoded(f *file, p *mime.Part, depth int) error {
	files := mime.NewTextFiles(p.Line)
	name, content, err := files.Next()
	if f.isPage() { // as which other programs show it without decoding
		s.unsure("the page %s is said to be uuencoded", mail.PrintableName(f.name))
	}
	if err != nil && f.name != "" {
		s.short("the encoding of the attachment %s is broken: it is no uuencode", mail.PrintableName(f.name))
	}
	for ; err == nil; name, content, err = files.Next() {
		f, err = s.named(p.Media, append(slices.Clone(p.Names), name)...)
		if err == nil {
			err = s.content(f, content, nil, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text looks into the files that stand within a text, whose lines next gives.
func (s *scan) text(next func() (line []byte, begins bool), depth int) error {
	files := mime.NewTextFiles(next)
	for {
		name, content, err := files.Next()
		if err == io.EOF {
			return nil
		}
		err = s.entry(&archive.Entry{Names: []string{name}, Content: content}, depth)
		if err != nil {
			return err
		}
	}
}

// inner looks through the message that a file is, which may be a part of another.
func (s *scan) inner(f *file, r io.Reader, part *mime.Part, depth int) error {
	s.enter(f)
	defer s.leave()
	defer func(before bool) { s.isCut = before }(s.isCut)
	return s.message(fileReader{s, f, r}, part, depth+1)
}

// lines looks into the files that stand within a text that r gives.
func (s *scan) lines(r io.Reader, depth int) error {
	lines := &s.at(depth).lines
	lines.Reset(r, 4<<10)
	return s.text(lines.Next, depth)
}

// plain looks at a part that is a text without a name, which can be a program all the same.
func (s *scan) plain(p *mime.Part, depth int) (err error) {
	first := true
	found := s.text(func() (line []byte, begins bool) {
		line, begins = p.Line()
		if first && line != nil {
			first, err = false, s.program(&file{media: "text/plain"}, recognise(line))
		}
		if err != nil {
			return nil, false
		}
		return line, begins
	}, depth)
	return cmp.Or(err, found)
}
