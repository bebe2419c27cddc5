package archive

import (
	"bufio"
	"encoding/base64"
	"io"
	"strings"
)

// calendarHead is how much of a property's name and parameters is read.
const calendarHead = 16 << 10

// calendarReader reads the files within a calendar (RFC 5545 section 3.8.1.1). Outlook and
// Exchange make attachments of them ([MS-OXCICAL] section 2.1.3.1.1.20.1).
type calendarReader struct {
	r      *bufio.Reader
	inside bool // a property is being read
	err    error
}

func newCalendar(r io.Reader) *calendarReader { return &calendarReader{r: bufio.NewReader(r)} }

// Next returns the next file.
func (c *calendarReader) Next() (*Entry, error) {
	for {
		for c.inside {
			c.next()
		}
		if c.err != nil {
			return nil, io.EOF
		}
		if names, ok := calendarFile(c.head()); ok {
			return &Entry{Names: names, Content: base64.NewDecoder(base64.RawStdEncoding, c)}, nil
		}
	}
}

// next returns the next byte of a property, which may stand in several lines. At its end ok is
// false.
func (c *calendarReader) next() (b byte, ok bool) {
	for {
		if b, c.err = c.r.ReadByte(); c.err != nil {
			c.inside = false
			return 0, false
		}
		if b == '\n' {
			if ahead, _ := c.r.Peek(1); len(ahead) == 0 || ahead[0] != ' ' && ahead[0] != '\t' {
				c.inside = false
				return 0, false
			}
			_, _ = c.r.Discard(1)
		} else if b != '\r' {
			return b, true
		}
	}
}

// head returns a property's name and parameters, up to its value.
func (c *calendarReader) head() string {
	var head []byte
	quoted := false
	c.inside = true
	for len(head) < calendarHead {
		b, ok := c.next()
		if !ok || b == ':' && !quoted {
			break
		}
		quoted = quoted != (b == '"')
		head = append(head, b)
	}
	return string(head)
}

// Read reads the characters of base64 in a property's value.
func (c *calendarReader) Read(p []byte) (n int, err error) {
	for n < len(p) && c.inside {
		if b, ok := c.next(); ok && ('A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '+' || b == '/') {
			p[n] = b
			n++
		}
	}
	if n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// calendarFile reads a property's name and parameters. ok tells that its value is a file, which
// may have these names.
func calendarFile(head string) (names []string, ok bool) {
	name, rest, _ := strings.Cut(head, ";")
	if !strings.EqualFold(strings.TrimSpace(name), "ATTACH") {
		return nil, false
	}
	for rest != "" {
		var key, value string
		key, rest, _ = strings.Cut(rest, "=")
		if rest = strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, `"`) {
			value, rest, _ = strings.Cut(rest[1:], `"`)
			_, rest, _ = strings.Cut(rest, ";")
		} else {
			value, rest, _ = strings.Cut(rest, ";")
		}
		key, value = strings.ToUpper(strings.Trim(key, " \t;")), strings.TrimSpace(value)
		switch {
		case strings.HasSuffix(key, "FILENAME"):
			names = append(names, value)
		case key == "VALUE" && strings.EqualFold(value, "BINARY"), key == "ENCODING" && !strings.EqualFold(value, "8BIT"):
			ok = true
		}
	}
	return names, ok
}
