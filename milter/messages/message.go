package messages

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

const (
	// mostRecipients bounds those that are kept of one message. Message.Count has the number
	// of all.
	mostRecipients = 1000
	// longestText bounds, in bytes, what is kept of a stranger's text.
	longestText = 1000
	// longestArg bounds what fills in a reason.
	longestArg = 300
)

// Message is what became of one message, or of the refused recipients of one that did not
// come to its end. Strangers' texts in it are valid UTF-8 of a bounded length, and not made
// fit for people's eyes.
type Message struct {
	// ID is the name by which it can be asked for.
	ID      ID
	Time    time.Time
	QueueID string // the MTA's name of it, or empty
	Client  netip.Addr
	Login   string
	Sender  string // MAIL FROM's path; empty is the null sender
	// SenderOwner is Recipient.Owner of the sender.
	SenderOwner string
	// MessageID and Subject are the values of those header fields.
	MessageID, Subject string
	Size               int64 // in bytes; zero where the body was not read
	Point              verdict.Checkpoint
	Platform           string // the one that it came from at S1
	Verdict            verdict.Verdict
	Check              string // the one that decided, or empty
	Reply              verdict.Reply
	Reasons, Proof     verdict.Reasons
	// Observed is what would have been done for those recipients for whom the mode is observe;
	// zero: there are none.
	Observed policy.Outcome
	Findings []verdict.Finding
	Passed   []string // checks that a pass spared it
	Archived string   // the address of its copy for the archive, or empty
	// Recipients are the first thousand, with those refused, and Count is the number of all.
	Recipients []Recipient
	Count      int
	// MTA is what the MTA did with it for a rule of its own, before the daemon was asked: rejected,
	// discarded or held, with the HELO of the client, and what it said where that is no Reply.
	MTA, Hello, Answer string
}

// Recipient is what became of a message for one recipient.
type Recipient struct {
	Address string // as it was written
	// Owner is the address without the tag of a subaddress, where there is one.
	Owner     string
	Residence string
	Flow      string // its ways, with commas between them
	// Side is the letter of the platform that it was sent to, as flows have it: "O". Empty: to
	// none.
	Side      string
	Rewritten string
	Verdict   verdict.Verdict
	Reply     verdict.Reply
	Reasons   verdict.Reasons
	Check     string
	// HeldBy names the checks that hold it for this recipient, and Held is its name in the
	// quarantine.
	HeldBy []string
	Held   string
	// Refused is set for one who was refused alone, when they were named.
	Refused bool
	// Observed says that all of this is only what would be: the mode is observe.
	Observed bool
}

// WouldDo reports that something would be done for a recipient who is only observed.
func (r *Recipient) WouldDo() bool {
	return r.Observed && (r.Verdict != verdict.Accept || r.Rewritten != "")
}

// ID names a message. It is a number of the table, and for people "m" with that number to the
// base of 36: "mjx0k3v8c".
type ID int64

const idBase = 36

// String returns the name.
func (id ID) String() string { return "m" + strconv.FormatInt(int64(id), idBase) }

// parseID reads a name; ok is false for what is none.
func parseID(text string) (id ID, ok bool) {
	digits, ok := strings.CutPrefix(strings.ToLower(text), "m")
	n, err := strconv.ParseInt(digits, idBase, 64)
	return ID(n), ok && err == nil && n > 0
}

// become makes it the Message of a record, without an ID. What room its lists have is used
// again.
func (m *Message) become(r *record.Record, delimiters string) {
	d, findings, recipients := &r.Decision, m.Findings[:0], m.Recipients[:0]
	*m = Message{
		Time: r.Time, QueueID: bounded(r.QueueID), Client: r.Client, Login: bounded(r.Login),
		Sender: bounded(r.Sender), SenderOwner: owner(r.Sender, delimiters),
		MessageID: bounded(strings.TrimSpace(r.MessageID)), Subject: bounded(strings.TrimSpace(r.Subject)), Size: r.Size,
		Point: d.Checkpoint, Platform: d.Platform, Verdict: d.Verdict, Check: d.Check,
		Reply: d.Reply, Reasons: d.Reasons.Bounded(boundedArg), Proof: r.Proof.Reasons.Bounded(boundedArg),
		Findings: findings, Passed: d.Passed, Archived: d.Archived, Recipients: recipients, Count: r.Count,
	}
	if d.Observed != nil {
		m.Observed = *d.Observed
		m.Observed.Reasons = m.Observed.Reasons.Bounded(boundedArg)
	}
	for _, f := range d.Findings {
		f.Name, f.Detail, f.Reasons = bounded(f.Name), bounded(f.Detail), f.Reasons.Bounded(boundedArg)
		m.Findings = append(m.Findings, f)
	}
	m.addRecipients(r, delimiters)
}

