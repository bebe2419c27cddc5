package sender

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
)

// The library's work grows with a header's size in ways that a stranger can use:
// it looks through all fields for each name that a signature lists, and copies a
// field for each line of it. These bounds, some ten times what is seen in mail,
// keep that below a second.
const (
	maxLine   = readAhead
	maxHead   = 1 << 20
	maxFields = 2000
	maxCopied = 256 << 20 // a field's lines times its bytes, all of them summed up
	// maxSignature and maxColons bound a signature's field; a colon stands between
	// two of the names that it lists.
	maxSignature = 16 << 10
	maxColons    = 300
)

var (
	errLine      = errors.New("a line of the header is too long to verify signatures")
	errHead      = errors.New("the header is too large to verify signatures")
	errSignature = errors.New("a signature is too long to be verified")
)

// weigh reads a message's header and returns the values of its signatures, the
// first ten. The error tells that the library is not to be given this message;
// the signatures are those that were read until then.
func weigh(r *bufio.Reader) (signatures []string, err error) {
	var h head
	for err == nil {
		line, end := r.ReadSlice('\n')
		if errors.Is(end, bufio.ErrBufferFull) {
			h.add(line)
			err = errLine
			break
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 {
			break // the header's end, or the message's
		}
		err = h.add(line)
	}
	if h.close(); err == nil {
		err = h.err
	}
	return h.signatures, err
}

// head is what is known of a header while it is read, and field the field that is
// being read, all of its lines.
type head struct {
	size, fields, copied int
	field                []byte
	signatures           []string
	err                  error
}

func (h *head) add(line []byte) error {
	if h.fields == 0 || line[0] != ' ' && line[0] != '\t' {
		h.close()
		h.fields++
	}
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
		h.signatures = append(h.signatures, string(value))
	}
	h.field = h.field[:0]
}
