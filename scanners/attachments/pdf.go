package attachments

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strconv"

	"coexistd/policy/mail"
)

const (
	// pdfWindow is how much of a PDF file is looked at at once, and pdfReach how far the parts
	// of its encryption dictionary lie from each other at most.
	pdfWindow = 64 << 10
	pdfReach  = 4 << 10
	// pdfHandlers is how many times a document may name the security handler.
	pdfHandlers = 100
	// pdfOddNames is how many names it may spell so that they must be looked at: each takes
	// its time, and an honest document has none or few.
	pdfOddNames = 100_000
)

// pdf looks whether only a password opens a PDF document. Most that are encrypted open
// without one, and say only that they must not be printed or changed.
func (s *scan) pdf(f *file, r io.Reader) error {
	if !s.rules.Encrypted {
		return nil
	}
	var p pdfEncryption
	buf := s.piece(pdfWindow)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		text := buf[:kept+n]
		p.look(text, err != nil)
		if err != nil {
			s.readToEnd(f, err)
			break
		}
		kept = copy(buf, text[len(text)-2*pdfReach:])
	}
	if p.isEncrypted && (p.isOdd || !p.opens()) {
		return s.found("encrypted", f, "is a document that only a password opens")
	}
	return nil
}

// pdfEncryption is what a PDF file says of its encryption (ISO 32000-2 section 7.6).
type pdfEncryption struct {
	isEncrypted bool
	isOdd       bool             // it says so as no honest program does
	id          []byte           // the first part of the file's identifier
	handlers    []map[string]any // dictionaries of the standard security handler: integers and strings
	seen        int              // times that the handler is named
	odd         int              // names with a letter in hexadecimal
}

// look looks at a window of the file. What stands in the last pdfReach bytes is left to the
// next one, unless this is the last.
func (p *pdfEncryption) look(text []byte, last bool) {
	end := len(text) - pdfReach
	if last {
		end = len(text)
	}
	for at := range occurrences(text, "/Encrypt", end) {
		if word, _ := pdfWord(text[at+1:]); len(word) == len("Encrypt") {
			p.isEncrypted = true
		}
	}
	p.lookForOdd(text, end)
	for at := range occurrences(text, "/ID", end) {
		rest := bytes.TrimLeft(text[at+len("/ID"):], " \t\r\n")
		if inner, isList := bytes.CutPrefix(rest, []byte("[")); isList && p.id == nil {
			p.id, _ = pdfString(bytes.TrimLeft(inner, " \t\r\n"))
		}
	}
	p.lookForHandlers(text, end)
}

// lookForHandlers looks for dictionaries of the standard security handler, which its name
// stands in.
func (p *pdfEncryption) lookForHandlers(text []byte, end int) {
	for at := range occurrences(text, "/Standard", end) {
		if word, _ := pdfWord(text[at+1:]); len(word) > len("Standard") || !isFilter(text[max(0, at-pdfReach):at]) {
			continue // StandardEncoding, or a paragraph of that style
		}
		if p.seen++; p.seen > pdfHandlers {
			p.isOdd = true
			break
		}
		before := text[max(0, at-pdfReach):at]
		if begin := max(bytes.LastIndex(before, []byte("obj")), bytes.LastIndex(before, []byte("/Encrypt"))); begin >= 0 {
			p.handlers = append(p.handlers, pdfDictionary(before[begin:], text[at:min(len(text), at+pdfReach)]))
		} else {
			p.isOdd = true
		}
	}
}

// lookForOdd looks for names that hide what they are.
func (p *pdfEncryption) lookForOdd(text []byte, end int) {
	for at := range occurrences(text, "#", end) {
		name := oddName(text, at)
		if name == "" {
			continue
		}
		if p.odd++; p.odd > pdfOddNames {
			p.isEncrypted, p.isOdd = true, true
			return
		}
		switch name {
		case "Encrypt":
			p.isEncrypted, p.isOdd = true, true
		case "Filter", "Standard", "U":
			p.isOdd = true
		}
	}
}

// isFilter reports that a value follows the name of a handler's kind, perhaps with a comment
// between them.
func isFilter(before []byte) bool {
	before = bytes.TrimRight(before, " \t\r\n\x00\f")
	line := before[bytes.LastIndexAny(before, "\r\n")+1:]
	return bytes.HasSuffix(before, []byte("/Filter")) || bytes.IndexByte(line, '%') >= 0
}

