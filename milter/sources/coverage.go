package sources

import (
	"slices"
	"strings"
)

// coverage begins the name of a column of a source's copies, which has no values. Behind it
// stand the domains that the list is of, or everyDomain where a line has no room for so many.
// A domain that is given to the source later has no address in the copies from before, and
// nobody knows yet who is there.
func coverage(source string) string { return "domains of " + source + " " }

// everyDomain stands in coverage for all.
const everyDomain = "*"

// coverageColumn is the name of that column.
func coverageColumn(source string, domains []string) string {
	if name := coverage(source) + strings.Join(domains, " "); len(name) <= maxLine/2 {
		return name
	}
	return coverage(source) + everyDomain
}

// covers reports that an address of the domain does not exist if the list lacks it, as far as
// this source goes. A list from before that another source had does not say so.
func (c *List) covers(domain string) bool {
	if c.Source.Copy == "" || c.Snapshot == nil {
		return true
	}
	return slices.ContainsFunc(c.Snapshot.Columns(), func(column string) bool {
		names, is := strings.CutPrefix(column, coverage(c.Source.Path))
		return is && (names == everyDomain || strings.Contains(" "+names+" ", " "+domain+" "))
	})
}
