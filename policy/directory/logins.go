package directory

import (
	"fmt"
	"strings"

	"coexistd/policy/route"
)

// SharedLogins tells of logins that two entries of a source have as their only one, although
// neither is a group, a room or a shared mailbox: each owner could write as the other. At most
// so many are named; the last text counts the rest. Only where the source names its entries by
// their DNs is one told from the other: a mailbox and its aliases are one entry.
func (s *Snapshot) SharedLogins(most int) (texts []string) {
	more, first, last := 0, make(map[uint64]uint32), ""
	for e := range s.All() {
		login := e.Login()
		if !e.isOnes() || len(strings.Fields(login)) != 1 {
			continue
		}
		hash := s.hashLogin(login)
		at, known := first[hash]
		if !known {
			first[hash] = e.at
			continue
		}
		other := Entry{list: s, at: at}
		if !strings.EqualFold(other.Login(), login) || other.Column("origin") == e.Column("origin") {
			continue
		}
		if e.Column("origin") == last {
			continue // its next address
		}
		last = e.Column("origin")
		if len(texts) == most {
			more++
			continue
		}
		texts = append(texts, fmt.Sprintf("the login %q has two owners: %s with %s, and %s with %s; either may write as the other",
			clip(login), clip(other.Column("origin")), other.Address(), clip(e.Column("origin")), e.Address()))
	}
	if more > 0 {
		texts = append(texts, fmt.Sprintf("so it is with %d more entries", more))
	}
	return texts
}

// isOnes reports an entry that is known by its DN and belongs to one person.
func (e Entry) isOnes() bool {
	return strings.Contains(e.Column("origin"), "=") && !route.IsShared(e.Column(route.KindColumn))
}
