package milter

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/flood"
	"coexistd/policy"
)

// maxRecipients bounds the recipients of one message. RFC 5321 section
// 4.5.3.1.10 gives the answer to one too many. The trace header names so many
// within the 65,535 bytes that Sendmail takes in a frame.
const maxRecipients = 4096

// session is one connection of the MTA: usually one SMTP session with any
// number of messages, one after the other.
//
// Frames come to receive. Those that only add to what is known end there; the
// commands that ask for a decision go on to go-milter, which calls the method
// named after the verb. The methods answer through conn and return nil, so
// that go-milter sends nothing of its own and never makes a new session.
type session struct {
	gomilter.NoOpMilter
	server     *Server
	conn       *conn
	checkpoint policy.Checkpoint

	terms   terms
	macros  macros
	client  client
	visit   *flood.Visit // nil when the client is not bounded
	blocked policy.Reply // to a client that asks for too much
	message message
	payload []byte // of the command that goes on to go-milter
	broken  bool   // a handler failed: the connection is to end
}

// message is the mail transaction that is under way. It is one when runtime is
// set, and none between the end of one and the next MAIL.
type message struct {
	runtime  *Runtime     // held until the message ends
	barred   policy.Reply // why MAIL began no message
	entry    policy.Entry
	client   netip.Addr
	login    string
	path     string         // MAIL's path
	sender   policy.Address // path, parsed
	admitted []policy.Recipient
	unread   int  // recipients of mail made on this host that the policy does not see
	tooMany  bool // mail made on this host has more recipients than are taken
	refused  refusals
	headers  headers
	body     spool
	gathered bool           // the header has come, and facts are set
	facts    policy.Message // what is known of it by its header
	open     *policy.Case   // made of the facts; nil for what is refused whatever they are
	asks     policy.Asks    // what it needs to know besides
	// unsettled is set while a signature may still prove the tenant: the case is
	// not open before the message's end.
	unsettled  bool
	signatures []policy.DKIM // nil until they were verified
}

// reset ends the message. Memory of a usual size is kept for the next one.
func (m *message) reset() {
	clear(m.admitted)
	admitted, fields, body, refused := m.admitted[:0], m.headers, m.body, m.refused
	if cap(admitted) > 1000 {
		admitted = nil
	}
	fields.reset()
	body.reset()
	refused.reset()
	*m = message{admitted: admitted, headers: fields, body: body, refused: refused}
}

// endOfMessage is what go-milter gets to read at end of message: it needs no
// part of a body.
var endOfMessage = []byte{0, 0, 0, 1, byte(gomilter.CodeEOB)}

// receive takes frames until one is for go-milter, and returns that one as it
// came. The error io.EOF is an orderly end.
func (s *session) receive() ([]byte, error) {
	for {
		code, err := s.conn.next()
		if err != nil {
			return nil, err
		}
		frame, err := s.take(code)
		if frame != nil || err != nil {
			return frame, err
		}
	}
}

// take handles one frame, or returns it for go-milter.
func (s *session) take(code byte) ([]byte, error) {
	s.macros.begin(code)
	switch gomilter.Code(code) {
	case gomilter.CodeMacro:
		return nil, s.macros.read(s.conn)
	case gomilter.CodeHeader:
		if err := s.message.headers.read(s.conn); err != nil {
			return nil, err
		}
		s.proceedUnless(gomilter.OptNoHeaderReply)
		return nil, nil
	case gomilter.CodeConn, gomilter.CodeMail, gomilter.CodeRcpt, gomilter.CodeOptNeg:
		if code == byte(gomilter.CodeMail) && s.conn.draining.Load() {
			// A client with a message after the other would hold the drain up.
			return nil, io.EOF
		}
		frame, err := s.conn.whole()
		if err != nil {
			return nil, err
		}
		s.payload = frame[frameHead:]
		return s.command(gomilter.Code(code), frame)
	case gomilter.CodeEOB:
		return endOfMessage, s.takeBody()
	case gomilter.CodeBody:
		wanted := s.wantsBody()
		if err := s.takeBody(); err != nil {
			return nil, err
		}
		switch {
		case s.terms.agreed(gomilter.OptNoBodyReply):
		case !wanted && s.terms.agreed(gomilter.OptSkip):
			s.conn.send(byte(gomilter.ActSkip))
		default:
			s.proceed()
		}
		return nil, nil
	case gomilter.CodeHelo:
		frame, err := s.conn.whole()
		if err != nil {
			return nil, err
		}
		s.client.helo = cString(frame[frameHead:])
		s.proceedUnless(gomilter.OptNoHeloReply)
		return nil, nil
	case gomilter.CodeData, gomilter.CodeEOH, codeUnknown:
		s.proceed()
	case gomilter.CodeAbort:
		s.endMessage()
		s.macros.forget(gomilter.StageMailFrom)
	case gomilter.CodeQuitNewConn:
		s.endMessage()
		s.leave()
		s.macros.forget(gomilter.StageConnect)
		s.client = client{}
	case gomilter.CodeQuit:
		return nil, io.EOF
	default:
		return nil, protocolError("a frame has an unknown command")
	}
	return nil, s.conn.skip()
}

