package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CheckLoop is the name of the check that is always on.
const CheckLoop = "loop"

// Admit rules on one recipient at RCPT, the one place where it can be refused
// alone: it is, when Ruling.Verdict is Tempfail or Reject. Earlier is the
// number of recipients that the message has already. At a provisional entry
// it is refused only when S0 and S1 would give the same codes; mail made on
// this host is never refused here, since its MTA could not bear it.
func (p *Policy) Admit(e Entry, sender Address, earlier int, r Recipient) Ruling {
	if sender.IsNull() && earlier > 0 && e.Point != S2 {
		// RFC 5321 section 4.5.5: what has the null sender answers one message,
		// and so has one recipient.
		return refuse(r, "", Reject, Reply{550, "5.5.3", "A bounce has one recipient"}, "the null sender has several recipients")
	}
	if f := e.authenticated(); f.State == Hit && e.Point == S2 {
		if i := slices.IndexFunc(p.Points[S2].Checks, func(c Check) bool { return c.Name == CheckAuth }); i >= 0 {
			if v := p.Points[S2].Checks[i].verdict(f); v >= Tempfail {
				ruling := refuse(r, "", v, f.reply(v), f.Reason)
				ruling.Check = CheckAuth
				return ruling
			}
		}
	}
	outcomes := e.outcomes()
	ruling := p.rule(outcomes[0], sender, r)
	certain := !e.OnHost && ruling.Verdict != Discard
	for _, o := range outcomes[1:] {
		reply := p.rule(o, sender, r).Reply
		certain = certain && reply.Code == ruling.Reply.Code && reply.Enhanced == ruling.Reply.Enhanced
	}
	if !certain {
		ruling.Verdict, ruling.Reply = Accept, Reply{}
	}
	return ruling
}

// outcomes lists what an entry may turn out to be.
func (e Entry) outcomes() []origin {
	if e.Provisional {
		return []origin{{point: S0}, {point: S1, platform: e.Platform}}
	}
	return []origin{{point: e.Point, onHost: e.OnHost}}
}

// settle turns an entry into what the message has proved it to be.
func (e Entry) settle(proof Proof) origin {
	outcomes := e.outcomes()
	if e.Provisional && proof.Proven {
		return outcomes[1]
	}
	return outcomes[0]
}

// route finds each recipient's way, whatever the message contains.
func (p *Policy) route(m *Message) (origin, []Ruling) {
	from := m.Entry.settle(m.Proof)
	if m.Pass != nil && slices.ContainsFunc(m.Recipients, func(r Recipient) bool { return !p.isFor(m.Pass, r.Address) }) {
		// A message of ours has its one recipient. In another's hands the pass
		// would open the point that it names to whomever he writes.
		m.Pass = nil
	}
	if m.Pass != nil {
		from = p.origin(m.Pass)
	}
	traces := p.openTraces(m.Traces, m.Marks)
	var rulings []Ruling
	for _, r := range m.Recipients {
		ruling := p.rule(from, m.Sender, r)
		if len(ruling.Rewritten) > 0 {
			if passes := traces.passes(r.Address.Owner); passes >= p.MaxPasses {
				residence, _ := p.Locate(r.Address, r.Listing)
				why := fmt.Sprintf("%s; the message was sent on there %d times and came back", p.source(r), passes)
				ruling = loop(m.Sender, r, p.Platform(residence.Platform), why)
			}
		}
		rulings = append(rulings, ruling)
	}
	if from.onHost {
		leaveToMTA(rulings)
	}
	return from, rulings
}

func (p *Policy) entryReason(m Message) string {
	switch {
	case m.Pass != nil:
		return m.Entry.Why + "; " + m.Pass.why()
	case m.Entry.Provisional:
		return m.Entry.Why + "; " + m.Proof.Why
	}
	return m.Entry.Why
}

