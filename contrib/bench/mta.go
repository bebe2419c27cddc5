package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// Commands of the MTA and answers of the milter, as they stand on the wire.
const (
	cmdAbort     = 'A'
	cmdBody      = 'B'
	cmdConnect   = 'C'
	cmdMacro     = 'D'
	cmdEndOfBody = 'E'
	cmdHelo      = 'H'
	cmdHeader    = 'L'
	cmdMail      = 'M'
	cmdEOH       = 'N'
	cmdNegotiate = 'O'
	cmdQuit      = 'Q'
	cmdRcpt      = 'R'
	cmdData      = 'T'

	answerAccept    = 'a'
	answerContinue  = 'c'
	answerProgress  = 'p'
	answerSkip      = 's'
	answerAddRcpt   = '2' // with ESMTP arguments
	answerDelRcpt   = '-'
	answerInsHeader = 'i'
)

// Offers of Postfix 3.7: protocol version 6, every action, every protocol flag.
const (
	version     = 6
	allActions  = 0x1ff
	allProtocol = 0x1fffff
	chunkSize   = 65535
	maxAnswer   = 1 << 20
	patience    = 30 * time.Second
)

// stage is one event of the protocol: how the milter declines it, how it
// declines to answer it, and the macros that go before it.
type stage struct {
	command  byte
	no       uint32   // SMFIP_NO…: the event is not sent
	noReply  uint32   // SMFIP_NR_…: the event is not answered
	list     uint32   // number of the stage's macro list in SETSYMLIST, SMFIM_…
	defaults []string // what Postfix sends when the milter asks for nothing
}

var (
	connectStage = stage{cmdConnect, 0x1, 0x1000, 0, []string{"j", "{daemon_name}", "{daemon_addr}", "v", "_"}}
	heloStage    = stage{cmdHelo, 0x2, 0x2000, 1, []string{"{tls_version}", "{cipher}", "{cert_subject}"}}
	mailStage    = stage{cmdMail, 0x4, 0x4000, 2, []string{"i", "{auth_type}", "{auth_authen}", "{mail_addr}", "{mail_host}", "{mail_mailer}"}}
	rcptStage    = stage{cmdRcpt, 0x8, 0x8000, 3, []string{"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"}}
	dataStage    = stage{cmdData, 0x200, 0x10000, 4, []string{"i"}}
	headerStage  = stage{cmdHeader, 0x20, 0x80, 6, []string{"i"}}
	eohStage     = stage{cmdEOH, 0x40, 0x40000, 6, []string{"i"}}
	bodyStage    = stage{cmdBody, 0x10, 0x80000, 5, []string{"i"}}
	eomStage     = stage{cmdEndOfBody, 0, 0, 5, []string{"i"}}
)

// leadingSpace is SMFIP_HDR_LEADSPC: header values keep the space after the
// colon.
const leadingSpace = 0x100000

// speaker is the way in which an MTA speaks.
type speaker struct {
	version string // the macro v
	// macrosOf says before which commands macros go; a chunk's or header's costs a frame.
	macrosOf string
	// each has every frame written by itself, macros too; otherwise nothing is written
	// before an answer is waited for.
	each bool
	// abort ends each message but the last of a connection with two ABORTs.
	abort bool
	// idAtMail gives the queue id with MAIL.
	idAtMail bool
}

var (
	// Postfix 3.7 (src/milter/milter8.c).
	postfix = &speaker{version: "Postfix 3.7.11", macrosOf: "CHMRTLNBE", abort: true}
	// Sendmail 8.17 (sendmail/milter.c). Nagle's algorithm is on, so that the second of two
	// frames waits over TCP until the first is acknowledged.
	sendmail = &speaker{version: "8.17.1.9", macrosOf: "CHMRTNE", each: true, idAtMail: true}
)

// session is the MTA's side of one milter connection.
type session struct {
	*speaker
	conn     net.Conn
	out      []byte
	in       []byte // read and not yet used: in[start:end]
	start    int
	end      int
	protocol uint32
	lists    map[uint32][]string // macro lists that the milter asked for
	macros   map[string]string
}

// usualClient is the SMTP client that all mail comes from when nothing bounds
// clients.
const usualClient = "203.0.113.7"

