package mime

import (
	"bytes"
	"io"
)

// lineBuffer is how much of a stream is in memory; a longer line comes in pieces.
const lineBuffer = 64 << 10

// Lines cuts a stream into lines. Both CRLF and a lone LF end one.
type Lines struct {
	r          io.Reader
	buf        []byte
	start, end int
	inside     bool // the next piece goes on with a line
	err        error
}

// Reset begins a stream, with so many bytes of it in memory.
func (l *Lines) Reset(r io.Reader, size int) {
	if cap(l.buf) < size {
		l.buf = make([]byte, size)
	}
	*l = Lines{r: r, buf: l.buf[:size:cap(l.buf)]}
}

// Next returns the next line with its end, or a piece of one that is longer than
// the buffer; begins tells a line's first piece. It is good until the next call.
// After the end, or an error of the stream, line is nil.
func (l *Lines) Next() (line []byte, begins bool) {
	begins = !l.inside
	searched := 0
	for {
		if i := bytes.IndexByte(l.buf[l.start+searched:l.end], '\n'); i >= 0 {
			line = l.buf[l.start : l.start+searched+i+1]
			break
		}
		searched = l.end - l.start
		if l.err != nil || searched == len(l.buf) {
			line = l.buf[l.start:l.end]
			if l.err == nil && line[searched-1] == '\r' {
				line = line[:searched-1] // its LF may follow
			}
			break
		}
		l.fill()
	}
	if len(line) == 0 {
		return nil, begins
	}
	l.start += len(line)
	l.inside = line[len(line)-1] != '\n'
	return line, begins
}

// unread takes the line back that Next has returned last.
func (l *Lines) unread(line []byte) {
	l.start -= len(line)
	l.inside = false
}

// fill reads more into the buffer, which has room in front or behind.
func (l *Lines) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	var n int
	n, l.err = io.ReadAtLeast(l.r, l.buf[l.end:], 1)
	l.end += n
}

// withoutEnd returns line without CRLF or LF.
func withoutEnd(line []byte) []byte {
	text, ended := bytes.CutSuffix(line, []byte("\n"))
	if ended {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return text
}
