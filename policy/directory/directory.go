// Package directory holds the list of addresses with their residences, as it
// stands in memory. It reads nothing: a source fills a Builder.
//
// A Snapshot is one list as it was at one instant. It never changes: a reload
// gives a new Snapshot, which takes the old one's place when Guard lets it and all
// else that the reload touches is right too. One bad row of a file refuses it whole: who
// has written it can correct it. Of a source outside this host a bad row is a Flaw: mail
// for its address is put off until it is right, and all others' goes on. A Set says which Snapshot answers for which domain.
package directory

import (
	"maps"
	"slices"
	"strconv"

	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
)

// Source says where the addresses of some domains come from, and what is asked of
// them.
type Source struct {
	// Path names a CSV file (RFC 4180) with a header line. The columns address
	// and residence are required; the order is free. Of a source outside this host it is
	// the name that people know: "source:ad".
	Path string
	// Copy is the path of the copies of such a source's lists, without the endings that tell
	// one from another. It is empty for a file.
	Copy string
	// Domains are the domains that may be listed, by their normal form. A row of
	// any other domain is a bad row.
	Domains map[string]*route.Domain
	// SameAs maps a further domain to the one of Domains whose people it has, in normal forms. No row
	// is of such a domain: see Set.Listed.
	SameAs map[string]string
	// Rank is the source's place among those of a domain, from 0, by the domains' normal
	// forms: the first that lists an address counts. A domain that it lacks has rank 0.
	Rank map[string]int
	// Platforms are those where mailboxes may live.
	Platforms []*route.Platform
	// MaxLoss is the share of the addresses, from 0 to 1, that a reload may drop, and
	// MaxLossFloor the number that it may drop in any case, up to half of them. See
	// Guard.
	MaxLoss      float64
	MaxLossFloor int
	// Delimiters are those of policy.Policy.
	Delimiters string
	// Limits names the columns, in lower case, that hold accounts' own limits. A
	// file must have them all; a copy that lacks one gives nobody such a limit. A value that is not empty is a whole number, at least
	// 1 and at most a million million, or "unlimited" in any case.
	Limits []string
	// Lean has a Snapshot hold of further columns only what mail is decided by: Login, Target,
	// who is told of what is held, and the columns of Limits. The others are read and judged, and have no values.
	Lean bool
}

// refusesUnlisted reports a domain in which only listed addresses exist.
func (s Source) refusesUnlisted() bool {
	for _, domain := range s.Domains {
		if domain.Unlisted.Kind == route.Nowhere {
			return true
		}
	}
	return false
}

// Set says which list answers for which domain. It never changes and may be
// asked by any number of goroutines at once.
type Set struct {
	domains map[string][]*Snapshot
	sameAs  map[string]string
	lists   []*Snapshot // each of domains once, save for nil
	// broken is set when one of domains is nil.
	broken bool
}

// NewSet returns a Set of the lists, by the normal form of the domain that they
// answer for, in the order in which they are asked. A nil *Snapshot is a directory that
// cannot answer: what those before it do not list, nobody can tell. A domain that is not in
// the map has no directory, unless sameAs maps it to one that is: see Source.SameAs.
func NewSet(domains map[string][]*Snapshot, sameAs map[string]string) *Set {
	s := &Set{domains: maps.Clone(domains), sameAs: maps.Clone(sameAs)}
	for _, lists := range domains {
		for _, list := range lists {
			switch {
			case list == nil:
				s.broken = true
			case !slices.Contains(s.lists, list):
				s.lists = append(s.lists, list)
			}
		}
	}
	return s
}

// Listed returns the address by which the directories have an address: that with the same local part in
// the domain whose people its own has, or itself.
func (s *Set) Listed(a mail.Address) mail.Address {
	if domain := s.sameAs[a.Domain]; domain != "" {
		return a.InDomain(domain)
	}
	return a
}

// List returns what the first of the domain's directories that lists it says of the address,
// or of its owner when the address is a subaddress without an entry of its own there.
// A domain without a directory lists nothing.
func (s *Set) List(a mail.Address) route.Listing {
	_, listing := s.find(a)
	return listing
}

// Row returns what the directory holds of the address beside where it lives, or of
// its owner as List does. It is zero when the address is not listed.
func (s *Set) Row(a mail.Address) route.Row {
	e, listing := s.find(a)
	if !listing.Found {
		return route.Row{Failed: listing.Failed}
	}
	return route.Row{Login: e.Login(), Column: e.Column}
}

// Limit returns what a column of Source.Limits says of a login: the smallest number
// in the rows that name it, or in that of the address that it is; without any
// number "unlimited", if one says so, or else "". Case does not count, that of ASCII
// only. It failed when a directory cannot answer and no other knows the login.
func (s *Set) Limit(login, column string) (value string, failed bool) {
	limit, known := int64(0), false
	for _, list := range s.lists {
		own, found := list.limitOf(login, column)
		limit, known = stricter(limit, own), known || found
	}
	switch limit {
	case 0:
		return "", !known && s.broken
	case rate.Unlimited:
		return "unlimited", false
	}
	return strconv.FormatInt(limit, 10), false
}

func (s *Set) find(a mail.Address) (Entry, route.Listing) {
	a = s.Listed(a)
	for _, list := range s.domains[a.Domain] {
		if list == nil {
			return Entry{}, route.Listing{Failed: true}
		}
		e, found := list.Find(a)
		switch {
		case found && e.Unclear():
			return Entry{}, route.Listing{Failed: true}
		case found:
			return e, route.Listing{Found: true, Address: e.Address(), Residence: e.Residence(), Target: e.Target()}
		}
	}
	return Entry{}, route.Listing{}
}
