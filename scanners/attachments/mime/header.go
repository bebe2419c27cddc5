package mime

import (
	"bufio"
	"bytes"
	"strings"

	"github.com/emersion/go-message/textproto"
)

const (
	// maxFields is how many bytes of one header's Content- fields are read.
	maxFields = 64 << 10
	// maxBoundary is the longest boundary; RFC 2046 section 5.1.1 allows 70.
	maxBoundary = 1000
)

// partHeader is what a part's header says of its body.
type partHeader struct {
	media    string // "text/plain", or empty when it does not say or says nonsense
	boundary string // of a multipart whose boundary is known, else empty
	encoding string // base64, quoted-printable, or empty: as it is
	names    []string
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
	r.fields.reset()
	for first := true; ; first = false {
		line, begins := r.src.Next()
		if line == nil {
			end, ended = stop{level: -1}, true
			break
		}
		if begins {
			if end, ended = r.delimiter(line); ended {
				break
			}
			if len(withoutEnd(line)) == 0 {
				break
			}
		}
		r.headerLine(line, begins, first)
	}
	if r.fields.tooLarge {
		r.doubt("a header says more than %d bytes of its content", maxFields)
	}
	if len(r.fields.raw) == 0 {
		return h, end, ended
	}
	fields, err := r.fields.read()
	if err != nil {
		r.doubt("a header cannot be read")
	}
	h.media, h.boundary, h.names = r.contentType(fields)
	h.encoding = r.encoding(fields, h)
	return h, end, ended
}

// headerLine takes one line of a header, or a further piece of a long one.
func (r *Reader) headerLine(line []byte, begins, first bool) {
	if bytes.IndexByte(line, 0) >= 0 {
		r.doubt("a header contains a NUL")
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
		r.doubt("a header contains a line that is no field")
		return
	}
	name = bytes.TrimRight(name, " \t")
	if len(name) >= len("content-") && bytes.EqualFold(name[:len("content-")], []byte("content-")) {
		if bytes.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			r.doubt("a header contains a field with a broken name")
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
			r.doubt("a header contains a bare CR that may end a line")
			return
		}
	}
}

// only returns the one value of a field. Several are one when they are equal.
func (r *Reader) only(fields textproto.Header, name string) string {
	all := fields.Values(name)
	if len(all) == 0 {
		return ""
	}
	for _, value := range all[1:] {
		if value != all[0] {
			r.doubt("a header has several fields %s", name)
		}
	}
	return all[0]
}

// contentType reads Content-Type, and the names that this and Content-Disposition
// give: of each field, when there are several.
func (r *Reader) contentType(fields textproto.Header) (media, boundary string, names []string) {
	r.only(fields, "Content-Disposition")
	r.only(fields, "Content-Type")
	// The disposition's name is the one that mail programs show.
	for _, field := range [...]string{"Content-Disposition", "Content-Type"} {
		for i, value := range fields.Values(field) {
			kind, list, ok := parameters(value)
			if !ok {
				r.doubt("a header has more than %d parameters", maxParameters)
			}
			found, doubt := fileNames(list)
			if doubt != "" {
				r.doubt("%s", doubt)
			}
			names = append(names, found...)
			if field == "Content-Type" && i == 0 {
				media, boundary = r.mediaType(kind, list)
			}
		}
	}
	return media, boundary, names
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
			r.doubt("a part with a boundary has a type that cannot be read")
			return "multipart/mixed", strings.TrimRight(all[0], " \t")
		}
		return kind, ""
	}
	if len(all) > 0 {
		boundary = strings.TrimRight(all[0], " \t")
	}
	if boundary == "" {
		r.doubt("a multipart has no boundary")
		return kind, ""
	}
	if len(all) > 1 {
		r.doubt("a multipart's boundary can be read in several ways")
	}
	if len(boundary) > maxBoundary {
		r.doubt("a multipart's boundary is longer than %d bytes", maxBoundary)
	}
	return kind, boundary
}
