package directory

import (
	"fmt"
	"maps"
	"slices"

	"coexistd/policy/route"
)

// Guard returns an error when fresh must not take the place of old. It may not drop more
// than Source.MaxLoss of old's addresses, or leave them unclear, unless that are at most Source.MaxLossFloor
// addresses and no more than half of all; and it may not leave a domain without any in
// which only listed addresses exist, unless MaxLoss is 1. It judges by the Source of
// fresh; addresses of domains that this does not have any more are not counted, and neither
// are those of the domains in others, of which fresh knows nothing. What fresh lacks is not
// lost where elsewhere, which may be nil, says that another list has it.
func Guard(old, fresh *Snapshot, others map[string]bool, elsewhere func(Entry) bool) error {
	s := fresh.source
	remedy, list := "The old list stays. If the loss is meant, raise max_loss for this reload or restart the daemon", "file"
	if s.Copy != "" {
		remedy, list = "The old list stays. If the loss is meant, coexistd directory diff "+s.Path+" says how to accept it", "list"
	}
	lost := s.lossOf(old, fresh, others, elsewhere)
	if why := s.losesTooMany(lost.missing, lost.total); why != "" {
		if lost.unclear > 0 {
			why = fmt.Sprintf("of %d of them it has an entry that does not say where they live%s; %s", lost.unclear, fresh.firstUnclear(), why)
		}
		return fmt.Errorf("%s: the new %s lacks %d of %d addresses (%.2f %%), %s for one; %s. %s",
			s.Path, list, lost.missing, lost.total, 100*float64(lost.missing)/float64(lost.total), lost.example, why, remedy)
	}
	for e := range fresh.All() {
		delete(lost.domains, e.Domain())
	}
	for _, domain := range slices.Sorted(maps.Keys(lost.domains)) {
		if s.Domains[domain].Unlisted.Kind == route.Nowhere && s.MaxLoss < 1 {
			return fmt.Errorf("%s: the new %s lacks every address of %s. %s", s.Path, list, domain, remedy)
		}
	}
	return nil
}

// loss is what a new list lacks of an old one.
type loss struct {
	total   int             // the old addresses that are compared
	missing int             // those of them that are lost, of which
	unclear int             // so many are there, but do not say where they live
	example string          // one that is lost
	domains map[string]bool // those that lose some
}

// lossOf compares two lists. See Guard.
func (s Source) lossOf(old, fresh *Snapshot, others map[string]bool, elsewhere func(Entry) bool) loss {
	lost := loss{domains: make(map[string]bool)}
	for e := range old.All() {
		domain := e.Domain()
		if _, ours := s.Domains[domain]; !ours || others[domain] {
			continue
		}
		lost.total++
		now, found := fresh.Lookup(e.Address())
		if found && (!now.Unclear() || e.Unclear()) || !found && elsewhere != nil && elsewhere(e) {
			continue
		}
		if found {
			lost.unclear++
		}
		if lost.domains[domain] = true; lost.missing == 0 {
			lost.example = e.Address()
		}
		lost.missing++
	}
	return lost
}

// losesTooMany says why so many of the addresses may not be dropped at once, or "".
func (s Source) losesTooMany(missing, total int) string {
	// The allowance keeps a share such as 0.29 of 100 from becoming 28.99….
	const allowance = 1e-6
	if float64(missing) <= s.MaxLoss*float64(total)+allowance {
		return ""
	}
	why := fmt.Sprintf(`max_loss = "%g%%" allows less`, 100*s.MaxLoss)
	switch {
	case missing > s.MaxLossFloor:
		return why + fmt.Sprintf(", and max_loss_floor = %d, too", s.MaxLossFloor)
	case missing > total-missing:
		return why + ", and max_loss_floor no more than half of them"
	}
	return ""
}

// TooUnclear says that mail is put off for more of the addresses than a new list might lack,
// or is "".
func (s *Snapshot) TooUnclear() string {
	if s.source.losesTooMany(len(s.unclear), s.count) == "" {
		return ""
	}
	return fmt.Sprintf("%s: of %d addresses %d do not say where they live, so that their mail is put off%s", s.source.Path, s.count, len(s.unclear), s.firstUnclear())
}

// firstUnclear tells what is wrong with the first row that is put off, or "".
func (s *Snapshot) firstUnclear() string {
	for _, one := range s.flaws.Rows {
		if one.PutOff {
			return ": " + one.Problem
		}
	}
	return ""
}
