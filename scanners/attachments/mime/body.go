package mime

import (
	"bytes"
	"io"
)

// body is the body of the part that its reader stands in, still encoded.
type body struct {
	r     *Reader
	end   stop
	ended bool
	// isPreamble says that it stands before a multipart's first part, and isBlank that there
	// was nothing but white space so far.
	isPreamble, isBlank bool
	// mayBe is what is doubtful when there is a line of base64; empty: nothing.
	mayBe string
	// What Read has still to give: the end of the line before, then the line.
	// That line's own end comes when it is known that no delimiter follows.
	lead    string
	rest    []byte
	lineEnd string
}

// Next returns the next line of the body, as Lines does.
func (b *body) Next() (line []byte, begins bool) {
	if b.ended {
		return nil, false
	}
	line, begins = b.r.src.Next()
	if line == nil {
		b.ended, b.end = true, stop{level: -1}
		return nil, begins
	}
	if begins {
		b.end, b.ended = b.r.delimiter(line)
		if b.ended {
			return nil, begins
		}
	}
	if b.isBlank && len(bytes.TrimSpace(line)) > 0 {
		b.isBlank = false
	}
	if b.mayBe != "" && isBase64(line) {
		b.r.doubt("%s", b.mayBe)
		b.mayBe = ""
	}
	return line, begins
}

// Read reads the body. The line end before a delimiter belongs to that (RFC 2046
// section 5.1.1).
func (b *body) Read(p []byte) (n int, err error) {
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
			line, _ := b.Next()
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

// Line returns the next line of the part's content as it was sent, with its end, or a piece
// of a line that is longer than 64 KiB; begins tells a line's first piece. It is good until
// the next call. After the end, line is nil.
func (p *Part) Line() (line []byte, begins bool) { return p.body.Next() }

// Content returns the decoded content. Once it has been read as far as it is wanted, broken
// tells what is wrong with its encoding, or nothing.
//
// go-message's decoders would stop at the first character that they do not
// expect and, in quoted-printable, at a line of more than 4 KiB. Mail programs go
// on, and so do these.
func (p *Part) Content() (content io.Reader, broken func() string) {
	switch p.Encoding {
	case "base64":
		b := &p.body.r.base64
		*b = base64Body{body: &p.body, raw: b.raw[:0], lines: b.lines[:0], cuts: b.cuts[:0], store: b.store}
		return b, func() string {
			if b.broken == "" && p.isOdd {
				return b.odd
			}
			return b.broken
		}
	case "quoted-printable":
		q := &quotedBody{body: &p.body}
		return q, func() string { return q.broken }
	}
	return &p.body, func() string { return "" }
}
