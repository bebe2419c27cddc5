// Package record tells what became of messages. One message, or the refused recipients
// of one that did not come to its end, is one Record, and everything that tells of
// messages (the log, the ledger of limits) is made of it.
package record

import (
	"net/netip"
	"slices"
	"time"

	"coexistd/policy"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// MaxRecipients bounds the recipients of a Record that were refused alone. Count has the
// number of all.
const MaxRecipients = 100

// Record is what became of one message. It is not changed once it was given to a Sink,
// and may be kept.
type Record struct {
	Time    time.Time
	QueueID string // the MTA's name of the message, or empty
	// Entry says where the message entered, as far as that was known. Client is that before an
	// upstream that the message came through, once its header had come.
	Entry  policy.Entry
	Client netip.Addr
	Login  string
	Sender string // MAIL FROM's path; empty is the null sender
	// MessageID and Subject are the values of those header fields as they stand, cut to
	// 1,000 bytes.
	MessageID, Subject string
	// Size is the message's length in bytes, or zero where the body was not read.
	Size int64
	// Decision is what was decided. Its Recipients are empty where the message was
	// refused as a whole, whoever they are; Paths has them then. Its Observed tells of those
	// who would have been refused alone, too, where there are no others who are observed.
	Decision policy.Decision
	Proof    tenant.Proof
	// Refused are the first recipients that were refused alone, or would have been if they
	// were not only observed, in order, with their addresses cut to 1,000 bytes.
	Refused []policy.Ruling
	// Alike counts all recipients that were refused alone, by what they had in common.
	Alike []Alike
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
	// Took is how long each step of the message's end took, zero for one that was not made.
	Took [Steps]time.Duration
}

// Alike is how many recipients were refused alone with one verdict by one check, or would have
// been if they were not only observed.
type Alike struct {
	Verdict  verdict.Verdict
	Check    string // or empty
	Observed bool
	Count    int
}

// Step is one of the steps of a message's end.
type Step uint8

// The steps, in their order.
const (
	Prove  Step = iota // its signatures are verified for the proof of its tenant
	Charge             // limits are asked
	Scan               // scanners, signatures and the DNS are asked
	Hold               // it is put into the quarantine
	Steps              // the number of them
)

var stepNames = [Steps]string{"prove", "charge", "scan", "hold"}

// String returns the step's name as it stands in the metrics.
func (s Step) String() string { return stepNames[s] }

// Account names who sends: the login, or the address of a client that need not log in.
func (r *Record) Account() string { return AccountOf(r.Login, r.Client) }

// AccountOf is Record.Account of a message that has no Record yet.
func AccountOf(login string, client netip.Addr) string {
	if login == "" && client.IsValid() {
		return client.String()
	}
	return login
}

// Unproven names the platforms from whose networks a message in our own name came that was
// put off since it bears no proof of any tenant. It is empty of any other message.
func (r *Record) Unproven() []string {
	unproven := func(f verdict.Finding) bool { return f.Reasons.HasCode(verdict.TenantNotProven) }
	if r.Decision.Verdict != verdict.Tempfail || !r.Decision.Reasons.HasCode(verdict.TenantNotProven) && !slices.ContainsFunc(r.Decision.Findings, unproven) {
		return nil
	}
	return r.Proof.Absent
}

// Sink tells of messages. Record must not wait for anything outside the process but a
// log. Any number of goroutines may call it.
type Sink interface {
	Record(*Record)
}