// leaveToMTA lets a message made on this host go on when some of its recipients,
// but not all, would be refused for good: no client is there to be told, so the
// MTA sends the bounce when delivery fails. A looping recipient is not left to
// the MTA, whose own lookups would send it round again.
func leaveToMTA(rulings []Ruling) {
	if !slices.ContainsFunc(rulings, func(r Ruling) bool { return r.Verdict <= Tag || r.Verdict == Tempfail }) {
		return
	}
	for i := range rulings {
		if rulings[i].Verdict == Reject && rulings[i].Check != CheckLoop {
			rulings[i].Verdict, rulings[i].Reply = Accept, Reply{}
			rulings[i].Reason += "; left to the MTA to bounce"
		}
	}
}

// conclude makes the message's verdict of its recipients'.
func (d *Decision) conclude() {
	removed, last := 0, Ruling{}
	for _, r := range d.Recipients {
		if r.isRemoved() {
			removed++
			if last.Verdict != Quarantine {
				last = r
			}
			continue
		}
		if r.Verdict > d.Verdict {
			d.Verdict, d.Reply, d.Check, d.Reason = r.Verdict, r.Reply, r.Check, r.Reason
		}
	}
	if removed > 0 && removed == len(d.Recipients) {
		d.Verdict, d.Check, d.Reason = last.Verdict, last.Check, last.Reason
	}
}

// isRemoved reports a recipient that is taken out alone.
func (r Ruling) isRemoved() bool { return r.Verdict == Quarantine || r.Verdict == Discard }

// rewrite fills in what changes in the envelope and the trace header that
// belongs to it. Nobody is added twice, since MTAs deliver such a message twice.
func (p *Policy) rewrite(d *Decision, m Message) {
	present := make(map[string]bool)
	for i, ruling := range d.Recipients {
		if len(ruling.Rewritten) == 0 && !ruling.isRemoved() {
			present[m.Recipients[i].Address.Key] = true
		}
	}
	var owners []string
	for i, ruling := range d.Recipients {
		r := m.Recipients[i]
		if ruling.isRemoved() {
			d.Delete = append(d.Delete, r.spellings()...)
			continue
		}
		if len(ruling.Rewritten) == 0 {
			continue
		}
		owners = append(owners, r.Address.Owner)
		if residence, _ := p.Locate(r.Address, r.Listing); residence.Kind == There {
			d.Delete = append(d.Delete, r.spellings()...)
		}
		for _, address := range ruling.Rewritten {
			domain := address[strings.LastIndexByte(address, '@')+1:]
			if key := strings.TrimSuffix(r.Address.Key, r.Address.Domain) + domain; !present[key] {
				present[key] = true
				d.Add = append(d.Add, Addition{Address: address, Notify: r.Notify, ORcpt: originalRecipient(r)})
			}
		}
	}
	if len(owners) > 0 {
		d.Trace = p.traceHeader(m.Nonce, m.Marks, owners)
	}
}

// spellings are the forms in which an MTA may have kept the recipient. It
// removes one only when it is named byte for byte, and Postfix keeps it without
// the source route. Naming one that is not there does nothing.
func (r Recipient) spellings() []string {
	if r.Path == r.Address.Path {
		return []string{r.Path}
	}
	return []string{r.Path, r.Address.Path}
}

// originalRecipient returns the ORCPT value (RFC 3461 section 4.2) that lets a
// bounce show the address that the sender wrote: his own ORCPT, or the path. An
// MTA takes xtext from a milter whatever the address's type is, and gives one of
// the type utf-8 its own encoding (RFC 6533 section 3) when it sends it on.
func originalRecipient(r Recipient) string {
	// RFC 3461 section 5.1: a longer one need not be taken, and is worth less
	// than the message.
	const longest = 500
	if len(r.ORcpt) > longest {
		r.ORcpt = ""
	}
	if kind, text, _ := strings.Cut(r.ORcpt, ";"); strings.EqualFold(kind, "utf-8") {
		return kind + ";" + xtext(undoUTF8Xtext(text))
	}
	if r.ORcpt != "" {
		return r.ORcpt
	}
	if !isASCII(r.Address.Path) {
		return "utf-8;" + xtext(r.Address.Path)
	}
	return "rfc822;" + xtext(r.Address.Path)
}

// xtext encodes by RFC 3461 section 4.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
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
