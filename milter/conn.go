package milter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"coexistd/milter/listen"
)

const (
	// maxFrame is the longest frame that is taken, in bytes after the length
	// field: the largest chunk of the protocol (1 MiB) with room for a command
	// byte and names.
	maxFrame = 1<<20 + 1024
	// frameHead is the length field and the command byte.
	frameHead = 5
	// bufferSize bounds the frames that are read as a whole: commands, whose
	// size an MTA's command line limit bounds (Sendmail: 12 KB).
	bufferSize = 16 << 10
	// flushSize is how much output is gathered before it is written although
	// the peer may have more to say.
	flushSize = 64 << 10
)

// timing holds a connection's deadlines.
type timing struct {
	fresh    time.Duration // from the connection's begin to the end of the negotiation
	idle     time.Duration // after that, from the end of a frame to the next one's begin
	frame    time.Duration // from a frame's begin to its end
	write    time.Duration // for one write
	progress time.Duration // between progress frames while an answer takes long
	settle   time.Duration // for the MTA to make a message's changes
}

// An MTA negotiates as soon as it has connected. After that, libmilter waits 7,210 s for a
// command, and so do we: the client of an SMTP session may take long over each of its own.
var defaultTiming = timing{
	fresh: 10 * time.Second, idle: 7210 * time.Second, frame: time.Minute, write: time.Minute, progress: 5 * time.Second, settle: time.Second,
}

// protocolError is a frame that no MTA sends. It ends the connection.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// conn reads and writes the milter protocol's frames: four bytes of length in
// network order, a command byte, the payload. Nothing that the peer sends makes
// it use more memory than its buffer. Reads come from one goroutine; send may
// be called by any.
type conn struct {
	socket  *listen.Conn
	in      *bufio.Reader
	readers *sync.Pool // where in goes back to
	timing  timing

	freshBy time.Time // when the negotiation must be over; zero: it is
	held    int       // bytes of in that the current frame still occupies
	size    int       // payload bytes of the current frame
	begun   bool      // the current frame's head is read
	frameBy time.Time // when the begun frame must be complete
	// changing is set from the end of a message to the peer's next frame, or
	// to this time at most: the MTA makes the changes, and may need the
	// lookups for that. So long, the message is under way.
	changing time.Time

	mu       sync.Mutex
	out      []byte
	writeErr error
	working  bool // an answer takes its time: progress frames are due
	timer    *time.Timer
}

// newConn takes the buffered reader from readers. It is most of what a connection
// takes, which many do that are over in a moment.
func newConn(socket *listen.Conn, t timing, readers *sync.Pool) *conn {
	c := &conn{socket: socket, timing: t, readers: readers, freshBy: time.Now().Add(t.fresh)}
	var used bool
	if c.in, used = readers.Get().(*bufio.Reader); used {
		c.in.Reset(source{c})
	} else {
		c.in = bufio.NewReaderSize(source{c}, bufferSize)
	}
	return c
}

