// Package policy decides what becomes of mail in a domain that is split
// between our own mail server and other platforms.
//
// It is pure: facts go in, a decision comes out. It does no I/O, reads no
// clock, and cannot fail. What could not be found out is a fact like any
// other (Listing.Failed, Proof), and the package says what follows from it.
// The same functions serve the daemon, the explain command and the tests.
//
// A message passes three functions. Enter names the contact point from what is
// known at MAIL. Admit rules on each recipient at RCPT, where it can be refused
// alone. Decide rules on the whole message at its end, when its headers have
// shown whether it comes from our tenant and how often it was here before.
package policy
