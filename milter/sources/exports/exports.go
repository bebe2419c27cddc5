// Package exports reads the lists of users and groups that other platforms' own tools
// write as CSV.
package exports

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"coexistd/milter/sources"
	"coexistd/policy/mail"
)

const (
	maxRows   = 10_000_000
	maxRecord = 1 << 20 // bytes of one
)

// Options say what is wanted of an export.
type Options struct {
	// Residence is the word for where those live whom the export lists.
	Residence string
	// Keep tells of a domain, in its normal form, whether addresses in it are wanted.
	// Nil: all are.
	Keep func(domain string) bool
	// Target tells of a domain whether its addresses reach that platform and no other.
	// The first such address of a mailbox is the target of all its addresses. Nil: none is.
	Target func(domain string) bool
	// Settle is how long a file must have been left alone before it is read, since whoever
	// replaces it may be at work on it. Zero: two seconds.
	Settle time.Duration
}

// Read gives a row for each address of those who live on the platform that an export is
// of: of the primary address, then of the aliases. Which tool wrote the export is seen by
// its header line: Exchange Online's Get-EXORecipient, the list of users of Google's admin
// console (which has no aliases), or "gam print users". Contacts, guests and users whose
// mailbox is elsewhere are left out. It ends with the first error, that of add included;
// without one the export is complete.
func Read(from io.Reader, o Options, add func(sources.Row) error) error {
	records, err := open(from)
	if err != nil {
		return err
	}
	header, err := records.next()
	if err == io.EOF {
		return errors.New("the file is empty; its first line would name columns")
	}
	if err != nil {
		return err
	}
	columns := make(map[string]int)
	for i, name := range header {
		columns[strings.ToLower(strings.TrimSpace(name))] = i
	}
	t, err := findTool(columns)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		record, err := records.next()
		switch {
		case err == io.EOF:
			return t.isWhole(n)
		case err != nil:
			return err
		case n == maxRows:
			return fmt.Errorf("the file has more than %d rows", maxRows)
		case len(record) != len(header):
			return fmt.Errorf("line %d has %d fields and the header line %d; export the list anew", records.line(), len(record), len(header))
		}
		entry, err := t.entry(columns, record)
		if err != nil {
			return fmt.Errorf("line %d: %w", records.line(), err)
		}
		if err := o.give(entry, fmt.Sprintf("line %d", records.line()), add); err != nil {
			return err
		}
	}
}

// entry is a mailbox or a group: its addresses, the primary one first.
type entry struct {
	addresses []string
	kind      string
}

// give hands on the addresses of an entry that are wanted, each once.
func (o *Options) give(e entry, origin string, add func(sources.Row) error) error {
	target := ""
	if o.Target != nil {
		if i := slices.IndexFunc(e.addresses, func(a string) bool { return o.Target(domainOf(a)) }); i >= 0 {
			target = e.addresses[i]
		}
	}
	given := make(map[string]bool)
	for _, address := range e.addresses {
		key := mail.Fold(address)
		if given[key] || o.Keep != nil && !o.Keep(domainOf(address)) {
			continue
		}
		given[key] = true
		row := sources.Row{Origin: origin, Address: address, Residence: o.Residence, Target: target, Kind: e.kind}
		if err := add(row); err != nil {
			return err
		}
	}
	return nil
}

func domainOf(address string) string {
	return mail.DomainOf(address[strings.LastIndexByte(address, '@')+1:])
}

// records are the rows of a CSV file (RFC 4180).
type records struct {
	csv    *csv.Reader
	bound  *bound
	before int // lines before the first row
}

// open looks at how the file begins: with a mark of its encoding, with the line that
// Windows' PowerShell puts before the header, with another delimiter than the comma.
func open(from io.Reader) (*records, error) {
	b := &bound{from: from, left: maxRecord}
	text := bufio.NewReaderSize(b, 64<<10)
	before := 0
	begin, err := text.Peek(len("\ufeff"))
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case bytes.HasPrefix(begin, []byte("\xff\xfe")) || bytes.HasPrefix(begin, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16; export it with -Encoding UTF8")
	case bytes.Equal(begin, []byte("\ufeff")):
		if _, err := text.Discard(len(begin)); err != nil {
			return nil, err
		}
	}
	if begin, _ := text.Peek(len("#TYPE")); string(begin) == "#TYPE" {
		if _, err := text.ReadString('\n'); err != nil && err != io.EOF {
			return nil, err
		}
		before++
	}
	r := &records{csv.NewReader(text), b, before}
	r.csv.FieldsPerRecord, r.csv.ReuseRecord = -1, true
	header, _ := text.Peek(text.Size())
	header, _, _ = bytes.Cut(header, []byte("\n"))
	if bytes.Contains(header, []byte(";")) && !bytes.Contains(header, []byte(",")) {
		r.csv.Comma = ';'
	}
	return r, nil
}

// next returns the fields of the next row, until the next call, or io.EOF.
func (r *records) next() ([]string, error) {
	r.bound.left = maxRecord
	record, err := r.csv.Read()
	if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, fmt.Errorf("line %d is no CSV: %w; export the list anew", r.before+wrong.StartLine, wrong.Err)
	}
	return record, err
}

// line is where the row begins that next returned last.
func (r *records) line() int {
	line, _ := r.csv.FieldPos(0)
	return r.before + line
}

// bound is a reader that gives no more than so many bytes, before that is set anew.
type bound struct {
	from io.Reader
	left int
}

// Read reads while something is left.
func (b *bound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("a row has more than %d bytes; a double quote that opens a field may never be closed", maxRecord)
	}
	n, err := b.from.Read(p)
	b.left -= n
	return n, err
}

// findTool tells by its columns which tool wrote an export.
func findTool(columns map[string]int) (tool, error) {
	for _, t := range tools {
		if _, has := columns[t.primary]; has {
			return t, t.check(columns)
		}
	}
	var known []string
	for _, t := range tools {
		known = append(known, fmt.Sprintf("%q (%s)", t.primary, t.name))
	}
	return tool{}, fmt.Errorf("the header line has none of the columns %s, but %s",
		strings.Join(known, ", "), mail.Excerpt(strings.Join(slices.Sorted(maps.Keys(columns)), ", "), 200))
}
