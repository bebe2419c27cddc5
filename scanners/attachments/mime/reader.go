// Package mime takes a message apart as mail programs do, good ones and sloppy ones. A
// Reader gives its parts one after the other, in one pass. What mail programs may read in
// several ways is told as a doubt, and read in one of them.
package mime

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
)

// maxLevels bounds the parts within each other.
const maxLevels = 100

// Part is one part of a message, or what stands outside of parts.
type Part struct {
	// Media is the type, "text/plain". It is empty when the header says nonsense.
	Media string
	// Others are further types, where the header has several fields.
	Others []string
	// Names are all that the header may give the part's file.
	Names []string
	// Titles are what people call it (Content-Description), in all readings. Exchange takes that for the
	// name of a file that has none ([MS-OXCMAIL] section 2.2.3.4.1.1).
	Titles []string
	// IsAttached says that it is to be shown as an attachment.
	IsAttached bool
	// Encoding is "base64", "quoted-printable", "uuencode" (the content is a file within a
	// text), or empty: the content is as it is.
	Encoding string
	// IsMultipart and IsMessage say that the following parts are within this one.
	IsMultipart, IsMessage bool
	// IsOutside says that there is no part: what Line gives stands before, between or
	// behind parts, where only files within a text can be.
	IsOutside bool
	// HasBody says that it does not end within its header.
	HasBody bool
	// Returned says that it belongs to a message that a report returns to its sender
	// (RFC 6522 section 3). Such a copy is often cut off, wherever that may be.
	Returned bool

	isOdd    bool // the encoding is written as not every program knows it
	level    int  // counts the parts around it
	ofReport bool // it is a part of a report itself
	body     body
}

// multipart is one whose parts are being read.
type multipart struct {
	boundary []byte
	standard string // the type of a part that does not say
	level    int
	closed   bool // its last boundary was there
	isReport bool
	returned bool
}

// stop is what ended a part: the delimiter line of the multipart at that level
// of the reader's stack, or at level -1 the end of the message.
type stop struct {
	level int
	last  bool // it closes the multipart
}

// following is what stands behind the part that was given last.
type following uint8

const (
	afterBody following = iota
	afterMultipart
	afterMessage
)

// Reader walks through the parts of one message. The line that ends a part is looked up
// among the boundaries of all multiparts around it. A missing last boundary hides nothing:
// the delimiter of a multipart further out ends it too, and so does the end of the message.
//
// It takes the place of go-message's reader of multiparts. That one ends a
// part's header at an empty line only, refuses a header with a line that it cannot
// read and a multipart whose last boundary is missing, and copies each byte
// once for each level.
type Reader struct {
	doubt  func(format string, args ...any)
	src    Lines
	fields fieldReader
	base64 base64Body
	part   Part
	after  following
	open   []multipart
	// pending is what is doubtful about the header of a part that is Returned. It is told
	// once there is more than the header, which therefore was not cut off.
	pending string
}

// Reset begins a message: one within a part, if that is not nil, which another Reader gave.
// Each doubt is told once it is seen.
func (r *Reader) Reset(message io.Reader, within *Part, doubt func(format string, args ...any)) {
	r.doubt, r.pending = doubt, ""
	r.src.Reset(message, lineBuffer)
	r.open, r.after = r.open[:0], afterMessage
	if r.part = (Part{}); within != nil {
		r.part = Part{level: within.level, Returned: within.Returned, ofReport: within.ofReport}
	}
}

// End drops the message, so that the reader keeps buffers only.
func (r *Reader) End() {
	r.doubt, r.part, r.base64.body = nil, Part{}, nil
	r.src.Reset(nil, 0)
	clear(r.open[:cap(r.open)])
}

// Next returns the next part, or what stands outside of parts. It is good until the next
// call, which goes on behind its content. The end is io.EOF.
func (r *Reader) Next() (*Part, error) {
	switch r.after {
	case afterMultipart:
		return r.outside(), nil
	case afterMessage:
		p := &r.part
		return r.next(&multipart{standard: "text/plain", level: p.level, returned: p.Returned || p.ofReport}), nil
	}
	end := r.finish(&r.part.body)
	r.open = r.open[:end.level+1]
	if end.level < 0 {
		return nil, io.EOF
	}
	around := &r.open[end.level]
	if end.last {
		around.closed = true
		return r.outside(), nil
	}
	if around.closed {
		r.doubt("a multipart goes on behind its last boundary")
	}
	return r.next(around), nil
}

