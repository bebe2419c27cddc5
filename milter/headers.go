package milter

import (
	"bytes"
	"slices"
	"strings"
)

const (
	maxHeaderBytes = 2 << 20
	maxHeaders     = 10_000
)

// headers keeps a message's header fields, exactly as the MTA gave them, in
// one piece of memory that the next message uses again.
type headers struct {
	raw      []byte // name, NUL, value, NUL, and so on
	fields   []field
	tooLarge bool // there were more than are kept
}

// field says where in headers.raw a field stands.
type field struct{ start, colon, end int32 }

// read takes the header frame that c has begun. What goes beyond the bounds is
// not kept but noted.
func (h *headers) read(c *conn) error {
	if h.tooLarge || len(h.fields) == maxHeaders || len(h.raw)+c.size > maxHeaderBytes {
		h.tooLarge = true
		return c.skip()
	}
	start := len(h.raw)
	var err error
	if h.raw, err = c.appendTo(h.raw); err != nil {
		return err
	}
	name := bytes.IndexByte(h.raw[start:], 0)
	if name < 0 {
		return protocolError("a header frame has no value")
	}
	colon := start + name
	end := len(h.raw)
	if i := bytes.IndexByte(h.raw[colon+1:], 0); i >= 0 {
		end = colon + 1 + i
	}
	h.fields = append(h.fields, field{int32(start), int32(colon), int32(end)})
	return nil
}

func (h *headers) name(f field) []byte  { return h.raw[f.start:f.colon] }
func (h *headers) value(f field) []byte { return h.raw[f.colon+1 : f.end] }

// values returns the values of all fields of that name, in order.
func (h *headers) values(name string) []string {
	var values []string
	for _, f := range h.fields {
		if h.is(f, name) {
			values = append(values, string(h.value(f)))
		}
	}
	return values
}

// count returns the number of fields of that name.
func (h *headers) count(name string) int {
	n := 0
	for _, f := range h.fields {
		if h.is(f, name) {
			n++
		}
	}
	return n
}

// appendTo writes the header as it stands on the wire, with the empty line after
// it, and without the fields of those names. MTAs give the line ends of folded
// values as bare newlines, and with exact values the space after the colon too.
func (h *headers) appendTo(b []byte, without []string, exact bool) []byte {
	for _, f := range h.fields {
		if slices.ContainsFunc(without, func(name string) bool { return h.is(f, name) }) {
			continue
		}
		b = append(append(b, h.name(f)...), ':')
		if !exact {
			b = append(b, ' ')
		}
		value := h.value(f)
		for {
			i := bytes.IndexByte(value, '\n')
			if i < 0 {
				break
			}
			b = append(b, bytes.TrimSuffix(value[:i], cr)...)
			b = append(b, "\r\n"...)
			value = value[i+1:]
		}
		b = append(append(b, value...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

var cr = []byte{'\r'}

// is reports a field of that name (RFC 5322 section 1.2.2: without case).
func (h *headers) is(f field, name string) bool {
	return int(f.colon-f.start) == len(name) && strings.EqualFold(string(h.name(f)), name)
}

// first returns the value of the first field of that name, or "".
func (h *headers) first(name string) string {
	for _, f := range h.fields {
		if h.is(f, name) {
			return string(h.value(f))
		}
	}
	return ""
}

// reset makes room for the next message. A large one's memory is given back.
func (h *headers) reset() {
	h.raw, h.fields, h.tooLarge = h.raw[:0], h.fields[:0], false
	if cap(h.raw) > 4*bufferSize {
		h.raw = nil
	}
	if cap(h.fields) > 1000 {
		h.fields = nil
	}
}
