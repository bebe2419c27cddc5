package policy

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// EditKind says what an Edit does.
type EditKind uint8

// The kinds of edits. Each names the fields of Edit that it uses.
const (
	DeleteRecipient EditKind = iota + 1 // Address
	AddRecipient                        // Address, Notify, ORcpt
	InsertField                         // Name, Value: above all others
	ChangeField                         // Name, Index, Value
	DeleteField                         // Name, Index
)

// Edit is one change to the message. An MTA can be given it as it is: no address or value
// holds what would end it.
type Edit struct {
	Kind EditKind
	// Address is an address without angle brackets: of a recipient to be removed, one of
	// the forms in which the MTA may have it.
	Address string
	// Notify and ORcpt are as in route.Recipient; ORcpt is never empty, and in xtext
	// whatever its type.
	Notify, ORcpt string
	// Name and Value are a header field's. The value is folded with bare newlines or not
	// folded. Index counts the fields of the name from 1, as they stand before any edit.
	Name, Value string
	Index       int
}

// edit fills in all that changes in the message: nothing where it is only observed. Where
// that is something that no MTA could be given, nothing changes, and the message is put off.
func (c *Case) edit(d Decision) Decision {
	if c.IsObserved() {
		return d
	}
	made := d
	made.Recipients = done(d.Recipients)
	switch d.Verdict {
	case verdict.Accept, verdict.Tag:
		d.Edits = c.mark(&made, c.retrace(&made, c.copyToArchive(&made, c.readdress(&made))))
	case verdict.Quarantine, verdict.Discard:
		d.Edits, d.Drop = c.takeOut(&made)
	}
	for i := range d.Edits {
		if problem := d.Edits[i].unfit(); problem != "" {
			return d.PutOff(verdict.Why(verdict.ChangeUnfit, problem))
		}
	}
	return d
}

// takeOut removes those recipients for whom the message is held or dropped, which are all
// for whom anything is done. Where others are left to get it, it is not dropped: those who
// are only observed, recipients that are no addresses, who are the MTA's, and the archive.
func (c *Case) takeOut(d *Decision) (edits []Edit, drop bool) {
	drop = c.Unread == 0 && c.Observed == 0 && d.Archived == ""
	for i := range d.Recipients {
		drop = drop && !d.Recipients[i].Observed
	}
	if drop {
		return nil, true
	}
	edits = c.removeRecipients(nil, func(i int) bool { return !d.Recipients[i].Observed })
	if d.Archived != "" {
		edits = c.retrace(d, c.copyToArchive(d, edits))
	}
	if c.Unread > 0 || d.Archived != "" {
		edits = c.mark(d, edits)
	}
	return edits, false
}

// readdress returns what changes among the recipients. Nobody is added twice, since MTAs
// deliver such a message twice.
func (c *Case) readdress(d *Decision) []Edit {
	const others = 3 // most messages get a trace, the result and Authentication-Results
	edits := make([]Edit, 0, 2*len(d.Recipients)+others)
	present := make(map[string]bool)
	for i := range d.Recipients {
		if r := &d.Recipients[i]; r.Elsewhere == "" && !r.isRemoved() {
			present[c.Recipients[i].Address.Key] = true
		}
	}
	edits = c.removeRecipients(edits, func(i int) bool {
		r := &d.Recipients[i]
		return r.isRemoved() || r.Instead
	})
	for i := range d.Recipients {
		r, to := &d.Recipients[i], &c.Recipients[i]
		if r.isRemoved() || r.Elsewhere == "" {
			continue
		}
		if key := keyOf(r.Elsewhere); !present[key] {
			present[key] = true
			edits = append(edits, Edit{Kind: AddRecipient, Address: r.Elsewhere, Notify: to.Notify, ORcpt: originalRecipient(to)})
		}
	}
	return edits
}

// keyOf is the key of an address that a message is sent on to.
func keyOf(elsewhere string) string {
	a, err := mail.ParseAddress(elsewhere, "")
	if err != nil {
		return elsewhere // unfit to be added, as Edit.unfit will find
	}
	return a.Key
}

// removeRecipients takes those recipients out who are gone, each in every form in which an MTA may have
// it. It removes one only when it is named byte for byte, and Postfix keeps it without the source route.
// Naming one that is not there does nothing.
func (c *Case) removeRecipients(edits []Edit, gone func(i int) bool) []Edit {
	bare := c.goneBare(gone)
	for i := range c.Recipients {
		r := &c.Recipients[i]
		if !gone(i) {
			continue
		}
		edits = append(edits, Edit{Kind: DeleteRecipient, Address: r.Path})
		if r.Path != r.Address.Path {
			edits = append(edits, Edit{Kind: DeleteRecipient, Address: r.Address.Path})
		}
		if bare[r.Address.Local] {
			edits = append(edits, Edit{Kind: DeleteRecipient, Address: r.Address.Local})
			delete(bare, r.Address.Local)
		}
	}
	return edits
}

// goneBare returns the local parts that nobody has but recipients who are gone, where the MTA may have
// these without a domain: the sendmail command takes such names, and Postfix keeps them, although it tells
// of them with myorigin. While it has recipients of whom nothing is known, there are none.
func (c *Case) goneBare(gone func(i int) bool) map[string]bool {
	if !c.from.OnHost || c.Observed > 0 {
		return nil
	}
	bare := make(map[string]bool)
	for i := range c.Recipients {
		// To an MTA, a name with one of these is an address in another domain, which is somebody else's.
		if local := c.Recipients[i].Address.Local; !strings.ContainsAny(local, "@%!") {
			bare[local] = true
		}
	}
	for i := range c.Recipients {
		if !gone(i) {
			delete(bare, c.Recipients[i].Address.Local)
		}
	}
	return bare
}

