package milter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// session is one connection of the MTA: usually one SMTP session with any
// number of messages, one after the other. It holds the state of the protocol;
// what is decided, its transaction knows.
type session struct {
	server     *Server
	conn       *conn
	checkpoint verdict.Checkpoint

	terms   terms
	dialect *dialect // of the MTA; before CONNECT and after QUIT_NC the unknown one
	dsn     bool     // the MTA offers DSN: the message's client has used it, or see offersDSN
	macros  macros
	client  client
	visitor transaction.Visitor
	mail    *transaction.Transaction
	field   []byte // the payload of a header frame
}

// serve answers the MTA's commands until the connection ends, and closes it. What was to be
// answered is written first.
func (s *session) serve() {
	defer s.conn.close()
	defer s.survive()
	defer s.visitor.Leave()
	defer s.endMessage()
	for {
		code, err := s.conn.next()
		if err == nil {
			err = s.command(gomilter.Code(code))
		}
		if err != nil {
			s.logEnd(err)
			return
		}
	}
}

// survive, deferred, makes a panic the end of this one connection. To the MTA that is a
// milter which failed: it tells its client to try again.
func (s *session) survive() {
	if v := recover(); v != nil {
		s.log(slog.LevelError, "a milter session failed; this is an error in coexistd",
			slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	}
}

// command answers one command. The error io.EOF is an orderly end.
func (s *session) command(code gomilter.Code) error {
	s.macros.begin(code)
	switch code {
	case gomilter.CodeOptNeg:
		return s.whole(s.negotiate)
	case gomilter.CodeMacro:
		return s.macros.read(s.conn)
	case gomilter.CodeConn:
		return s.whole(s.connect)
	case gomilter.CodeHelo:
		return s.whole(s.helo)
	case gomilter.CodeMail:
		if !s.conn.socket.Begin() {
			// A client with a message after the other would hold a drain up.
			return io.EOF
		}
		return s.whole(s.mailFrom)
	case gomilter.CodeRcpt:
		return s.whole(s.rcptTo)
	case gomilter.CodeHeader:
		return s.header()
	case gomilter.CodeBody:
		return s.body()
	case gomilter.CodeEOB:
		return s.endOfMessage()
	case gomilter.CodeData, gomilter.CodeEOH, codeUnknown:
		s.proceed()
	case gomilter.CodeAbort:
		s.endMessage()
		s.macros.forget(gomilter.StageMailFrom)
	case gomilter.CodeQuitNewConn:
		s.endMessage()
		s.visitor.Leave()
		s.macros.forget(gomilter.StageConnect)
		s.client, s.dialect = client{}, &unknown
	case gomilter.CodeQuit:
		return io.EOF
	default:
		return protocolError("a frame has an unknown command")
	}
	return s.conn.skip()
}

// whole answers a command whose frame is read as a whole.
func (s *session) whole(answer func(payload []byte) error) error {
	frame, err := s.conn.whole()
	if err != nil {
		return err
	}
	return answer(frame[frameHead:])
}

func (s *session) negotiate(payload []byte) error {
	agreed, err := negotiate(payload, s.furtherTerms())
	if err != nil {
		return err
	}
	s.terms = agreed
	s.conn.negotiated()
	s.conn.socket.Heard()
	s.conn.send(replyOptNeg, agreed.answer())
	if !agreed.suffice() {
		s.log(slog.LevelError, "the MTA does not let coexistd add headers and add and delete recipients: all mail is put off",
			slog.Uint64("actions", uint64(agreed.actions)))
	}
	return nil
}

// furtherTerms says what the runtime of this moment wants besides. A reload may
// change that: see transaction.Terms.NoBody.
func (s *session) furtherTerms() gomilter.OptProtocol {
	rt := s.server.runtime()
	if rt.Policy == nil {
		return gomilter.OptNoBody | guardTerms(false)
	}
	return bodyTerms(rt.Policy.NeedsContent(s.checkpoint)) | guardTerms(rt.Policy.GuardsAny(s.checkpoint))
}

// connect notes who the client is. One that asks for too much is turned away, or, where
// the MTA does not wait, at RCPT.
func (s *session) connect(payload []byte) (err error) {
	s.conn.socket.Heard()
	s.dialect = dialectOf(s.macros.get(gomilter.StageConnect, "v"))
	if s.client, err = parseConnect(payload, s.dialect); err != nil {
		return err
	}
	if reply := s.visitor.Arrive(s.server.runtime(), s.arrival()); !reply.IsZero() && !s.terms.agreed(gomilter.OptNoConnReply) {
		s.refuse(reply)
	} else {
		s.proceedUnless(gomilter.OptNoConnReply)
	}
	return nil
}

func (s *session) helo(payload []byte) error {
	s.conn.socket.Heard()
	s.client.helo = cString(payload)
	s.proceedUnless(gomilter.OptNoHeloReply)
	return nil
}

// mailFrom begins a message: it takes the runtime that the message is decided with.
func (s *session) mailFrom(payload []byte) error {
	s.mail.Abort() // the macros are this message's already
	s.dsn = s.dialect.offersDSN || s.macros.get(gomilter.StageMailFrom, "coexistd_dsn") != "" || asksForReports(payload)
	arrival := transaction.Arrival{
		Arrival: s.arrival(), Name: s.client.name, Helo: s.client.helo,
		Path: stripBrackets(cString(payload)),
		Terms: transaction.Terms{
			ChangesFields: s.terms.may(gomilter.OptChangeHeader), ExactValues: s.terms.agreed(gomilter.OptHeaderLeadingSpace),
			NoBody: s.terms.agreed(gomilter.OptNoBody), Insufficient: !s.terms.suffice(),
		},
	}
	s.mail.Begin(s.server.enter(), arrival)
	s.proceedUnless(gomilter.OptNoMailReply)
	return nil
}

// arrival gathers what is known of the message's client. A login holds for one
// message, so only MAIL's own macros tell it.
func (s *session) arrival() policy.Arrival {
	a := policy.Arrival{
		Listener: s.checkpoint,
		Client:   s.client.addr,
		OnHost:   s.client.onHost,
		Login:    s.dialect.text(s.macros.get(gomilter.StageMailFrom, "auth_authen")),

		Certificate: s.macros.certificate(s.dialect),
		TLS:         s.macros.get(gomilter.StageHelo, "tls_version"),
	}
	if !a.Client.IsValid() {
		a.Client = parseAddr(s.macros.get(gomilter.StageConnect, "client_addr"))
		a.OnHost = a.OnHost && (!a.Client.IsValid() || a.Client.IsLoopback())
	}
	return a
}

// rcptTo takes one recipient, or refuses it alone.
func (s *session) rcptTo(payload []byte) error {
	s.mail.SetQueueID(s.macros.queueID())
	var reply verdict.Reply
	if unknown, refused := s.macros.refusedByMTA(s.dialect); refused {
		reply = s.mail.RefusedByMTA(unknown)
	} else {
		s.dsn = s.dsn || asksForReports(payload)
		reply = s.mail.Recipient(parseRecipient(payload))
	}
	if reply.IsZero() {
		s.proceed()
	} else {
		s.refuse(reply)
	}
	return nil
}

func (s *session) header() (err error) {
	if s.field, err = s.conn.appendTo(s.field[:0]); err != nil {
		return err
	}
	name, value, found := bytes.Cut(s.field, nul)
	if !found {
		return protocolError("a header frame has no value")
	}
	value, _, _ = bytes.Cut(value, nul)
	s.mail.Field(name, value)
	if cap(s.field) > 4*bufferSize {
		s.field = nil
	}
	s.proceedUnless(gomilter.OptNoHeaderReply)
	return nil
}

func (s *session) body() error {
	wanted := s.mail.WantsBody()
	if err := s.piece(wanted); err != nil {
		return err
	}
	switch {
	case s.terms.agreed(gomilter.OptNoBodyReply):
	case !wanted && s.terms.agreed(gomilter.OptSkip):
		s.conn.send(byte(gomilter.ActSkip))
	default:
		s.proceed()
	}
	return nil
}

// piece takes what the frame has of the body when it must be read, and else drops it.
func (s *session) piece(wanted bool) error {
	if s.conn.size == 0 || !wanted {
		return s.conn.skip()
	}
	return s.mail.Body(s.conn.appendTo)
}

func (s *session) endOfMessage() error {
	s.mail.SetQueueID(s.macros.queueID())
	if err := s.piece(s.conn.size > 0 && s.mail.WantsBody()); err != nil {
		return err
	}
	s.conn.work()
	answer := s.mail.End(context.Background())
	s.conn.done()
	s.apply(answer)
	s.conn.answered()
	return nil
}

// endMessage ends a message that did not come to its end.
func (s *session) endMessage() {
	s.mail.SetQueueID(s.macros.queueID())
	s.mail.Abort()
	s.conn.socket.Rest()
}

func (s *session) proceed() { s.conn.send(byte(gomilter.ActContinue)) }

// proceedUnless answers when it was not agreed that there is no answer.
func (s *session) proceedUnless(noReply gomilter.OptProtocol) {
	if !s.terms.agreed(noReply) {
		s.proceed()
	}
}

// log writes a line that is not a message's.
func (s *session) log(level slog.Level, text string, attrs ...slog.Attr) {
	s.server.Log.LogAttrs(context.Background(), level, text, attrs...)
}

// logEnd says why the connection ended, unless the end was an orderly one.
func (s *session) logEnd(err error) {
	var wrong protocolError
	switch {
	case errors.Is(err, net.ErrClosed), err == io.EOF:
	case errors.As(err, &wrong):
		s.log(slog.LevelWarn, "a milter connection is closed: the peer does not speak the protocol", slog.String("error", err.Error()))
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.log(slog.LevelInfo, "a milter connection is closed: the MTA was silent for too long")
	default:
		s.log(slog.LevelInfo, "a milter connection broke", slog.String("error", err.Error()))
	}
}
