package scanners

import (
	"bytes"
	"io"
	"strings"

	"coexistd/policy/mail"
)

// stop is what ended a part: the delimiter line of the multipart at that level
// of the reader's stack, or at level -1 the end of the message.
type stop struct {
	level int
	last  bool // it closes the multipart
}

// mimeReader walks through the parts of one message in one pass. The line
// that ends a part is looked up among the boundaries of all multiparts around it.
//
// It takes the place of go-message's reader of multiparts. That one ends a
// part's header at an empty line only, refuses a header with a line that it cannot
// read and a multipart whose last boundary is missing, and copies each byte
// once for each level.
type mimeReader struct {
	*attachmentScan
	src        lineReader
	boundaries [][]byte
	level      int // of parts within each other, in the messages around too
	depth      int // of archives and encoded messages
}

// message looks through a whole message.
func (s *attachmentScan) message(r io.Reader, level, depth int) error {
	m := &mimeReader{attachmentScan: s, level: level, depth: depth}
	m.src = lineReader{r: messageReader{s, r}, buf: buffer(&s.lines, depth, lineBuffer)}
	_, err := m.part("text/plain")
	return err
}

// part looks through one part, header and body. standard is its type when it
// does not say.
func (m *mimeReader) part(standard string) (stop, error) {
	m.parts++
	if m.parts > maxParts {
		m.unsure("the message has more than %d parts", maxParts)
		return stop{}, errSettled
	}
	h, end, ended := m.header()
	if h.media == "" {
		h.media = standard
	}
	f, err := m.named(h.media, h.names...)
	if err != nil || ended {
		return end, err
	}
	m.level++
	defer func() { m.level-- }()
	switch {
	case m.level > maxLevels:
		m.unsure("the message has more than %d parts within each other", maxLevels)
		return m.skip(nil)
	case h.boundary != "":
		return m.multipart(h)
	case h.media == "message/partial":
		m.unsure("the message holds only a piece of another one (message/partial)")
	case isMessageType(h.media) && h.encoding == "":
		return m.part("text/plain")
	}
	return m.leaf(f, h)
}

func isMessageType(media string) bool {
	return media == "message/rfc822" || media == "message/global" || media == "message/news"
}

// multipart looks through the parts of a multipart, whose header has been read.
// The delimiter of a multipart further out ends it too, and so does the end of
// the message: a missing last boundary hides nothing.
func (m *mimeReader) multipart(h partHeader) (stop, error) {
	own := len(m.boundaries)
	m.boundaries = append(m.boundaries, []byte(h.boundary))
	defer func() { m.boundaries = m.boundaries[:own] }()
	standard := "text/plain"
	if h.media == "multipart/digest" {
		standard = "message/rfc822"
	}
	empty := true
	end, err := m.skip(&empty)
	if end.level < own && !empty {
		m.unsure("a multipart does not contain its boundary")
	}
	for closed := false; err == nil && end.level == own; {
		if end.last {
			closed = true
			end, err = m.skip(nil)
			continue
		}
		if closed {
			m.unsure("a multipart goes on behind its last boundary")
		}
		end, err = m.part(standard)
	}
	return end, err
}

// skip reads what stands outside of parts, where only uuencoded files can be.
// It clears empty, if given, when there is something but white space.
func (m *mimeReader) skip(empty *bool) (stop, error) {
	body := partBody{m: m}
	var uu uuFinder
	for line, begins := body.next(); line != nil; line, begins = body.next() {
		if empty != nil && *empty && len(bytes.TrimSpace(line)) > 0 {
			*empty = false
		}
		if err := uu.line(m.attachmentScan, line, begins); err != nil {
			return stop{}, err
		}
	}
	return body.end, uu.finish(m.attachmentScan)
}

