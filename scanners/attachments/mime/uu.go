package mime

import (
	"bytes"
	"encoding/base64"
	"io"
)

// TextFiles reads the files that stand in a text between "begin 644 name" and
// "end" (uuencode, with base64 too), or between "=ybegin" and "=yend" (yEnc).
type TextFiles struct {
	next   func() (line []byte, begins bool)
	decode func(out, line []byte) []byte // nil outside of a file
	name   string                        // of the file that the last line began
	begun  func(out, line []byte) []byte // how that is decoded; nil when it began none
	out    []byte                        // decoded and not yet read
	store  []byte                        // what out is in
}

// NewTextFiles returns a reader of the text whose lines next gives, as Lines does.
func NewTextFiles(next func() (line []byte, begins bool)) *TextFiles { return &TextFiles{next: next} }

// Next returns the name and the content of the next file. They are good until the next
// call. The end is io.EOF.
func (t *TextFiles) Next() (name string, content io.Reader, err error) {
	for t.decode = nil; t.begun == nil; {
		line, begins := t.next()
		if line == nil {
			return "", nil, io.EOF
		}
		if begins {
			t.begin(line)
		}
	}
	t.decode, t.begun, t.out = t.begun, nil, nil
	return t.name, t, nil
}

// begin notes a line that begins a file.
func (t *TextFiles) begin(line []byte) {
	if line[0] != 'b' && line[0] != '=' {
		return
	}
	if name, decode := uuBegin(withoutEnd(line)); decode != nil {
		t.name, t.begun = string(name), decode
	}
}

// Read reads the file that Next has returned.
func (t *TextFiles) Read(p []byte) (int, error) { return readFilled(p, &t.out, t.fill) }

// fill decodes the next line that holds something. It returns false at the file's end, or
// where another begins.
func (t *TextFiles) fill() bool {
	for t.decode != nil && t.begun == nil {
		line, begins := t.next()
		if line == nil {
			t.decode = nil
			break
		}
		if !begins {
			continue
		}
		if t.begin(line); t.begun != nil {
			break
		}
		text := withoutEnd(line)
		switch {
		case string(text) == "end" || bytes.HasPrefix(text, []byte("=yend")) || bytes.HasPrefix(text, []byte("====")):
			t.decode = nil
		case !bytes.HasPrefix(text, []byte("=y")):
			t.store = t.decode(t.store[:0], text)
			if t.out = t.store; len(t.out) > 0 {
				return true
			}
		}
	}
	return false
}

// uuBegin reads a line that begins a file, and returns its name and how the lines
// after it are decoded.
func uuBegin(line []byte) (name []byte, decode func(out, line []byte) []byte) {
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
// three bytes. Spaces at its end, which some programs cut off, are zeros.
func appendUU(out, line []byte) []byte {
	if len(line) == 0 {
		return out
	}
	length := int(line[0]-' ') & 63
	end := len(out) + length
	for line = line[1:]; len(out) < end; line = line[min(4, len(line)):] {
		var six [4]byte
		for i, c := range line[:min(4, len(line))] {
			six[i] = (c - ' ') & 63
		}
		out = append(out, six[0]<<2|six[1]>>4, six[1]<<4|six[2]>>2, six[2]<<6|six[3])
	}
	return out[:end]
}

func appendBase64(out, line []byte) []byte {
	decoded, err := base64.RawStdEncoding.AppendDecode(out, bytes.TrimRight(line, "= \t"))
	if err != nil {
		return out
	}
	return decoded
}

func appendYEnc(out, line []byte) []byte {
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '=' && i+1 < len(line) {
			i++
			c = line[i] - 64
		}
		out = append(out, c-42)
	}
	return out
}
