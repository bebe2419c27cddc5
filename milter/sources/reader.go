package sources

import (
	"context"
	"maps"
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
// no order is written as a name.
type Mark map[string]string

// Same reports that nothing has changed between two marks.
func (m Mark) Same(other Mark) bool { return len(m) > 0 && maps.Equal(m, other) }

// WentBack reports that a counter is lower than it was before, as after a restored backup.
func (m Mark) WentBack(before Mark) bool {
	for name, count := range before {
		if now, counts := m[name]; counts && now < count {
			return true
		}
	}
	return false
}