// dial connects to the milter at an address, a unix socket's path or HOST:PORT, and goes
// through negotiation, CONNECT and HELO, for an SMTP client at an IPv4 address.
func dial(mta *speaker, address, client string) (*session, error) {
	network := "unix"
	if !strings.Contains(address, "/") {
		network = "tcp"
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && mta.each {
		tcp.SetNoDelay(false)
	}
	s := &session{speaker: mta, conn: conn, in: make([]byte, 8192), lists: map[uint32][]string{}, macros: map[string]string{
		"j": "mail.acmecorp.com", "{daemon_name}": "mail.acmecorp.com", "{daemon_addr}": "192.0.2.25",
		"{daemon_port}": "25", "{if_addr}": "192.0.2.25", "v": mta.version,
		"_": "mail.example.net [" + client + "]", "{client_addr}": client,
	}}
	if err := s.greet(client); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) greet(client string) error {
	s.conn.SetDeadline(time.Now().Add(patience))
	if err := s.negotiate(); err != nil {
		return fmt.Errorf("negotiation: %w", err)
	}
	connect := slices.Concat([]byte("mail.example.net\x004"), []byte{0xc3, 0x51}, []byte(client+"\x00"))
	if err := s.event(&connectStage, connect); err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	if err := s.event(&heloStage, []byte("mail.example.net\x00")); err != nil {
		return fmt.Errorf("HELO: %w", err)
	}
	return nil
}

func (s *session) negotiate() error {
	offer := binary.BigEndian.AppendUint32(nil, version)
	offer = binary.BigEndian.AppendUint32(offer, allActions)
	offer = binary.BigEndian.AppendUint32(offer, allProtocol)
	s.frame(cmdNegotiate, offer)
	command, data, err := s.answer()
	if err != nil {
		return err
	}
	if command != cmdNegotiate || len(data) < 12 {
		return fmt.Errorf("the milter answered %q with %d bytes; want 'O' with 12 or more", command, len(data))
	}
	if asked := binary.BigEndian.Uint32(data[4:]); asked&^allActions != 0 {
		return fmt.Errorf("the milter asks for actions %#x that were not offered", asked)
	}
	s.protocol = binary.BigEndian.Uint32(data[8:])
	if s.protocol&^allProtocol != 0 {
		return fmt.Errorf("the milter asks for protocol flags %#x that were not offered", s.protocol)
	}
	for rest := data[12:]; len(rest) > 0; {
		names, after, ok := bytes.Cut(rest[min(4, len(rest)):], []byte{0})
		if !ok {
			return errors.New("the milter's macro list has no end")
		}
		s.lists[binary.BigEndian.Uint32(rest)] = strings.Fields(string(names))
		rest = after
	}
	return nil
}

// frame appends one packet to what is to be written.
func (s *session) frame(command byte, parts ...[]byte) {
	s.flushEach()
	n := 1
	for _, part := range parts {
		n += len(part)
	}
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(n))
	s.out = append(s.out, command)
	for _, part := range parts {
		s.out = append(s.out, part...)
	}
}

// flushEach writes what is due where each frame is written by itself. An error shows when
// the answer is read.
func (s *session) flushEach() {
	if s.each && len(s.out) > 0 {
		s.conn.Write(s.out)
		s.out = s.out[:0]
	}
}

// macro appends the macro frame that goes before an event.
func (s *session) macro(g *stage) {
	if strings.IndexByte(s.macrosOf, g.command) < 0 {
		return
	}
	s.flushEach()
	names, asked := s.lists[g.list]
	if !asked {
		names = g.defaults
	}
	at := len(s.out)
	s.out = append(s.out, 0, 0, 0, 0, cmdMacro, g.command)
	for _, name := range names {
		if value, ok := s.macros[name]; ok {
			s.out = append(append(s.out, name...), 0)
			s.out = append(append(s.out, value...), 0)
		}
	}
	binary.BigEndian.PutUint32(s.out[at:], uint32(len(s.out)-at-4))
}

// errSkip says that the milter wants no further event of this kind.
var errSkip = errors.New("skip")

// event sends one event as far as the milter wants it, and expects it to
// be answered with "continue".
func (s *session) event(g *stage, data ...[]byte) error {
	s.macro(g)
	if s.protocol&g.no != 0 {
		return nil
	}
	s.frame(g.command, data...)
	if s.protocol&g.noReply != 0 {
		s.flushEach()
		return nil
	}
	command, text, err := s.answer()
	switch {
	case err != nil:
		return err
	case command == answerSkip:
		return errSkip
	case command != answerContinue:
		return fmt.Errorf("the milter answered %q %q; want continue", command, text)
	}
	return nil
}

// answer writes what is due and reads one packet, whose data is valid until
// the next call.
func (s *session) answer() (byte, []byte, error) {
	if len(s.out) > 0 {
		if _, err := s.conn.Write(s.out); err != nil {
			return 0, nil, err
		}
		s.out = s.out[:0]
	}
	if err := s.fill(4); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(s.in[s.start:]))
	if n < 1 || n > maxAnswer {
		return 0, nil, fmt.Errorf("the milter sent a packet of %d bytes", n)
	}
	if err := s.fill(4 + n); err != nil {
		return 0, nil, err
	}
	packet := s.in[s.start+4 : s.start+4+n]
	s.start += 4 + n
	return packet[0], packet[1:], nil
}

