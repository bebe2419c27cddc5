package networks

import (
	"net/netip"
	"slices"
)

// Known is what is known at the moment of the networks that a platform sends from. All
// of its tenants share them.
type Known struct {
	Networks Set
	// Pending is set while a part of them is not known yet.
	Pending bool
}

// Live are the networks of all platforms as they are now, by the platforms' names. It
// never changes: what is learned later makes another Live.
type Live map[string]Known

// Of returns the names of the platforms that the client may come from, sorted. While it
// is none, pending names a platform that it may turn out to be of, or is empty.
func (l Live) Of(client netip.Addr) (platforms []string, pending string) {
	for name, known := range l {
		switch {
		case known.Networks.Has(client):
			platforms = append(platforms, name)
		case known.Pending && (pending == "" || name < pending):
			pending = name
		}
	}
	if len(platforms) > 0 {
		slices.Sort(platforms)
		return platforms, ""
	}
	return nil, pending
}
