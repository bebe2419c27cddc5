// Package sources reads directories: from outside to a snapshot. Each source keeps
// the list that it has while a new one cannot be read or is refused.
package sources

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"reflect"
	"slices"
	"time"

	"coexistd/policy/directory"
	"coexistd/policy/route"
)

// Directories are the directories of a configuration. They are for one goroutine;
// their Snapshots and Sets are for any number.
type Directories []*List

// Open reads all directories of a configuration. One that takes the place of a list
// in old, which may be nil, is judged by directory.Guard, be that of the same source or of
// another that had one of its domains and has it no more. Old stays what it is.
func Open(list []directory.Source, old Directories) Directories {
	var all Directories
	for _, source := range list {
		c := &List{Source: source, seed: maphash.MakeSeed()}
		if same := old.Named(source.Path); same != nil {
			if reflect.DeepEqual(same.Source, source) {
				*c = *same
			}
			c.Snapshot, c.Loaded, c.Bytes, c.inherits = same.Snapshot, same.Loaded, same.Bytes, same.inherits
		}
		c.inherits = maps.Clone(c.inherits)
		for _, one := range old.replacedBy(source, list) {
			c.inherit(one.list, one.domains)
		}
		all = append(all, c)
	}
	for _, c := range all {
		c.among = all
		c.judgeAnew()
		if c.Err = c.read(); c.waiting.why != nil {
			c.Err = c.waiting.why
		}
	}
	return all
}

// replaced is a list with the domains of which another takes its place.
type replaced struct {
	list    *List
	domains map[string]bool
}

// replacedBy returns the lists whose place a source takes. For each domain that it did not have
// before that is the longest of those that had the domain, and have it no more.
func (d Directories) replacedBy(source directory.Source, list []directory.Source) (all []replaced) {
	same := d.Named(source.Path)
	stays := func(path, domain string) bool {
		return slices.ContainsFunc(list, func(s directory.Source) bool { return s.Path == path && s.Domains[domain] != nil })
	}
	for _, domain := range slices.Sorted(maps.Keys(source.Domains)) {
		if same != nil && same.Source.Domains[domain] != nil {
			continue
		}
		var before *List
		for _, one := range d {
			if one.Source.Domains[domain] != nil && one.Snapshot != nil && !stays(one.Source.Path, domain) && (before == nil || one.Snapshot.Len() > before.Snapshot.Len()) {
				before = one
			}
		}
		if before == nil {
			continue
		}
		i := slices.IndexFunc(all, func(r replaced) bool { return r.list == before })
		if i < 0 {
			i, all = len(all), append(all, replaced{before, make(map[string]bool)})
		}
		all[i].domains[domain] = true
	}
	return all
}

// Err tells of each directory why it cannot be read or is refused, or is nil.
func (d Directories) Err() error {
	var errs []error
	for _, c := range d {
		errs = append(errs, c.Err)
	}
	return errors.Join(errs...)
}

// Set returns the lists as they are now. A directory without any cannot answer.
func (d Directories) Set() *directory.Set {
	domains, sameAs := make(map[string][]*directory.Snapshot), make(map[string]string)
	for _, one := range d {
		maps.Copy(sameAs, one.Source.SameAs)
	}
	for domain, lists := range d.byDomain() {
		for _, one := range lists {
			domains[domain] = append(domains[domain], one.Snapshot)
			if !one.covers(one.Snapshot, domain) {
				domains[domain] = append(domains[domain], nil)
			}
		}
	}
	return directory.NewSet(domains, sameAs)
}

// Entries are those of all directories that can be read, also where another directory counts.
func (d Directories) Entries() iter.Seq[directory.Entry] {
	return func(yield func(directory.Entry) bool) {
		for _, list := range d {
			if list.Snapshot == nil {
				continue
			}
			for entry := range list.Snapshot.All() {
				if !yield(entry) {
					return
				}
			}
		}
	}
}

// HaveBoth reports a mailbox that is here and at a platform, in a directory, or of all whom those of a
// domain lack.
func (d Directories) HaveBoth(domains map[string]*route.Domain) bool {
	for _, domain := range domains {
		if domain.Unlisted.Kind == route.Both {
			return true
		}
	}
	for entry := range d.Entries() {
		if entry.Residence().Kind == route.Both {
			return true
		}
	}
	return false
}

// Of returns the lists of a domain, in the order in which they are asked.
func (d Directories) Of(domain string) (lists []*List) {
	for _, one := range d {
		if one.Source.Domains[domain] != nil {
			lists = append(lists, one)
		}
	}
	sortFor(domain, lists)
	return lists
}

// sortFor puts the lists of a domain into the order in which they are asked.
func sortFor(domain string, lists []*List) {
	slices.SortStableFunc(lists, func(a, b *List) int { return a.Source.Rank[domain] - b.Source.Rank[domain] })
}

// byDomain returns the lists of each domain, in the order in which they are asked.
func (d Directories) byDomain() map[string][]*List {
	all := make(map[string][]*List)
	for _, one := range d {
		for domain := range one.Source.Domains {
			all[domain] = append(all[domain], one)
		}
	}
	for domain, lists := range all {
		sortFor(domain, lists)
	}
	return all
}

// Named returns the list of that Source.Path, or nil.
func (d Directories) Named(path string) *List {
	if i := slices.IndexFunc(d, func(one *List) bool { return one.Source.Path == path }); i >= 0 {
		return d[i]
	}
	return nil
}

// Poll reads the directories that have changed, save those that are being written,
// and returns those that have a new Snapshot.
func (d Directories) Poll(now time.Time) (loaded []*List) {
	for _, c := range d {
		before := c.Snapshot
		switch {
		case c.Source.Copy != "":
			if c.Err = c.take(); c.Err == nil {
				c.Err = c.read()
			}
		case c.isBeingWritten(now):
			continue
		default:
			c.Err = c.read()
		}
		if c.Snapshot != before {
			loaded = append(loaded, c)
		}
	}
	if len(loaded) > 0 {
		for _, c := range d {
			c.judgeAnew()
		}
	}
	return loaded
}

// Untold returns the directories that have an Err which it has not returned before.
func (d Directories) Untold() (failed []*List) {
	for _, c := range d {
		text := fmt.Sprint(c.Err)
		if c.Err != nil && text != c.told {
			failed = append(failed, c)
		}
		c.told = text
	}
	return failed
}
