package attachments

import (
	"io"

	"coexistd/policy/mail"
	"coexistd/scanners/attachments/mime"
)

// message looks through a whole message, which has so many parts and so many archives and
// encoded messages around it.
func (s *scan) message(r io.Reader, parts, depth int) error {
	reader := &s.at(depth).mime
	reader.Reset(messageReader{s, r}, parts, s.unsure)
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
		if err := s.part(p, depth); err != nil {
			return err
		}
	}
}

// part looks at one part, or at what stands outside of parts.
func (s *scan) part(p *mime.Part, depth int) error {
	f, err := s.named(p.Media, p.Names...)
	switch {
	case err != nil || p.IsMultipart || p.IsMessage:
		return err
	case p.IsOutside:
		return s.text(p.Line, false)
	case !p.HasBody:
		return nil
	}
	return s.leaf(f, p, depth)
}

// leaf looks at a part that has no parts. It may be a message of its own.
func (s *scan) leaf(f *file, p *mime.Part, depth int) (err error) {
	plain := mime.IsText(p.Media) && f.name == ""
	if plain && p.Encoding == "" {
		return s.text(p.Line, true)
	}
	content, broken := p.Content()
	what := "attachment"
	switch {
	case !mime.IsMessageType(p.Media) && !f.has("eml"):
		err = s.content(f, content, depth, partHead)
	case depth >= s.rules.Depth:
		s.unsure("the message %s is nested deeper than %d levels", mail.PrintableName(f.name), s.rules.Depth)
	default:
		what = "message"
		s.enter(f)
		err = s.message(content, p.Level, depth+1)
		s.leave()
	}
	if why := broken(); why != "" && !plain && err == nil {
		s.unsure("the encoding of the %s %s is broken: %s", what, mail.PrintableName(f.name), why)
	}
	return err
}

// text looks for files within a text, whose lines next gives. IsFile says that the text
// itself can be one.
func (s *scan) text(next func() (line []byte, begins bool), isFile bool) error {
	var files mime.TextFiles
	var f *file
	for line, begins := next(); line != nil; line, begins = next() {
		if isFile {
			isFile = false
			if err := s.program(&file{media: "text/plain"}, recognise(line)); err != nil {
				return err
			}
		}
		before, name, found := files.Line(line, begins)
		if !found {
			continue
		}
		err := s.textFile(f, before)
		if err == nil {
			f, err = s.named("", name)
		}
		if err != nil {
			return err
		}
	}
	return s.textFile(f, files.End())
}

// textFile judges a file within a text by its first bytes, which are nil when there is none.
func (s *scan) textFile(f *file, head []byte) error {
	if head == nil {
		return nil
	}
	k := recognise(head)
	if k.isOpened() {
		s.unsure("the file %s within a text is %s, which is not looked into there", mail.PrintableName(f.name), k.what)
	}
	return s.program(f, k)
}
