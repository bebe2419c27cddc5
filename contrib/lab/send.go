package lab

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"strings"
)

// Client says who hands mail in, and where.
type Client struct {
	Server   string // HOST:PORT, such as Postfix.Addr gives
	Local    string // the IP address to come from, such as 127.0.7.1; empty: any
	Hello    string // the name in EHLO; empty: client.lab.test
	User     string // the login for AUTH PLAIN; empty: none
	Password string
	TLS      *tls.Config // for STARTTLS before AUTH, such as Authority.Client gives; nil: none
	// Proxy is a line of the PROXY protocol, as a load balancer says it before all else, such as
	// "PROXY TCP4 192.0.2.1 127.0.0.1 40000 25". Empty: none.
	Proxy string
	// XClient are attributes of Postfix's XCLIENT, which is said after EHLO, such as
	// "ADDR=192.0.2.1 NAME=mail.example HELO=mail.example". Empty: none.
	XClient string
}

// Mail is one message with its envelope. Addresses and arguments go out as
// they are, right or wrong.
type Mail struct {
	From string // what stands between the angle brackets; empty: the null sender
	Args string // ESMTP arguments of MAIL, such as "RET=HDRS ENVID=x SMTPUTF8"
	To   []Rcpt
	// Data is the message, with CRLF at the end of its lines. Nil ends the
	// transaction with RSET once the recipients were named.
	Data []byte
}

// Rcpt is a recipient of a Mail.
type Rcpt struct {
	Address string
	Args    string // ESMTP arguments of RCPT, such as "NOTIFY=NEVER ORCPT=rfc822;a@example.com"
}

// To names recipients without arguments.
func To(addresses ...string) []Rcpt {
	to := make([]Rcpt, len(addresses))
	for i, a := range addresses {
		to[i].Address = a
	}
	return to
}

// Result holds the server's replies to one Mail. A reply that was not asked
// for, because an earlier one had been a refusal, is zero.
type Result struct {
	Mail Reply
	To   []Reply // one for each of Mail.To
	Data Reply   // the reply to DATA if that refuses, otherwise to the message
}

// Accepted says whether the server took responsibility for the message.
func (r Result) Accepted() bool { return r.Data.Code/100 == 2 }

// Reply is one reply of an SMTP server.
type Reply struct {
	Code     int    // such as 550
	Enhanced string // such as 5.1.1 (RFC 3463); empty: none
	Text     string // without the codes; several lines are joined by "\n"
}

// String writes a reply on one line.
func (r Reply) String() string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf("%d %s", r.Code, strings.TrimSpace(r.Enhanced+" "+r.Text))), "\n", " / ")
}

// Send hands one message in over a connection of its own. Refusals of the
// envelope or the message are in the result; the error is for whatever
// prevents a transaction: no connection, no TLS, or a greeting, EHLO, STARTTLS
// or AUTH that is refused.
func (c Client) Send(ctx context.Context, m Mail) (Result, error) {
	s, err := c.Dial(ctx)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	return s.Send(ctx, m)
}

// Session is a connection over which several messages can be sent, one after
// the other.
type Session struct {
	conn net.Conn
	text *textproto.Conn
}

