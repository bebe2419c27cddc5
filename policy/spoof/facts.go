// Package spoof tells whether a message is from whom it says: at S2 whether the login may
// send as its authors, and for mail from outside what SPF, DKIM and DMARC prove.
package spoof

import (
	"net/netip"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// Facts are what the check spoof goes by of one message.
type Facts struct {
	// Names and Routes are our domains, and Delimiters begin a subaddress's tag.
	Names      Names
	Routes     *route.Rules
	Delimiters string
	// Sender is MAIL FROM, parsed.
	Sender  mail.Address
	Client  netip.Addr
	Login   string // the authenticated user, or empty
	Authors *Authors
	// Authentication is consulted only by Forged. Nil: it could not be had.
	Authentication *Authentication
	// Platform is the platform of S1, empty at any other point.
	Platform string
	// Shared is set for a client that sends for all tenants of a platform, of whom ours
	// could have proven itself. Unproven names the platforms when such a message bears no
	// proof of any tenant.
	Shared   bool
	Unproven []string
	Row      route.Rows
	// Nonce is random. It decides what a policy of a percentage means for the message.
	Nonce [8]byte
}

// AuthResult is the result of a method that authenticates senders, by its name in
// Authentication-Results (RFC 8601 section 2.7).
type AuthResult uint8

// The results. TempError is a failure of the DNS that may pass, and PermError a
// record or a signature that nobody can read.
const (
	AuthNone AuthResult = iota
	AuthPass
	AuthFail
	AuthSoftFail
	AuthNeutral
	AuthTempError
	AuthPermError
)

var authResultNames = [...]string{"none", "pass", "fail", "softfail", "neutral", "temperror", "permerror"}

// String returns the result as Authentication-Results has it.
func (r AuthResult) String() string { return authResultNames[r] }

// SPF is what SPF says of a message's client (RFC 7208).
type SPF struct {
	Result AuthResult
	// Domain is the normal form of the domain that was asked: the envelope
	// sender's, or for the null sender that of HELO (RFC 7208 section 2.4).
	Domain string
	Helo   bool
	Why    string // for the log
}

// DKIM is what was found of one signature (RFC 6376).
type DKIM struct {
	Result           AuthResult // never AuthSoftFail
	Domain, Selector string     // its tags d and s; Domain in normal form
	Why              string     // for the log
}

// DMARC is what DMARC's records say of one author domain (RFC 7489).
type DMARC struct {
	// Domain is the author domain's normal form.
	Domain string
	// Lookup is AuthPass when a record was found, AuthNone when there is none,
	// AuthTempError when the DNS failed, AuthPermError when the record cannot be read.
	Lookup AuthResult
	// At is the domain whose record it is: Domain, or its organisational domain.
	At string
	// Policy, Subdomains and Nonexistent are the tags p, sp and np, those that are
	// absent filled in: Accept for "none", Quarantine, Reject.
	Policy, Subdomains, Nonexistent verdict.Verdict
	// Percent is the tag pct, 0 to 100.
	Percent int
	// StrictDKIM and StrictSPF are set where the tags adkim and aspf are "s".
	StrictDKIM, StrictSPF bool
	// Missing is set when the author domain does not exist: neither a name with
	// any record nor one above such a name (RFC 9091 section 2.7).
	Missing bool
	// Unsure is set when the record is the organisational domain's, and the DNS
	// failed for what it says of Domain: whether that has a record of its own, or
	// is there at all.
	Unsure bool
}

// Authentication is what the DNS and signatures tell of who sent a message.
type Authentication struct {
	SPF   SPF
	DKIM  []DKIM  // one for each signature that was looked at
	DMARC []DMARC // one for each author domain
}

// Author is a mailbox that a header field names.
type Author struct {
	// Address may be parsed with any delimiters: whose it is goes by those of Facts.
	Address mail.Address
	// Display is the text beside it, its encoded words (RFC 2047) decoded: the
	// display name, comments, the name of a group. The name of a group without
	// mailboxes stands beside the mailbox that follows it, or else the one before.
	Display string
}

// Authors is what a message's header says of who wrote it.
type Authors struct {
	// Fields is the number of From fields. RFC 5322 section 3.6 wants one.
	Fields int
	// From and Sender are the mailboxes of all fields of that name, those of
	// groups among them.
	From, Sender []Author
	// Broken says why a From or Sender field cannot be read, or is empty. What
	// could be read of the others is in From and Sender.
	Broken string
	// Unread is set when the From and Sender fields hold more than is read of
	// them. Broken says so as well.
	Unread bool
	// Text is the text of all From fields, unfolded and decoded, to look into
	// when Broken is set.
	Text string
	// Domains are those whose policy counts for the message, by DMARC or since they are
	// ours, each once: those of the mailboxes in From, and when Broken is set also what
	// stands behind an @ in Text, for a program may show that. MoreDomains is set when
	// Text names more than are looked at, and those are left out.
	Domains     []string
	MoreDomains bool
}
