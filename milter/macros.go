package milter

import (
	"bytes"
	"fmt"

	gomilter "github.com/emersion/go-milter"

	"coexistd/policy/verdict"
)

// maxMacros bounds the macros of one stage, in bytes.
const maxMacros = 64 << 10

// macros holds what the MTA has told in macro frames, by the command that each
// frame stood before. An MTA tells the macros of a stage once; those of the
// connection hold for all of its messages.
type macros struct {
	stages [gomilter.StageEOH + 1]struct {
		raw   []byte // name, NUL, value, NUL, and so on
		fresh bool   // told for a command that is still to come
	}
}

// stageOf has the stages of the commands that macros are told for.
var stageOf = map[gomilter.Code]gomilter.Stage{
	gomilter.CodeConn: gomilter.StageConnect,
	gomilter.CodeHelo: gomilter.StageHelo,
	gomilter.CodeMail: gomilter.StageMailFrom,
	gomilter.CodeRcpt: gomilter.StageRcptTo,
	gomilter.CodeData: gomilter.StageData,
	gomilter.CodeEOB:  gomilter.StageEOM,
	gomilter.CodeEOH:  gomilter.StageEOH,
}

// read takes the macro frame that c has begun. Macros of a stage replace those
// that were told for it before.
func (m *macros) read(c *conn) error {
	if c.size > maxMacros {
		return protocolError(fmt.Sprintf("the macros of a command have %d bytes; at most %d would be right", c.size, maxMacros))
	}
	if c.size == 0 {
		return protocolError("a macro frame names no command")
	}
	code, err := c.peekPayload()
	if err != nil {
		return err
	}
	stage, ok := stageOf[gomilter.Code(code)]
	if !ok {
		return c.skip()
	}
	s := &m.stages[stage]
	s.raw, err = c.appendTo(s.raw[:0])
	s.fresh = true
	return err
}

// begin notes that a command has come: macros told for an earlier one of its
// kind no longer hold, with MAIL none of the message before, and with CONNECT
// none of the connection before.
func (m *macros) begin(code gomilter.Code) {
	stage, ok := stageOf[code]
	if !ok {
		return
	}
	s := &m.stages[stage]
	if !s.fresh {
		s.raw = s.raw[:0]
	}
	s.fresh = false
	if stage == gomilter.StageMailFrom || stage == gomilter.StageConnect {
		m.forget(stage + 1)
	}
}

// forget drops the macros of a stage and of all that follow it.
func (m *macros) forget(from gomilter.Stage) {
	for i := range m.stages[from:] {
		s := &m.stages[from:][i]
		if s.raw, s.fresh = s.raw[:0], false; cap(s.raw) > bufferSize {
			s.raw = nil
		}
	}
}

// get returns a macro's value, or "". Names are given without braces.
func (m *macros) get(stage gomilter.Stage, name string) string {
	raw := m.stages[stage].raw
	if len(raw) == 0 {
		return ""
	}
	for raw = raw[1:]; len(raw) > 0; {
		key, rest, _ := bytes.Cut(raw, nul)
		value, rest, _ := bytes.Cut(rest, nul)
		if len(key) > 2 && key[0] == '{' && key[len(key)-1] == '}' {
			key = key[1 : len(key)-1]
		}
		if string(key) == name {
			return string(value)
		}
		raw = rest
	}
	return ""
}

// certificate returns the common name of the client's TLS certificate when the
// MTA trusts its chain, or "".
func (m *macros) certificate(d *dialect) string {
	macro := func(name string) string { return m.get(gomilter.StageHelo, name) }
	return d.certificate(certificate{macro("cert_subject"), d.text(macro("cn_subject")), macro("verify")})
}

// refusedByMTA tells whether the MTA itself has refused the recipient under way, of which
// it tells us (SMFIP_RCPT_REJ); unknown says that it is because there is no such address
// (RFC 3463 section 3.2). All MTAs name the mailer "error" then.
func (m *macros) refusedByMTA(d *dialect) (unknown, refused bool) {
	if m.get(gomilter.StageRcptTo, "rcpt_mailer") != "error" {
		return false, false
	}
	code := m.get(gomilter.StageRcptTo, "rcpt_host")
	if !d.refusal(code) {
		return false, false
	}
	return code == verdict.Why(verdict.Unlisted).Reply().Enhanced, true
}

// queueID returns the MTA's name of the message, or "" while it has none.
func (m *macros) queueID() string {
	for _, stage := range [...]gomilter.Stage{gomilter.StageEOM, gomilter.StageEOH, gomilter.StageData, gomilter.StageRcptTo, gomilter.StageMailFrom} {
		if id := m.get(stage, "i"); id != "" {
			return id
		}
	}
	return ""
}

var nul = []byte{0}
