// Package route says where mail goes: where each recipient's mailbox lives, by which
// ways a message reaches it, and which of them would go round.
package route

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// Kind says in which way an address has its mailbox.
type Kind uint8

// The kinds of residence. The zero Kind, Nowhere, is that nobody is known to have the
// address.
const (
	Nowhere Kind = iota
	Here         // on our own mail server
	There        // on another platform
	Both         // here and on another platform: dual delivery
	Moving       // a move is under way: try again later
)

// Residence is where one address's mailbox lives. Platform names the other
// platform of There and Both and is empty for the rest.
type Residence struct {
	Kind     Kind
	Platform string
}

// String returns the residence as a directory writes it: "here", the platform's name,
// "both" or "moving". It is empty for Nowhere.
func (r Residence) String() string {
	switch r.Kind {
	case Here:
		return "here"
	case There:
		return r.Platform
	case Both:
		return "both"
	case Moving:
		return "moving"
	}
	return ""
}

// Listing is what the directory answered for one address. It is a fact: what follows
// from it, this package says.
type Listing struct {
	Failed    bool      // the directory could not answer
	Found     bool      // the address, or its owner's, has an entry
	Address   string    // the entry's address, lower case; empty unless Found
	Residence Residence // meaningful when Found
	// Target is the one address that reaches the mailbox at the other platform, its domain
	// in normal form. Empty: the address's local part does, in the alternate domain.
	Target string
}

// Domain is one email domain that is ours. A subdomain is a domain of its own.
type Domain struct {
	// Name is the domain's normal form.
	Name string
	// MX names the platform to which the domain's MX points, or is empty when
	// it points here.
	MX string
	// RefusePastMX refuses mail from the Internet that comes here although MX
	// names another platform or, where MX is empty, past all upstreams.
	RefusePastMX bool
	// Unlisted says where an address lives that the directory lacks. Such an address
	// is refused when it is Nowhere.
	Unlisted Residence
	// Alternates maps a platform's name to the normal form of the alternate
	// domain that reaches this domain's mailboxes there.
	Alternates map[string]string
	// Platforms names further platforms that have mailboxes of the domain, and that need no
	// alternate domain: mail reaches them by relay or by targets.
	Platforms []string
	// SameAs is the normal form of another domain of ours, or empty. Whoever lives elsewhere there, by its directory,
	// lives there under this domain as well, with the same local part; all others live here. Such a domain
	// has no Alternates or Platforms of its own, and Unlisted is Here.
	SameAs string
	// Observe has mail of the domain be observed only: nothing that is decided is done.
	Observe bool
}

// LeavesUnlisted reports a domain where the MTA's own tables say who exists beside those whom
// the directory lists.
func (d *Domain) LeavesUnlisted() bool { return d.Unlisted.Kind == Here }

// Residence reads a residence as a directory writes it: "here", "moving",
// "both", "both:PLATFORM" or the name of one of the platforms that hold mailboxes of the
// domain, in any case. The error says what the domain allows.
func (d *Domain) Residence(word string, platforms []*Platform) (Residence, error) {
	platforms = slices.DeleteFunc(slices.Clone(platforms), func(p *Platform) bool { return !p.Holds(d) })
	word = strings.ToLower(strings.TrimSpace(word))
	switch {
	case word == "here":
		return Residence{Kind: Here}, nil
	case word == "moving":
		return Residence{Kind: Moving}, nil
	case len(platforms) == 0:
		return Residence{}, fmt.Errorf("residence %q is not known for %s, which has mailboxes at no platform; write here or moving, or name the platform in the domain's alternate",
			word, d.Name)
	case word == "both" && len(platforms) == 1:
		return Residence{Kind: Both, Platform: platforms[0].Name}, nil
	case word == "both":
		return Residence{}, fmt.Errorf("residence %q is ambiguous: %s has mailboxes at %d platforms; write both:PLATFORM with one of %s",
			word, d.Name, len(platforms), names(platforms))
	}
	kind, name := There, word
	if rest, ok := strings.CutPrefix(word, "both:"); ok {
		kind, name = Both, rest
	}
	if !slices.ContainsFunc(platforms, func(p *Platform) bool { return p.Name == name }) {
		return Residence{}, fmt.Errorf("residence %q is not known for %s; it would be here, both, moving or one of %s",
			word, d.Name, names(platforms))
	}
	return Residence{Kind: kind, Platform: name}, nil
}

func names(platforms []*Platform) string {
	var names []string
	for _, platform := range platforms {
		names = append(names, platform.Name)
	}
	return strings.Join(names, ", ")
}

// Roles are the local parts of the two mailboxes that every domain must have: postmaster (RFC
// 5321 section 4.5.1) and abuse (RFC 2142).
var Roles = [...]string{"postmaster", "abuse"}

// IsRole reports one of the Roles.
func IsRole(a mail.Address) bool {
	local, _, _ := strings.Cut(a.Owner, "@")
	return slices.Contains(Roles[:], local)
}

// Row is what the directory holds of an address beside where it lives.
type Row struct {
	// Failed says that the directory cannot answer.
	Failed bool
	// Login is the account that owns the address, or empty.
	Login string
	// Column returns the value of a further column, or "". It may be nil.
	Column func(name string) string
}

// The columns that say who is told of what is held for an address.
const (
	ReportToColumn = "report_to"
	KindColumn     = "kind"
)

// ToldNobody is the value of ReportToColumn by which nobody is told.
const ToldNobody = "-"

// Told returns the addresses that are told of what is held for the row's own, or that its
// owner is. What belongs to no one person (a group, a room, a shared mailbox) has no owner to
// tell.
func (r Row) Told() (to []string, owner bool) {
	if r.Column == nil {
		return nil, true
	}
	switch told := r.Column(ReportToColumn); told {
	case ToldNobody:
		return nil, false
	case "":
		return nil, !IsShared(r.Column(KindColumn))
	default:
		return strings.Fields(told), false
	}
}

// IsShared reports a value of KindColumn that belongs to no one person.
func IsShared(kind string) bool {
	return slices.Contains([]string{"group", "room", "shared"}, strings.ToLower(kind))
}

// Rows returns what the directory holds of an address. Nil: there is no directory.
type Rows func(mail.Address) Row

// Of returns what the directory holds of an address, and nothing of the null one.
func (r Rows) Of(a mail.Address) Row {
	if r == nil || a.IsNull() {
		return Row{}
	}
	return r(a)
}

// IsThere reports a row of an address that is listed, or that may be. That of one which
// is not is zero.
func (r Row) IsThere() bool { return r.Failed || r.Login != "" || r.Column != nil }

// HasLogin reports that the row's address belongs to the login. The row may name
// several, with spaces between them. Case does not count, that of ASCII only.
func (r Row) HasLogin(login string) bool {
	return login != "" && slices.ContainsFunc(strings.Fields(r.Login), func(one string) bool {
		return len(one) == len(login) && strings.EqualFold(one, login)
	})
}
