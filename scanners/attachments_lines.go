package scanners

import (
	"bufio"
	"bytes"
)

// lineSize is how much of a stream is in memory; a longer line comes in pieces.
const lineSize = 64 << 10

// lineReader cuts a stream into lines. Both CRLF and a lone LF end one.
type lineReader struct {
	*bufio.Reader
	inside bool // the next piece goes on with a line
}

// next returns the next line with its end, or a piece of one that is longer than
// the buffer; begins tells a line's first piece. It is good until the next call.
// After the end, or an error of the stream, line is nil.
func (l *lineReader) next() (line []byte, begins bool) {
	begins = !l.inside
	line, err := l.ReadSlice('\n')
	if err == bufio.ErrBufferFull && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
		l.UnreadByte() // its LF may follow
	}
	if len(line) == 0 {
		return nil, begins
	}
	l.inside = line[len(line)-1] != '\n'
	return line, begins
}

// withoutEnd returns line without CRLF or LF.
func withoutEnd(line []byte) []byte {
	text, ended := bytes.CutSuffix(line, []byte("\n"))
	if ended {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return text
}
