package mime

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-message/textproto"

	"coexistd/policy/mail"
)

// encodings are the names of the ways in which a body is encoded (RFC 2045 section 6.1),
// without what people write around and within them: x-, blanks, hyphens, slashes, an s at the
// end.
var encodings = map[string]string{
	"base64": "base64", "quotedprintable": "quoted-printable", "uuencode": "uuencode", "uue": "uuencode",
	"": "", "7bit": "", "8bit": "", "16bit": "", "binary": "", "none": "", "raw": "", "plain": "", "default": "",
}

// usualEncodings are those that every program knows as they are written.
var usualEncodings = []string{"base64", "quoted-printable", "7bit", "8bit", "binary"}

// within takes out what stands within such a name.
var within = strings.NewReplacer("-", "", " ", "", "/", "", "_", "")

// encodingOf returns the way of encoding that a field means; ok is false when nobody knows it.
func encodingOf(value string) (encoding string, ok bool) {
	name, _, _ := strings.Cut(mail.WithoutComments(value), ";")
	name = strings.ToLower(strings.Trim(name, " \t\"'.,"))
	first, _, _ := strings.Cut(name, " ")
	for _, name := range [...]string{name, first} { // behind which some write more
		name = strings.TrimSuffix(within.Replace(strings.TrimPrefix(name, "x-")), "s")
		if encoding, ok = encodings[name]; ok {
			break
		}
	}
	return encoding, ok
}

// encoding reads Content-Transfer-Encoding, of which some programs write several. One that
// encodes goes before those that do not, since what is encoded is no attachment of anything
// when it is read as it is. An encoding that is not known
// matters in an attachment only: text with a name for an encoding that does not
// exist is ordinary, and is read as it is. So is an attachment, with a doubt when it looks like
// base64. Nor may there be anything but base64 where programs may differ on whether it is some. A
// multipart cannot be encoded (RFC 2045
// section 6.4), and some programs say all the same that it is. Mail programs ignore that,
// as is done here; a few decode what is base64 there.
func (r *Reader) encoding(fields textproto.Header, h *partHeader) {
	plain := len(h.names) == 0 && (h.media == "" || IsText(h.media))
	values := fields.Values("Content-Transfer-Encoding")
	for _, value := range values {
		encoding, ok := encodingOf(value)
		if strings.Contains(strings.ToLower(value), "binhex") {
			r.doubt("a file is encoded by BinHex") // which Exchange decodes
		}
		h.isOdd = h.isOdd || !strings.EqualFold(value, values[0]) || !slices.Contains(usualEncodings, strings.ToLower(strings.TrimSpace(value)))
		switch {
		case !ok && !plain && h.boundary == "":
			h.mayBe = "an attachment has the unknown encoding " + mail.PrintableName(value)
		case encoding == "" || encoding == h.encoding:
		case h.encoding != "":
			r.headerDoubt("a header has several fields Content-Transfer-Encoding")
		default:
			h.encoding = encoding
		}
	}
	if h.boundary != "" && h.encoding == "base64" {
		h.mayBe = "a multipart is encoded"
	}
}

// readFilled reads from out, which fill fills until it returns false.
func readFilled(p []byte, out *[]byte, fill func() bool) (n int, err error) {
	for n < len(p) {
		if len(*out) == 0 && !fill() {
			if n == 0 {
				err = io.EOF
			}
			break
		}
		copied := copy(p[n:], *out)
		*out = (*out)[copied:]
		n += copied
	}
	return n, err
}

// quotedBody decodes quoted-printable (RFC 2045 section 6.7). An escape that is
// none stays as it is, and is noted.
type quotedBody struct {
	body   *body
	out    []byte // decoded and not yet read
	store  []byte // what out is in
	cut    []byte // the beginning of an escape, in a line that comes in pieces
	broken string
}

func (q *quotedBody) Read(p []byte) (int, error) { return readFilled(p, &q.out, q.fill) }

// fill decodes the next line that is not empty when decoded.
func (q *quotedBody) fill() bool {
	q.store = q.store[:0]
	for len(q.store) == 0 {
		line, _ := q.body.Next()
		if line == nil {
			break
		}
		if len(q.cut) > 0 {
			line = append(q.cut, line...)
			q.cut = nil
		}
		q.decode(line)
	}
	q.out = q.store
	return len(q.out) > 0
}

func (q *quotedBody) decode(line []byte) {
	text := withoutEnd(line)
	ended, soft := len(text) < len(line), false
	if ended {
		text, soft = bytes.CutSuffix(bytes.TrimRight(text, " \t\r"), []byte("="))
	}
	for {
		i := bytes.IndexByte(text, '=')
		if i < 0 {
			break
		}
		q.store = append(q.store, text[:i]...)
		text = text[i:]
		if !ended && len(text) < 3 {
			q.cut = bytes.Clone(text)
			return
		}
		if c, ok := hexByte(text); ok {
			q.store, text = append(q.store, c), text[3:]
		} else if len(text) > 1 && text[1] == '\r' {
			// Thunderbird takes the CR for a line end.
			q.broken = "it is no quoted-printable"
			text = text[2:]
		} else {
			q.broken = "it is no quoted-printable"
			q.store, text = append(q.store, '='), text[1:]
		}
	}
	q.store = append(q.store, text...)
	if ended && !soft {
		q.store = append(q.store, '\r', '\n')
	}
}

// hexByte reads an escape: an equals sign and two digits.
func hexByte(escape []byte) (byte, bool) {
	var c [1]byte
	if len(escape) < 3 {
		return 0, false
	}
	_, err := hex.Decode(c[:], escape[1:3])
	return c[0], err == nil
}