// fill reads until n bytes are there.
func (s *session) fill(n int) error {
	if s.start == s.end {
		s.start, s.end = 0, 0
	}
	if s.start+n > len(s.in) {
		s.end = copy(s.in, s.in[s.start:s.end])
		s.start = 0
		if n > len(s.in) {
			s.in = append(s.in, make([]byte, n-len(s.in))...)
		}
	}
	for s.end-s.start < n {
		got, err := s.conn.Read(s.in[s.end:])
		s.end += got
		if err != nil && s.end-s.start < n {
			if err == io.EOF {
				return errors.New("the milter closed the connection")
			}
			return err
		}
	}
	return nil
}

// quit ends the connection.
func (s *session) quit() error {
	s.frame(cmdQuit)
	_, err := s.conn.Write(s.out)
	return errors.Join(err, s.conn.Close())
}

// message is what one benchmark sends again and again; the envelope changes.
type message struct {
	headers []header
	body    []byte
}

// header is one header field in the form of the wire; the value begins with
// the space after the colon.
type header struct{ name, value []byte }

// send passes one message to the milter and checks that it rewrites the
// recipient, and only that, to the alternate domain.
func (s *session) send(m *message, id, sender, rcpt, want string) error {
	s.conn.SetDeadline(time.Now().Add(patience))
	delete(s.macros, "i")
	if s.idAtMail {
		s.macros["i"] = id
	}
	s.macros["{mail_addr}"] = sender
	s.macros["{rcpt_addr}"], s.macros["{rcpt_mailer}"] = rcpt, "relay"
	if err := s.event(&mailStage, []byte("<"+sender+">\x00SIZE=4096\x00")); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	if err := s.event(&rcptStage, []byte("<"+rcpt+">\x00ORCPT=rfc822;"+rcpt+"\x00")); err != nil {
		return fmt.Errorf("RCPT %s: %w", rcpt, err)
	}
	s.macros["i"] = id
	if err := s.event(&dataStage); err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if err := s.content(m); err != nil {
		return err
	}
	if err := s.endOfMessage(rcpt, want); err != nil {
		return fmt.Errorf("end of message for %s: %w", rcpt, err)
	}
	if s.abort {
		s.frame(cmdAbort)
		s.frame(cmdAbort)
	}
	return nil
}

// content sends the headers and the body; an event that the milter declined
// takes its macros with it.
func (s *session) content(m *message) error {
	if s.protocol&headerStage.no == 0 {
		for _, h := range m.headers {
			if s.protocol&leadingSpace == 0 {
				h.value = h.value[1:]
			}
			if err := s.event(&headerStage, h.name, h.value); err == errSkip {
				break
			} else if err != nil {
				return fmt.Errorf("header: %w", err)
			}
		}
	}
	if s.protocol&eohStage.no == 0 {
		if err := s.event(&eohStage); err != nil {
			return fmt.Errorf("end of header: %w", err)
		}
	}
	if s.protocol&bodyStage.no == 0 {
		for chunk := range slices.Chunk(m.body, chunkSize) {
			if err := s.event(&bodyStage, chunk); err == errSkip {
				break
			} else if err != nil {
				return fmt.Errorf("body: %w", err)
			}
		}
	}
	return nil
}

// endOfMessage reads the modifications: one recipient deleted, its alternate
// added with the ORCPT that the sender gave, one trace header inserted.
func (s *session) endOfMessage(rcpt, want string) error {
	s.macro(&eomStage)
	s.frame(cmdEndOfBody)
	var deleted, added, traced int
	for {
		command, data, err := s.answer()
		if err != nil {
			return err
		}
		switch command {
		case answerProgress:
		case answerDelRcpt:
			if string(data) != "<"+rcpt+">\x00" {
				return fmt.Errorf("the milter deletes %q; want %q", data, "<"+rcpt+">\x00")
			}
			deleted++
		case answerAddRcpt:
			if string(data) != "<"+want+">\x00ORCPT=rfc822;"+rcpt+"\x00" {
				return fmt.Errorf("the milter adds %q; want %q", data, "<"+want+">\x00ORCPT=rfc822;"+rcpt+"\x00")
			}
			added++
		case answerInsHeader:
			if !bytes.HasPrefix(data[min(4, len(data)):], []byte("X-Coexist-Trace\x00")) {
				return fmt.Errorf("the milter inserts the header %q; want X-Coexist-Trace", data)
			}
			traced++
		case answerContinue, answerAccept:
			if deleted != 1 || added != 1 || traced != 1 {
				return fmt.Errorf("the milter deleted %d recipients, added %d and inserted %d trace headers; want 1 of each", deleted, added, traced)
			}
			return nil
		default:
			return fmt.Errorf("the milter answered %q %q; want a rewritten recipient", command, data)
		}
	}
}
