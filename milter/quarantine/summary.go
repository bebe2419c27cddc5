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

// summaryPage is what the administrators' summary shows. Times are in the reports' zone.
type summaryPage struct {
	Title    string // the mail's subject
	Hostname string
	Since    time.Time // the last report's time; zero before the first
	// Held are the entries that are held now, New those that came since the
	// last report, whatever became of them.
	Held, New  int
	Counts     []*count // by check and point
	Recipients []*count // by owner, the highest first
	// MoreRecipients counts those that Recipients leaves out.
	MoreRecipients int
	Viruses        newest
	Untold         newest // no recipient is told of them
	Uncertain      newest // their release was broken off
	Bytes, Free    string
	Oldest         time.Time // when the oldest entry came; zero when there is none
}

// newest are the first of some entries, and how many more there are.
type newest struct {
	Lines []line
	More  int
}

// count is one line of a table of the summary.
type count struct {
	Name      string
	Held, New int
}

// summary adds up entries.
type summary struct {
	*Reporter
	shown  summaryPage
	last   time.Time // when the last report was sent
	oldest time.Time
	checks counter // by check and point
	owners counter
}

func (r *Reporter) newSummary(last time.Time) *summary {
	return &summary{Reporter: r, last: last, checks: counter{}, owners: counter{}}
}

// add takes the next entry, whatever its state. They come newest first.
func (s *summary) add(e *Entry) {
	var c count
	if e.Time.After(s.last) {
		c.New = 1
	}
	if e.isOpen() {
		c.Held = 1
	}
	if c.New+c.Held == 0 {
		return
	}
	s.shown.New += c.New
	s.shown.Held += c.Held
	s.owners.add(e.Owner, c)
	for _, check := range e.Checks {
		s.checks.add(check+" at "+e.Point.String(), c)
	}
	if !e.isOpen() {
		return
	}
	s.oldest = e.Time
	if e.IsVirus() {
		s.list(&s.shown.Viruses, e)
	}
	if !e.Report {
		s.list(&s.shown.Untold, e)
	}
	if e.State == Releasing {
		s.list(&s.shown.Uncertain, e)
	}
}

// list puts an entry on a list that has room for it.
func (s *summary) list(n *newest, e *Entry) {
	if len(n.Lines) == maxLines {
		n.More++
		return
	}
	n.Lines = append(n.Lines, s.line(e))
}

// mail makes the mail for the administrators, to nobody as yet.
func (s *summary) mail(usage Usage) Mail {
	p := s.page(usage)
	m := Mail{IDs: []string{}, Summary: true, by: s.Reporter, page: p}
	m.Subject = s.subject(&m, p.Title)
	p.Title = m.Subject
	m.page = p
	return m
}

func (s *summary) page(usage Usage) summaryPage {
	p := s.shown
	p.Title = fmt.Sprintf("Quarantine of %s: %d held, %d new", s.Post.Hostname, p.Held, p.New)
	p.Hostname = s.Post.Hostname
	p.Bytes, p.Free = ownmail.Bytes(usage.Bytes), ownmail.Bytes(usage.Free)
	p.Since, p.Oldest = s.last.In(s.Zone), s.oldest.In(s.Zone)
	p.Counts, p.Recipients = s.checks.table(), s.owners.table()
	if more := len(p.Recipients) - maxTop; more > 0 {
		p.Recipients, p.MoreRecipients = p.Recipients[:maxTop], more
	}
	return p
}

// counter counts by name.
type counter map[string]*count

func (c counter) add(name string, more count) {
	if c[name] == nil {
		c[name] = &count{Name: name}
	}
	c[name].Held += more.Held
	c[name].New += more.New
}

// table returns the counts with names for people, those with the most entries held
// first.
func (c counter) table() []*count {
	table := slices.SortedFunc(maps.Values(c), func(a, b *count) int {
		return cmp.Or(b.Held-a.Held, b.New-a.New, cmp.Compare(a.Name, b.Name))
	})
	for _, row := range table {
		row.Name = ownmail.Address(row.Name)
	}
	return table
}