// base64Chunk is how many characters are decoded at a time, and a line more.
const base64Chunk = 16 << 10

// base64Body decodes base64 as RFC 2045 section 6.8 wants it: characters of
// no meaning are skipped, where go-message's decoder stops. Mail programs differ on other
// characters, and on what stands behind the padding: some stop, some begin anew. It begins anew,
// and notes that. White space and a missing padding are nothing to note, nor is a text
// behind the content, such as the footer of a mailing list, in which there is no line of base64:
// what those who go on make of it stands behind the content.
type base64Body struct {
	body   *body
	raw    []byte // not yet decoded
	lines  []int  // where lines begin in raw
	cuts   []int  // where it begins anew in raw
	out    []byte // decoded and not yet read
	store  []byte // what out is in
	padded bool
	ended  bool // by the padding that was read last, behind which nothing was
	broken string
	// hasData is set by a line of base64, and odd is what was odd in those behind it.
	hasData bool
	odd     string
}

func (b *base64Body) Read(p []byte) (int, error) { return readFilled(p, &b.out, b.fill) }

// fill decodes the next chunk. It returns false when there is no more.
func (b *base64Body) fill() bool {
	for last := false; !last; {
		for len(b.raw) < base64Chunk {
			line, _ := b.body.Next()
			if line == nil {
				last = true
				break
			}
			b.lines = append(b.lines, len(b.raw))
			// Blanks mean nothing; at a line's end they are not rare.
			b.raw = append(b.raw, bytes.TrimRight(line, " \t\r\n")...)
		}
		if b.decode(last) > 0 {
			return true
		}
	}
	return false
}

// decode decodes the whole quanta that are there, and all that is left when it
// is the last. It tries first whether there is nothing but the alphabet, and at the end the
// padding that belongs there.
func (b *base64Body) decode(last bool) int {
	b.makeRoom()
	whole := b.quanta(last)
	text := b.raw[:whole]
	if unpadded := bytes.TrimRight(text, "="); last && whole%4 == 0 && whole-len(unpadded) <= 2 {
		text = unpadded
	}
	n, err := base64.RawStdEncoding.Decode(b.store, text)
	if err != nil || b.padded || b.odd != "" || n < base64.RawStdEncoding.DecodedLen(len(text)) {
		b.sift()
		b.makeRoom()
		n = 0
		for i := range b.cuts {
			n += b.quantum(n, b.raw[b.begin(i):b.cuts[i]])
		}
		whole = b.quanta(last)
		n += b.quantum(n, b.raw[b.begin(len(b.cuts)):whole])
	} else if len(b.lines) > 0 {
		b.hasData = true
	}
	b.raw, b.lines, b.cuts = b.raw[:copy(b.raw, b.raw[whole:])], b.lines[:0], b.cuts[:0]
	b.out = b.store[:n]
	return n
}

// begin is where the piece of raw begins that stands behind so many cuts.
func (b *base64Body) begin(cuts int) int {
	if cuts == 0 {
		return 0
	}
	return b.cuts[cuts-1]
}

// quanta is how much of raw is decoded, the last quantum as far as there is one.
func (b *base64Body) quanta(last bool) int {
	if last {
		return len(b.raw)
	}
	return len(b.raw) - (len(b.raw)-b.begin(len(b.cuts)))%4
}

// quantum decodes a piece of nothing but the alphabet to that place of the store.
func (b *base64Body) quantum(at int, piece []byte) int {
	if len(piece)%4 == 1 {
		if b.odd == "" && b.broken == "" {
			b.broken = "it ends within a byte"
		}
		piece = piece[:len(piece)-1]
	}
	n, _ := base64.RawStdEncoding.Decode(b.store[at:], piece)
	return n
}

// makeRoom has room for what raw decodes to.
func (b *base64Body) makeRoom() {
	if size := base64.RawStdEncoding.DecodedLen(len(b.raw)); len(b.store) < size {
		b.store = make([]byte, max(size, base64Chunk))
	}
}

// sift leaves only characters of the alphabet. What is odd in a line is noted as broken when
// nothing of base64 stands before it, or something behind it.
func (b *base64Body) sift() {
	all, starts := bytes.Clone(b.raw), append(b.lines, len(b.raw))
	b.raw = b.raw[:starts[0]]
	for i, start := range starts[:len(starts)-1] {
		b.siftLine(all[start:starts[i+1]])
	}
}

func (b *base64Body) siftLine(line []byte) {
	odd := ""
	for _, c := range line {
		switch {
		case base64Alphabet[c]:
			if b.padded {
				odd = "it goes on behind its padding"
			}
			if b.ended && (len(b.raw)-b.begin(len(b.cuts)))%4 != 0 {
				b.cuts = append(b.cuts, len(b.raw))
			}
			b.raw, b.ended = append(b.raw, c), false
		case c == '=':
			b.padded, b.ended = true, true
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			odd = "it contains other characters than those of base64"
		}
	}
	isData := isBase64(bytes.TrimLeft(line, " \t"))
	switch {
	case odd != "" && (!b.hasData || isData):
		b.broken = odd
	case odd != "":
		b.odd = odd
	case isData && b.odd != "":
		b.broken = b.odd
	}
	b.hasData = b.hasData || isData
}

// base64Alphabet tells the characters that stand for six bits.
var base64Alphabet = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		is[c] = true
	}
	return is
}()

// isBase64 reports a line of nothing but base64 that can hold something.
func isBase64(line []byte) bool {
	text := bytes.TrimRight(line, "= \t\r\n")
	for _, c := range text {
		if !base64Alphabet[c] {
			return false
		}
	}
	return len(text) >= 16
}