// leaf looks at a part that is no multipart. It may be a message of its own.
func (m *mimeReader) leaf(f *attachedFile, h partHeader) (stop, error) {
	body := &partBody{m: m}
	decoded, broken := decodePart(h.encoding, body)
	plain := strings.HasPrefix(h.media, "text/") && f.name == ""
	what := "attachment"
	var err error
	switch {
	case plain && h.encoding == "":
		err = m.text(body)
	case !isMessageType(h.media) && !f.has("eml"):
		err = m.content(f, decoded, m.depth, partHead)
	case m.depth >= m.rules.Depth:
		m.unsure("the message %s is nested deeper than %d levels", mail.PrintableName(f.name), m.rules.Depth)
	default:
		what = "message"
		m.enter(f)
		err = m.message(decoded, m.level, m.depth+1)
		m.leave()
	}
	if why := broken(); why != "" && !plain && err == nil {
		m.unsure("the encoding of the %s %s is broken: %s", what, mail.PrintableName(f.name), why)
	}
	if err != nil {
		return stop{}, err
	}
	for line, _ := body.next(); line != nil; line, _ = body.next() {
	}
	return body.end, nil
}

// text looks through a text that is not encoded.
func (s *attachmentScan) text(lines interface{ next() ([]byte, bool) }) error {
	var uu uuFinder
	first := true
	for line, begins := lines.next(); line != nil; line, begins = lines.next() {
		if first {
			first = false
			if err := s.program(&attachedFile{media: "text/plain"}, recognise(line)); err != nil {
				return err
			}
		}
		if err := uu.line(s, line, begins); err != nil {
			return err
		}
	}
	return uu.finish(s)
}

// partBody is the body of the part that m stands in, still encoded.
type partBody struct {
	m     *mimeReader
	end   stop
	ended bool
	// What Read has still to give: the end of the line before, then the line.
	// That line's own end comes when it is known that no delimiter follows.
	lead    string
	rest    []byte
	lineEnd string
}

// next returns the next line of the body, as lineReader does.
func (b *partBody) next() (line []byte, begins bool) {
	if b.ended {
		return nil, false
	}
	line, begins = b.m.src.next()
	if line == nil {
		b.ended, b.end = true, stop{level: -1}
		return nil, begins
	}
	if begins {
		b.end, b.ended = b.m.delimiter(line)
		if b.ended {
			return nil, begins
		}
	}
	return line, begins
}

// Read reads the body. The line end before a delimiter belongs to that (RFC 2046
// section 5.1.1).
func (b *partBody) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case b.lead != "":
			copied := copy(p[n:], b.lead)
			b.lead = b.lead[copied:]
			n += copied
		case len(b.rest) > 0:
			copied := copy(p[n:], b.rest)
			b.rest = b.rest[copied:]
			n += copied
		default:
			line, _ := b.next()
			if line == nil {
				if n == 0 {
					err = io.EOF
				}
				return n, err
			}
			b.lead = b.lineEnd
			b.rest = withoutEnd(line)
			b.lineEnd = "\r\n"[2-(len(line)-len(b.rest)):]
		}
	}
	return n, nil
}

// delimiter finds the boundary that a line is the delimiter of. A line that some
// mail programs take for a delimiter and others do not is noted.
func (m *mimeReader) delimiter(line []byte) (stop, bool) {
	if len(m.boundaries) == 0 {
		return stop{}, false
	}
	for cr := bytes.IndexByte(line, '\r'); cr >= 0 && cr+3 < len(line); {
		if bytes.HasPrefix(line[cr+1:], []byte("--")) && m.mayDelimit(line[cr+3:]) {
			m.unsure("a boundary stands behind a bare CR")
		}
		next := bytes.IndexByte(line[cr+1:], '\r')
		if next < 0 {
			break
		}
		cr += 1 + next
	}
	if len(line) < 2 || line[0] != '-' || line[1] != '-' {
		return stop{}, false
	}
	text := bytes.TrimRight(line[2:], " \t\r\n")
	found, matches, like := stop{}, 0, false
	for i := len(m.boundaries) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(text, m.boundaries[i])
		switch {
		case !ok:
		case len(rest) == 0 || string(rest) == "--":
			if matches == 0 {
				found = stop{i, len(rest) > 0}
			}
			matches++
		default:
			like = true
		}
	}
	if matches > 1 {
		m.unsure("two multiparts within each other share a boundary")
	} else if matches == 0 && like {
		m.unsure("a line begins like a boundary and goes on")
	}
	return found, matches > 0
}

// mayDelimit reports whether text begins with a boundary.
func (m *mimeReader) mayDelimit(text []byte) bool {
	for _, boundary := range m.boundaries {
		if bytes.HasPrefix(text, boundary) {
			return true
		}
	}
	return false
}
