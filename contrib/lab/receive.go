package lab

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	longestCommand = 64 << 10  // octets; RFC 5321 section 4.5.3.1.4 asks for 512
	largestMessage = 256 << 20 // octets
)

// receiver is one connection to a sink: the server's side of RFC 5321, or of
// RFC 2033 for LMTP. It takes every address and argument as it comes, for a
// test wants to see what was sent, not have it refused.
type receiver struct {
	sink    *Sink
	conn    net.Conn
	client  string
	secure  bool // by STARTTLS
	r       *bufio.Reader
	w       *bufio.Writer
	greeted bool
	mail    *Delivery // the transaction under way
	size    int       // what the client says that the message has, in octets (RFC 1870)
}

func receive(s *Sink, conn net.Conn) {
	client, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	c := &receiver{sink: s, conn: conn, client: client, r: bufio.NewReaderSize(conn, longestCommand), w: bufio.NewWriter(conn)}
	c.say("220 sink.lab.test ESMTP")
	for {
		// Replies to pipelined commands leave together (RFC 2920).
		if c.r.Buffered() == 0 && c.w.Flush() != nil {
			return
		}
		line, err := c.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			c.say("500 5.5.2 the line is too long")
			c.w.Flush()
		}
		if err != nil {
			return
		}
		verb, argument, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		verb = strings.ToUpper(verb)
		if err := c.handle(verb, argument); err != nil || verb == "QUIT" {
			c.w.Flush()
			return
		}
	}
}

func (c *receiver) say(format string, args ...any) { fmt.Fprintf(c.w, format+"\r\n", args...) }

// handle answers one command. An error means that the connection is of no
// more use.
func (c *receiver) handle(verb, argument string) error {
	switch verb {
	case "HELO", "EHLO", "LHLO":
		c.hello(verb)
	case "STARTTLS":
		return c.startTLS()
	case "MAIL":
		c.from(argument)
	case "RCPT":
		c.to(argument)
	case "DATA":
		return c.data()
	case "RSET":
		c.mail = nil
		c.say("250 2.0.0 ok")
	case "NOOP":
		c.say("250 2.0.0 ok")
	case "QUIT":
		c.say("221 2.0.0 bye")
	default:
		c.say("502 5.5.1 %q is not known here", verb)
	}
	return nil
}

func (c *receiver) hello(verb string) {
	if (verb == "LHLO") != c.sink.config.LMTP {
		c.say("500 5.5.1 this is the other protocol: LMTP wants LHLO, SMTP wants EHLO")
		return
	}
	c.greeted, c.mail = true, nil
	if verb == "HELO" {
		c.say("250 sink.lab.test")
		return
	}
	if c.sink.config.TLS != nil && !c.secure {
		c.say("250-sink.lab.test\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES")
		return
	}
	c.say("250-sink.lab.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250-SIZE %d\r\n250 ENHANCEDSTATUSCODES", largestMessage)
}

// startTLS goes on by TLS (RFC 3207). The session begins anew.
func (c *receiver) startTLS() error {
	if c.sink.config.TLS == nil || c.secure {
		c.say("502 5.5.1 not now")
		return nil
	}
	c.say("220 2.0.0 go on")
	if err := c.w.Flush(); err != nil {
		return err
	}
	conn := tls.Server(c.conn, c.sink.config.TLS)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.secure, c.greeted, c.mail = true, false, nil
	c.r, c.w = bufio.NewReaderSize(conn, longestCommand), bufio.NewWriter(conn)
	return nil
}

func (c *receiver) from(argument string) {
	path, args, ok := cutPath(argument, "FROM:")
	switch {
	case c.sink.config.TLS != nil && !c.secure:
		c.say("530 5.7.0 STARTTLS is wanted")
		return
	case !ok:
		c.say("501 5.5.4 MAIL FROM:<address> is wanted")
		return
	case !c.greeted || c.mail != nil:
		c.say("503 5.5.1 not now")
		return
	}
	c.mail, c.size = &Delivery{Client: c.client, From: path}, 0
	for _, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); strings.ToUpper(name) {
		case "RET":
			c.mail.Return = value
		case "ENVID":
			c.mail.EnvelopeID = value
		case "SMTPUTF8":
			c.mail.UTF8 = true
		case "SIZE":
			c.size, _ = strconv.Atoi(value)
		}
	}
	c.say("250 2.1.0 ok")
}

func (c *receiver) to(argument string) {
	path, args, ok := cutPath(argument, "TO:")
	switch {
	case !ok || path == "":
		c.say("501 5.5.4 RCPT TO:<address> is wanted")
		return
	case c.mail == nil:
		c.say("503 5.5.1 MAIL comes first")
		return
	}
	r := Recipient{Address: path}
	for _, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); strings.ToUpper(name) {
		case "NOTIFY":
			r.Notify = value
		case "ORCPT":
			r.ORCPT = value
		}
	}
	if c.sink.config.Refuse != nil {
		if reply := c.sink.config.Refuse(path); reply != nil {
			c.say("%s", reply)
			return
		}
	}
	c.mail.Recipients = append(c.mail.Recipients, r)
	c.say("250 2.1.5 ok")
}

func (c *receiver) data() error {
	if c.mail == nil || len(c.mail.Recipients) == 0 {
		c.say("503 5.5.1 there is nobody to send it to")
		return nil
	}
	c.say("354 end with a dot")
	if err := c.w.Flush(); err != nil {
		return err
	}
	message, err := readMessage(c.r, c.size)
	if err != nil {
		return err
	}
	d := *c.mail
	c.mail = nil
	reply := "250 2.0.0 kept"
	if len(message) > largestMessage {
		reply = "552 5.3.4 the message is too large"
	} else {
		d.Data, d.When = message, time.Now()
		if c.sink.config.Pass != nil {
			reply = c.sink.config.Pass(d).String()
		}
		c.sink.keep(d)
	}
	replies := 1
	if c.sink.config.LMTP {
		replies = len(d.Recipients) // RFC 2033 section 4.2
	}
	for range replies {
		c.say("%s", reply)
	}
	return nil
}

// readMessage reads up to the line of a single dot and takes the dots away
// that RFC 5321 section 4.5.2 had put before others. Of a message that is too
// large it keeps more than largestMessage octets, but not all. There is room for as
// many octets as are expected, so that a large message is copied once.
func readMessage(r *bufio.Reader, expected int) ([]byte, error) {
	message := make([]byte, 0, max(0, min(expected, largestMessage)))
	atStart, afterCR := true, false // at the start of a line, that is, after CRLF
	for {
		piece, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if atStart && string(piece) == ".\r\n" {
			return message, nil
		}
		line := piece
		if atStart && piece[0] == '.' {
			line = piece[1:]
		}
		if len(message) <= largestMessage {
			message = append(message, line...)
		}
		// A line longer than the buffer comes in pieces, and may be cut within CRLF.
		atStart = bytes.HasSuffix(piece, []byte("\r\n")) || afterCR && string(piece) == "\n"
		afterCR = piece[len(piece)-1] == '\r'
	}
}

// cutPath splits "FROM:<path> args". Angle brackets in a quoted local part do
// not end the path.
func cutPath(s, prefix string) (path string, args []string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", nil, false
	}
	s = strings.TrimLeft(s[len(prefix):], " ")
	if !strings.HasPrefix(s, "<") {
		return "", nil, false
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return s[1:i], strings.Fields(s[i+1:]), true
		}
	}
	return "", nil, false
}
