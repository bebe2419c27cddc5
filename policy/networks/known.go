package networks

import (
	"net/netip"
	"slices"
)

// Known is what is known at the moment of the networks that a platform sends from, all of
// whose tenants share them, or from which an upstream hands mail on.
type Known struct {
	Networks Set
	// Pending is set while a part of them is not known yet.
	Pending bool
	// Upstream is set for those of an upstream.
	Upstream bool
}

// Live are the networks of all platforms and upstreams as they are now, by their names. It
// never changes: what is learned later makes another Live.
type Live map[string]Known

// Upstream returns the name of the upstream that the client is of, or "". While it is none,
// pending names one that it may turn out to be of, or is empty.
func (l Live) Upstream(client netip.Addr) (upstream, pending string) {
	for name, known := range l {
		switch {
		case !known.Upstream:
		case known.Networks.Has(client):
			return name, ""
		case known.Pending && (pending == "" || name < pending):
			pending = name
		}
	}
	return "", pending
}

// Of returns the names of the platforms that the client may come from, sorted. While it
// is none, pending names a platform that it may turn out to be of, or is empty.
func (l Live) Of(client netip.Addr) (platforms []string, pending string) {
	for name, known := range l {
		switch {
		case known.Upstream:
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
