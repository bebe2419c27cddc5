// Package directory holds the list of addresses with their residences.
//
// A File is one list as it was read at one instant. It never changes: a reload
// gives a new File, which takes the old one's place when all else that the
// reload touches is right too. A file is taken whole or not at all; one bad row
// refuses it, for a list that is read in part sends mail to the wrong place. A
// Set says which File answers for which domain.
package directory

import (
	"maps"
	"slices"
	"strconv"

	"coexistd/policy"
)

// Set says which list answers for which domain. It never changes and may be
// asked by any number of goroutines at once.
type Set struct {
	files map[string]*File
	lists []*File // each of files once, save for nil
	// broken is set when one of files is nil.
	broken bool
}

// NewSet returns a Set of the files, by the normal form of the domain that they
// answer for. A nil *File is a directory that cannot answer. A domain that is
// not in the map has no directory.
func NewSet(files map[string]*File) *Set {
	s := &Set{files: maps.Clone(files)}
	for _, f := range files {
		switch {
		case f == nil:
			s.broken = true
		case !slices.Contains(s.lists, f):
			s.lists = append(s.lists, f)
		}
	}
	return s
}

// List returns what the directory of the address's domain says of the address,
// or of its owner when the address is a subaddress without an entry of its own.
// A domain without a directory lists nothing.
func (s *Set) List(a policy.Address) policy.Listing {
	_, listing := s.find(a)
	return listing
}

// Logins returns the login that owns the address, next to what List returns. It
// is empty when the address is not listed or its entry names none.
func (s *Set) Logins(a policy.Address) (login string, listing policy.Listing) {
	e, listing := s.find(a)
	if listing.Found {
		login = e.Login()
	}
	return login, listing
}

// Row returns what the directory holds of the address beside where it lives, or of
// its owner as List does. It is zero when the address is not listed.
func (s *Set) Row(a policy.Address) policy.Row {
	e, listing := s.find(a)
	if !listing.Found {
		return policy.Row{Failed: listing.Failed}
	}
	return policy.Row{Login: e.Login(), Column: e.Column}
}

// Limit returns what a column of Source.Limits says of a login: the smallest number
// in the rows that name him, or in that of the address which he is; without any
// number "unlimited", if one says so, or else "". Case does not count, that of ASCII
// only. It failed when a directory cannot answer and no other knows the login.
func (s *Set) Limit(login, column string) (value string, failed bool) {
	limit, known := int64(0), false
	for _, f := range s.lists {
		own, found := f.limitOf(login, column)
		limit, known = stricter(limit, own), known || found
	}
	switch limit {
	case 0:
		return "", !known && s.broken
	case policy.Unlimited:
		return "unlimited", false
	}
	return strconv.FormatInt(limit, 10), false
}

func (s *Set) find(a policy.Address) (Entry, policy.Listing) {
	f, ok := s.files[a.Domain]
	if !ok {
		return Entry{}, policy.Listing{}
	}
	if f == nil {
		return Entry{}, policy.Listing{Failed: true}
	}
	e, found := f.lookup(a)
	if !found {
		return Entry{}, policy.Listing{}
	}
	return e, policy.Listing{Found: true, Address: e.Address(), Residence: e.Residence()}
}