// Dial connects, says EHLO, begins TLS and authenticates. ctx bounds these
// only.
func (c Client) Dial(ctx context.Context) (_ *Session, err error) {
	var d net.Dialer
	if c.Local != "" {
		ip := net.ParseIP(c.Local)
		if ip == nil {
			return nil, fmt.Errorf("lab: %q is no IP address to send from", c.Local)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	conn, err := d.DialContext(ctx, "tcp", c.Server)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	s := &Session{conn: conn, text: textproto.NewConn(conn)}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	defer s.abandonWith(ctx)()
	if err := s.greet(c); err != nil {
		return nil, err
	}
	if err := s.introduce(ctx, c); err != nil {
		return nil, err
	}
	return s, nil
}

// greet waits for the server's greeting, which a load balancer's line goes before.
func (s *Session) greet(c Client) error {
	if c.Proxy != "" {
		if err := s.text.PrintfLine("%s", c.Proxy); err != nil {
			return fmt.Errorf("lab: saying %q: %w", c.Proxy, err)
		}
	}
	greeting, err := s.reply()
	if err == nil && greeting.Code/100 != 2 {
		err = fmt.Errorf("lab: %s refused the connection: %s", c.Server, greeting)
	}
	return err
}

// introduce says who the client is: EHLO, and again behind what has the server forget it, and
// its login.
func (s *Session) introduce(ctx context.Context, c Client) error {
	ehlo := "EHLO " + cmp.Or(c.Hello, "client.lab.test")
	if err := s.mustAccept(ehlo); err != nil {
		return err
	}
	if c.TLS != nil {
		// RFC 3207 section 4.2: what was said before TLS is forgotten.
		if err := s.startTLS(ctx, c.TLS); err != nil {
			return err
		}
		if err := s.mustAccept(ehlo); err != nil {
			return err
		}
	}
	if c.XClient != "" {
		// The server greets anew, and has forgotten EHLO.
		if err := s.mustAccept("XCLIENT " + c.XClient); err != nil {
			return err
		}
		if err := s.mustAccept(ehlo); err != nil {
			return err
		}
	}
	if c.User == "" {
		return nil
	}
	credentials := base64.StdEncoding.EncodeToString([]byte("\x00" + c.User + "\x00" + c.Password))
	return s.mustAccept("AUTH PLAIN " + credentials)
}

// mustAccept says something without which there is no session.
func (s *Session) mustAccept(line string) error {
	r, err := s.command(line)
	if err == nil && r.Code/100 != 2 {
		verb, _, _ := strings.Cut(line, " ")
		err = fmt.Errorf("lab: %s refused %s: %s", s.conn.RemoteAddr(), verb, r)
	}
	return err
}

func (s *Session) startTLS(ctx context.Context, config *tls.Config) error {
	if err := s.mustAccept("STARTTLS"); err != nil {
		return err
	}
	conn := tls.Client(s.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("lab: no TLS with %s: %w", s.conn.RemoteAddr(), err)
	}
	s.conn, s.text = conn, textproto.NewConn(conn)
	return nil
}

// Send is one transaction. After an error the session is of no more use.
func (s *Session) Send(ctx context.Context, m Mail) (Result, error) {
	defer s.abandonWith(ctx)()
	r := Result{To: make([]Reply, len(m.To))}
	var err error
	if r.Mail, err = s.command(strings.TrimSpace(fmt.Sprintf("MAIL FROM:<%s> %s", m.From, m.Args))); err != nil || r.Mail.Code/100 != 2 {
		return r, err
	}
	accepted := false
	for i, to := range m.To {
		if r.To[i], err = s.command(strings.TrimSpace(fmt.Sprintf("RCPT TO:<%s> %s", to.Address, to.Args))); err != nil {
			return r, err
		}
		accepted = accepted || r.To[i].Code/100 == 2
	}
	if m.Data == nil || !accepted {
		_, err = s.command("RSET")
		return r, err
	}
	if r.Data, err = s.command("DATA"); err != nil || r.Data.Code != 354 {
		return r, err
	}
	if _, err = s.conn.Write(stuff(m.Data)); err != nil {
		return r, fmt.Errorf("lab: sending the message: %w", err)
	}
	r.Data, err = s.reply()
	return r, err
}

// Close says QUIT and ends the connection without waiting for the reply.
func (s *Session) Close() error {
	s.text.PrintfLine("QUIT")
	return s.conn.Close()
}

// abandonWith breaks the connection off when ctx ends; the function that it
// returns calls that off.
func (s *Session) abandonWith(ctx context.Context) func() {
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return func() { stop() }
}

func (s *Session) command(line string) (Reply, error) {
	if err := s.text.PrintfLine("%s", line); err != nil {
		return Reply{}, fmt.Errorf("lab: sending %q: %w", line, err)
	}
	r, err := s.reply()
	if err != nil {
		return r, fmt.Errorf("%w (after %q)", err, line)
	}
	return r, nil
}

var enhancedCode = regexp.MustCompile(`(?m)^[245]\.\d{1,3}\.\d{1,3}(?: |$)`)

func (s *Session) reply() (Reply, error) {
	code, text, err := s.text.ReadResponse(0)
	if err != nil {
		return Reply{}, fmt.Errorf("lab: no reply from %s: %w", s.conn.RemoteAddr(), err)
	}
	r := Reply{Code: code, Text: text}
	// RFC 2034 section 4: the code stands at the start of every line.
	if first := enhancedCode.FindString(text); first != "" && strings.HasPrefix(text, first) {
		r.Enhanced = strings.TrimSpace(first)
		r.Text = enhancedCode.ReplaceAllString(text, "")
	}
	return r, nil
}

// stuff does the transparency of RFC 5321 section 4.5.2 and adds the end of
// the message. Everything else goes out as it is.
func stuff(data []byte) []byte {
	// Large messages are copied once.
	b := make([]byte, 0, len(data)+bytes.Count(data, []byte("\r\n."))+len(".\r\n.\r\n"))
	for rest := data; len(rest) > 0; {
		if rest[0] == '.' {
			b = append(b, '.')
		}
		end := bytes.Index(rest, []byte("\r\n."))
		if end < 0 {
			b = append(b, rest...)
			break
		}
		b, rest = append(b, rest[:end+2]...), rest[end+2:]
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	return append(b, ".\r\n"...)
}
