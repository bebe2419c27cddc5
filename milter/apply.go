package milter

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"coexistd/policy"
	"coexistd/scanners/sender"
)

const (
	// maxReplyText keeps a reply within the 512 octets of RFC 5321 section
	// 4.5.3.1.5, whatever codes go before it.
	maxReplyText = 400
	// maxHeaderValue keeps a header frame below the 65,535 bytes that Sendmail
	// takes.
	maxHeaderValue = 64_000
	// maxArgument leaves room for an ORCPT of which xtext makes three bytes each.
	maxArgument = 4 * policy.MaxAddress
	// maxForged bounds the headers of one name that a message may have of those
	// that are removed: to remove one, the MTA walks through the header again.
	maxForged = 100
)

// edit is one change to the message, as it goes to the MTA.
type edit struct {
	code    byte
	payload string
}

// plan turns a decision into edits. The error says which part of it no MTA
// could be given; then nothing is to be changed at all.
func (s *session) plan(d *policy.Decision) ([]edit, error) {
	switch d.Verdict {
	case policy.Accept, policy.Tag:
	case policy.Quarantine, policy.Discard:
		if s.message.unread == 0 {
			return nil, nil
		}
		// Recipients that the policy does not see are the MTA's, so it must not
		// drop the whole message.
		var paths []string
		for _, r := range s.message.admitted {
			paths = append(paths, r.Path, r.Address.Path)
		}
		return removals(slices.Compact(paths))
	default:
		return nil, nil
	}
	edits, err := removals(d.Delete)
	if err != nil {
		return nil, err
	}
	for _, a := range d.Add {
		e, err := s.addition(a)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	if d.Trace != "" {
		e, err := s.insertHeader(policy.TraceHeader, d.Trace)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	for _, field := range d.Headers {
		e, err := s.insertHeader(field.Name, field.Value)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	for _, name := range s.secrets() {
		edits = s.removeHeader(edits, name, anyValue)
	}
	if edits, err = s.planAuthentication(edits); err != nil {
		return nil, err
	}
	return s.planResult(edits, d)
}

// removals removes recipients, each as the MTA knows it.
func removals(paths []string) ([]edit, error) {
	var edits []edit
	for _, path := range paths {
		if !isLine(path, maxArgument) {
			return nil, fmt.Errorf("the recipient %.100q cannot be removed", path)
		}
		edits = append(edits, edit{byte(gomilter.ActDelRcpt), "<" + path + ">\x00"})
	}
	return edits, nil
}

// addition adds a recipient, with its ESMTP arguments (RFC 3461 section 4)
// where the MTA takes them.
func (s *session) addition(a policy.Addition) (edit, error) {
	if !isMailbox(a.Address) {
		return edit{}, fmt.Errorf("the recipient %.100q cannot be added", a.Address)
	}
	recipient := "<" + a.Address + ">\x00"
	if !s.terms.may(gomilter.OptAddRcptWithArgs) {
		return edit{byte(gomilter.ActAddRcpt), recipient}, nil
	}
	var arguments string
	if a.Notify != "" {
		if !isWord(a.Notify) {
			return edit{}, fmt.Errorf("the argument NOTIFY=%.100q cannot be given", a.Notify)
		}
		arguments = "NOTIFY=" + a.Notify + " "
	}
	if !isWord(a.ORcpt) {
		return edit{}, fmt.Errorf("the argument ORCPT=%.100q cannot be given", a.ORcpt)
	}
	return edit{replyAddRcptArgs, recipient + arguments + "ORCPT=" + a.ORcpt + "\x00"}, nil
}

// insertHeader puts a header above all others. With exact header values the
// MTA puts no space after the colon.
func (s *session) insertHeader(name, value string) (edit, error) {
	if !isFieldName(name) || !isFieldBody(value) {
		return edit{}, fmt.Errorf("the header %.100q cannot be added with the value %.100q (%d bytes)", name, value, len(value))
	}
	space := ""
	if s.terms.agreed(gomilter.OptHeaderLeadingSpace) {
		space = " "
	}
	const top = "\x00\x00\x00\x00"
	return edit{byte(gomilter.ActInsertHeader), top + name + "\x00" + space + value + "\x00"}, nil
}

// planResult adds the header that tells the result, and removes those of its
// name that the message came with: only ours can be believed. It names no
// recipient, since that could tell a Bcc.
func (s *session) planResult(edits []edit, d *policy.Decision) ([]edit, error) {
	name := s.message.runtime.Header
	if name == "" {
		return edits, nil
	}
	forged := s.message.headers.count(name)
	if forged > 0 && !s.terms.may(gomilter.OptChangeHeader) {
		return edits, nil
	}
	edits = s.removeHeader(edits, name, anyValue)
	value := "point=" + d.Checkpoint.String() + "; verdict=" + d.Verdict.String()
	if id := s.macros.queueID(); isQueueID(id) {
		value += "; id=" + id
	}
	e, err := s.insertHeader(name, value)
	return append(edits, e), err
}

// planAuthentication adds what was found of the sender, for filters and mail
// programs to read. It removes those fields that the message came with in our name
// (RFC 8601 section 5), from wherever it comes: a platform passes on what strangers
// wrote, and what is released from quarantine is as it came.
func (s *session) planAuthentication(edits []edit) ([]edit, error) {
	m := &s.message
	p := m.runtime.Policy
	host := p.Hostname
	edits = s.removeHeader(edits, authResultsHeader, func(value string) bool { return sender.ClaimsHost(value, host) })
	if m.open.Authentication == nil || !s.terms.may(gomilter.OptChangeHeader) {
		return edits, nil
	}
	var dmarc []policy.AuthResult
	for _, d := range m.open.Authentication.DMARC {
		dmarc = append(dmarc, p.DMARCResult(m.open.Authentication, d))
	}
	e, err := s.insertHeader(authResultsHeader, sender.Results(host, s.senderQuestion(), *m.open.Authentication, dmarc...))
	return append(edits, e), err
}

const authResultsHeader = "Authentication-Results"

func anyValue(string) bool { return true }

// removeHeader removes the fields of that name whose value is one of those to be
// removed, where the MTA lets us.
func (s *session) removeHeader(edits []edit, name string, remove func(value string) bool) []edit {
	if !s.terms.may(gomilter.OptChangeHeader) {
		return edits
	}
	// An index counts the headers of one name from 1. Going down, the indexes
	// of those still to be removed stay right. No value means removal.
	values := s.message.headers.values(name)
	for i := len(values); i > 0; i-- {
		if remove(values[i-1]) {
			index := binary.BigEndian.AppendUint32(nil, uint32(i))
			edits = append(edits, edit{byte(gomilter.ActChangeHeader), string(index) + name + "\x00\x00"})
		}
	}
	return edits
}

// apply gives the MTA the edits and the answer to end of message.
func (s *session) apply(d policy.Decision, edits []edit) {
	switch d.Verdict {
	case policy.Accept, policy.Tag, policy.Quarantine, policy.Discard:
		if d.Verdict > policy.Tag && len(edits) == 0 || s.removesAll(&d) {
			// An MTA that is left without a recipient accepts the message and
			// loses it silently; this says what is meant.
			s.conn.send(byte(gomilter.ActDiscard))
			return
		}
		for _, e := range edits {
			s.conn.send(e.code, e.payload)
		}
		s.proceed()
	default:
		s.refuse(d.Reply)
	}
}

// removesAll reports that no recipient is left.
func (s *session) removesAll(d *policy.Decision) bool {
	if len(d.Delete) == 0 || len(d.Add) > 0 || s.message.unread > 0 {
		return false
	}
	removed := make(map[string]bool, len(d.Delete))
	for _, path := range d.Delete {
		removed[path] = true
	}
	for _, r := range s.message.admitted {
		if !removed[r.Path] {
			return false
		}
	}
	return true
}

// putOff makes a decision of "try again later".
func putOff(d policy.Decision, reason string) policy.Decision {
	d.Verdict, d.Reason = policy.Tempfail, reason
	d.Reply = policy.Reply{Code: 451, Enhanced: "4.3.0", Text: "The message cannot be handled at the moment, try again later"}
	d.Delete, d.Add, d.Trace, d.Headers = nil, nil, "", nil
	return d
}

// refuse answers the command with a reply for the SMTP client. A reply that no
// MTA would take becomes the plain "try again later".
func (s *session) refuse(r policy.Reply) {
	class := r.Code / 100
	if (class != 4 && class != 5) || !isStatus(r.Enhanced, class) {
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

// isStatus reports an enhanced status code (RFC 3463 section 2) of a class.
func isStatus(status string, class int) bool {
	subject, found := strings.CutPrefix(status, strconv.Itoa(class)+".")
	return found && len(subject) <= 7 && strings.Trim(subject, "0123456789.") == ""
}

// isLine reports text that is not empty, not too long, and without control
// characters.
func isLine(s string, longest int) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= longest
}

// isWord reports a value that stays one ESMTP argument.
func isWord(s string) bool { return isLine(s, maxArgument) && !strings.ContainsRune(s, ' ') }

// isMailbox reports an address that stays one address between angle brackets.
func isMailbox(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && strings.IndexByte(" <>(),;:", c) >= 0:
			return false
		}
	}
	return !quoted && isLine(s, maxArgument)
}

// isFieldName reports a header field's name (RFC 5322 section 2.2).
func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// isFieldBody reports a header field's body, folded (RFC 5322 section 2.2.3)
// with bare newlines or not folded. MTAs make line ends of the newlines.
func isFieldBody(s string) bool {
	for line := range strings.SplitSeq(s, "\n\t") {
		if strings.TrimLeft(line, " \t") == "" || !isLine(line, maxHeaderValue) {
			return false
		}
	}
	return len(s) <= maxHeaderValue
}

// isQueueID reports a queue id as MTAs make them.
func isQueueID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
