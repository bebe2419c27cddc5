// Package quarantine keeps the messages that a check holds back, for each
// recipient alone, until they are released, deleted or too old. It puts
// released ones back through the MTA, and tells recipients what is held for them.
//
// All of it is in one file of SQLite, which the daemon makes and commands open. A message is
// on disk before anybody is told that it is held.
package quarantine

import (
	"slices"
	"strings"
	"time"

	"coexistd/policy/verdict"
)

// Item is what is known of a message that is to be held.
type Item struct {
	Time     time.Time          `json:"time"`
	QueueID  string             `json:"queue_id,omitempty"`
	Client   string             `json:"client,omitempty"` // the IP address
	Login    string             `json:"login,omitempty"`
	Sender   string             `json:"sender"` // MAIL FROM's path; empty is the null sender
	Point    verdict.Checkpoint `json:"point"`
	Platform string             `json:"platform,omitempty"` // at S1
	Size     int64              `json:"size"`               // of the content, in bytes
	// From, Subject and MessageID are the values of those header fields, as they stand but for
	// white space around them: decoding is for those who show them.
	From      string `json:"header_from,omitempty"`
	Subject   string `json:"subject,omitempty"`
	MessageID string `json:"message_id,omitempty"`
	// Proven is the address of its author, where SPF or DKIM proves its domain; see
	// spoof.Facts.Proven.
	Proven string `json:"proven,omitempty"`
}

// Recipient is one for whom the message is held.
type Recipient struct {
	Address   string   `json:"address"` // RCPT TO's path
	Owner     string   `json:"owner"`   // mail.Address.Owner
	Notify    string   `json:"notify,omitempty"`
	ORcpt     string   `json:"orcpt,omitempty"`
	Rewritten []string `json:"rewritten,omitempty"` // where it would have gone instead or besides
	Checks    []string `json:"checks"`              // that hold it
	Found     []string `json:"found"`               // what they found, one for each check: "Eicar-Test-Signature"
	Passed    []string `json:"passed,omitempty"`    // that an earlier release let it past
	Report    bool     `json:"report"`              // the recipient is told of it, or
	ReportTo  []string `json:"report_to,omitempty"` // in their place these addresses
}

// State is what has become of an entry.
type State string

// The states. An entry is Releasing while its message is on the way to the MTA;
// when that was broken off, nobody can say whether the MTA has taken it.
const (
	Held      State = "held"
	Releasing State = "releasing"
	Released  State = "released"
	Deleted   State = "deleted"
	Expired   State = "expired"
)

// Entry is one message held for one recipient.
type Entry struct {
	ID string `json:"id"`
	Item
	Recipient
	State   State     `json:"state"`
	Changed time.Time `json:"changed"` // when State was set
	// Reported is set once the recipient was told.
	Reported bool `json:"reported"`
	// Message is the number of the stored content, which the entries of its recipients share.
	Message int64 `json:"message"`
}

// IsVirus reports an entry that only an administrator may release, by its ID.
func (e *Entry) IsVirus() bool {
	return slices.Contains(e.Checks, verdict.CheckVirus) || slices.Contains(e.Passed, verdict.CheckVirus)
}

// Query chooses entries. The zero Query chooses all that are held.
type Query struct {
	IDs []string // any of them
	// To is the recipient's address, without case.
	To string
	// Words must all be met, each by what it names ("from:", "to:", "subject:",
	// "check:", "point:", "found:", "before:" and "after:" with a date like
	// 2026-11-23) or, without a name, by sender, recipient or subject. Text is
	// compared without case and as a part.
	Words []string
	// All chooses what is no longer held, too.
	All bool
}

func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
