package config

import (
	"maps"
	"slices"

	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/route"
)

// alike is a domain that has the same users as another, and what the file says of it.
type alike struct {
	table  *schema.Table
	domain *route.Domain
}

// haveSameUsers has the directories of a domain answer for those that have the same users. They go by its mode as
// well, unless they have one of their own: a name without a domain means the user whom it means with one.
func (r *reader) haveSameUsers() {
	for _, one := range r.alike {
		other := one.domain.SameAs
		named := r.config.Rules.Routes.Domains[other]
		r.refuseSame(one, named)
		if named != nil && !one.table.Has("mode") {
			one.domain.Observe = named.Observe
		}
		for _, key := range []string{"directory", "alternate", "platforms"} {
			if one.table.Has(key) {
				one.table.Fail(key, "has no meaning beside same_as: what %s says counts; leave one of the two out", other)
			}
		}
		for _, s := range r.sources {
			if s.Domains[other] != nil {
				s.SameAs[one.domain.Name] = other
			}
		}
	}
}

// refuseSame refuses a same_as that names no domain with a directory of its own.
func (r *reader) refuseSame(one alike, other *route.Domain) {
	const right = "name the domain whose directory has the users"
	switch {
	case other == nil:
		names := slices.Sorted(maps.Keys(r.config.Rules.Routes.Domains))
		one.table.Fail("same_as", "%s is not a domain of this file; %s", wording.Quote(one.domain.SameAs), wording.Suggest(one.domain.SameAs, names))
	case other == one.domain:
		one.table.Fail("same_as", "is the domain itself; %s", right)
	case other.SameAs != "":
		one.table.Fail("same_as", "%s is itself the same as %s; %s", other.Name, other.SameAs, right)
	case !slices.ContainsFunc(slices.Collect(maps.Values(r.sources)), func(s *source) bool { return s.Domains[other.Name] != nil }):
		one.table.Fail("same_as", "%s has no directory to say who lives elsewhere; %s", other.Name, right)
	}
}