// next finishes the frame before and returns the command byte of the next one
// once its head has arrived. An error of io.EOF is a connection that ended
// between frames.
func (c *conn) next() (code byte, err error) {
	c.in.Discard(c.held)
	c.held, c.begun, c.frameBy = 0, false, time.Time{}
	head, err := c.in.Peek(4)
	if err != nil {
		return 0, cutShort(err, len(head))
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > maxFrame {
		return 0, protocolError(fmt.Sprintf("a frame has a length of %d bytes; 1 to %d would be right", length, maxFrame))
	}
	if head, err = c.in.Peek(frameHead); err != nil {
		return 0, cutShort(err, len(head))
	}
	c.begun, c.size = true, int(length)-1
	c.changesMade()
	return head[4], nil
}

// whole returns the current frame with its head. The bytes are valid until
// next is called.
func (c *conn) whole() ([]byte, error) {
	if c.size > bufferSize-frameHead {
		return nil, protocolError(fmt.Sprintf("a command has %d bytes; at most %d would be right", c.size, bufferSize-frameHead))
	}
	c.held = frameHead + c.size
	frame, err := c.in.Peek(c.held)
	if err != nil {
		c.held = 0
		return nil, cutShort(err, len(frame))
	}
	return frame, nil
}

// peekPayload returns the first byte of the current frame's payload, which
// must not be empty.
func (c *conn) peekPayload() (byte, error) {
	head, err := c.in.Peek(frameHead + 1)
	if err != nil {
		return 0, cutShort(err, len(head))
	}
	return head[frameHead], nil
}

// appendTo appends the current frame's payload to b. It grows b by what has
// arrived, not by what the frame's head promises.
func (c *conn) appendTo(b []byte) ([]byte, error) {
	c.in.Discard(frameHead)
	for left := c.size; left > 0; {
		part, err := c.in.Peek(min(left, bufferSize))
		if err != nil {
			return b, cutShort(err, 1)
		}
		b = append(b, part...)
		c.in.Discard(len(part))
		left -= len(part)
	}
	return b, nil
}

// skip drops the current frame.
func (c *conn) skip() error {
	_, err := c.in.Discard(frameHead + c.size)
	return cutShort(err, 1)
}

func cutShort(err error, seen int) error {
	if err == io.EOF && seen > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// source is the socket as conn's buffered reader sees it. The reader comes
// here only when it has nothing left to give, which is the moment to send what
// was gathered.
type source struct{ c *conn }

func (s source) Read(p []byte) (int, error) {
	c := s.c
	if err := c.flush(); err != nil {
		return 0, err
	}
	for {
		if err := c.socket.SetReadDeadline(c.readDeadline()); err != nil {
			return 0, err
		}
		n, err := c.socket.Read(p)
		switch {
		case n > 0 || !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case !c.changing.IsZero() && !time.Now().Before(c.changing):
			c.changesMade()
		case c.socket.IsOver():
			return 0, io.EOF
		default:
			return n, err
		}
	}
}

// negotiated notes that the peer is an MTA.
func (c *conn) negotiated() { c.freshBy = time.Time{} }

// answered notes that the peer is about to get the answer to an end of message.
func (c *conn) answered() { c.changing = time.Now().Add(c.timing.settle) }

// changesMade ends the message whose end was answered, if there is one.
func (c *conn) changesMade() {
	if !c.changing.IsZero() {
		c.changing = time.Time{}
		c.socket.Rest()
	}
}

func (c *conn) readDeadline() time.Time {
	now := time.Now()
	deadline := now.Add(c.timing.idle)
	if c.begun || c.in.Buffered() > 0 {
		if c.frameBy.IsZero() {
			c.frameBy = now.Add(c.timing.frame)
		}
		deadline = c.frameBy
	}
	for _, earlier := range [...]time.Time{c.freshBy, c.changing} {
		if !earlier.IsZero() && earlier.Before(deadline) {
			deadline = earlier
		}
	}
	return deadline
}

// send gathers one frame. It is written before the connection waits for the
// peer; an error of that shows at the next read.
func (c *conn) send(code byte, parts ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begin := len(c.out)
	c.out = append(c.out, 0, 0, 0, 0, code)
	for _, part := range parts {
		c.out = append(c.out, part...)
	}
	binary.BigEndian.PutUint32(c.out[begin:], uint32(len(c.out)-begin-4))
	if len(c.out) > flushSize {
		c.flushLocked()
	}
}

func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked()
	return c.writeErr
}

func (c *conn) flushLocked() {
	if len(c.out) > 0 && c.writeErr == nil {
		c.socket.SetWriteDeadline(time.Now().Add(c.timing.write))
		_, c.writeErr = c.socket.Write(c.out)
	}
	if c.out = c.out[:0]; cap(c.out) > 2*flushSize {
		c.out = nil
	}
}

// work tells the peer every now and then that an answer will come, until done
// is called. Sendmail bears that at end of message only.
func (c *conn) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working = true
	if c.timer == nil {
		c.timer = time.AfterFunc(c.timing.progress, c.progress)
	} else {
		c.timer.Reset(c.timing.progress)
	}
}

func (c *conn) progress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.working {
		return
	}
	c.out = append(c.out, 0, 0, 0, 1, replyProgress)
	c.flushLocked()
	c.timer.Reset(c.timing.progress)
}

func (c *conn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working = false
	if c.timer != nil {
		c.timer.Stop()
	}
}

// close writes what is left and ends the connection. Nothing may be read after it.
func (c *conn) close() {
	c.done()
	_ = c.flush() // an MTA that has left needs nothing
	if c.in != nil {
		c.in.Reset(nil)
		c.readers.Put(c.in)
		c.in = nil
	}
	c.socket.Close()
}
