package ownmail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"

	"coexistd/policy/mail"
)

// Submission is a message for the MTA, to one recipient.
type Submission struct {
	From, To string // paths, without angle brackets
	// Notify and ORcpt are the values of RCPT's arguments, or empty. They are
	// given only to an MTA that offers DSN (RFC 3461).
	Notify, ORcpt string
	// EightBit says that the content has bytes beyond US-ASCII.
	EightBit bool
	Content  io.Reader
}

// Refusal is the MTA's answer that it does not take a message.
type Refusal struct {
	command string
	code    int
	text    string
}

// Error names the command and the answer.
func (r *Refusal) Error() string {
	return fmt.Sprintf("the MTA answered %s with %d %s", r.command, r.code, r.text)
}

// IsForGood reports a Refusal of this recipient or this message that would be the
// same the next time (RFC 5321 section 4.2.1). What the MTA says before it knows
// either concerns all mail of ours.
func IsForGood(err error) bool {
	r, ok := errors.AsType[*Refusal](err)
	return ok && r.code >= 500 && r.command != "MAIL" && !r.ofConnection()
}

// IsAway reports an error of a message that the MTA has not judged: it could not be
// reached, did not answer, would not have the connection, or ended it (421, RFC 5321
// section 3.8). The next message would fare no better now, and this one better later.
func IsAway(err error) bool {
	r, refused := errors.AsType[*Refusal](err)
	return err != nil && (!refused || r.ofConnection())
}

func (r *Refusal) ofConnection() bool {
	return r.command == "the connection" || r.command == "EHLO" || r.code == 421
}

// ErrUnanswered is the error of a message that was sent as a whole but not
// answered: nobody can say whether the MTA has taken it.
var ErrUnanswered = errors.New("the MTA did not answer the end of the message, so it may have taken it")

// maxAnswers bounds all that a server says, in bytes.
const maxAnswers = 1 << 20

// Submit gives a message to the MTA at address, HOST:PORT. The context bounds how
// long that takes. It returns nil when the MTA has taken the message, a *Refusal
// when it does not, ErrUnanswered, or another error when the message has not got
// there.
//
// Lines keep their bytes and their length. (The usual clients make CRLF of a bare
// LF, and spell ORCPT anew.)
func Submit(ctx context.Context, address, hostname string, m Submission) error {
	for _, path := range [...]string{m.From, m.To} {
		if strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Errorf("the address %.100q holds a control character, so it cannot be sent", path)
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("the MTA at %s cannot be reached: %w", address, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	c := &client{
		w:       bufio.NewWriterSize(conn, 64<<10),
		answers: textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxAnswers))),
	}
	err = c.submit(hostname, m)
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	return err
}

// client is one connection to the MTA.
type client struct {
	w       *bufio.Writer
	answers *textproto.Reader
	offers  map[string]bool // the keywords of EHLO's answer, in upper case
}

func (c *client) submit(hostname string, m Submission) error {
	if _, err := c.answer("the connection", 2); err != nil {
		return err
	}
	offers, err := c.command("EHLO", " "+hostname, 2)
	if err != nil {
		return err
	}
	c.offers = make(map[string]bool)
	for line := range strings.Lines(offers) {
		keyword, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		c.offers[strings.ToUpper(keyword)] = true
	}
	for _, step := range [...]struct {
		verb, arguments string
		class           int
	}{{"MAIL", c.mailArguments(m), 2}, {"RCPT", c.rcptArguments(m), 2}, {"DATA", "", 3}} {
		if _, err := c.command(step.verb, step.arguments, step.class); err != nil {
			return err
		}
	}
	if err := errors.Join(writeData(c.w, m.Content), c.w.Flush()); err != nil {
		return fmt.Errorf("sending the message: %w", err)
	}
	// Up to here the end of the message was not sent.
	if _, err := c.command(".", "", 2); err != nil {
		if errors.As(err, new(*Refusal)) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrUnanswered, err)
	}
	c.w.WriteString("QUIT\r\n")
	_ = c.w.Flush() // the message has been taken
	return nil
}

func (c *client) mailArguments(m Submission) string {
	arguments := " FROM:<" + m.From + ">"
	if m.EightBit && c.offers["8BITMIME"] {
		arguments += " BODY=8BITMIME"
	}
	if c.isUTF8(m) {
		arguments += " SMTPUTF8"
	}
	return arguments
}

// isUTF8 reports a message that needs SMTPUTF8 (RFC 6531) where it is offered.
func (c *client) isUTF8(m Submission) bool {
	return c.offers["SMTPUTF8"] && !(mail.IsASCII(m.From) && mail.IsASCII(m.To))
}

func (c *client) rcptArguments(m Submission) string {
	arguments := " TO:<" + m.To + ">"
	if !c.offers["DSN"] {
		return arguments
	}
	if m.Notify != "" {
		arguments += " NOTIFY=" + m.Notify
	}
	if m.ORcpt != "" && (mail.IsASCII(m.ORcpt) || c.isUTF8(m)) {
		arguments += " ORCPT=" + m.ORcpt
	}
	return arguments
}

// command sends a command and reads its answer, which is to be of a class: 2 or
// 3, the first digit of its code.
func (c *client) command(verb, arguments string, class int) (string, error) {
	c.w.WriteString(verb + arguments + "\r\n")
	if err := c.w.Flush(); err != nil {
		return "", err
	}
	if verb == "." {
		verb = "the message"
	}
	return c.answer(verb, class)
}

func (c *client) answer(to string, class int) (string, error) {
	code, text, err := c.answers.ReadResponse(0)
	switch {
	case err != nil:
		return "", fmt.Errorf("the MTA did not answer %s: %w", to, err)
	case code/100 == class:
		return text, nil
	}
	return "", &Refusal{to, code, strings.ToValidUTF8(strings.ReplaceAll(text, "\n", " "), "?")}
}

// writeData writes a message as RFC 5321 section 4.5.2 asks, without the final
// dot: a line that begins with a dot gets another before it, and the last line
// ends.
//
// Nothing in a message may look to any server like its end. To some a bare LF ends
// a line, to some even a bare CR does; a dot that stands behind one, where it could
// be that end, gets another, too. A strict server keeps both then.
func writeData(w *bufio.Writer, content io.Reader) error {
	r := bufio.NewReaderSize(content, 64<<10)
	var last, beforeLast byte = '\n', '\r'
	for {
		c, err := r.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if c == '.' && (last == '\n' || last == '\r' && beginsWithEnd(r)) {
			w.WriteByte('.') // an error stays until the next
		}
		if err := w.WriteByte(c); err != nil {
			return err
		}
		beforeLast, last = last, c
	}
	switch {
	case beforeLast == '\r' && last == '\n':
		return nil
	case last == '\r':
		return w.WriteByte('\n')
	}
	_, err := w.WriteString("\r\n")
	return err
}

// beginsWithEnd reports that what comes next could be read as the end of a line.
func beginsWithEnd(r *bufio.Reader) bool {
	next, err := r.Peek(1)
	return err != nil || next[0] == '\r' || next[0] == '\n'
}
