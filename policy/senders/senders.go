// Package senders holds which senders recipients have allowed and blocked.
package senders

import "coexistd/policy/mail"

const (
	// Most bounds how many senders all recipients together have allowed and blocked.
	Most = 100_000
	// MostOfOne bounds how many one recipient has.
	MostOfOne = 1_000
)

// Kind says what a recipient thinks of a sender. The zero Kind is none.
type Kind string

// The kinds.
const (
	Allowed Kind = "allowed" // their proven mail is no spam
	Blocked Kind = "blocked" // their mail is not wanted
)

// Sender is whose mail one recipient has allowed or blocked.
type Sender struct {
	// Owner is the recipient, as mail.Address.Owner has them.
	Owner string `json:"recipient"`
	// Name is an address (as mail.Address.Key has it), or a domain as "@" with its
	// normal form, of which those below it are no part.
	Name string `json:"sender"`
	Kind Kind   `json:"kind"`
}

// Of returns the two names by which a mailbox may be allowed or blocked: its own and that of
// its domain.
func Of(a mail.Address) [2]string { return [2]string{a.Key, "@" + a.Domain} }

// List is all that is allowed and blocked. It never changes. A nil List has nothing, and
// looking into it takes the same time however much it has.
type List struct {
	until map[Sender]int64
	has   map[owner]bool
}

// owner is a recipient who has senders of a kind.
type owner struct {
	owner string
	kind  Kind
}

// NewList returns the list that has what add is called for. Until is when it ends, in seconds
// since 1970.
func NewList(all func(add func(s Sender, until int64))) *List {
	l := &List{make(map[Sender]int64), make(map[owner]bool)}
	all(func(s Sender, until int64) {
		l.until[s] = until
		l.has[owner{s.Owner, s.Kind}] = true
	})
	return l
}

// IsEmpty reports that nobody is allowed or blocked.
func (l *List) IsEmpty() bool { return l == nil || len(l.has) == 0 }

// Has reports that a recipient has, or had, senders of a kind.
func (l *List) Has(recipient string, kind Kind) bool {
	return l != nil && l.has[owner{recipient, kind}]
}

// Find returns the name by which a mailbox is of a kind for a recipient, or "" where it is
// not. Now is in seconds since 1970.
func (l *List) Find(recipient string, kind Kind, a mail.Address, now int64) string {
	if !l.Has(recipient, kind) || a.Domain == "" {
		return ""
	}
	for _, name := range Of(a) {
		if now < l.until[Sender{recipient, name, kind}] {
			return name
		}
	}
	return ""
}