// oddName returns a short name that has a letter in hexadecimal at that place. Nobody needs to
// write those of the encryption so, and it hides them.
func oddName(text []byte, at int) string {
	const longest = len("/Standard")
	var letter [1]byte
	if digits := text[at+1 : min(len(text), at+3)]; len(digits) < 2 || digits[0] < '4' || digits[0] > '7' {
		return "" // no letter, as most are
	} else if _, err := hex.Decode(letter[:], digits); err != nil || !bytes.Contains([]byte("EncryptFilterStandardU"), letter[:]) {
		return ""
	}
	from := max(0, at-longest)
	begin := bytes.LastIndexByte(text[from:at], '/')
	if begin < 0 {
		return ""
	}
	begin += from
	word, _ := pdfWord(text[begin+1 : min(len(text), begin+3*longest)])
	name, _ := mail.Unhex(string(word), '#')
	return name
}

// occurrences yields the places of a word that begin before end.
func occurrences(text []byte, word string, end int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for at := 0; at < end; at += len(word) {
			next := bytes.Index(text[at:], []byte(word))
			if at += next; next < 0 || at >= end || !yield(at) {
				return
			}
		}
	}
}

// pdfDictionary reads the entries of a dictionary, of which two pieces are given, that hold
// an integer, true or false, or a string. Those of dictionaries within are among them.
func pdfDictionary(pieces ...[]byte) map[string]any {
	entries := make(map[string]any)
	text := bytes.Join(pieces, nil)
	for len(text) > 0 {
		switch {
		case bytes.HasPrefix(text, []byte("endobj")):
			return entries
		case bytes.HasPrefix(text, []byte("<<")):
			text = text[2:]
		case text[0] == '(' || text[0] == '<':
			_, text = pdfString(text)
		case text[0] == '/':
			name, behind := pdfWord(text[1:])
			value, rest := pdfValue(bytes.TrimLeft(behind, " \t\r\n"))
			first, taken := entries[string(name)]
			switch {
			case value == nil:
				text = behind
			case !taken:
				entries[string(name)], text = value, rest
			default:
				text = behind
				verifier, isString := value.([]byte)
				if other, _ := first.([]byte); isString && string(name) == "U" && !bytes.Equal(verifier, other) {
					entries[pdfTwoVerifiers] = true
				}
			}
		default:
			text = text[1:]
		}
	}
	return entries
}

// pdfValue reads the integer, true, false or string that text begins with; nil: it begins
// with none.
func pdfValue(text []byte) (value any, rest []byte) {
	if decoded, rest := pdfString(text); decoded != nil {
		return decoded, rest
	}
	word, rest := pdfWord(text)
	number, err := strconv.ParseInt(string(word), 10, 64)
	switch {
	case err == nil:
		return number, rest
	case string(word) == "true" || string(word) == "false":
		return string(word) == "true", rest
	}
	return nil, text
}

// pdfTwoVerifiers is an entry of a dictionary that has several verifiers of the password. No
// name is like it.
const pdfTwoVerifiers = "/U"

// pdfWord reads what stands before the next delimiter.
func pdfWord(text []byte) (word, rest []byte) {
	end := bytes.IndexAny(text, " \t\r\n\x00\f()<>[]{}/%")
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// pdfString reads the string that text begins with; nil: it begins with none.
func pdfString(text []byte) (value, rest []byte) {
	switch {
	case bytes.HasPrefix(text, []byte("(")):
		return pdfLiteral(text[1:])
	case !bytes.HasPrefix(text, []byte("<")) || bytes.HasPrefix(text, []byte("<<")):
		return nil, text
	}
	digits, rest, _ := bytes.Cut(text[1:], []byte(">"))
	value = []byte{}
	high, half := byte(0), false
	for _, c := range digits {
		digit, err := strconv.ParseUint(string(rune(c)), 16, 8)
		switch {
		case err != nil:
		case half:
			value, half = append(value, high<<4|byte(digit)), false
		default:
			high, half = byte(digit), true
		}
	}
	if half {
		value = append(value, high<<4)
	}
	return value, rest
}

// pdfLiteral reads a string in parentheses, of which the first has been read.
func pdfLiteral(text []byte) (value, rest []byte) {
	value = []byte{}
	for depth := 1; len(text) > 0; {
		c := text[0]
		text = text[1:]
		switch {
		case c == '\\' && len(text) > 0:
			value, text = pdfEscape(value, text)
			continue
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return value, text
			}
		}
		value = append(value, c)
	}
	return value, text
}

