package milter

import (
	"encoding/binary"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// maxReplyText keeps a reply within the 512 octets of RFC 5321 section 4.5.3.1.5, whatever
// codes go before it.
const maxReplyText = 400

// apply gives the MTA the answer to the end of a message.
func (s *session) apply(a transaction.Answer) {
	switch {
	case a.GoesOn:
		for _, e := range a.Edits {
			s.edit(e)
		}
		s.proceed()
	case a.Drop:
		s.conn.send(byte(gomilter.ActDiscard))
	default:
		s.refuse(a.Reply)
	}
}

// edit encodes one edit. With exact header values the MTA puts no space after the colon.
func (s *session) edit(e policy.Edit) {
	space := ""
	if s.terms.agreed(gomilter.OptHeaderLeadingSpace) {
		space = " "
	}
	switch e.Kind {
	case policy.DeleteRecipient:
		s.conn.send(byte(gomilter.ActDelRcpt), "<", e.Address, ">\x00")
	case policy.AddRecipient:
		s.add(e)
	case policy.InsertField:
		s.conn.send(byte(gomilter.ActInsertHeader), place(0), e.Name, "\x00", space, e.Value, "\x00")
	case policy.ChangeField:
		s.conn.send(byte(gomilter.ActChangeHeader), place(e.Index), e.Name, "\x00", space, e.Value, "\x00")
	case policy.DeleteField:
		// No value means removal.
		s.conn.send(byte(gomilter.ActChangeHeader), place(e.Index), e.Name, "\x00\x00")
	}
}

// place encodes where a field stands: 0 is above all others.
func place(index int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(index))) }

// takesArguments reports that a recipient may be added with its ESMTP arguments. An MTA
// that does not offer DSN may lose the recipient then. It offers DSN when it has taken an
// argument of RFC 3461 of this message's client, or when it says so: contrib/sendmail has
// Sendmail set the macro {coexistd_dsn}.
func (s *session) takesArguments() bool { return s.terms.may(gomilter.OptAddRcptWithArgs) && s.dsn }

// add adds a recipient, with its ESMTP arguments (RFC 3461 section 4) where the MTA takes
// them.
func (s *session) add(e policy.Edit) {
	if !s.takesArguments() {
		s.conn.send(byte(gomilter.ActAddRcpt), "<", e.Address, ">\x00")
		return
	}
	notify := ""
	if e.Notify != "" {
		notify = "NOTIFY=" + e.Notify + " "
	}
	s.conn.send(replyAddRcptArgs, "<", e.Address, ">\x00", notify, "ORCPT=", e.ORcpt, "\x00")
}

// refuse answers the command with a reply for the SMTP client. Without one, the MTA gives
// its own, to try again later.
func (s *session) refuse(r verdict.Reply) {
	if r.IsZero() {
		s.conn.send(byte(gomilter.ActTempFail))
		return
	}
	s.conn.send(byte(gomilter.ActReplyCode), strconv.Itoa(r.Code), " ", r.Enhanced, " ", replyText(r.Text), "\x00")
}

// replyText makes a text fit for a reply line (RFC 5321 section 4.2). MTAs
// take a milter's reply for a printf format, so that each % is doubled.
func replyText(text string) string {
	text = text[:min(len(text), maxReplyText)]
	plain := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
	return strings.ReplaceAll(plain, "%", "%%")
}
