// Package record tells what became of messages. One message, or the refused recipients
// of one that did not come to its end, is one Record, and everything that tells of
// messages (the log, the ledger of limits) is made of it.
package record

import (
	"net/netip"
	"time"

	"coexistd/policy"
	"coexistd/policy/tenant"
)

// MaxRecipients bounds the recipients of a Record that were refused alone. Count has the
// number of all.
const MaxRecipients = 100

// Record is what became of one message. It is not changed once it was given to a Sink,
// and may be kept.
type Record struct {
	Time    time.Time
	QueueID string // the MTA's name of the message, or empty
	Client  netip.Addr
	Login   string
	Sender  string // MAIL FROM's path; empty is the null sender
	// MessageID and Subject are the values of those header fields as they stand, cut to
	// 1,000 bytes.
	MessageID, Subject string
	// Size is the message's length in bytes, or zero where the body was not read.
	Size int64
	// Decision is what was decided. Its Recipients are empty where the message was
	// refused as a whole, whoever they are; Paths has them then.
	Decision policy.Decision
	Proof    tenant.Proof
	// Refused are the first recipients that were refused alone, in order, with their
	// addresses cut to 1,000 bytes.
	Refused []policy.Ruling
	// Paths are the recipients' paths, the first MaxRecipients, and Count is the number of
	// all recipients with those refused.
	Paths []string
	Count int
	// Held are the message's names in the quarantine.
	Held []string
	// Ended is set for a message that came to its end.
	Ended bool
	// Rated is set when the message was counted by limits.
	Rated bool
}

// Account names who sends: the login, or the address of a client that need not log in.
func (r *Record) Account() string { return AccountOf(r.Login, r.Client) }

// AccountOf is Record.Account of a message that has no Record yet.
func AccountOf(login string, client netip.Addr) string {
	if login == "" && client.IsValid() {
		return client.String()
	}
	return login
}

// Sink tells of messages. Record must not wait for anything outside the process but a
// log. Any number of goroutines may call it.
type Sink interface {
	Record(*Record)
}
