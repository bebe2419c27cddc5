// Package mtalog reads what an MTA says in its log of the messages that it has: it follows the
// log, and makes events of the lines of Postfix and of Sendmail.
package mtalog

import (
	"net/netip"
	"time"
)

// Kind is what an Event says that happened.
type Kind uint8

// The kinds of events.
const (
	// None is the kind of what is no Event.
	None Kind = iota
	// Sent is a delivery: the next hop has the message, or the mailbox.
	Sent
	// Deferred is a delivery that failed for now, and is tried again.
	Deferred
	// Bounced is a delivery that failed for good.
	Bounced
	// Expired is the end of a message that could not be delivered for too long. It names no
	// recipient: it is of all that were deferred.
	Expired
	// Held is a message that the MTA keeps until people release it.
	Held
	// Discarded is a message that the MTA drops, for a rule of its own.
	Discarded
	// Rejected is a message, a recipient or a client that the MTA refuses for a rule of its own.
	Rejected
	// Filtered is one that a milter refuses or drops.
	Filtered
	// Notified is a message to the sender, or the postmaster, about another: Next is its name.
	Notified
	// Requeued is a message that has a new name: Next.
	Requeued
	// Removed is the end of a message in the queue.
	Removed
	// Begun tells whose message it is, with its sender and the client.
	Begun
)

var kindWords = [...]string{
	"", "sent", "deferred", "bounced", "expired", "held", "discarded", "rejected", "filtered", "notified", "requeued", "removed", "begun",
}

// String is the kind in one word.
func (k Kind) String() string { return kindWords[k] }

// MarshalText writes the word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// ParseKind is the kind of a word that String gives.
func ParseKind(word string) (Kind, bool) {
	for k, one := range kindWords {
		if one == word && k > 0 {
			return Kind(k), true
		}
	}
	return None, false
}

// Event is what one line says of a message. All its texts may come from strangers, as they
// stand in the log, cut to a bounded length.
type Event struct {
	Time time.Time
	Kind Kind
	// QueueID is the MTA's name of the message. It is empty where it has none yet.
	QueueID string
	// Recipient is the address that the line is of, and Original the one that it was made of
	// by the MTA's tables, if it was.
	Recipient, Original string
	// Relay is the next hop, as the MTA writes it.
	Relay string
	// Delay is how long the message had been on its way.
	Delay time.Duration
	// DSN is the enhanced status code (RFC 3463), such as 5.1.1.
	DSN string
	// Answer is the remote's answer or the MTA's reason; of a rejection, its reply.
	Answer string
	// Next is the name under which the message goes on, or that of a notification.
	Next string
	// Client, Hello and Sender are of those that were refused, and of Begun.
	Client netip.Addr
	Hello  string
	Sender string
	// Others are further recipients of which the line says the same.
	Others []string
}

// RelayAddress is the address of the next hop; the zero Addr: it has none.
func (e *Event) RelayAddress() netip.Addr { return clientIn(e.Relay) }

const (
	// longestAddress and longestAnswer bound the texts of an Event, in bytes.
	longestAddress = 512
	longestAnswer  = 1000
	// mostOthers bounds the recipients of one line.
	mostOthers = 100
)

// cut is the beginning of a text.
func cut(text string, most int) string { return text[:min(len(text), most)] }
