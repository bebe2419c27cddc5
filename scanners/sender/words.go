package sender

import (
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/emersion/go-message/charset"
)

// decodeWords decodes the encoded words of RFC 2047 in s, wherever they stand and
// as far as they can be: mail programs forgive much. A word in an unknown charset
// is taken for UTF-8. The result is valid UTF-8 without control characters.
func decodeWords(s string) string {
	var b strings.Builder
	var run encodedWord // the words that were read last, whose bytes may belong together
	for s != "" {
		start := strings.Index(s, "=?")
		if start < 0 {
			break
		}
		word, rest, ok := cutWord(s[start:])
		if !ok {
			run.writeTo(&b)
			b.WriteString(s[:start+2])
			s = s[start+2:]
			continue
		}
		// RFC 2047 section 6.2: white space between two words is no part of the text.
		if between := s[:start]; run.charset == "" || strings.TrimSpace(between) != "" {
			run.writeTo(&b)
			b.WriteString(between)
		}
		if run.charset != word.charset {
			run.writeTo(&b)
			run.charset = word.charset
		}
		run.raw = append(run.raw, word.raw...)
		s = rest
	}
	run.writeTo(&b)
	b.WriteString(s)
	return readable(b.String())
}

// encodedWord is what one word, or several of one charset, encode.
type encodedWord struct {
	charset string
	raw     []byte
}

// writeTo writes the text, and empties the word.
func (w *encodedWord) writeTo(b *strings.Builder) {
	if w.charset == "" {
		return
	}
	text := string(w.raw)
	if reader, err := charset.Reader(w.charset, strings.NewReader(text)); err == nil {
		if converted, err := io.ReadAll(reader); err == nil {
			text = string(converted)
		}
	}
	b.WriteString(text)
	*w = encodedWord{}
}

// cutWord reads the word that s begins with: "=?charset?encoding?text?=".
func cutWord(s string) (word encodedWord, rest string, ok bool) {
	// RFC 2047 section 2 allows 75 characters in all, and few programs hold to it.
	const longestName, longestText = 64, 16 << 10
	head := s[2:min(len(s), 2+longestName)]
	name, head, ok := strings.Cut(head, "?")
	encoding, _, ok2 := strings.Cut(head, "?")
	if !ok || !ok2 || len(encoding) != 1 || name == "" {
		return encodedWord{}, s, false
	}
	start := 2 + len(name) + 1 + len(encoding) + 1
	length := strings.Index(s[start:min(len(s), start+longestText)], "?=")
	if length < 0 {
		return encodedWord{}, s, false
	}
	text, rest := s[start:start+length], s[start+length+2:]
	// RFC 2231 section 5 lets a language follow the charset.
	name, _, _ = strings.Cut(name, "*")
	word.charset = strings.ToLower(name)
	switch encoding {
	case "B", "b":
		word.raw = decodeB(text)
	case "Q", "q":
		word.raw = decodeQ(text)
	default:
		return encodedWord{}, s, false
	}
	return word, rest, word.charset != ""
}

// decodeB decodes base64, padded or not, and heeds no other characters.
func decodeB(text string) []byte {
	text = strings.Map(func(c rune) rune {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
			return c
		}
		return -1
	}, text)
	if len(text)%4 == 1 {
		text = text[:len(text)-1] // six bits are no byte
	}
	raw, _ := base64.RawStdEncoding.DecodeString(text)
	return raw
}

// decodeQ decodes the "Q" encoding. An "=" that encodes nothing stays.
func decodeQ(text string) []byte {
	raw := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '_':
			c = ' '
		case c == '=' && i+2 < len(text):
			if code, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				c = byte(code)
				i += 2
			}
		}
		raw = append(raw, c)
	}
	return raw
}

// readable makes text valid UTF-8 without control characters. Programs differ in
// whether they drop these or stop there, so such a text is there twice: without
// them, and with a space for each.
func readable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	replace := func(by rune) string {
		return strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return by
			}
			return c
		}, s)
	}
	dropped, spaced := replace(-1), replace(' ')
	if strings.TrimSpace(spaced) == dropped {
		return dropped
	}
	return dropped + " " + spaced
}
