package route

import (
	"maps"
	"slices"
)

// Circle returns the way over alternate domains that are ours from an alternate domain
// back to the domain that it serves, both included, or nil.
func (r *Rules) Circle(domain, alternate string) []string {
	came := map[string]string{alternate: ""} // where the search came from
	for queue := []string{alternate}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == domain {
			var way []string
			for ; at != ""; at = came[at] {
				way = append(way, at)
			}
			slices.Reverse(way)
			return way
		}
		if ours := r.Domains[at]; ours != nil {
			for _, next := range slices.Sorted(maps.Values(ours.Alternates)) {
				if _, seen := came[next]; !seen {
					came[next] = at
					queue = append(queue, next)
				}
			}
		}
	}
	return nil
}
