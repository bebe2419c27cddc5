package sender

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"coexistd/scanners"
)

// The library's work grows with a header's size in ways that a stranger can use:
// for each signature it looks through all fields for each name that it lists, and
// copies a field for each line of it. These bounds, far beyond what is seen in
// mail, keep that at a second or so.
const (
	maxLine   = readAhead
	maxHead   = 1 << 20
	maxFields = 2000
	maxCopied = 128 << 20 // a field's lines times its bytes, all of them summed up
	// maxSignature and maxColons bound a signature's field; a colon stands between
	// two of the names that it lists.
	maxSignature = 16 << 10
	maxColons    = 300
)

var (
	errLine      = errors.New("a line of the header is too long to verify signatures")
	errHead      = errors.New("the header is too large to verify signatures")
	errBegin     = errors.New("the header begins with white space, so that signatures cannot be verified")
	errSignature = errors.New("a signature is too long to be verified")
)

// signature is a signature's field: its value, and where it stands in the message.
type signature struct {
	value      string
	start, end int64
}

// first returns the message with the signature before all other fields, where its
// signer has put it. The order of the others stays.
func (s signature) first(m *scanners.Message) io.Reader {
	part := func(from, to int64) io.Reader { return io.NewSectionReader(m.Content, from, to-from) }
	return io.MultiReader(part(s.start, s.end), part(0, s.start), part(s.end, m.Size))
}

// weigh reads a message's header and returns its signatures, the first ten. The
// error tells that the library is not to be given this message; the signatures are
// those that were read until then.
func weigh(r *bufio.Reader) (signatures []signature, err error) {
	var h head
	for err == nil {
		line, end := r.ReadSlice('\n')
		if errors.Is(end, bufio.ErrBufferFull) {
			_ = h.add(line, len(line)) // a line that is too long is the worse
			err = errLine
			break
		}
		length := len(line)
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 {
			break // the header's end, or the message's
		}
		err = h.add(line, length)
	}
	if h.close(); err == nil {
		err = h.err
	}
	return h.signatures, err
}

// head is what is known of a header while it is read, and field the field that is
// being read, all of its lines, which begins at start and so far goes to end.
type head struct {
	size, fields, copied int
	start, end           int64
	field                []byte
	signatures           []signature
	err                  error
}

// add takes a line without its end, which takes that many bytes with it.
func (h *head) add(line []byte, length int) error {
	folded := line[0] == ' ' || line[0] == '\t'
	if h.fields == 0 && folded {
		return errBegin
	}
	if !folded {
		h.close()
		h.fields++
		h.start = h.end
	}
	h.end += int64(length)
	h.size += len(line)
	h.field = append(append(h.field, line...), "\r\n"...)
	h.copied += len(h.field)
	if h.size > maxHead || h.fields > maxFields || h.copied > maxCopied {
		return errHead
	}
	return h.err
}

// close ends a field.
func (h *head) close() {
	name, value, _ := bytes.Cut(h.field, []byte(":"))
	if strings.EqualFold(string(bytes.TrimSpace(name)), "DKIM-Signature") && len(h.signatures) < maxSignatures {
		if len(value) > maxSignature || bytes.Count(value, []byte(":")) > maxColons {
			h.err = errSignature
			value = nil
		}
		h.signatures = append(h.signatures, signature{string(value), h.start, h.end})
	}
	h.field = h.field[:0]
}
