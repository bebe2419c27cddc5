package mail

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"slices"
	"strings"
)

// The bounds of what a Header keeps of one message.
const (
	MaxHeaderBytes  = 2 << 20
	MaxHeaderFields = 10_000
)

// Header holds a message's header fields, exactly as they came, in one piece of memory
// that the next message uses again. The zero Header is empty.
type Header struct {
	raw    []byte // name, value, and so on
	fields []field
	// tooLarge is set when there were more fields than are kept.
	tooLarge bool
}

// field says where in Header.raw a field stands.
type field struct{ start, colon, end int32 }

// Add adds a field. The value is folded with line ends of any kind, or not folded. What
// goes beyond the bounds is not kept but noted.
func (h *Header) Add(name, value []byte) {
	if h.tooLarge || len(h.fields) == MaxHeaderFields || len(h.raw)+len(name)+len(value) > MaxHeaderBytes {
		h.tooLarge = true
		return
	}
	start := len(h.raw)
	h.raw = append(append(h.raw, name...), value...)
	h.fields = append(h.fields, field{int32(start), int32(start + len(name)), int32(len(h.raw))})
}

// ReadHeader reads a message's header, folded as it is, up to the first line that belongs
// to none. The error is that of reading.
func ReadHeader(from io.Reader) (*Header, error) {
	h := &Header{}
	r := bufio.NewReader(io.LimitReader(from, 2*MaxHeaderBytes))
	var name, value []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if name != nil && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			value = append(append(value, '\n'), line...)
		} else {
			if name != nil {
				h.Add(name, value)
			}
			var is bool
			if name, value, is = cutField(line); !is {
				return h, nil
			}
		}
		if err == io.EOF || h.tooLarge {
			h.Add(name, value)
			return h, nil
		}
	}
}

// cutField cuts a line into a field's name and the first line of its value. White space
// may stand before the colon (RFC 5322 section 4.5.1). It reports whether the line is one
// that a field may begin with.
func cutField(line []byte) (name, value []byte, is bool) {
	name, value, is = bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	strange := func(c rune) bool { return c <= ' ' || c >= 0x7f }
	return name, value, is && len(name) > 0 && !bytes.ContainsFunc(name, strange)
}

// TooLarge reports that the message had more fields, or more in them, than is kept.
func (h *Header) TooLarge() bool { return h.tooLarge }

// Values returns the values of all fields of that name, in order. Field names match
// without case (RFC 5322 section 1.2.2), and that of ASCII only: a letter that folds to
// one of its longer look-alikes makes another name.
func (h *Header) Values(name string) []string {
	var values []string
	for _, f := range h.fields {
		if h.is(f, name) {
			values = append(values, string(h.raw[f.colon:f.end]))
		}
	}
	return values
}

// First returns the value of the first field of that name, or "".
func (h *Header) First(name string) string {
	for _, f := range h.fields {
		if h.is(f, name) {
			return string(h.raw[f.colon:f.end])
		}
	}
	return ""
}

// Count returns the number of fields of that name.
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.fields {
		if h.is(f, name) {
			n++
		}
	}
	return n
}

// All returns the names and the values of all fields, in order. They are valid until the
// Header changes.
func (h *Header) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for _, f := range h.fields {
			if !yield(h.raw[f.start:f.colon], h.raw[f.colon:f.end]) {
				return
			}
		}
	}
}

// AppendTo writes the header as it stands on the wire, with the empty line after it, and
// without the fields of those names. Line ends are CRLF. With exact values the space
// after the colon is theirs; else it is put in.
func (h *Header) AppendTo(b []byte, without []string, exact bool) []byte {
	b = slices.Grow(b, len(h.raw)+4*len(h.fields)+2)
	for _, f := range h.fields {
		if slices.ContainsFunc(without, func(name string) bool { return h.is(f, name) }) {
			continue
		}
		b = append(append(b, h.raw[f.start:f.colon]...), ':')
		if !exact {
			b = append(b, ' ')
		}
		value := h.raw[f.colon:f.end]
		for line, rest, more := bytes.Cut(value, lf); more; line, rest, more = bytes.Cut(value, lf) {
			b = append(append(b, bytes.TrimSuffix(line, cr)...), "\r\n"...)
			value = rest
		}
		b = append(append(b, value...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

var cr, lf = []byte{'\r'}, []byte{'\n'}

func (h *Header) is(f field, name string) bool {
	return int(f.colon-f.start) == len(name) && strings.EqualFold(string(h.raw[f.start:f.colon]), name)
}

// Reset makes room for the next message. A large one's memory is given back.
func (h *Header) Reset() {
	const keptBytes, keptFields = 64 << 10, 1000
	h.raw, h.fields, h.tooLarge = h.raw[:0], h.fields[:0], false
	if cap(h.raw) > keptBytes {
		h.raw = nil
	}
	if cap(h.fields) > keptFields {
		h.fields = nil
	}
}
