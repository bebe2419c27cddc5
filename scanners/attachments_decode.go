package scanners

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"

	"github.com/emersion/go-message/textproto"

	"coexistd/policy/mail"
)

// encoding reads Content-Transfer-Encoding. An encoding that is not known
// matters in an attachment only: text with a name for an encoding that does not
// exist is ordinary, and is read as it is. A multipart cannot be encoded (RFC 2045
// section 6.4); mail programs ignore quoted-printable there, as is done here, but
// differ on base64.
func (m *mimeReader) encoding(fields textproto.Header, h partHeader) string {
	value := m.only(fields, "Content-Transfer-Encoding")
	name := strings.ToLower(strings.TrimSpace(mail.WithoutComments(value)))
	plain := len(h.names) == 0 && (h.media == "" || strings.HasPrefix(h.media, "text/"))
	switch name {
	case "", "7bit", "8bit", "binary":
		return ""
	case "base64":
		if h.boundary != "" {
			m.unsure("a multipart is encoded")
		}
		return name
	case "quoted-printable":
		return name
	}
	if !plain && h.boundary == "" {
		m.unsure("an attachment has the unknown encoding %s", mail.PrintableName(value))
	}
	return ""
}

// decodePart decodes a body. What is broken in it can be asked for when it has
// been read as far as it is wanted, and is empty when nothing is.
//
// go-message's decoders would stop at the first character that they do not
// expect and, in quoted-printable, at a line of more than 4 KiB. Mail programs go
// on, and so do these.
func decodePart(encoding string, body *partBody) (r io.Reader, broken func() string) {
	switch encoding {
	case "base64":
		b := &base64Body{body: body, raw: make([]byte, 0, base64Chunk+1<<10)}
		return &pieces{next: b.next}, func() string { return b.broken }
	case "quoted-printable":
		q := &quotedBody{body: body}
		return &pieces{next: q.next}, func() string { return q.broken }
	}
	return &pieces{next: body.piece}, func() string { return "" }
}

// pieces reads what comes piece by piece: next returns a piece that is not empty, which
// is good until the next call, or nil at the end.
type pieces struct {
	next func() []byte
	rest []byte // of the last piece
}

func (r *pieces) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 {
			if r.rest = r.next(); r.rest == nil {
				break
			}
		}
		copied := copy(p[n:], r.rest)
		r.rest = r.rest[copied:]
		n += copied
	}
	if n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// quotedBody decodes quoted-printable (RFC 2045 section 6.7). An escape that is
// none stays as it is, and is noted.
type quotedBody struct {
	body   *partBody
	out    []byte // the last line, decoded
	cut    []byte // the beginning of an escape, in a line that comes in pieces
	broken string
}

// next returns the next line that is not empty when decoded.
func (q *quotedBody) next() []byte {
	for line, _ := q.body.next(); line != nil; line, _ = q.body.next() {
		if len(q.cut) > 0 {
			line = append(q.cut, line...)
			q.cut = nil
		}
		if q.decode(line); len(q.out) > 0 {
			return q.out
		}
	}
	return nil
}

func (q *quotedBody) decode(line []byte) {
	text, end := withoutEnd(line), ""
	if len(text) < len(line) {
		var soft bool
		if text, soft = bytes.CutSuffix(bytes.TrimRight(text, " \t\r"), []byte("=")); !soft {
			end = "\r\n"
		}
	} else if i := bytes.LastIndexByte(text, '='); i >= 0 && i > len(text)-3 {
		text, q.cut = text[:i], bytes.Clone(text[i:])
	}
	decoded, whole := mail.Unhex(string(text), '=')
	if !whole {
		q.broken = "it is no quoted-printable"
	}
	q.out = append(append(q.out[:0], decoded...), end...)
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// base64Chunk is how many characters are decoded at a time, and a line more.
const base64Chunk = 16 << 10

// base64Body decodes base64 as RFC 2045 section 6.8 wants it: characters of
// no meaning are skipped, where go-message's decoder stops. White space and a
// missing padding are nothing to note; other characters, and text behind the
// padding, are, for mail programs differ on them.
type base64Body struct {
	body   *partBody
	raw    []byte // not yet decoded
	out    []byte // the last chunk, decoded
	padded bool
	broken string
}

// next decodes the next chunk.
func (b *base64Body) next() []byte {
	for last := false; !last; {
		for len(b.raw) < base64Chunk && !last {
			line, _ := b.body.next()
			b.raw = append(b.raw, withoutEnd(line)...)
			last = line == nil
		}
		if len(b.decode(last)) > 0 {
			return b.out
		}
	}
	return nil
}

// decode decodes the whole quanta that are there, and all that is left when it
// is the last. It tries first whether there is nothing but the alphabet.
func (b *base64Body) decode(last bool) []byte {
	quanta := func() int {
		if last {
			return len(b.raw)
		}
		return len(b.raw) &^ 3
	}
	whole := quanta()
	out, err := base64.RawStdEncoding.AppendDecode(b.out[:0], b.raw[:whole])
	if err != nil || b.padded || len(out) < base64.RawStdEncoding.DecodedLen(whole) {
		b.sift()
		if whole = quanta(); whole%4 == 1 {
			b.broken = "it ends within a byte"
			whole--
		}
		out, _ = base64.RawStdEncoding.AppendDecode(b.out[:0], b.raw[:whole])
	}
	b.raw, b.out = b.raw[:copy(b.raw, b.raw[whole:])], out
	return out
}

// sift leaves only characters of the alphabet, those before the padding.
func (b *base64Body) sift() {
	kept := b.raw[:0]
	for _, c := range b.raw {
		isSix := strings.IndexByte(base64Alphabet, c) >= 0
		switch {
		case isSix && !b.padded:
			kept = append(kept, c)
		case isSix:
			b.broken = "it goes on behind its padding"
		case c == '=':
			b.padded = true
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			b.broken = "it contains other characters than those of base64"
		}
	}
	b.raw = kept
}