// pdfEscape reads what stands behind a backslash.
func pdfEscape(value, text []byte) (longer, rest []byte) {
	if digits := text[:min(3, len(text))]; digits[0] >= '0' && digits[0] <= '7' {
		n, used := 0, 0
		for used < len(digits) && digits[used] >= '0' && digits[used] <= '7' {
			n, used = n*8+int(digits[used]-'0'), used+1
		}
		return append(value, byte(n)), text[used:]
	}
	switch c := text[0]; c {
	case '\r':
		return value, bytes.TrimPrefix(text[1:], []byte("\n"))
	case '\n':
		return value, text[1:]
	default:
		if i := bytes.IndexByte([]byte("nrtbf"), c); i >= 0 {
			c = "\n\r\t\b\f"[i]
		}
		return append(value, c), text[1:]
	}
}

// opens reports that the document opens without a password.
func (p *pdfEncryption) opens() bool {
	for _, handler := range p.handlers {
		user, _ := handler["U"].([]byte)
		owner, _ := handler["O"].([]byte)
		revision, _ := handler["R"].(int64)
		two, _ := handler[pdfTwoVerifiers].(bool)
		switch {
		case two: // of which a program takes the first or the last
			return false
		case revision >= 5 && len(user) >= 48:
			if !bytes.Equal(pdfHash(revision, user[32:40]), user[:32]) {
				return false
			}
		case revision < 2 || revision > 4 || len(user) < 32 || len(owner) < 32:
			return false
		case !p.opensAsBefore2008(handler, owner[:32], user[:32], revision):
			return false
		}
	}
	return len(p.handlers) > 0
}

// pdfPadding fills a password up (section 7.6.4.3.2, algorithm 2).
const pdfPadding = "\x28\xbf\x4e\x5e\x4e\x75\x8a\x41\x64\x00\x4e\x56\xff\xfa\x01\x08\x2e\x2e\x00\xb6\xd0\x68\x3e\x80\x2f\x0c\xa9\xfe\x64\x53\x69\x7a"

// opensAsBefore2008 tries the empty password on a document of revision 2 to 4 (algorithm 6).
func (p *pdfEncryption) opensAsBefore2008(handler map[string]any, owner, user []byte, revision int64) bool {
	permissions, _ := handler["P"].(int64)
	text := append([]byte(pdfPadding), owner...)
	text = append(binary.LittleEndian.AppendUint32(text, uint32(permissions)), p.id...)
	if encrypted, said := handler["EncryptMetadata"].(bool); revision >= 4 && said && !encrypted {
		text = append(text, 0xff, 0xff, 0xff, 0xff)
	}
	size := 5
	if bits, _ := handler["Length"].(int64); revision >= 3 && bits >= 40 && bits <= 128 && bits%8 == 0 {
		size = int(bits / 8)
	}
	for _, size := range []int{size, 16} { // some leave the length out, or say it in bytes
		key := md5.Sum(text)
		if revision == 2 {
			encrypted := bytes.Clone([]byte(pdfPadding))
			rc4Over(key[:5], encrypted, 0)
			return bytes.Equal(encrypted, user)
		}
		for range 50 {
			key = md5.Sum(key[:size])
		}
		sum := md5.Sum(append([]byte(pdfPadding), p.id...))
		for i := range byte(20) {
			rc4Over(key[:size], sum[:], i)
		}
		if bytes.Equal(sum[:], user[:16]) {
			return true
		}
	}
	return false
}

// rc4Over encrypts data in place, by the key of which each byte is changed by the same mask.
func rc4Over(key, data []byte, mask byte) {
	changed := make([]byte, len(key))
	for i := range key {
		changed[i] = key[i] ^ mask
	}
	if c, err := rc4.NewCipher(changed); err == nil {
		c.XORKeyStream(data, data)
	}
}

// pdfHash is the hash of the empty password with a salt (algorithm 2.B; revision 5 has its
// first step only).
func pdfHash(revision int64, salt []byte) []byte {
	first := sha256.Sum256(salt)
	k := first[:]
	for round := 0; revision >= 6 && round < 1000; round++ {
		encrypted := bytes.Repeat(k, 64)
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			return nil
		}
		cipher.NewCBCEncrypter(block, k[16:32]).CryptBlocks(encrypted, encrypted)
		sum := 0
		for _, c := range encrypted[:16] {
			sum += int(c)
		}
		switch sum % 3 {
		case 0:
			next := sha256.Sum256(encrypted)
			k = next[:]
		case 1:
			next := sha512.Sum384(encrypted)
			k = next[:]
		default:
			next := sha512.Sum512(encrypted)
			k = next[:]
		}
		if round >= 63 && int(encrypted[len(encrypted)-1]) <= round-31 {
			break
		}
	}
	return k[:32]
}
