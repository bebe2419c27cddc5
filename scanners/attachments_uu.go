package scanners

import (
	"bytes"
	"encoding/base64"

	"coexistd/policy/mail"
)

// uuHead is how much of a file within a text is decoded.
const uuHead = 512

// uuFinder finds the files that stand in a text between "begin 644 name" and
// "end" (uuencode, with base64 too), or behind "=ybegin" (yEnc).
type uuFinder struct {
	decode func(head, line []byte) []byte // nil outside of a file
	file   *attachedFile
	head   []byte
}

// line takes the text's next line. A hit is errSettled.
func (u *uuFinder) line(s *attachmentScan, line []byte, begins bool) error {
	if !begins {
		return nil
	}
	if u.decode != nil && len(u.head) < uuHead && line[0] != '=' {
		u.head = u.decode(u.head, withoutEnd(line))
	}
	if line[0] != 'b' && line[0] != '=' {
		return nil
	}
	name, decode := uuBegin(withoutEnd(line))
	if decode == nil {
		return nil
	}
	if err := u.finish(s); err != nil {
		return err
	}
	f, err := s.named("", string(name))
	u.decode, u.file, u.head = decode, f, u.head[:0]
	return err
}

// finish judges the file that the text has held last.
func (u *uuFinder) finish(s *attachmentScan) error {
	if u.decode == nil {
		return nil
	}
	u.decode = nil
	k := recognise(u.head)
	if k.look != closed {
		s.unsure("the file %s within a text is %s, which is not looked into there", mail.PrintableName(u.file.name), k.what)
	}
	return s.program(u.file, k)
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
