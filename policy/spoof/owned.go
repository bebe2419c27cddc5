package spoof

import (
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// maxNamed is how many addresses one message may name as its senders. The
// directory is asked for each.
const maxNamed = 100

// Owned is the finding of the check spoof at S2: whether the login may send as
// whom the message names. Where there is no login, there is nobody to compare
// with: such a client is listed by the administrator, or the check auth refuses it.
//
// Each of these must belong to the login: the envelope sender, unless it is null,
// as that of answers by a mail program is (RFC 8098 section 3); each mailbox of
// the From field, those of groups included; each of the Sender field; and each
// address in the text beside them, however it is spelled. A header that names no
// author leaves that to the envelope, from which an MTA fills it in. Resent fields
// are not looked at: they lend nothing to the From field.
func (r *Rules) Owned(f *Facts) verdict.Finding {
	if f.Login == "" {
		return verdict.Passed(verdict.CheckSpoof)
	}
	if found, isAnonymous := anonymous(f); isAnonymous {
		return found
	}
	names, more := f.named()
	if len(names) > maxNamed {
		names, more = names[:maxNamed], true
	}
	for _, n := range names {
		if n.vague && !f.lists(f.Routes.Home(n.address)) {
			continue
		}
		owns, failed := r.owns(f, n.address)
		who := strings.TrimSuffix(n.address.Key, "@")
		switch {
		case failed:
			return unsettled(verdict.Tempfail, true, verdict.OwnerNotKnown, who)
		case !owns:
			return objection("not the login's address", verdict.None, verdict.Why(verdict.NotTheLogins, who, n.where, f.Login))
		}
	}
	if more {
		return objection("many authors", verdict.None, verdict.Why(verdict.TooManySenders))
	}
	if why, imitates := f.Names.imitates(f.Authors); imitates {
		return objection("look-alike", verdict.Tag, why)
	}
	return verdict.Passed(verdict.CheckSpoof)
}

// anonymous objects to a message that does not tell who wrote it.
func anonymous(f *Facts) (found verdict.Finding, isAnonymous bool) {
	a := f.Authors
	switch {
	case a.Fields > 1:
		return objection("several From fields", verdict.None, verdict.Why(verdict.SeveralFrom, strconv.Itoa(a.Fields))), true
	case a.Broken != "":
		return objection("unreadable author", verdict.None, verdict.Why(verdict.AuthorUnreadable, a.Broken)), true
	case a.Fields == 1 && len(a.From) == 0, a.Fields == 0 && f.Sender.IsNull():
		return objection("no author", verdict.None, verdict.Why(verdict.AuthorLacks)), true
	}
	return verdict.Finding{}, false
}

// named is an address that a message names as its sender, and where. A vague one
// may be none: it counts when there is such an address.
type named struct {
	address mail.Address
	where   string
	vague   bool
}

// named lists them, each once. More is set when the texts have more than are looked at.
func (f *Facts) named() (all []named, more bool) {
	l := newLook(f.Names)
	add := func(n named) {
		if !slices.ContainsFunc(all, func(one named) bool { return one.address.Key == n.address.Key && one.vague == n.vague }) {
			all = append(all, n)
		}
	}
	if !f.Sender.IsNull() {
		add(named{address: f.Sender, where: "the envelope"})
	}
	for _, field := range [...]struct {
		name    string
		authors []Author
	}{{"From", f.Authors.From}, {"Sender", f.Authors.Sender}} {
		for _, author := range field.authors {
			add(named{address: author.Address.WithDelimiters(f.Delimiters), where: "the " + field.name + " field"})
			for _, r := range l.read(author.Display) {
				for _, mention := range l.addressesOf(r) {
					// What is no address to an MTA is none to those who read it.
					if address, err := mail.ParseAddress(mention.address, f.Delimiters); err == nil {
						add(named{address, "the text of the " + field.name + " field", mention.vague})
					}
				}
			}
		}
	}
	return all, l.isOver()
}

// maxDomains is how many domains of ours a bare local part is looked up in.
const maxDomains = 20

// owns tells whether an address belongs to the login: the login is allowed it, it is
// the login itself, or the directory gives it to the login. A subaddress that no row
// gives to anybody is its owner's. Failed is set when the directory cannot tell.
func (r *Rules) owns(f *Facts, a mail.Address) (owns, failed bool) {
	if a.IsNull() {
		return false, false
	}
	if a.Domain == "" {
		return r.ownsBare(f, a)
	}
	// Whose the address is without its tag counts only when nobody has it with it.
	self, home := a.WithDelimiters(""), f.Routes.Home(a).WithDelimiters("")
	delegated := r.Delegates[strings.ToLower(f.Login)]
	if home.IsIn(delegated) || self.IsIn(delegated) {
		return true, false
	}
	if login, err := mail.ParseAddress(f.Login, f.Delimiters); err == nil && f.Routes.Home(login).Key == home.Key {
		return true, false
	}
	row := f.Row.Of(home)
	if row.Failed || row.Login != "" {
		return !row.Failed && row.HasLogin(f.Login), row.Failed
	}
	if a.Owner == a.Key {
		return false, false
	}
	// One that cannot be read is null, which nobody owns.
	owner, _ := mail.ParseAddress(a.Owner, "")
	return r.owns(f, owner)
}

// ownsBare tells whether a bare local part belongs to the login. An MTA completes
// it with a domain that it alone knows: it must be the login's in each domain of
// ours whose directory lists it, and there must be one.
func (r *Rules) ownsBare(f *Facts, a mail.Address) (owns, failed bool) {
	if len(f.Routes.Domains) > maxDomains {
		return false, false
	}
	for name := range f.Routes.Domains {
		full, err := mail.ParseAddress(a.Key+name, f.Delimiters)
		if err != nil {
			return false, false
		}
		if !f.lists(full) {
			continue
		}
		switch its, unknown := r.owns(f, full); {
		case unknown:
			failed = true
		case !its:
			return false, false
		}
		owns = true
	}
	return owns && !failed, failed
}

// lists reports that the directory lists an address, or its owner's, or may do so.
func (f *Facts) lists(a mail.Address) bool {
	owner, _ := mail.ParseAddress(a.Owner, "")
	return f.Row.Of(a.WithDelimiters("")).IsThere() || f.Row.Of(owner).IsThere()
}
