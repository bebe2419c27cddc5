package policy

import (
	"fmt"
	"slices"
	"strings"
)

// maxNamed is how many addresses one message may name as its senders. The
// directory is asked for each.
const maxNamed = 100

// owned is the finding of the check spoof at S2: whether the login may send as
// whom the message names. Where there is no login, there is nobody to compare
// with: such a client is listed by the administrator, or the check auth refuses it.
//
// Each of these must belong to the login: the envelope sender, unless it is null,
// as that of answers by a mail program is (RFC 8098 section 3); each mailbox of
// the From field, those of groups included; each of the Sender field; and each
// address in the text beside them. A header that names no author leaves that to
// the envelope, from which an MTA fills it in. Resent fields are not looked at:
// they lend nothing to the From field.
func (p *Policy) owned(m *Message) Finding {
	if m.Login == "" {
		return Finding{Check: CheckSpoof}
	}
	if f, ok := anonymous(m); !ok {
		return f
	}
	asked := make(map[string]bool)
	for _, n := range p.named(m) {
		if asked[n.address.Key] {
			continue
		}
		asked[n.address.Key] = true
		if len(asked) > maxNamed {
			return objection("many authors", fmt.Sprintf("the message names more than %d addresses as its senders", maxNamed),
				Reply{550, "5.7.1", "The message names too many senders"})
		}
		owns, failed := p.owns(m, n.address)
		who := printable(strings.TrimSuffix(n.address.Key, "@"))
		switch {
		case failed:
			return unsettled(fmt.Sprintf("the directory cannot say whether %s belongs to the login", who), Tempfail, true)
		case !owns:
			return objection("not the login's address", fmt.Sprintf("%s is named in %s and does not belong to the login %q", who, n.where, printable(m.Login)),
				// RFC 3463 section 3.8. It does not say whose the address is.
				Reply{553, "5.7.1", "Sender address refused: " + who + " does not belong to the login"})
		}
	}
	if why := p.own().imitates(slices.Concat(m.Authors.From, m.Authors.Sender)); why != "" {
		return marked("look-alike", why)
	}
	return Finding{Check: CheckSpoof}
}

// anonymous objects to a message that does not tell who wrote it.
func anonymous(m *Message) (f Finding, ok bool) {
	a := &m.Authors
	switch {
	case a.Fields > 1:
		return objection("several From fields", fmt.Sprintf("the header has %d From fields", a.Fields), replySeveral), false
	case a.Broken != "":
		return objection("unreadable author", "the authors cannot be read: "+printable(a.Broken),
			Reply{550, "5.6.0", "The message has a From or Sender field that cannot be read"}), false
	case a.Fields == 1 && len(a.From) == 0, a.Fields == 0 && m.Sender.IsNull():
		return objection("no author", "neither the From field nor the envelope names an author",
			Reply{550, "5.7.1", "The message names no author"}), false
	}
	return Finding{}, true
}

// named is an address that a message names as its sender, and where.
type named struct {
	address Address
	where   string
}

// named lists them.
func (p *Policy) named(m *Message) []named {
	var all []named
	seen := make(map[string]bool)
	if !m.Sender.IsNull() {
		all = append(all, named{m.Sender, "the envelope"})
	}
	for _, field := range [...]struct {
		name    string
		authors []Author
	}{{"From", m.Authors.From}, {"Sender", m.Authors.Sender}} {
		for _, author := range field.authors {
			all = append(all, named{author.Address.tagged(p.Delimiters), "the " + field.name + " field"})
			for _, part := range parts(author.Display) {
				if seen[part] {
					continue
				}
				seen[part] = true
				for _, text := range addressesIn(visible(part, longestDisplay)) {
					// What is no address to an MTA is none to those who read it.
					if address, err := ParseAddress(text, p.Delimiters); err == nil {
						all = append(all, named{address, "the text of the " + field.name + " field"})
					}
				}
			}
		}
	}
	return all
}

// maxDomains is how many domains of ours a bare local part is looked up in.
const maxDomains = 20

// owns tells whether an address belongs to the login: he is allowed it, it is the
// login itself, or the directory gives it to him. A subaddress that no row gives to anybody is its owner's. Failed is set
// when the directory cannot tell.
func (p *Policy) owns(m *Message, a Address) (owns, failed bool) {
	if a.IsNull() {
		return false, false
	}
	if a.Domain == "" {
		return p.ownsBare(m, a)
	}
	// Whose the address is without its tag counts only when nobody has it with it.
	self, home := a.tagged(""), p.Home(a).tagged("")
	delegated := p.Spoof.Delegates[strings.ToLower(m.Login)]
	if home.isIn(delegated) || self.isIn(delegated) {
		return true, false
	}
	if login, err := ParseAddress(m.Login, p.Delimiters); err == nil && p.Home(login).Key == home.Key {
		return true, false
	}
	row := m.row(home)
	if row.Failed || row.Login != "" {
		return !row.Failed && hasLogin(row, m.Login), row.Failed
	}
	if a.Owner == a.Key {
		return false, false
	}
	// One that cannot be read is null, which nobody owns.
	owner, _ := ParseAddress(a.Owner, "")
	return p.owns(m, owner)
}

// ownsBare tells whether a bare local part belongs to the login. An MTA completes
// it with a domain that it alone knows: it must be the login's in each domain of
// ours whose directory lists it, and there must be one.
func (p *Policy) ownsBare(m *Message, a Address) (owns, failed bool) {
	if len(p.Domains) > maxDomains {
		return false, false
	}
	for name := range p.Domains {
		full, err := ParseAddress(a.Key+name, p.Delimiters)
		if err != nil {
			return false, false
		}
		owner, _ := ParseAddress(full.Owner, "")
		if !m.row(full.tagged("")).isThere() && !m.row(owner).isThere() {
			continue
		}
		switch his, unknown := p.owns(m, full); {
		case unknown:
			failed = true
		case !his:
			return false, false
		}
		owns = true
	}
	return owns && !failed, failed
}

// isThere reports a row of an address that is listed, or that may be. That of one
// which is not is zero.
func (r Row) isThere() bool { return r.Failed || r.Login != "" || r.Column != nil }
