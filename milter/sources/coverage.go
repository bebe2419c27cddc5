package sources

import (
	"maps"
	"slices"
	"strings"
	"time"

	"coexistd/policy/directory"
)

// coverage begins the name of a column of a source's copies, which has no values. Behind it
// stand the domains that the list is of, or everyDomain where a line has no room for so many.
// A domain that is given to the source later has no address in the copies from before, and
// nobody knows yet who is there.
func coverage(source string) string { return coverages + source + " " }

// coverages begins the name of such a column of any source.
const coverages = "domains of "

// everyDomain stands in coverage for all.
const everyDomain = "*"

// coverageColumn is the name of that column.
func coverageColumn(source string, domains []string) string {
	if name := coverage(source) + strings.Join(domains, " "); len(name) <= maxLine/2 {
		return name
	}
	return coverage(source) + everyDomain
}

// covers reports that an address of the domain does not exist if a list lacks it, as far as
// this source goes. A list from before that another source had does not say so.
func (c *List) covers(list *directory.Snapshot, domain string) bool {
	if c.Source.Copy == "" || list == nil {
		return true
	}
	return slices.ContainsFunc(list.Columns(), func(column string) bool {
		names, is := strings.CutPrefix(column, coverage(c.Source.Path))
		return is && (names == everyDomain || strings.Contains(" "+names+" ", " "+domain+" "))
	})
}

// others are the domains of the source that a list is not of.
func (c *List) others(list *directory.Snapshot) map[string]bool {
	all := make(map[string]bool)
	for domain := range c.Source.Domains {
		if !c.covers(list, domain) {
			all[domain] = true
		}
	}
	return all
}

// inherit adds what another list has of some domains to the list that counts, until this
// source gives a list that is of them.
func (c *List) inherit(from *List, domains map[string]bool) {
	list := from.Snapshot
	if c.Snapshot != nil || len(domains) < len(from.Source.Domains) {
		list = c.join(c.Snapshot, from.Snapshot, domains)
	}
	if list == c.Snapshot {
		return
	}
	if c.Snapshot == nil {
		c.Loaded, c.Bytes = from.Loaded, from.Bytes
	}
	if c.Snapshot = list; c.inherits == nil {
		c.inherits = make(map[string]bool)
	}
	maps.Copy(c.inherits, domains)
}

// judgeAnew has what was refused judged once more, where that goes by what others list.
func (c *List) judgeAnew() {
	if len(c.inherits) == 0 {
		return
	}
	if c.waiting.seen = nil; c.refusal != nil {
		c.seen, c.sum = nil, 0
	}
}

// guard says why a list may not take the place of the one that counts, or nil. Domains that
// it is not of do not count. Where several take the place of one, those that come first are
// not judged, for the others still have what that one had; and what another lists by then
// is not lost.
func (c *List) guard(list *directory.Snapshot) error {
	if c.Snapshot == nil || list == c.Snapshot {
		return nil
	}
	others := c.others(list)
	for domain := range c.inherits {
		if slices.ContainsFunc(c.among, func(other *List) bool { return other != c && other.inherits[domain] }) {
			others[domain] = true
		}
	}
	elsewhere := func(e directory.Entry) bool {
		domain := e.Domain()
		return c.inherits[domain] && slices.ContainsFunc(c.among, func(other *List) bool { return other != c && other.lists(domain, e.Address()) })
	}
	if lost := directory.Guard(c.Snapshot, list, others, elsewhere); lost != nil {
		return &loss{lost}
	}
	return nil
}

// lists reports that the list has an address of a domain, and counts there.
func (c *List) lists(domain, address string) bool {
	if c.Snapshot == nil || c.Source.Domains[domain] == nil {
		return false
	}
	_, found := c.Snapshot.Lookup(address)
	return found
}

// count has a list count, which was read from a file of so many bytes. Of domains that it is
// not of, the one from before counts on.
func (c *List) count(list *directory.Snapshot, bytes int64) {
	if list == c.Snapshot {
		return
	}
	others := c.others(list)
	maps.DeleteFunc(c.inherits, func(domain string, _ bool) bool { return !others[domain] })
	if c.Snapshot != nil && len(others) > 0 {
		joined := c.join(list, c.Snapshot, others)
		if joined == list {
			clear(c.inherits)
		}
		list = joined
	}
	c.Snapshot, c.Loaded, c.Bytes = list, time.Now(), bytes
}

// join returns a list, which may be nil, with what another has of some domains. It is the list
// alone where the other has nothing, or something that the source would refuse now.
func (c *List) join(list, other *directory.Snapshot, domains map[string]bool) *directory.Snapshot {
	columns := slices.DeleteFunc(other.Columns(), func(name string) bool { return strings.HasPrefix(name, coverages) })
	columns = append(columns, c.Source.Limits...)
	parts := []*directory.Snapshot{other}
	if list != nil {
		columns, parts = append(list.Columns(), columns...), []*directory.Snapshot{list, other}
	}
	slices.Sort(columns)
	columns = append([]string{"address", "residence"}, slices.Compact(columns)...)
	joined, rows := directory.NewBuilder(c.Source, 0, 0), 0
	joined.Columns(1, columns)
	fields := make([]string, len(columns))
	for _, part := range parts {
		for e := range part.All() {
			if part == other && !domains[e.Domain()] {
				continue
			}
			for i, name := range columns {
				fields[i] = e.Column(name)
			}
			rows++
			joined.Add(rows, fields)
		}
	}
	if all, err := joined.Snapshot(); err == nil && all.Len() > 0 {
		return all
	}
	return list
}
