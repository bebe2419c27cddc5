package mime

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"github.com/emersion/go-message/textproto"
)

const (
	// maxFields is how many bytes of one header's Content- fields are read.
	maxFields = 64 << 10
	// maxOthers is how many types of one part are looked at besides the first.
	maxOthers = 10
	// maxBoundary is the longest boundary; RFC 2046 section 5.1.1 allows 70.
	maxBoundary = 1000
)

// partHeader is what a part's header says of its body.
type partHeader struct {
	media    string   // "text/plain", or empty when it does not say or says nonsense
	others   []string // as Part has them
	boundary string   // of a multipart whose boundary is known, else empty
	encoding string   // as Part has it
	isOdd    bool     // the encoding is written as not every program knows it
	names    []string
	titles   []string // as Part has them
	// mayBe is what is doubtful when the body, which is read as it is, looks like base64.
	mayBe string
	// disposition is "attachment", "inline", or what else is said.
	disposition string
}

// fieldReader collects the fields of one header that say something of the body:
// those that begin with Content-. go-message reads those, and nothing else of a
// header, for it holds all that it reads in memory, in many pieces, and stops at
// the first line that it does not understand.
type fieldReader struct {
	raw      []byte
	keep     bool // the field that is being read is wanted
	tooLarge bool
	bytes    bytes.Reader
	buffered *bufio.Reader
}

func (f *fieldReader) reset() { f.raw, f.keep, f.tooLarge = f.raw[:0], false, false }

func (f *fieldReader) add(line []byte) {
	if len(f.raw)+len(line) > maxFields {
		f.tooLarge = true
		return
	}
	f.raw = append(f.raw, line...)
}

// read returns the fields that were collected.
func (f *fieldReader) read() (textproto.Header, error) {
	f.bytes.Reset(f.raw)
	if f.buffered == nil {
		f.buffered = bufio.NewReader(&f.bytes)
	}
	f.buffered.Reset(&f.bytes)
	return textproto.ReadHeader(f.buffered)
}

// header reads a part's header. ended tells that a delimiter, or the end of the
// message, ends the part in its header; end is that.
func (r *Reader) header() (h partHeader, end stop, ended bool) {
	end, ended = r.headerLines()
	if r.fields.tooLarge {
		r.headerDoubt("a header says more than %d bytes of its content", maxFields)
	}
	if len(r.fields.raw) == 0 {
		return h, end, ended
	}
	fields, err := r.fields.read()
	if err != nil {
		r.headerDoubt("a header cannot be read")
	}
	r.content(fields, &h)
	r.encoding(fields, &h)
	return h, end, ended
}

// headerLines collects the fields of a part's header; end and ended are as header has them.
func (r *Reader) headerLines() (end stop, ended bool) {
	r.fields.reset()
	for first := true; ; first = false {
		line, begins := r.src.Next()
		if line == nil {
			return stop{level: -1}, true
		}
		if begins {
			if end, ended = r.delimiter(line); ended {
				return end, true
			}
			if len(withoutEnd(line)) == 0 {
				if r.goesOn() {
					continue
				}
				return stop{}, false
			}
		}
		if begun := bytes.TrimLeft(line, " \t"); first && begins && len(begun) > 0 {
			line = begun // it continues nothing
		}
		r.headerLine(line, begins, first)
	}
}

// goesOn reports that the header goes on behind an empty line, within a field: some programs
// break a field so, and some mail programs read on.
func (r *Reader) goesOn() bool {
	if !r.fields.keep || !bytes.HasSuffix(bytes.TrimRight(r.fields.raw, " \t\r\n"), []byte(";")) {
		return false
	}
	line, _ := r.src.Next()
	name, _, isParameter := strings.Cut(string(line[:min(len(line), maxBoundary)]), "=")
	name = strings.ToLower(strings.Trim(name, " \t*0123456789\""))
	if !isParameter || name != "name" && name != "filename" && name != "boundary" {
		r.src.unread(line)
		return false
	}
	r.headerDoubt("a header goes on behind an empty line")
	r.fields.add([]byte(" "))
	r.fields.add(line)
	return true
}

// headerDoubt tells a doubt about a header, or keeps it for when the header turns out not to
// be cut off.
func (r *Reader) headerDoubt(format string, args ...any) {
	switch {
	case !r.part.Returned:
		r.doubt(format, args...)
	case r.pending == "":
		r.pending = fmt.Sprintf(format, args...)
	}
}

