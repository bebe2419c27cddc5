package policy

import "net/netip"

// Arrival is what is known of a message's client when MAIL is given.
type Arrival struct {
	// Listener is the point that the listener's configuration names, or
	// Undecided.
	Listener Checkpoint
	// Client is the connecting address; invalid when the MTA gave none.
	Client netip.Addr
	// OnHost is set for mail that the MTA made or took on its own host
	// without SMTP: the sendmail command, Postfix's non_smtpd_milters.
	OnHost bool
	// Login is the authenticated user, or empty.
	Login string
	// Certificate is the common name of the client's TLS certificate, whose chain
	// the MTA trusts, or empty.
	Certificate string
}

// Recipient is one recipient of the envelope with what the directory says.
type Recipient struct {
	// Path is RCPT TO's path without angle brackets, byte for byte: the MTA
	// removes a recipient only when it is named just so.
	Path string
	// Notify and ORcpt are the values of the ESMTP arguments NOTIFY and ORCPT
	// (RFC 3461), or empty.
	Notify, ORcpt string
	// Address is Path, parsed.
	Address Address
	// Listing is the directory's answer for Policy.Home of Address. What a
	// message is refused for says it; else it is consulted only for domains
	// that are ours.
	Listing Listing
}

// Message is all that is known of one message when it is decided on, at its end.
type Message struct {
	Entry Entry
	// Sender is MAIL FROM, parsed.
	Sender Address
	// Recipients are those that Admit did not refuse, in order.
	Recipients []Recipient
	// Client is the connecting address; invalid when the MTA gave none.
	Client netip.Addr
	// Login is the authenticated user, or empty.
	Login string
	// Size is the message's length in bytes. It is consulted only by Charges, and
	// only when Asks has asked for the body.
	Size int64
	// Authors is what the header says of the message's authors.
	Authors Authors
	// Authentication is consulted only when Asks has asked for it. Nil: it could
	// not be had.
	Authentication *Authentication
	// Row returns what the directory holds of an address. It must give the same
	// answer for the same address at all times. Nil: there is no directory.
	Row func(Address) Row
	// Limit returns what a column of the directory says of a login, whatever he
	// sends as: a number, "unlimited", or "" where it says nothing. It failed when
	// the directory cannot tell. Nil: there is no directory.
	Limit func(login, column string) (value string, failed bool)
	// Grants are the limiter's answers to Charges, in order. None: it was not asked.
	Grants []Grant
	// Proof says whether the message proves that it comes from our tenant at
	// the platform of Entry. It is consulted only at a provisional entry.
	Proof Proof
	// Traces are the values of the message's trace headers (see TraceHeader),
	// in order, folded or not.
	Traces []string
	// Marks are what the function Marks returns. Trace headers hold for them.
	Marks []string
	// Findings are what the scanners saw whose checks Asks names. One of another
	// check takes the place of what the other facts say of it.
	Findings []Finding
	// Pass lets the message past checks; nil for all mail but our own. It counts
	// for nothing when the message has a recipient for whom it was not signed.
	Pass *Pass
	// Nonce makes the trace header of this message unlike any other. It must
	// be random.
	Nonce [8]byte
}

// Proof is what was found of a message's tenant.
type Proof struct {
	Proven bool
	// Why is a sentence for the log.
	Why string
}

// Ruling is what becomes of one recipient.
type Ruling struct {
	Address   string   // as it was written
	Residence string   // the word for where it lives; empty for a foreign one
	Flow      string   // "S2=>S4=>O1=>LD"; empty when it is refused
	Rewritten []string // the addresses that the message goes to instead or besides
	Verdict   Verdict
	Reply     Reply  // set when Verdict is Tempfail or Reject
	Reason    string // one sentence for the log
	Check     string // the check that decided, or empty: "loop"
	// Held names the checks that hold the message for this recipient, when
	// Verdict is Quarantine; Report says that he is told of it.
	Held   []string
	Report bool

	tags []Finding // that put headers on his copy
}

// Field is a header field to be added, its body folded with bare newlines or
// not folded.
type Field struct{ Name, Value string }

// Addition is a recipient to be added to the envelope.
type Addition struct {
	Address       string
	Notify, ORcpt string // as in Recipient; ORcpt is never empty, and in xtext whatever its type
}

// Decision is what becomes of one message.
type Decision struct {
	Checkpoint Checkpoint
	// Platform is the platform that a message at S1 came from; else empty.
	Platform string
	// Checks are the checks that were made, by name. Those of several recipients
	// may differ; all of them are named.
	Checks  []string
	Verdict Verdict
	Reply   Reply // set when Verdict is Tempfail or Reject
	// Check names the check that decided, or is empty.
	Check string
	// Findings are what the checks saw, those of the scanners first.
	Findings []Finding
	// Passed are the checks that a pass spares the message.
	Passed []string
	// Reason is one sentence for the log.
	Reason     string
	Recipients []Ruling
	// Delete holds recipients to be removed, as Recipient.Path has them: those
	// that are rewritten, and those whose own verdict is Quarantine or Discard.
	// Add holds those to be added. Unless Verdict is Accept or Tag, both are empty.
	Delete []string
	Add    []Addition
	// Trace is the value of the trace header to be added; empty: none.
	Trace string
	// Headers are further headers to be added: those of tagged messages.
	Headers []Field
}
