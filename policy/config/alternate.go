package config

import (
	"maps"
	"slices"
	"strings"
)

// refuseAlternates refuses alternate domains that would not lead away from
// here, or not to one domain's mailboxes alone.
func (r *reader) refuseAlternates() {
	ours := r.config.Rules.Routes.Domains
	users := make(map[string]alternate) // by alternate domain
	inCircle := make(map[string]bool)   // domains of circles that were reported
	for _, a := range r.alternates {
		if first, taken := users[a.name]; taken {
			here, there := later(a.place, first.place)
			r.fail(here, "%s is already %s on line %d; an alternate domain reaches the mailboxes of one domain on one platform",
				a.name, there.key, there.line)
			continue
		}
		users[a.name] = a
		switch {
		case a.name == a.domain:
			r.fail(a.place, "%s is the domain itself; mail for it would come back here, so write the domain that reaches only the other platform, like example-com.onmicrosoft.com", a.name)
		case ours[a.name] == nil || inCircle[a.domain] && inCircle[a.name]:
		default:
			var circle []string
			if len(r.problems) <= maxPrinted { // a search for each of many takes long
				circle = r.circle(a)
			}
			for _, name := range circle {
				inCircle[name] = true
			}
			if len(circle) > 12 {
				circle = slices.Concat(circle[:8], []string{"…"}, circle[len(circle)-1:])
			}
			if circle != nil {
				r.fail(a.place, "the alternate domains form a circle: %s -> %s; an alternate domain must not be one of our domains",
					a.domain, strings.Join(circle, " -> "))
				continue
			}
			r.fail(a.place, "%s is one of our domains, so mail for it would not leave; write the domain that reaches only the other platform", a.name)
		}
	}
}

// circle returns the way from an alternate domain back to the domain that it
// serves, both included, or nil.
func (r *reader) circle(a alternate) []string {
	came := map[string]string{a.name: ""} // where the search came from
	for queue := []string{a.name}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == a.domain {
			var way []string
			for ; at != ""; at = came[at] {
				way = append(way, at)
			}
			slices.Reverse(way)
			return way
		}
		if domain := r.config.Rules.Routes.Domains[at]; domain != nil {
			for _, next := range slices.Sorted(maps.Values(domain.Alternates)) {
				if _, seen := came[next]; !seen {
					came[next] = at
					queue = append(queue, next)
				}
			}
		}
	}
	return nil
}