// command takes a frame that is read as a whole.
func (s *session) command(code gomilter.Code, frame []byte) ([]byte, error) {
	switch code {
	case gomilter.CodeOptNeg:
		agreed, err := negotiate(s.payload, s.furtherTerms())
		if err != nil {
			return nil, err
		}
		s.terms = agreed
		s.conn.send(replyOptNeg, agreed.answer())
		if !agreed.suffice() {
			s.log(slog.LevelError, "the MTA does not let coexistd add headers and add and delete recipients: all mail is put off",
				slog.Uint64("actions", uint64(agreed.actions)))
		}
		return nil, nil
	case gomilter.CodeConn:
		var err error
		if s.client, err = parseConnect(s.payload); err != nil {
			return nil, err
		}
	}
	return frame, nil
}

// furtherTerms says what the runtime of this moment wants besides. A reload may
// change that; see decide.
func (s *session) furtherTerms() gomilter.OptProtocol {
	rt := s.server.Runtime()
	if rt == nil {
		return gomilter.OptNoBody | guardTerms(false)
	}
	return bodyTerms(rt.Policy.NeedsContent(s.checkpoint)) | guardTerms(rt.Policy.GuardsAny(s.checkpoint))
}

func (s *session) proceed() { s.conn.send(byte(gomilter.ActContinue)) }

// proceedUnless answers when it was not agreed that there is no answer.
func (s *session) proceedUnless(noReply gomilter.OptProtocol) {
	if !s.terms.agreed(noReply) {
		s.proceed()
	}
}

// Connect answers CONNECT; who the client is was noted by command. A client that
// asks for too much is turned away, or, where the MTA does not wait, at RCPT.
func (s *session) Connect(string, string, uint16, net.IP, *gomilter.Modifier) (gomilter.Response, error) {
	defer s.recovered()
	if reply := s.arrive(); !reply.IsZero() && !s.terms.agreed(gomilter.OptNoConnReply) {
		s.refuse(reply)
		return nil, nil
	}
	s.proceedUnless(gomilter.OptNoConnReply)
	return nil, nil
}

// MailFrom begins a message: it takes the runtime that the message is decided
// with, and the point at which the message enters. MAIL is never refused, so
// that the MTA need not wait for an answer; what is wrong with it is said to
// each recipient.
func (s *session) MailFrom(string, *gomilter.Modifier) (gomilter.Response, error) {
	defer s.recovered()
	s.endMessage()
	s.beginMessage()
	s.proceedUnless(gomilter.OptNoMailReply)
	return nil, nil
}

func (s *session) beginMessage() {
	m, arrival := &s.message, s.arrival()
	m.client, m.login = arrival.Client, arrival.Login
	m.path = stripBrackets(cString(s.payload))
	m.entry.OnHost = arrival.OnHost
	rt := s.server.Runtime()
	if rt == nil || !s.terms.suffice() {
		m.barred = policy.Reply{Code: 451, Enhanced: "4.3.5", Text: "The mail system is not set up, try again later"}
		return
	}
	sender, err := policy.ParseAddress(m.path, rt.Policy.Delimiters)
	if err != nil && !arrival.OnHost {
		m.barred = policy.Reply{Code: 501, Enhanced: "5.1.7", Text: "Bad sender address syntax"}
		return
	}
	if err != nil {
		sender = policy.Address{Path: m.path}
	}
	m.entry = rt.Policy.Enter(arrival)
	if m.entry.Unready != "" {
		m.barred = policy.Reply{Code: 451, Enhanced: "4.3.0", Text: "The mail system is not ready, try again later"}
		return
	}
	if m.barred = cmp.Or(s.blocked, s.countMessage(rt)); !m.barred.IsZero() {
		return
	}
	m.runtime, m.sender = rt, sender
	s.conn.inMessage.Store(true)
}

