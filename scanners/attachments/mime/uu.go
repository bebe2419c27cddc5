package mime

import (
	"bytes"
	"encoding/base64"
)

// uuHead is how much of a file within a text is decoded.
const uuHead = 512

// TextFiles finds the files that stand in a text between "begin 644 name" and
// "end" (uuencode, with base64 too), or behind "=ybegin" (yEnc).
type TextFiles struct {
	decode func(head, line []byte) []byte // nil outside of a file
	head   []byte
}

// Line takes the text's next line, or a further piece of one. When a file begins there, it
// returns its name, and the first bytes of the one before, nil when there was none.
func (t *TextFiles) Line(line []byte, begins bool) (before []byte, name string, found bool) {
	if !begins {
		return nil, "", false
	}
	if t.decode != nil && len(t.head) < uuHead && line[0] != '=' {
		t.head = t.decode(t.head, withoutEnd(line))
	}
	if line[0] != 'b' && line[0] != '=' {
		return nil, "", false
	}
	text, decode := uuBegin(withoutEnd(line))
	if decode == nil {
		return nil, "", false
	}
	before = t.End()
	t.decode, t.head = decode, make([]byte, 0, uuHead)
	return before, string(text), true
}

// End returns the first bytes of the file that the text has held last, nil when there is
// none.
func (t *TextFiles) End() []byte {
	if t.decode == nil {
		return nil
	}
	t.decode = nil
	return t.head
}

// uuBegin reads a line that begins a file, and returns its name and how the lines
// after it are decoded.
func uuBegin(line []byte) (name []byte, decode func(head, line []byte) []byte) {
	if rest, ok := bytes.CutPrefix(line, []byte("=ybegin ")); ok {
		_, name, ok = bytes.Cut(rest, []byte("name="))
		if ok {
			return name, appendYEnc
		}
		return nil, nil
	}
	rest, ok := bytes.CutPrefix(line, []byte("begin "))
	decode = appendUU
	if !ok {
		rest, ok = bytes.CutPrefix(line, []byte("begin-base64 "))
		decode = appendBase64
	}
	mode, name, cut := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if !ok || !cut || len(mode) < 3 || len(mode) > 6 || len(bytes.Trim(mode, "01234567")) > 0 {
		return nil, nil
	}
	return bytes.TrimSpace(name), decode
}

// appendUU decodes a line of uuencode (POSIX): a length, then four characters for
// three bytes.
func appendUU(head, line []byte) []byte {
	if len(line) < 5 {
		return head
	}
	length := int(line[0]-' ') & 63
	start := len(head)
	for quad := line[1:]; len(quad) >= 4; quad = quad[4:] {
		a, b, c, d := (quad[0]-' ')&63, (quad[1]-' ')&63, (quad[2]-' ')&63, (quad[3]-' ')&63
		head = append(head, a<<2|b>>4, b<<4|c>>2, c<<6|d)
		if len(head) >= start+length {
			return head[:start+length]
		}
	}
	return head
}

func appendBase64(head, line []byte) []byte {
	decoded, err := base64.RawStdEncoding.DecodeString(string(bytes.TrimRight(line[:min(len(line), 2*uuHead)], "= \t")))
	if err != nil {
		return head
	}
	return append(head, decoded...)
}

func appendYEnc(head, line []byte) []byte {
	line = line[:min(len(line), 2*uuHead)]
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '=' && i+1 < len(line) {
			i++
			c = line[i] - 64
		}
		head = append(head, c-42)
	}
	return head
}
