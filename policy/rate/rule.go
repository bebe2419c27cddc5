// Package rate says how much may be sent: what a message asks of which limits, and what
// follows from the limiter's answers.
package rate

import (
	"coexistd/policy/verdict"
)

// By says what a rate limit counts for: each value of it has a count of its own.
type By uint8

// What limits can count for.
const (
	ByUser         By = iota // the authenticated user
	ByClient                 // the connecting address; IPv6 by its /64
	BySender                 // the envelope sender
	BySenderDomain           // its domain
	ByRecipient              // each recipient
)

var byNames = [...]string{"user", "client", "sender", "sender_domain", "recipient"}

// String returns the name that the configuration has for it.
func (b By) String() string { return byNames[b] }

// Unit is what a rate limit counts.
type Unit uint8

// What limits can count.
const (
	Messages Unit = iota
	Recipients
	Bytes
)

var unitNames = [...]string{"messages", "recipients", "bytes"}

// String returns the name that the configuration has for it.
func (u Unit) String() string { return unitNames[u] }

// Rule is one rule of rate limiting.
type Rule struct {
	// Name stands in the log and in the keys of the limiter. No two rules share it.
	Name string
	// Points are the contact points at which it counts: those of a recipient's
	// way that make the check rate.
	Points []verdict.Checkpoint
	By     By
	Count  Unit
	// Limit is how much may come in Per seconds, and Burst how much of it at
	// once. Each is at least 1.
	Limit, Burst int64
	Per          int64
	// OnLimit is Tempfail, Reject or Tag.
	OnLimit verdict.Verdict
	// OnError says what is done while the limiter cannot answer.
	OnError OnError
	// Accounts and Networks hold for some keys another limit in the place of
	// Limit. Accounts are by the key's text, in lower case.
	Accounts map[string]int64
	Networks NetworkLimits
	// Column names the directory's column with an account's own limit; empty:
	// there is none.
	Column string
}

// Unlimited in the place of a limit means that nothing is counted.
const Unlimited = int64(-1)

// OnError says what a rate limit does while its limiter cannot answer.
type OnError uint8

// What can be done without an answer.
const (
	ErrorTempfail OnError = iota // put the message off
	ErrorAccept                  // let it pass uncounted
	ErrorMemory                  // count in this process's memory meanwhile
)

var onErrorNames = [...]string{"tempfail", "accept", "memory"}

// String returns the name that the configuration has for it.
func (e OnError) String() string { return onErrorNames[e] }

// Charge is what one message asks of one limit.
type Charge struct {
	Rule *Rule
	// Key is what the limit counts for: "bob", "192.0.2.1", "2001:db8::/64". It
	// may hold a stranger's text, of at most MaxAddress bytes.
	Key string
	// Amount is what the message adds, in the rule's unit; at least 1.
	Amount int64
	// Limit and Burst are those of the rule or of its exception for this key.
	Limit, Burst int64
}

// Grant is a limiter's answer to one Charge.
type Grant struct {
	// Unknown is set when the limiter could not be asked. The rest is zero then.
	Unknown bool
	// Over is set when the limit does not have room for the amount.
	Over bool
	// Wait is the time in microseconds after which it would have. Never means
	// that it never will: the amount is larger than the burst.
	Wait int64
	// First is set for the first refusal of the key in the rule's period.
	First bool
}

// Never is the Wait of what can never pass.
const Never = int64(-1)
