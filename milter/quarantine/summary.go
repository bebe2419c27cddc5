package quarantine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"coexistd/milter/ownmail"
)

const (
	// maxTop bounds a summary's list of recipients.
	maxTop = 20
	// maxLines bounds each of its lists of entries.
	maxLines = 10
)

// summaryPage is what the administrators' summary shows.
type summaryPage struct {
	Title    string
	Hostname string
	Since    string // the last report's time; empty before the first
	// Held are the entries that are held now, New those that came since the
	// last report, whatever became of them.
	Held, New  int
	Counts     []count // by check and point
	Recipients []count // by owner, the highest first
	// MoreRecipients counts those that Recipients leaves out.
	MoreRecipients int
	Viruses        []line // the newest
	MoreViruses    int
	Untold         []line // the newest entries that no recipient is told of
	MoreUntold     int
	Uncertain      []line // the newest entries whose release was broken off
	MoreUncertain  int
	Bytes, Free    string
	Oldest         string
}

// count is one line of a table of the summary.
type count struct {
	Name      string
	Held, New int
}

// summary adds up entries.
type summary struct {
	reporter *Reporter
	last     time.Time // when the last report was sent

	held, fresh                            int
	heldBy, freshBy                        counter // by check and point
	heldFor, freshFor                      counter // by owner
	oldest                                 time.Time
	viruses, untold, uncertain             []Entry
	moreViruses, moreUntold, moreUncertain int
}

func (r *Reporter) newSummary(last time.Time) *summary {
	return &summary{reporter: r, last: last, heldBy: counter{}, freshBy: counter{}, heldFor: counter{}, freshFor: counter{}}
}

// add takes the next entry, whatever its state. They come newest first.
func (s *summary) add(e *Entry) {
	if e.Time.After(s.last) {
		s.fresh++
		s.freshBy.add(e)
		s.freshFor[e.Owner]++
	}
	if !e.isOpen() {
		return
	}
	s.held++
	s.heldBy.add(e)
	s.heldFor[e.Owner]++
	s.oldest = e.Time
	if e.IsVirus() {
		list(&s.viruses, &s.moreViruses, e)
	}
	if !e.Report {
		list(&s.untold, &s.moreUntold, e)
	}
	if e.State == Releasing {
		list(&s.uncertain, &s.moreUncertain, e)
	}
}

// list puts an entry on a list that has room for it.
func list(entries *[]Entry, more *int, e *Entry) {
	if len(*entries) == maxLines {
		*more++
		return
	}
	*entries = append(*entries, *e)
}

func (s *summary) page(usage Usage) summaryPage {
	r := s.reporter
	p := summaryPage{
		Title:    fmt.Sprintf("Quarantine of %s: %d held, %d new", r.Post.Hostname, s.held, s.fresh),
		Hostname: r.Post.Hostname, Held: s.held, New: s.fresh,
		Viruses: r.lines(s.viruses), MoreViruses: s.moreViruses,
		Untold: r.lines(s.untold), MoreUntold: s.moreUntold,
		Uncertain: r.lines(s.uncertain), MoreUncertain: s.moreUncertain,
		Bytes: ownmail.Bytes(usage.Bytes), Free: ownmail.Bytes(usage.Free),
	}
	if !s.last.IsZero() {
		p.Since = r.clock(s.last)
	}
	if !s.oldest.IsZero() {
		p.Oldest = r.clock(s.oldest)
	}
	p.Counts, _ = counts(s.heldBy, s.freshBy, len(s.heldBy)+len(s.freshBy))
	p.Recipients, p.MoreRecipients = counts(s.heldFor, s.freshFor, maxTop)
	return p
}

func (r *Reporter) lines(entries []Entry) []line {
	lines := make([]line, len(entries))
	for i := range entries {
		lines[i] = r.line(&entries[i])
	}
	return lines
}

// counter counts by name.
type counter map[string]int

// add counts an entry for each check that holds it.
func (c counter) add(e *Entry) {
	for _, check := range e.Checks {
		c[check+" at "+e.Point.String()]++
	}
}

// counts makes a table of the n names with the most entries held, and tells how
// many names it leaves out.
func counts(held, fresh counter, n int) (table []count, more int) {
	names := maps.Clone(held)
	for name := range fresh {
		names[name] += 0
	}
	for name, n := range names {
		table = append(table, count{Name: name, Held: n, New: fresh[name]})
	}
	slices.SortFunc(table, func(a, b count) int {
		return cmp.Or(b.Held-a.Held, b.New-a.New, cmp.Compare(a.Name, b.Name))
	})
	if len(table) > n {
		table, more = table[:n], len(table)-n
	}
	for i := range table {
		table[i].Name = ownmail.Unlinked(ownmail.OneLine(table[i].Name))
	}
	return table, more
}