// retrace adds what changes in the message's traces when it is sent on, or copied to the archive: one trace
// takes the place of all genuine ones that came. Those that are not stay: they count for
// nothing, and are not ours.
func (c *Case) retrace(d *Decision, edits []Edit) []Edit {
	var owners []string
	for i := range d.Recipients {
		if r := &d.Recipients[i]; r.SentOn && !r.isRemoved() {
			owners = append(owners, c.Recipients[i].Address.Owner)
		}
	}
	if d.Archived != "" {
		owners = append(owners, c.archiveOwner())
	}
	if len(owners) == 0 {
		return edits
	}
	value := c.policy.Keys.SignTrace(c.traces, c.policy.Hostname, c.Nonce, seal.MarksOf(c.Header), owners)
	came := c.traces.Genuine()
	if len(came) == 0 || !c.ChangesFields {
		return append(edits, Edit{Kind: InsertField, Name: seal.TraceHeader, Value: value})
	}
	for _, index := range slices.Backward(came[1:]) {
		edits = append(edits, Edit{Kind: DeleteField, Name: seal.TraceHeader, Index: index})
	}
	return append(edits, Edit{Kind: ChangeField, Name: seal.TraceHeader, Index: came[0], Value: value})
}

// mark adds the header fields that tell what was found, and removes those that must
// not be believed, or that nobody else is to see.
func (c *Case) mark(d *Decision, edits []Edit) []Edit {
	for _, tag := range d.tags() {
		edits = append(edits, Edit{Kind: InsertField, Name: tag[0], Value: tag[1]})
	}
	for _, name := range c.Secrets() {
		edits = c.remove(edits, name, anyValue)
	}
	edits = c.authenticationResults(edits)
	if name := c.policy.Header; name != "" && (c.ChangesFields || c.Header.Count(name) == 0) {
		edits = append(c.remove(edits, name, anyValue), Edit{Kind: InsertField, Name: name, Value: c.result(d)})
	}
	return edits
}

// Secrets names the header fields that nobody else is to see: a message goes on, is
// scanned and is held without them.
func (c *Case) Secrets() []string {
	if !c.signed {
		return c.policy.secrets
	}
	return append([]string{seal.PassHeader}, c.policy.secrets...)
}

// authenticationResults adds what was found of the sender, for filters and mail programs
// to read. It removes those fields that the message came with in our name (RFC 8601
// section 5), from wherever it comes: a platform passes on what strangers wrote, and what
// is released from quarantine is as it came.
func (c *Case) authenticationResults(edits []Edit) []Edit {
	host := c.policy.Hostname
	edits = c.remove(edits, spoof.ResultsHeader, func(value string) bool { return spoof.ClaimsHost(value, host) })
	if c.Authentication == nil || !c.ChangesFields {
		return edits
	}
	facts := spoof.Facts{Names: c.policy.names, Sender: c.Sender, Authentication: c.Authentication}
	return append(edits, Edit{Kind: InsertField, Name: spoof.ResultsHeader, Value: facts.Results(host)})
}

// result is the value of the header that tells the result. It names no recipient, since
// that could tell a Bcc.
func (c *Case) result(d *Decision) string {
	value := "point=" + d.Checkpoint.String() + "; verdict=" + d.Verdict.String()
	if isQueueID(c.QueueID) {
		value += "; id=" + c.QueueID
	}
	return value
}

func anyValue(string) bool { return true }

// remove removes the fields of that name whose value is one of those to be removed, where
// the MTA lets us. Going down, the indexes of those still to be removed stay right.
func (c *Case) remove(edits []Edit, name string, chosen func(value string) bool) []Edit {
	if !c.ChangesFields {
		return edits
	}
	for i, value := range slices.Backward(c.Header.Values(name)) {
		if chosen(value) {
			edits = append(edits, Edit{Kind: DeleteField, Name: name, Index: i + 1})
		}
	}
	return edits
}

// originalRecipient returns the ORCPT value (RFC 3461 section 4.2) that lets a
// bounce show the address that the sender wrote: the sender's own ORCPT, or the path. An
// MTA takes xtext from a milter whatever the address's type is, and gives one of
// the type utf-8 its own encoding (RFC 6533 section 3) when it sends it on.
func originalRecipient(r *route.Recipient) string {
	// RFC 3461 section 5.1: a longer one need not be taken, and is worth less
	// than the message.
	const longest = 500
	if r.ORcpt != "" && len(r.ORcpt) <= longest {
		if kind, text, _ := strings.Cut(r.ORcpt, ";"); strings.EqualFold(kind, "utf-8") {
			return xtext(kind, undoUTF8Xtext(text))
		}
		return r.ORcpt
	}
	if !mail.IsASCII(r.Address.Path) {
		return xtext("utf-8", r.Address.Path)
	}
	return xtext("rfc822", r.Address.Path)
}

// xtext encodes an address by RFC 3461 section 4, with its type before it.
func xtext(kind, s string) string {
	escaped := append(append(make([]byte, 0, 64), kind...), ';')
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			const digits = "0123456789ABCDEF"
			escaped = append(escaped, '+', digits[c>>4], digits[c&0xf])
		} else {
			escaped = append(escaped, c)
		}
	}
	return string(escaped)
}

// undoUTF8Xtext decodes utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533
// section 3), in which \x{FC} is a character. What is not well formed stays.
func undoUTF8Xtext(s string) string {
	const mark = `\x{`
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		digits, rest, _ := strings.Cut(after, "}")
		if code, err := strconv.ParseUint(digits, 16, 21); err == nil && utf8.ValidRune(rune(code)) {
			b.WriteRune(rune(code))
			s = rest
		} else {
			b.WriteString(mark)
			s = after
		}
	}
}
