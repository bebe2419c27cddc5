package sources

import (
	"context"
	"maps"
	"strings"
)

// Reader reads the list of one place outside this host, such as LDAP or SQL. One goroutine
// at a time calls its methods.
type Reader interface {
	// Mark tells the state of the list by what is cheap to ask. An empty Mark tells
	// nothing: only Read does.
	Mark(ctx context.Context) (Mark, error)
	// Read gives the whole list to add, a row for each address, and ends with the first
	// error, that of add included. Without an error the list is complete: an answer that
	// was cut short is an error. What the list says of the rows is not judged.
	Read(ctx context.Context, add func(Row) error) error
	// Close ends the connections that the Reader keeps.
	Close()
}

// Row is one address as a source lists it. The texts are a stranger's.
type Row struct {
	// Origin is how the source names the entry, for people: a DN, the number of a row.
	Origin string
	// Address, Residence, Login and Target are the columns of a directory file.
	Address, Residence, Login, Target string
	// Kind is what has the address: "user", "group", "room", "shared", or "" when the
	// source does not say.
	Kind string
	// Further are the values of further columns, by their names in lower case.
	Further map[string]string
}

// Mark is the state of a list: counters that only grow, by the name of what counts. They
// are compared as texts, so that a number is written with leading zeros. A value that has
// no order is written as a name. What names the state that counters belong to stands under a
// name that begins with Identity, and what servers have in common under one with Progress.
type Mark map[string]string

// The beginnings of names that do not tell by themselves that a server went back.
const (
	// Identity is of what is another after a server was restored, whose counters then begin anew.
	Identity = "identity of "
	// Progress is of a counter that several servers have in common, one of which may lag behind
	// the others.
	Progress = "progress of "
)

// Same reports that nothing has changed between two marks.
func (m Mark) Same(other Mark) bool { return len(m) > 0 && maps.Equal(m, other) }

// WentBack reports that a counter is lower than it was before, as after a restored backup.
func (m Mark) WentBack(before Mark) bool {
	return m.differs(before, func(name, was, now string) bool {
		return now < was && !strings.HasPrefix(name, Identity) && !strings.HasPrefix(name, Progress)
	})
}

// MayLack reports that the server may have been restored from a backup, since its identity is
// another than before, or that it lags behind the one that was asked before.
func (m Mark) MayLack(before Mark) bool {
	return m.differs(before, func(name, was, now string) bool {
		return now != was && strings.HasPrefix(name, Identity) || now < was && strings.HasPrefix(name, Progress)
	})
}

// differs reports that something which both marks have differs in a way.
func (m Mark) differs(before Mark, how func(name, was, now string) bool) bool {
	for name, was := range before {
		if now, known := m[name]; known && how(name, was, now) {
			return true
		}
	}
	return false
}

// maxCounters bounds what is known of the counters of all servers of a source.
const maxCounters = 1000

// and returns what has been seen of each counter last, after a mark: a source may have several
// servers, of which one tells its own.
func (m Mark) and(next Mark) Mark {
	all := make(Mark)
	for name, count := range next {
		if count != "" {
			all[name] = count
		}
	}
	for name, count := range m {
		if _, newer := all[name]; !newer && len(all) < maxCounters {
			all[name] = count
		}
	}
	return all
}
