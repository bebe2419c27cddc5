package messages

import (
	"database/sql"
	"encoding/json"
	"fmt"
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
	// MessageID and Subject are the values of those header fields.
	MessageID, Subject string
	Size               int64 // in bytes; zero where the body was not read
	Point              verdict.Checkpoint
	Platform           string // the one that it came from at S1
	Verdict            verdict.Verdict
	Check              string // the one that decided, or empty
	Details
}

// Details are what is kept of a message that no table needs to know.
type Details struct {
	Reply    verdict.Reply     `json:"reply,omitzero"`
	Reasons  verdict.Reasons   `json:"reasons,omitzero"`
	Proof    verdict.Reasons   `json:"proof,omitzero"`
	Findings []verdict.Finding `json:"findings,omitempty"`
	Passed   []string          `json:"passed,omitempty"` // checks that a pass spared it
	// Recipients are the first thousand, with those refused, and Count is the number of all.
	Recipients []Recipient `json:"recipients"`
	Count      int         `json:"count"`
	// MTA is what the MTA did with it for a rule of its own, before the daemon was asked: rejected,
	// discarded or held, with the HELO of the client, and what it said where that is no Reply.
	MTA    string `json:"mta,omitempty"`
	Hello  string `json:"helo,omitempty"`
	Answer string `json:"answer,omitempty"`
	// SenderOwner is Recipient.Owner of the sender.
	SenderOwner string `json:"owner,omitempty"`
}

// Recipient is what became of a message for one recipient.
type Recipient struct {
	Address string `json:"to"` // as it was written
	// Owner is the address without the tag of a subaddress, where there is one.
	Owner     string `json:"owner,omitempty"`
	Residence string `json:"lives,omitempty"`
	Flow      string `json:"flow,omitempty"` // its ways, with commas between them
	// Side is the letter of the platform that it was sent to, as flows have it: "O". Empty: to
	// none.
	Side      string          `json:"side,omitempty"`
	Rewritten string          `json:"as,omitempty"`
	Verdict   verdict.Verdict `json:"verdict"`
	Reply     verdict.Reply   `json:"reply,omitzero"`
	Reasons   verdict.Reasons `json:"reasons,omitzero"`
	Check     string          `json:"check,omitempty"`
	// HeldBy names the checks that hold it for this recipient, and Held is its name in the
	// quarantine.
	HeldBy []string `json:"held_by,omitempty"`
	Held   string   `json:"held,omitempty"`
	// Refused is set for one who was refused alone, when they were named.
	Refused bool `json:"refused,omitempty"`
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

// of makes a Message of a record. It has no ID yet.
func of(r *record.Record, delimiters string) *Message {
	d := &r.Decision
	m := &Message{
		Time: r.Time, QueueID: bounded(r.QueueID), Client: r.Client, Login: bounded(r.Login), Sender: bounded(r.Sender),
		MessageID: bounded(strings.TrimSpace(r.MessageID)), Subject: bounded(strings.TrimSpace(r.Subject)), Size: r.Size,
		Point: d.Checkpoint, Platform: d.Platform, Verdict: d.Verdict, Check: d.Check,
		Details: Details{
			Reply: d.Reply, Reasons: d.Reasons.Bounded(boundedArg), Proof: r.Proof.Reasons.Bounded(boundedArg),
			Passed: d.Passed, Count: r.Count, SenderOwner: owner(r.Sender, delimiters),
		},
	}
	for _, f := range d.Findings {
		f.Name, f.Detail, f.Reasons = bounded(f.Name), bounded(f.Detail), f.Reasons.Bounded(boundedArg)
		m.Findings = append(m.Findings, f)
	}
	m.addRecipients(r, delimiters)
	return m
}

// addRecipients adds those that were refused alone, then those that were decided on, or all,
// where nothing was decided on them but on the message.
func (m *Message) addRecipients(r *record.Record, delimiters string) {
	d, held := &r.Decision, r.Held
	add := func(of *policy.Ruling) *Recipient {
		if len(m.Recipients) == mostRecipients {
			return &Recipient{}
		}
		ruling := of.Done()
		m.Recipients = append(m.Recipients, Recipient{
			Address: bounded(ruling.Address), Owner: owner(ruling.Address, delimiters),
			Residence: ruling.Residence.String(), Flow: ruling.Ways.String(), Side: sideOf(ruling.Ways), Rewritten: bounded(ruling.Elsewhere),
			Verdict: ruling.Verdict, Reply: ruling.Reply, Reasons: ruling.Reasons.Bounded(boundedArg), Check: ruling.Check, HeldBy: ruling.Held,
		})
		return &m.Recipients[len(m.Recipients)-1]
	}
	for i := range r.Refused {
		add(&r.Refused[i]).Refused = !r.Refused[i].Observed
	}
	for i := range d.Recipients {
		one := add(&d.Recipients[i])
		if one.Verdict == verdict.Quarantine && len(held) > 0 {
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
	return strings.ToValidUTF8(text, "\uFFFD")
}

// flows returns the ways of the recipients, each once, as the log has them.
func (m *Message) flows() string {
	var flows []string
	for i := range m.Recipients {
		if flow := m.Recipients[i].Flow; flow != "" && !slices.Contains(flows, flow) {
			flows = append(flows, flow)
		}
	}
	return strings.Join(flows, ", ")
}

// columns are those of the table that a Message is read from.
const columns = `id, time, queue_id, client, login, sender, message_id, subject, size, point, platform, verdict, deciding, details`

// values are what the columns have.
func (m *Message) values() ([]any, error) {
	var details strings.Builder
	encoder := json.NewEncoder(&details)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(&m.Details); err != nil {
		return nil, err
	}
	client := ""
	if m.Client.IsValid() {
		client = m.Client.String()
	}
	return []any{
		int64(m.ID), m.Time.UnixMicro(), m.QueueID, client, m.Login, m.Sender, m.MessageID, m.Subject, m.Size,
		m.Point.String(), m.Platform, m.Verdict.String(), m.Check, strings.TrimSuffix(details.String(), "\n"),
	}, nil
}

// read reads a Message from a row with the columns.
func read(rows *sql.Rows) (*Message, error) {
	var m Message
	var at int64
	var client, point, known string
	var details []byte
	err := rows.Scan((*int64)(&m.ID), &at, &m.QueueID, &client, &m.Login, &m.Sender, &m.MessageID, &m.Subject, &m.Size,
		&point, &m.Platform, &known, &m.Check, &details)
	if err != nil {
		return nil, err
	}
	m.Time = time.UnixMicro(at)
	if client != "" {
		m.Client, err = netip.ParseAddr(client)
	}
	for _, wrong := range []error{err, m.Point.UnmarshalText([]byte(point)), m.Verdict.UnmarshalText([]byte(known)), json.Unmarshal(details, &m.Details)} {
		if wrong != nil {
			return nil, fmt.Errorf("the record of message %s cannot be read: %w", m.ID, wrong)
		}
	}
	return &m, nil
}
