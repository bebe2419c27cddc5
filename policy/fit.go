package policy

import (
	"fmt"
	"strings"

	"coexistd/policy/mail"
)

const (
	// maxFieldValue keeps a header frame below the 65,535 bytes that Sendmail takes.
	maxFieldValue = 64_000
	// maxArgument leaves room for an ORCPT of which xtext makes three bytes each.
	maxArgument = 4 * mail.MaxAddress
)

// unfit says why no MTA could be given the edit, or is empty.
func (e *Edit) unfit() string {
	switch {
	case e.Kind == DeleteRecipient && !isLine(e.Address, maxArgument):
		return fmt.Sprintf("the recipient %.100q cannot be removed", e.Address)
	case e.Kind == AddRecipient && !isMailbox(e.Address):
		return fmt.Sprintf("the recipient %.100q cannot be added", e.Address)
	case e.Kind == AddRecipient && e.Notify != "" && !isWord(e.Notify):
		return fmt.Sprintf("the argument NOTIFY=%.100q cannot be given", e.Notify)
	case e.Kind == AddRecipient && !isWord(e.ORcpt):
		return fmt.Sprintf("the argument ORCPT=%.100q cannot be given", e.ORcpt)
	case e.Kind == DeleteRecipient, e.Kind == AddRecipient:
		return ""
	case !isFieldName(e.Name) || e.Kind != DeleteField && !isFieldBody(e.Value):
		return fmt.Sprintf("the header %.100q cannot be added with the value %.100q (%d bytes)", e.Name, e.Value, len(e.Value))
	}
	return ""
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
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ':' })
}

// isFieldBody reports a header field's body, folded (RFC 5322 section 2.2.3)
// with bare newlines or not folded. MTAs make line ends of the newlines.
func isFieldBody(s string) bool {
	for line := range strings.SplitSeq(s, "\n\t") {
		if strings.TrimLeft(line, " \t") == "" || !isLine(line, maxFieldValue) {
			return false
		}
	}
	return len(s) <= maxFieldValue
}

// isQueueID reports a queue id as MTAs make them.
func isQueueID(s string) bool { return len(s) <= 64 && mail.IsName(s, ".-_") }
