// Package transaction takes one mail from MAIL to the answer to its end: it gathers what
// is known of it, has the policy decide, and holds, counts and records what came of it.
// It knows nothing of the protocol by which the MTA tells of the mail.
package transaction

import (
	"cmp"
	"context"
	"time"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// MaxRecipients bounds the recipients of one message. RFC 5321 section 4.5.3.1.10 gives
// the answer to one too many. A trace names so many within what an MTA takes in a header
// field.
const MaxRecipients = 4096

// Arrival is what is known of a message when MAIL is given.
type Arrival struct {
	policy.Arrival
	// Name is what the MTA found for the client's address, and Helo what the client
	// calls itself. Each may be empty.
	Name, Helo string
	// Path is MAIL FROM's, without angle brackets.
	Path string
	Terms
}

// Terms are what was agreed with the MTA.
type Terms struct {
	// ChangesFields is set when header fields may be changed and removed.
	ChangesFields bool
	// ExactValues is set when the values of fields come with the space after the colon.
	ExactValues bool
	// NoBody is set when bodies do not come.
	NoBody bool
	// Insufficient is set when the MTA does not let messages be changed as they must be.
	Insufficient bool
}

// Transaction is one mail of a visitor after the other: there is none before Begin, nor
// after End or Abort, when the next may begin. One goroutine may use it.
type Transaction struct {
	Arrival
	visitor *Visitor
	runtime *Runtime // nil: none has begun, or there is no configuration yet
	sinks   []record.Sink
	users   *Users // among whom the mail is counted
	queueID string
	barred  verdict.Reason // why nothing is taken, or zero
	entry   policy.Entry
	sender  mail.Address

	admitted []route.Recipient
	unread   int  // recipients of mail made on this host that the policy does not see
	observed int  // those who would have been refused, and are only observed
	tooMany  bool // mail made on this host has more recipients than are taken
	refused  refusals

	header mail.Header
	body   spool
	open   *policy.Case // once gathered
	asks   policy.Asks
	head   []byte // the header, once it was put together
	bare   []byte // the same without its secrets, where it has some
	held   []string

	durations [record.Steps]time.Duration // of the steps that were made
}

// Answer is what the MTA is told at the message's end. The zero Answer puts it off.
type Answer struct {
	// GoesOn lets the message go on, once Edits are made in it.
	GoesOn bool
	Edits  []policy.Edit
	// Drop tells the MTA to take the message and to throw it away.
	Drop bool
	// Reply is for the client of a message that neither goes on nor is dropped.
	Reply verdict.Reply
}

// New returns the transactions of a visitor.
func New(v *Visitor) *Transaction { return &Transaction{visitor: v} }

// Begin begins a mail. Nothing that is wrong with it is said before its first
// recipient, so that the MTA need not wait for an answer to MAIL. A Runtime without a
// Policy is that of a daemon which has no configuration yet.
func (t *Transaction) Begin(rt *Runtime, a Arrival) {
	t.reset()
	t.Arrival, t.sinks, t.users = a, rt.Sinks, rt.Users
	t.entry.OnHost = a.OnHost
	if rt.Policy == nil {
		t.barred = verdict.Why(verdict.NotSetUp)
		return
	}
	t.runtime = rt
	var err error
	if t.sender, err = mail.ParseAddress(a.Path, rt.Policy.Delimiters); err != nil {
		t.sender = mail.Address{Path: a.Path}
	}
	switch {
	case a.Insufficient:
		t.barred = verdict.Why(verdict.NotSetUp)
		return
	case err != nil && !a.OnHost:
		t.barred = verdict.Why(verdict.BadSender)
		return
	}
	t.entry = rt.Policy.Enter(a.Arrival)
	if t.barred = t.entry.Unready; t.barred.Code == "" {
		t.barred = t.visitor.beginsMessage(rt, t.entry)
	}
}

// isUnderWay reports a mail that began and that may be decided on.
func (t *Transaction) isUnderWay() bool { return t.runtime != nil && t.barred.Code == "" }

// SetQueueID tells the MTA's name of the mail.
func (t *Transaction) SetQueueID(id string) { t.queueID = id }

// Recipient takes one recipient, or returns the reply that refuses it alone.
func (t *Transaction) Recipient(path, notify, orcpt string) verdict.Reply {
	ruling := t.admit(path, notify, orcpt)
	if ruling.Verdict < verdict.Tempfail {
		return verdict.Reply{}
	}
	observed, unknown := ruling.Observed, ruling.Reasons.HasCode(verdict.Unlisted)
	if why := t.visitor.isRefused(t.runtime, t.entry, unknown, observed); why.Code != "" {
		ruling = policy.Refuse(path, why)
		ruling.Check, ruling.Observed = verdict.CheckDDoS, observed
	}
	t.refused.add(ruling)
	if observed {
		t.observed++
		return verdict.Reply{}
	}
	return ruling.Reply
}

// RefusedByMTA notes that the MTA itself refuses a recipient; unknown says that it is
// because there is no such address. The reply, unless it is zero, is for a client that
// asks for too much.
func (t *Transaction) RefusedByMTA(unknown bool) verdict.Reply {
	return t.visitor.isRefused(t.runtime, t.entry, unknown, false).Reply()
}

// admit rules on one recipient. One that is not refused becomes part of the mail.
func (t *Transaction) admit(path, notify, orcpt string) policy.Ruling {
	if t.runtime == nil {
		return t.refuse(path, cmp.Or(t.barred, verdict.Why(verdict.SenderLacks)), false)
	}
	p := t.runtime.Policy
	address, err := mail.ParseAddress(path, p.Delimiters)
	if err != nil {
		address = mail.Address{}
	}
	observed := p.Observes(t.sender, address)
	switch blocked := t.visitor.isBlocked(t.runtime, observed); {
	case blocked.Code != "":
		ruling := t.refuse(path, blocked, observed && p.Observe)
		ruling.Check = verdict.CheckDDoS
		return ruling
	case t.barred.Code != "":
		return t.refuse(path, t.barred, observed)
	case len(t.admitted) >= MaxRecipients:
		t.tooMany = t.entry.OnHost
		return t.refuse(path, verdict.Why(verdict.TooManyRecipients), observed)
	case address.IsNull():
		return t.refuse(path, verdict.Why(verdict.BadRecipient), observed)
	}
	r := route.Recipient{Path: path, Notify: notify, ORcpt: orcpt, Address: address, Listing: t.runtime.Directory.List(p.Routes.Home(address))}
	ruling := p.Admit(t.entry, t.sender, len(t.admitted), r)
	if ruling.Verdict < verdict.Tempfail {
		t.admitted = append(t.admitted, r)
	}
	return ruling
}

// refuse refuses a recipient without asking the policy. Mail made on this host is let
// through, since its MTA could not bear a refusal here.
func (t *Transaction) refuse(path string, why verdict.Reason, observed bool) policy.Ruling {
	switch {
	case t.entry.OnHost && observed:
		t.observed++
		return policy.Ruling{}
	case t.entry.OnHost:
		t.unread++
		return policy.Ruling{}
	}
	ruling := policy.Refuse(path, why)
	ruling.Observed = observed
	return ruling
}

// Field adds a header field.
func (t *Transaction) Field(name, value []byte) { t.header.Add(name, value) }

// WantsBody reports that the body must be read. It is asked when the first piece of it
// comes, or the message's end.
func (t *Transaction) WantsBody() bool {
	if !t.isUnderWay() {
		return false
	}
	t.gather()
	return t.asks.Body
}

// Body takes a piece of the body, which read appends to what it is given. The error is
// that of read.
func (t *Transaction) Body(read func(b []byte) ([]byte, error)) error {
	return t.body.read(read, t.runtime.SpoolDir)
}

// End decides the mail, brings about what was decided, and returns the answer. It reads
// from top to bottom as the mail's way.
func (t *Transaction) End(ctx context.Context) Answer {
	switch {
	case t.barred.Code != "":
		return t.answer(t.refuseMessage())
	case t.runtime == nil:
		return Answer{GoesOn: true} // there is no mail
	}
	t.gather()
	t.open.QueueID = t.queueID // which some MTAs tell at the end only
	if t.open.Trouble = t.trouble(); t.open.Trouble.Code == "" {
		t.measure()
		t.bind()
		t.prove(ctx)
		if !t.isReturnedProbe() && t.charge(ctx) {
			t.scan(ctx)
			t.hearBounce()
		}
	}
	return t.answer(t.hold(t.decide()))
}

// refuseMessage is the decision on a mail that was barred from its beginning.
func (t *Transaction) refuseMessage() policy.Decision {
	m := policy.Message{Entry: t.entry, Sender: t.sender, Unread: t.unread, Observed: t.observed}
	var p *policy.Policy
	if t.runtime != nil {
		p = t.runtime.Policy
	}
	return p.RefuseMessage(&m, t.barred)
}

// answer records the decision, and returns what the MTA is told of it. It is the one place
// between what was decided and what is done.
func (t *Transaction) answer(d policy.Decision) Answer {
	if d.Verdict == verdict.None {
		d = d.PutOff(verdict.Why(verdict.NotSetUp)) // nobody has decided
	}
	t.record(d)
	switch {
	case d.Verdict >= verdict.Tempfail:
		return Answer{Reply: d.Reply}
	case d.Drop:
		return Answer{Drop: true}
	}
	return Answer{GoesOn: true, Edits: d.Edits}
}

// Abort ends a mail that does not come to its end. One with recipients that were refused
// leaves a record.
func (t *Transaction) Abort() {
	if t.refused.count > 0 {
		t.recordRefused()
	} else {
		t.reset()
	}
}

// reset makes room for the next mail. Memory of a usual size is kept for it.
func (t *Transaction) reset() {
	t.users.Leave()
	clear(t.admitted)
	admitted, header, body, refused, head := t.admitted[:0], t.header, t.body, t.refused, t.head[:0]
	if cap(admitted) > 1000 {
		admitted = nil
	}
	if cap(head) > keptMemory {
		head = nil
	}
	header.Reset()
	body.reset()
	refused.reset()
	*t = Transaction{visitor: t.visitor, admitted: admitted, header: header, body: body, refused: refused, head: head}
}