// finish skips the rest of a body.
func (r *Reader) finish(b *body) stop {
	for line, _ := b.Next(); line != nil; line, _ = b.Next() {
	}
	hasParts := b.isPreamble && b.end.level == len(r.open)-1
	if b.isPreamble && !hasParts && !b.isBlank && !r.part.Returned {
		r.doubt("a multipart does not contain its boundary")
	}
	if r.pending != "" && (hasParts || !b.isBlank) {
		r.doubt("%s", r.pending)
	}
	r.pending = ""
	return b.end
}

// outside gives what stands outside of parts.
func (r *Reader) outside() *Part {
	around := r.part
	r.part = Part{IsOutside: true, Returned: around.Returned, level: around.level, body: body{r: r, isBlank: true}}
	if r.after == afterMultipart {
		r.part.body.isPreamble, r.part.body.mayBe = true, around.body.mayBe
	}
	r.after = afterBody
	return &r.part
}

// next reads the header of the next part within a multipart, or of a message.
func (r *Reader) next(around *multipart) *Part {
	r.part = Part{level: around.level + 1, ofReport: around.isReport, Returned: around.returned}
	h, end, ended := r.header()
	p := &r.part
	p.Media, p.Names, p.Encoding = cmp.Or(h.media, around.standard), h.names, h.encoding
	p.isOdd = h.isOdd
	p.Others, p.Titles, p.IsAttached = h.others, h.titles, h.disposition == "attachment"
	p.HasBody, p.body = !ended, body{r: r, end: end, ended: ended, isBlank: true, mayBe: h.mayBe}
	r.after = afterBody
	switch {
	case ended:
	case p.level > maxLevels:
		r.doubt("the message has more than %d parts within each other", maxLevels)
		p.IsOutside = true
	case h.boundary != "":
		p.IsMultipart, r.after = true, afterMultipart
		inner := multipart{
			boundary: []byte(h.boundary), standard: "text/plain", level: p.level,
			isReport: p.Media == "multipart/report", returned: p.Returned,
		}
		if p.Media == "multipart/digest" {
			inner.standard = "message/rfc822"
		}
		r.open = append(r.open, inner)
	case p.Media == "application/mac-binhex40":
		r.doubt("a file is encoded by BinHex")
	case p.Media == "message/partial":
		r.doubt("the message holds only a piece of another one (message/partial)")
	case IsMessageType(p.Media) && p.Encoding == "":
		p.IsMessage, r.after = true, afterMessage
	}
	return p
}

// IsMessageType reports the type of a message within a message.
func IsMessageType(media string) bool {
	return media == "message/rfc822" || media == "message/global" || media == "message/news"
}

// delimiter finds the boundary that a line is the delimiter of. A line that some
// mail programs take for a delimiter and others do not is a doubt.
func (r *Reader) delimiter(line []byte) (stop, bool) {
	if len(r.open) == 0 {
		return stop{}, false
	}
	r.bareDelimiter(line)
	if len(line) < 2 || line[0] != '-' || line[1] != '-' {
		return stop{}, false
	}
	text := bytes.TrimRight(line[2:], " \t\r\n")
	found, matches, like := stop{}, 0, false
	for i := len(r.open) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(text, r.open[i].boundary)
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
		r.doubt("two multiparts within each other share a boundary")
	} else if matches == 0 && like {
		r.doubt("a line begins like a boundary and goes on")
	}
	return found, matches > 0
}

// bareDelimiter finds a delimiter behind a CR that ends no line.
func (r *Reader) bareDelimiter(line []byte) {
	for cr := bytes.IndexByte(line, '\r'); cr >= 0 && cr+3 < len(line); {
		if bytes.HasPrefix(line[cr+1:], []byte("--")) && r.mayDelimit(line[cr+3:]) {
			r.doubt("a boundary stands behind a bare CR")
		}
		next := bytes.IndexByte(line[cr+1:], '\r')
		if next < 0 {
			break
		}
		cr += 1 + next
	}
}

// mayDelimit reports whether text begins with a boundary.
func (r *Reader) mayDelimit(text []byte) bool {
	return slices.ContainsFunc(r.open, func(m multipart) bool { return bytes.HasPrefix(text, m.boundary) })
}

// IsText reports a type of text.
func IsText(media string) bool { return strings.HasPrefix(media, "text/") }
