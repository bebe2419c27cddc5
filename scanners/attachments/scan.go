package attachments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/attachments/archive"
	"coexistd/scanners/attachments/mime"
)

// errSettled ends a scan: it has its finding.
var errSettled = errors.New("the scan is settled")

// scan is one scan under way.
type scan struct {
	*Scanner
	budget         archive.Budget
	parts, entries int
	inside         []string // the files that are being looked into, outermost first
	hit            verdict.Finding
	mild           verdict.Finding // a hit that does not settle the scan
	doubt          string          // the first thing that it could not tell
	// isCut says that what is looked at may be cut off anywhere: a message that a report
	// returns.
	isCut  bool
	quiet  int      // more than 0: doubts do not count
	levels []*level // of archives and encoded messages within each other
	window []byte   // of the document that is being looked into; none is within another
}

// level has the buffers of one level.
type level struct {
	mime   mime.Reader
	opener archive.Opener
	head   []byte
	lines  mime.Lines
}

func (s *scan) begin(a *Scanner, ctx context.Context, size int64) {
	s.Scanner = a
	s.budget = archive.Budget{Context: ctx, Left: min(max(size*100, minUnpack), maxUnpack), Doubt: s.unsure, Short: s.short}
	s.parts, s.entries, s.inside = 0, 0, s.inside[:0]
	s.hit, s.mild, s.doubt, s.isCut, s.quiet = verdict.Finding{}, verdict.Finding{}, "", false, 0
}

// end drops what the message left, so that the pool keeps buffers only.
func (s *scan) end() {
	clear(s.inside)
	s.Scanner, s.budget = nil, archive.Budget{}
	for _, l := range s.levels {
		l.mime.End()
		l.opener.Close()
		l.lines.Reset(nil, 0)
	}
}

// at returns the buffers of a level.
func (s *scan) at(depth int) *level {
	for len(s.levels) <= depth {
		s.levels = append(s.levels, new(level))
	}
	return s.levels[depth]
}

func (s *scan) finding() verdict.Finding {
	switch {
	case s.hit.State == verdict.Hit:
		return s.hit
	case s.budget.Failure != nil:
		return scanners.Unknown(verdict.CheckMalware, fmt.Sprintf("the attachments were not looked through to the end: %v", s.budget.Failure))
	case s.doubt != "":
		unknown := scanners.Unknown(verdict.CheckMalware, s.doubt)
		unknown.Proposed = s.mild.Proposed
		return unknown
	case s.mild.State == verdict.Hit:
		return s.mild
	}
	return verdict.Passed(verdict.CheckMalware)
}

// found settles the scan: f is a hit of that word, which what explains: "is a
// Windows program".
func (s *scan) found(word string, f *file, what string) error {
	s.hit = s.hitOf(word, f, what)
	return errSettled
}

// suspect notes a hit of that verdict, beside which a stricter one may be found.
func (s *scan) suspect(v verdict.Verdict, word string, f *file, what string) {
	if s.mild.State != verdict.Hit {
		s.mild = s.hitOf(word, f, what)
		s.mild.Proposed = v
	}
}

func (s *scan) hitOf(word string, f *file, what string) verdict.Finding {
	name := mail.PrintableName(f.name)
	return scanners.Hit(verdict.CheckMalware, word+" "+name, "the attachment "+name+s.where()+" "+what)
}

// unsure notes what the scan cannot tell and why.
func (s *scan) unsure(format string, args ...any) {
	if s.doubt == "" && s.quiet == 0 {
		s.doubt = fmt.Sprintf(format, args...) + s.where()
	}
}

// short notes what the scan cannot tell because something ends too soon, or goes on as if it
// had ended.
func (s *scan) short(format string, args ...any) {
	if !s.isCut {
		s.unsure(format, args...)
	}
}

// where names the files around the place where the scan is, innermost first.
func (s *scan) where() string {
	var b strings.Builder
	for i := len(s.inside) - 1; i >= 0; i-- {
		b.WriteString(" inside " + s.inside[i])
	}
	return b.String()
}

// enter and leave surround looking into a file.
func (s *scan) enter(f *file) {
	s.inside = append(s.inside, mail.PrintableName(f.name))
}
func (s *scan) leave() { s.inside = s.inside[:len(s.inside)-1] }

// messageReader reads a message for a scan: no further than until the context
// ends, and an error is the scan's failure.
type messageReader struct {
	s *scan
	r io.Reader
}

func (m messageReader) Read(p []byte) (int, error) {
	err := m.s.budget.Context.Err()
	n := 0
	if err == nil {
		n, err = m.r.Read(p)
	}
	if err != nil && err != io.EOF && m.s.budget.Failure == nil {
		m.s.budget.Failure = err
	}
	return n, err
}
