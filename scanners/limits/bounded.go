package limits

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// go-redis allocates what an answer declares before it has come, follows arrays within
// arrays as deep as they go, and reads a line to its end. Whatever answers in Redis' place
// would end the process with a few bytes. So each connection is read through a bounded,
// which counts what an answer will take, as soon as the answer says so, and ends the
// connection of one that would take too much.
const (
	// maxAnswer bounds what one answer takes, in bytes. The longest is the script's for a
	// message with 4,096 recipients and each rule that there can be: 82,000 numbers.
	maxAnswer = 8 << 20
	// elementCost is what an element of an array takes beside its own bytes, at most.
	elementCost = 64
	// maxLine bounds a line: a number, a length, or a short text such as an error.
	maxLine = 4 << 10
	// maxDepth bounds arrays within arrays. CLUSTER SLOTS and HELLO have four.
	maxDepth = 8
)

// dialer connects to a Redis of which one answer can take no more than maxAnswer.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func (d dialer) bounded(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d(ctx, network, address)
	if err != nil {
		return nil, err
	}
	b := &bounded{Conn: conn}
	// go-redis looks at the socket of a connection that it takes up again, to see whether
	// the server has closed it meanwhile. It does so of TCP alone.
	if socket, ok := conn.(syscall.Conn); ok {
		return boundedSocket{b, socket}, nil
	}
	return b, nil
}

// bounded is a connection to a Redis.
type bounded struct {
	net.Conn
	answers answers
	broken  error
}

// boundedSocket is one whose socket can be looked at.
type boundedSocket struct {
	*bounded
	syscall.Conn
}

// Read is that of net.Conn. What would take too much, it does not pass on.
func (b *bounded) Read(p []byte) (int, error) {
	if b.broken != nil {
		return 0, b.broken
	}
	n, err := b.Conn.Read(p)
	if b.broken = b.answers.take(p[:n]); b.broken != nil {
		return 0, b.broken
	}
	return n, err
}

// answers follows the answers of a Redis in versions 2 and 3 of its protocol, RESP, piece
// by piece as they come. Sentinels are spoken to in version 3.
type answers struct {
	open  [maxDepth]int64 // the elements that are missing of each array around
	depth int             // how many of open are in use
	line  []byte          // the line that has begun
	skip  int64           // bytes that are missing of a string
	taken int64           // what the answer takes, as far as it is known
}

// take follows the next piece. The error says why it must not be read.
func (a *answers) take(piece []byte) error {
	for len(piece) > 0 {
		if a.skip > 0 {
			n := min(a.skip, int64(len(piece)))
			piece, a.skip = piece[n:], a.skip-n
			if a.skip == 0 {
				a.complete()
			}
			continue
		}
		end := bytes.IndexByte(piece, '\n') + 1
		n := end
		if end == 0 {
			n = len(piece)
		}
		if len(a.line)+n > maxLine {
			return fmt.Errorf("it answers with a line of more than %d bytes; no answer of a Redis has one", maxLine)
		}
		a.line, piece = append(a.line, piece[:n]...), piece[n:]
		if end > 0 {
			if err := a.read(a.line); err != nil {
				return err
			}
			a.line = a.line[:0]
		}
	}
	return nil
}

// read follows a whole line.
func (a *answers) read(line []byte) error {
	text, ended := bytes.CutSuffix(line, []byte("\r\n"))
	if !ended || len(text) == 0 {
		return a.nonsense(line)
	}
	if err := a.spend(int64(len(line))); err != nil {
		return err
	}
	switch text[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		a.complete()
		return nil
	case '$', '=', '!':
		return a.begin(line, text[1:], a.text)
	case '*', '~', '>':
		return a.begin(line, text[1:], a.array)
	case '%':
		return a.begin(line, text[1:], func(pairs int64) error { return a.array(2 * pairs) })
	}
	// Attributes ("|") are among these: no Redis sends any, and go-redis would nest a call
	// for each.
	return a.nonsense(line)
}

// begin follows what has a length, or none at all.
func (a *answers) begin(line, digits []byte, of func(length int64) error) error {
	length, err := strconv.ParseInt(string(digits), 10, 64)
	switch {
	case err != nil || length < -1:
		return a.nonsense(line)
	case length == -1:
		a.complete()
		return nil
	case length > maxAnswer:
		return fmt.Errorf("it announces an answer of a length of %d; no answer of a Redis is longer than %d", length, maxAnswer)
	}
	return of(length)
}

// text follows a string of so many bytes.
func (a *answers) text(length int64) error {
	a.skip = length + int64(len("\r\n"))
	return a.spend(a.skip)
}

// array follows what has so many elements.
func (a *answers) array(length int64) error {
	switch {
	case length == 0:
		a.complete()
		return nil
	case a.depth == maxDepth:
		return fmt.Errorf("it answers with arrays within more than %d arrays; no answer of a Redis has so many", maxDepth)
	}
	a.open[a.depth] = length
	a.depth++
	return a.spend(length * elementCost)
}

// complete ends an element, and the arrays of which it is the last.
func (a *answers) complete() {
	for ; a.depth > 0; a.depth-- {
		if a.open[a.depth-1]--; a.open[a.depth-1] > 0 {
			return
		}
	}
	a.taken = 0
}

func (a *answers) spend(bytes int64) error {
	if a.taken += bytes; a.taken > maxAnswer {
		return fmt.Errorf("its answer would take more than %d bytes of memory; no answer of a Redis does", maxAnswer)
	}
	return nil
}

func (a *answers) nonsense(line []byte) error {
	return fmt.Errorf("it answers %.50q, which is no answer of a Redis", line)
}
