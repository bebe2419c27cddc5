package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"strconv"
	"strings"

	"github.com/emersion/go-message/charset"
)

// Words tells what was odd about the encoded words of a text.
type Words struct {
	// Bytes is the text with the words' bytes as they are, for programs that heed no
	// charset. Those of UTF-7, which hides ASCII, are decoded all the same.
	Bytes string
	// Broken is set when something that begins as an encoded word, or what one encodes,
	// cannot be read.
	Broken bool
	// Unknown is the last charset, in lower case, that is not known. The text has its
	// words' bytes.
	Unknown string
}

// DecodeWords decodes the encoded words of RFC 2047 in s, wherever they stand and as far
// as they can be: mail programs forgive much. What is no encoded word stays as it is. Any
// input is safe; the text may hold anything, also what is not UTF-8.
func DecodeWords(s string) (text string, words Words) {
	if !strings.Contains(s, "=?") {
		return s, Words{Bytes: s}
	}
	var d decoder
	for start := strings.Index(s, "=?"); start >= 0; start = strings.Index(s, "=?") {
		word, rest, ok := cutWord(s[start:])
		if !ok {
			d.words.Broken = true
			d.plain(s[:start+2])
			s = s[start+2:]
			continue
		}
		// RFC 2047 section 6.2: white space between two words is no part of the text.
		if between := s[:start]; d.charset == "" || strings.TrimSpace(between) != "" {
			d.plain(between)
		}
		d.word(word)
		s = rest
	}
	d.plain(s)
	d.words.Bytes = d.bytes.String()
	return d.text.String(), d.words
}

// WordLength returns the length of the encoded word that s begins with, or 0.
func WordLength(s string) int {
	if !strings.HasPrefix(s, "=?") {
		return 0
	}
	_, rest, _ := cutWord(s)
	return len(s) - len(rest)
}

// decoder puts a text together.
type decoder struct {
	text, bytes strings.Builder
	// charset is that of the words which were read last, and raw is what they encode: a
	// letter may lie in two of them.
	charset string
	raw     []byte
	words   Words
}

// plain adds what is not encoded, after the words before it.
func (d *decoder) plain(s string) {
	if d.charset != "" {
		d.bytes.Write(d.raw)
		var text []byte
		reader, err := charset.Reader(d.charset, bytes.NewReader(d.raw))
		if err == nil {
			text, err = io.ReadAll(reader)
		}
		if err != nil {
			text, d.words.Unknown = d.raw, d.charset
		}
		d.text.Write(text)
		d.charset, d.raw = "", d.raw[:0]
	}
	d.text.WriteString(s)
	d.bytes.WriteString(s)
}

func (d *decoder) word(w encodedWord) {
	raw, whole := w.decode()
	d.words.Broken = d.words.Broken || !whole
	if isUTF7(w.charset) {
		// Each word begins anew (RFC 2047 section 3).
		raw, w.charset = decodeUTF7(raw), "utf-8"
	}
	if d.charset != w.charset {
		d.plain("")
		d.charset = w.charset
	}
	d.raw = append(d.raw, raw...)
}

// encodedWord is an encoded word, taken apart: "=?charset?encoding?text?=".
type encodedWord struct {
	charset, text string
	isBase64      bool
}

// cutWord reads the word that s, after "=?", begins with.
func cutWord(s string) (word encodedWord, rest string, ok bool) {
	// RFC 2047 section 2 allows 75 characters in all, and few programs hold to it.
	const longestName, longestText = 64, 16 << 10
	name, tail, ok := strings.Cut(s[2:min(len(s), 2+longestName)], "?")
	encoding, _, ok2 := strings.Cut(tail, "?")
	// RFC 2231 section 5 lets a language follow the charset.
	word.charset, _, _ = strings.Cut(strings.ToLower(name), "*")
	if !ok || !ok2 || len(encoding) != 1 || !strings.Contains("BbQq", encoding) || word.charset == "" {
		return word, s, false
	}
	start := len("=?") + len(name) + len("?B?")
	length := strings.Index(s[start:min(len(s), start+longestText)], "?=")
	if length < 0 {
		return word, s, false
	}
	word.text, word.isBase64 = s[start:start+length], strings.EqualFold(encoding, "B")
	return word, s[start+length+2:], true
}

// decode returns what the word encodes. Whole is false when it could not all be read.
func (w encodedWord) decode() (decoded string, whole bool) {
	if w.isBase64 {
		return decodeBase64(w.text)
	}
	return Unhex(strings.ReplaceAll(w.text, "_", " "), '=')
}

// decodeBase64 decodes base64, padded or not, and leaves out what is none; then whole is
// false.
func decodeBase64(text string) (decoded string, whole bool) {
	digits := strings.Map(func(c rune) rune {
		if isBase64(c) {
			return c
		}
		return -1
	}, text)
	whole = len(digits) == len(strings.TrimRight(text, "= "))
	if len(digits)%4 == 1 {
		digits, whole = digits[:len(digits)-1], false // six bits are no byte
	}
	raw, _ := base64.RawStdEncoding.DecodeString(digits)
	return string(raw), whole
}

func isBase64(c rune) bool { return isLetter(c) || c == '+' || c == '/' }

// Unhex decodes each mark that two hexadecimal digits follow. A mark that encodes nothing
// stays; then whole is false.
func Unhex(s string, mark byte) (decoded string, whole bool) {
	var b strings.Builder
	whole = true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == mark {
			code, err := strconv.ParseUint(s[i+1:min(len(s), i+3)], 16, 8)
			if err == nil && i+2 < len(s) {
				c, i = byte(code), i+2
			} else {
				whole = false
			}
		}
		b.WriteByte(c)
	}
	return b.String(), whole
}
