package seal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
)

// Body is the mark that a message's body makes, or "", which is none. It tells the message
// from others where its header has no mark (see Marks).
type Body string

// ReadBody makes the mark of the body of a message, which is what follows its first empty
// line. Neither the header goes into it, since servers on its way add fields, nor how lines
// end, nor how many empty lines there are at the end: they change that, too. The error is
// that of reading.
func ReadBody(message io.Reader) (Body, error) {
	r := bufio.NewReaderSize(message, 64<<10)
	for inLine := false; ; {
		line, more, err := r.ReadLine()
		if err == io.EOF || err == nil && !inLine && len(line) == 0 {
			break
		}
		if err != nil {
			return "", err
		}
		inLine = more
	}
	body := evenLines{hash: sha256.New()}
	body.hash.Write([]byte("body:"))
	if _, err := io.Copy(&body, r); err != nil {
		return "", err
	}
	return Body(body.hash.Sum(nil)), nil
}

// evenLines hashes text whose lines end with LF, without those at its end.
type evenLines struct {
	hash hash.Hash
	ends int // of lines, which come before what comes next
}

var lineEnds = bytes.Repeat([]byte{'\n'}, 4096)

// Write is io.Writer's. There is no error.
func (e *evenLines) Write(p []byte) (int, error) {
	for text := p; len(text) > 0; {
		piece := text
		if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
			piece = text[:i]
		}
		if len(piece) > 0 {
			for ; e.ends > 0; e.ends -= min(e.ends, len(lineEnds)) {
				e.hash.Write(lineEnds[:min(e.ends, len(lineEnds))])
			}
			e.hash.Write(piece)
		}
		if text = text[len(piece):]; len(text) > 0 {
			if text[0] == '\n' {
				e.ends++
			}
			text = text[1:]
		}
	}
	return len(p), nil
}