// arrival gathers what is known of the message's client. A login holds for one
// message, so only MAIL's own macros tell it.
func (s *session) arrival() policy.Arrival {
	a := policy.Arrival{
		Listener: s.checkpoint,
		Client:   s.client.addr,
		OnHost:   s.client.onHost,
		Login:    s.macros.get(gomilter.StageMailFrom, "auth_authen"),

		Certificate: s.certificate(),
	}
	if !a.Client.IsValid() {
		a.Client = parseAddr(s.macros.get(gomilter.StageConnect, "client_addr"))
		a.OnHost = a.OnHost && (!a.Client.IsValid() || a.Client.IsLoopback())
	}
	return a
}

// RcptTo admits one recipient, or refuses it alone.
func (s *session) RcptTo(string, *gomilter.Modifier) (gomilter.Response, error) {
	defer s.recovered()
	m := &s.message
	if reply, refused := s.refusedByMTA(); refused {
		if reply = s.countRefused(m.runtime, reply); !reply.IsZero() {
			s.refuse(reply)
		} else {
			s.proceed()
		}
		return nil, nil
	}
	path, notify, orcpt := parseRecipient(s.payload)
	if m.runtime == nil || !s.blocked.IsZero() {
		s.refuseRecipient(path, cmp.Or(s.blocked, m.barred, policy.Reply{Code: 451, Enhanced: "4.5.1", Text: "A recipient came without a sender"}))
		return nil, nil
	}
	if len(m.admitted) >= maxRecipients {
		s.refuseRecipient(path, policy.Reply{Code: 452, Enhanced: "4.5.3", Text: "Too many recipients"})
		m.tooMany = m.entry.OnHost
		return nil, nil
	}
	address, err := policy.ParseAddress(path, m.runtime.Policy.Delimiters)
	if err != nil || address.IsNull() {
		s.refuseRecipient(path, policy.Reply{Code: 501, Enhanced: "5.1.3", Text: "Bad recipient address syntax"})
		return nil, nil
	}
	r := policy.Recipient{Path: path, Notify: notify, ORcpt: orcpt, Address: address, Listing: m.runtime.Directory.List(m.runtime.Policy.Home(address))}
	ruling := m.runtime.Policy.Admit(m.entry, m.sender, len(m.admitted), r)
	if ruling.Verdict >= policy.Tempfail {
		s.refuseRuled(ruling)
		return nil, nil
	}
	m.admitted = append(m.admitted, r)
	s.proceed()
	return nil, nil
}

// refuseRecipient refuses a recipient without asking the policy. Mail made on
// this host is let through, since its MTA could not bear a refusal here.
func (s *session) refuseRecipient(path string, reply policy.Reply) {
	if s.message.entry.OnHost {
		s.message.unread++
		s.proceed()
		return
	}
	s.refuseRuled(policy.Ruling{Address: path, Verdict: severity(reply), Reply: reply, Reason: reply.Text})
}

func refusal(e policy.Entry, reply policy.Reply) policy.Decision {
	return policy.Decision{Checkpoint: e.Point, Verdict: severity(reply), Reply: reply, Reason: reply.Text}
}

// severity is the verdict that a reply's class stands for (RFC 5321 section
// 4.2.1).
func severity(r policy.Reply) policy.Verdict {
	if r.Code < 500 {
		return policy.Tempfail
	}
	return policy.Reject
}

// endMessage ends a message that did not come to its end of message. Those
// whose recipients were refused leave a line in the log.
func (s *session) endMessage() {
	if s.message.refused.count > 0 {
		s.logRefused()
	}
	s.forgetMessage()
}

func (s *session) forgetMessage() {
	s.message.reset()
	s.conn.inMessage.Store(false)
}

// recovered, deferred, turns a panic of a handler into the end of this one
// connection. To the MTA that is a milter which failed: it tells its client to
// try again.
func (s *session) recovered() {
	if v := recover(); v != nil {
		s.broken = true
		s.conn.done()
		s.log(slog.LevelError, "a milter session failed; this is an error in coexistd",
			slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
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