// addRecipients adds those that were refused alone, then those that were decided on, or all,
// where nothing was decided on them but on the message.
func (m *Message) addRecipients(r *record.Record, delimiters string) {
	d, held := &r.Decision, r.Held
	add := func(ruling *policy.Ruling) *Recipient {
		if len(m.Recipients) == mostRecipients {
			return &Recipient{}
		}
		done := ruling.Done()
		m.Recipients = append(m.Recipients, Recipient{
			Address: bounded(ruling.Address), Owner: owner(ruling.Address, delimiters),
			Residence: ruling.Residence.String(), Flow: ruling.Ways.String(), Side: sideOf(done.Ways), Rewritten: bounded(ruling.Elsewhere),
			Verdict: ruling.Verdict, Reply: ruling.Reply, Reasons: ruling.Reasons.Bounded(boundedArg), Check: ruling.Check, HeldBy: ruling.Held,
			Observed: ruling.Observed,
		})
		return &m.Recipients[len(m.Recipients)-1]
	}
	for i := range r.Refused {
		add(&r.Refused[i]).Refused = !r.Refused[i].Observed
	}
	for i := range d.Recipients {
		one := add(&d.Recipients[i])
		if one.Verdict == verdict.Quarantine && !one.Observed && len(held) > 0 {
			one.Held, held = held[0], held[1:]
		}
	}
	if len(d.Recipients) > 0 {
		return
	}
	for _, path := range r.Paths {
		add(&policy.Ruling{Address: path, Verdict: d.Verdict, Reply: d.Reply})
	}
}

// sideOf is Recipient.Side of a recipient's ways.
func sideOf(ways route.Ways) string {
	for _, way := range ways {
		if i := slices.Index(way, route.Ours(verdict.S4)); i >= 0 && i+1 < len(way) {
			return way[i+1].Side
		}
	}
	return ""
}

// owner is Recipient.Owner of a path.
func owner(path, delimiters string) string {
	if !strings.ContainsAny(path, delimiters) {
		return ""
	}
	a, err := mail.ParseAddress(path, delimiters)
	if err != nil || a.Owner == a.Key {
		return ""
	}
	return bounded(a.Owner)
}

func bounded(text string) string { return boundedTo(text, longestText) }

func boundedArg(text string) string { return boundedTo(text, longestArg) }

// boundedTo returns the beginning of a text, as valid UTF-8.
func boundedTo(text string, most int) string {
	if len(text) > most {
		// A letter that is cut through is left out.
		for text = text[:most]; len(text) > most-utf8.UTFMax; text = text[:len(text)-1] {
			if last, size := utf8.DecodeLastRuneInString(text); last != utf8.RuneError || size > 1 {
				break
			}
		}
	}
	if utf8.ValidString(text) { // which is told faster
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// flows returns the ways of the recipients, each once, as the log has them: without those that
// are only observed.
func (m *Message) flows() string {
	if len(m.Recipients) == 1 && !m.Recipients[0].Observed {
		return m.Recipients[0].Flow
	}
	var flows []string
	for i := range m.Recipients {
		if m.Recipients[i].Observed {
			continue
		}
		for _, flow := range strings.Split(m.Recipients[i].Flow, ", ") {
			if flow != "" && !slices.Contains(flows, flow) {
				flows = append(flows, flow)
			}
		}
	}
	return strings.Join(flows, ", ")
}