// headerLine takes one line of a header, or a further piece of a long one.
func (r *Reader) headerLine(line []byte, begins, first bool) {
	if bytes.IndexByte(line, 0) >= 0 {
		r.doubt("a header contains a NUL") // which no header has for being cut off
	}
	r.bareReturns(line)
	f := &r.fields
	if !begins || line[0] == ' ' || line[0] == '\t' {
		if f.keep {
			f.add(line)
		}
		return
	}
	if f.keep = false; first && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))) {
		return // the mark of a mailbox file, which forwarded messages may carry
	}
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		r.headerDoubt("a header contains a line that is no field")
		return
	}
	name = bytes.TrimRight(name, " \t")
	if len(name) >= len("content-") && bytes.EqualFold(name[:len("content-")], []byte("content-")) {
		if bytes.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			r.headerDoubt("a header contains a field with a broken name")
			return
		}
		f.keep = true
		f.add(line)
	}
}

// bareReturns notes a CR that ends no line where a mail program that takes it for
// a line end would see another header: the header's end, or a field of the content.
func (r *Reader) bareReturns(line []byte) {
	text := withoutEnd(line)
	for cr := bytes.IndexByte(text, '\r'); cr >= 0; cr = bytes.IndexByte(text, '\r') {
		text = text[cr+1:]
		if len(text) == 0 || text[0] == '\r' || len(text) >= 8 && bytes.EqualFold(text[:8], []byte("content-")) {
			r.doubt("a header contains a bare CR that may end a line") // even of a copy that is cut off
			return
		}
	}
}

// content reads Content-Type and Content-Disposition, and the names that they
// give: of each field, when there are several.
func (r *Reader) content(fields textproto.Header, h *partHeader) {
	// The disposition's name is the one that mail programs show.
	for _, field := range [...]string{"Content-Disposition", "Content-Type"} {
		values := fields.Values(field)
		for i, value := range values {
			kind, list, ok := parameters(value)
			if !ok {
				r.headerDoubt("a header has more than %d parameters", maxParameters)
			}
			found, doubt := fileNames(list)
			if doubt != "" {
				r.headerDoubt("%s", doubt)
			}
			h.names = append(h.names, found...)
			switch {
			case field == "Content-Disposition":
				if h.disposition != "attachment" {
					h.disposition = kind
				}
			case i == 0:
				h.media, h.boundary = r.mediaType(kind, list)
			case value != values[0] && (hasInner(kind) || hasInner(h.media)) || len(h.others) == maxOthers:
				r.headerDoubt("a header has several fields Content-Type")
			case kind != h.media:
				h.others = append(h.others, kind)
			}
		}
	}
	r.otherNames(fields, h)
}

// otherNames reads the fields that some mail programs take a name from besides.
func (r *Reader) otherNames(fields textproto.Header, h *partHeader) {
	// Thunderbird knows this one.
	for _, value := range fields.Values("Content-Name") {
		found, doubt := fileNames([]parameter{{"name", strings.Trim(value, " \t\"")}})
		if doubt != "" {
			r.headerDoubt("%s", doubt)
		}
		h.names = append(h.names, found...)
	}
	for _, value := range fields.Values("Content-Description") {
		found, _ := fileNames([]parameter{{"name", strings.Trim(value, " \t\"")}})
		h.titles = append(h.titles, found...)
	}
}

// hasInner reports a type of what holds parts or a message. Other types differ in nothing but
// what shows a file, so that each of them is looked at.
func hasInner(kind string) bool {
	return strings.HasPrefix(kind, "multipart") || strings.HasPrefix(kind, "message")
}

// mediaType judges a Content-Type's type and boundary.
func (r *Reader) mediaType(kind string, list []parameter) (media, boundary string) {
	family, subtype, ok := strings.Cut(kind, "/")
	isMultipart := ok && family == "multipart"
	if !ok || family == "" || subtype == "" || strings.ContainsAny(kind, " \t") {
		kind = ""
	}
	plain, encoded, _ := values(list, "boundary")
	all := append(plain, encoded...)
	if !isMultipart {
		if kind == "" && len(all) > 0 {
			r.headerDoubt("a part with a boundary has a type that cannot be read")
			return "multipart/mixed", strings.TrimRight(all[0], " \t")
		}
		return kind, ""
	}
	if len(all) > 0 {
		boundary = strings.TrimRight(all[0], " \t")
	}
	if boundary == "" {
		r.headerDoubt("a multipart has no boundary")
		return kind, ""
	}
	if len(all) > 1 {
		r.headerDoubt("a multipart's boundary can be read in several ways")
	}
	if len(boundary) > maxBoundary {
		r.headerDoubt("a multipart's boundary is longer than %d bytes", maxBoundary)
	}
	return kind, boundary
}
