package sources

import (
	"strings"

	"coexistd/policy/directory"
	"coexistd/policy/mail"
)

// Standing says whether what an entry says of its address counts.
type Standing uint8

// The standings of entries.
const (
	// Counts: mail goes by it.
	Counts Standing = iota
	// Shadowed: a list that is asked earlier has the address.
	Shadowed
	// Undecided: a list that is asked earlier cannot say yet whom it has. Mail is put off.
	Undecided
	// Unclear: the entry does not say where its mailbox lives. Mail is put off.
	Unclear
)

// Ranking is what is asked before a list, by domains.
type Ranking struct {
	list   *List
	before map[string][]*List
}

// Ranking returns what is asked before a list.
func (d Directories) Ranking(list *List) *Ranking {
	r := &Ranking{list: list, before: make(map[string][]*List)}
	for domain, lists := range d.byDomain() {
		for i, one := range lists {
			if one == list {
				r.before[domain] = lists[:i]
			}
		}
	}
	return r
}

// Standing says whether an entry of the list counts. Where it does not for another list, that
// one is returned, too.
func (r *Ranking) Standing(entry directory.Entry) (Standing, *List) {
	by, _ := r.shadow(entry)
	for _, other := range r.before[entry.Domain()] {
		switch {
		case other == by:
			return Shadowed, by
		case !other.decides(entry.Domain()):
			return Undecided, other
		}
	}
	if entry.Unclear() {
		return Unclear, nil
	}
	return Counts, nil
}

// decides reports a list that says of each address of the domain whether it has it.
func (c *List) decides(domain string) bool { return c.Snapshot != nil && c.covers(c.Snapshot, domain) }

// shadow returns the entry that is asked instead of one of the list, and its list: the first.
// It is nil where there is none.
func (r *Ranking) shadow(entry directory.Entry) (by *List, counts directory.Entry) {
	for _, other := range r.before[entry.Domain()] {
		if other.Snapshot == nil {
			continue
		}
		if e, found := findAs(other, entry); found {
			return other, e
		}
	}
	return nil, directory.Entry{}
}

// findAs finds what a list has of an entry's address. It has that of a subaddress by its owner,
// too.
func findAs(list *List, entry directory.Entry) (directory.Entry, bool) {
	if e, found := list.Snapshot.Lookup(entry.Address()); found || !strings.ContainsAny(entry.Address(), list.Source.Delimiters) {
		return e, found
	}
	a, err := mail.ParseAddress(entry.Address(), list.Source.Delimiters)
	if err != nil {
		return directory.Entry{}, false
	}
	return list.Snapshot.Find(a)
}
