package directory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// MaxSize is how large the rows of a Snapshot may be, in bytes.
const MaxSize = 1 << 30

const maxErrors = 100 // bad rows that are named

// maxChunks is how many have places of 32 bits, of which one is none.
const maxChunks = 1<<32/chunkSize - 1

// Error is one bad row of a directory.
type Error struct {
	Path    string
	Line    int // from 1
	Problem string
}

// Error returns "users.csv:17: what is wrong".
func (e Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem) }

// Errors are the bad rows of a directory. The first hundred are named, in
// the order of their lines; the rest are counted.
type Errors struct {
	Rows []Error
	More int
}

// Error returns one line for each bad row.
func (e *Errors) Error() string {
	var lines []string
	for _, row := range e.Rows {
		lines = append(lines, row.Error())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

// Builder makes a Snapshot: Columns first, then Add for each row. It keeps none of
// the texts that it is given.
type Builder struct {
	list      *Snapshot
	chunk     strings.Builder // the last of Snapshot.chunks
	size      int             // of the rows, as far as that is known
	record    []byte          // scratch
	width     int             // fields of a row
	address   int             // the address's place among the fields
	residence int
	login     int              // the login's, or -1
	target    int              // the target's, or -1
	kind      int              // the kind's, or -1
	reportTo  int              // that of route.ReportToColumn, or -1
	origin    int              // the place of what the source calls the entry, or -1
	kept      []int            // the places of Snapshot.columns
	limits    []int            // the places of Source.Limits, or -1
	given     []int64          // scratch: the limits of a row
	places    map[placeKey]int // indices of Snapshot.places
	targets   map[targetKey][]string
	domains   string // Source.Domains, for messages
	errors    Errors
}

type placeKey struct {
	domain *route.Domain
	word   string
}

// NewBuilder returns a Builder with room for so many rows of so many bytes in all. It
// grows when there are more; beyond MaxSize nothing may be added.
func NewBuilder(s Source, rows, size int) *Builder {
	slots := 4
	for slots*3 < rows*4 {
		slots *= 2
	}
	b := &Builder{
		list:     &Snapshot{source: s, login: -1, target: -1, table: make([]uint32, slots), seed: maphash.MakeSeed()},
		size:     size,
		login:    -1,
		target:   -1,
		kind:     -1,
		reportTo: -1,
		origin:   -1,
		places:   make(map[placeKey]int),
		targets:  make(map[targetKey][]string),
		domains:  strings.Join(slices.Sorted(maps.Keys(s.Domains)), ", "),
	}
	return b
}

// Snapshot returns the list of all rows. The error is of type *Errors when
// something was refused. A list without rows is refused too, unless its domains say
// where unlisted addresses live, and so is one of which no row, or far too few, can be used.
func (b *Builder) Snapshot() (*Snapshot, error) {
	if len(b.errors.Rows) > 0 {
		return nil, &b.errors
	}
	flaws := b.list.Flaws()
	if flaws.PutOff > maxUnclear || len(flaws.Rows) > 0 && flaws.PutOff == b.list.count && b.list.source.refusesUnlisted() {
		return nil, flaws.asErrors()
	}
	if b.list.count == 0 && b.list.source.refusesUnlisted() {
		return nil, fmt.Errorf("%s lists no address, so every address of its domains would be refused; list at least one, or say where unlisted addresses live", b.list.source.Path)
	}
	if b.chunk.Cap()-b.chunk.Len() > b.chunk.Len()/8 {
		b.list.chunks[len(b.list.chunks)-1] = strings.Clone(b.chunk.String())
	}
	return b.list, nil
}

// Refuse puts on record what is wrong on a line of the source, from 1. It refuses
// the whole list.
func (b *Builder) Refuse(line int, problem error) {
	if len(b.errors.Rows) == maxErrors {
		b.errors.More++
		return
	}
	b.errors.Rows = append(b.errors.Rows, Error{Path: b.list.source.Path, Line: line, Problem: problem.Error()})
}

// Columns tells the names of the columns, in any case, and the line that they stand
// on. When it returns false, they were refused, and no row can be judged.
func (b *Builder) Columns(line int, names []string) bool {
	if err := b.readColumns(names); err != nil {
		b.Refuse(line, err)
		return false
	}
	return true
}

func (b *Builder) readColumns(names []string) error {
	places := make(map[string]int)
	for i, name := range names {
		name = strings.ToLower(name)
		if name == "" {
			return fmt.Errorf("column %d of the header line has no name", i+1)
		}
		if _, seen := places[name]; seen {
			return fmt.Errorf("the header line names the column %q twice", name)
		}
		places[name] = i
		switch name {
		case "login":
			b.login, b.list.login = i, len(b.list.columns)
		case "target":
			b.target, b.list.target = i, len(b.list.columns)
		case route.KindColumn:
			b.kind = i
		case route.ReportToColumn:
			b.reportTo = i
		case "origin":
			b.origin = i
		}
		b.keep(i, strings.Clone(name))
	}
	if len(names) == 1 && strings.Contains(names[0], ";") {
		return errors.New(`the header line separates the columns by ";"; separate them by commas: address,residence,login`)
	}
	b.address, b.residence = places["address"], places["residence"]
	for _, name := range []string{"address", "residence"} {
		if _, seen := places[name]; !seen {
			return fmt.Errorf("the header line lacks the column %q; the first line would be address,residence,login", name)
		}
	}
	for _, name := range b.list.source.Limits {
		place, seen := places[name]
		if !seen && b.list.source.Copy != "" {
			// The copy is from when no rule named that column. It does for residences, and the
			// rule's own limit is everybody's until the source was read.
			place = -1
		} else if !seen {
			return fmt.Errorf("the header line lacks the column %q, which a [[rate]] of the configuration names; add the column, whose fields may be empty", name)
		}
		b.limits = append(b.limits, place)
	}
	b.width = len(names)
	return nil
}

// keep decides whether the list holds a column's values.
func (b *Builder) keep(place int, name string) {
	s := b.list.source
	switch {
	case name == "address" || name == "residence":
	case s.Lean && !slices.Contains([]string{"login", "target", route.KindColumn, route.ReportToColumn}, name) && !slices.Contains(s.Limits, name):
		b.list.empty = append(b.list.empty, name)
	default:
		b.list.columns, b.kept = append(b.list.columns, name), append(b.kept, place)
	}
}

// readLimits reads the limits of a row as given, and refuses those that nobody
// could go by, of which none is given.
func (b *Builder) readLimits(fields []string) (err error) {
	b.given = b.given[:0]
	for i, at := range b.limits {
		if at < 0 {
			b.given = append(b.given, 0)
			continue
		}
		limit, wrong := parseLimit(fields[at])
		if wrong != nil && err == nil {
			err = fmt.Errorf("the column %q holds %w", b.list.source.Limits[i], wrong)
		}
		b.given = append(b.given, limit)
	}
	return err
}

// Add adds the row of a line, with a field for each of the columns. A bad row refuses
// the list, save that of a source outside this host, of which it is a Flaw.
func (b *Builder) Add(line int, fields []string) {
	err := b.add(line, fields)
	if err != nil && len(fields) == b.width && b.field(fields, b.origin) != "" {
		err = fmt.Errorf("%w (%s)", err, clip(fields[b.origin]))
	}
	switch {
	case err == nil:
	case b.bears():
		b.flaw(line, false, err)
	default:
		b.Refuse(line, err)
	}
}

func (b *Builder) add(line int, fields []string) error {
	if len(fields) != b.width {
		return fmt.Errorf("the row has %d fields and the header line %d; a comma within a field wants the field in double quotes",
			len(fields), b.width)
	}
	address, domain, err := b.parseOurs(fields[b.address])
	if errors.Is(err, errForeign) && b.list.source.Copy != "" {
		return nil // The copy is from when the source had that domain, too.
	}
	if err != nil {
		return err
	}
	now := b.settle(domain, address.Key, fields)
	if now.wrong != nil && !b.bears() {
		return now.wrong
	}
	minor := now.minor
	if limits := b.readLimits(fields); limits != nil {
		if !b.bears() {
			return limits
		}
		minor = errors.Join(minor, fmt.Errorf("of %s %w; that of the rule counts", address.Key, limits))
	}
	told, err := readReportTo(b.field(fields, b.reportTo))
	if err != nil {
		if !b.bears() {
			return err
		}
		minor = errors.Join(minor, fmt.Errorf("of %s %w; it is not used", address.Key, err))
	}
	if told != b.field(fields, b.reportTo) {
		fields = slices.Clone(fields)
		fields[b.reportTo] = told
	}
	slot, first, found := b.list.find(address.Key)
	if found {
		return b.twice(first, line, now, fields)
	}
	at, err := b.put(slot, address.Key, line, now.place, now.target, fields)
	if err != nil {
		b.Refuse(line, err) // that of a copy, too: what follows has no room either
		return nil
	}
	if now.wrong != nil {
		b.putOff(at)
		b.flaw(line, true, fmt.Errorf("%w; mail for %s is put off (%s)", now.wrong, address.Key, name(b.field(fields, b.origin), line)))
		return nil
	}
	if b.login >= 0 {
		b.list.quotas.give(b.list, fields[b.login], b.given)
	}
	return minor
}

// settled is where the mailbox of a row lives, or what is wrong with that.
type settled struct {
	place  int // an index of Snapshot.places
	target string
	wrong  error
	minor  error // what is wrong beside that
}

// settle says where the mailbox of a row lives.
func (b *Builder) settle(domain *route.Domain, key string, fields []string) (now settled) {
	if now.place, now.wrong = b.placeOf(domain, fields[b.residence]); now.wrong != nil {
		now.place = b.unclearPlace()
		return now
	}
	lives := b.list.places[now.place].residence
	if lives.Kind == route.Both && strings.EqualFold(b.field(fields, b.kind), "group") {
		now.wrong = fmt.Errorf("the group %s lives on both sides: its members would get each message twice; let it live where it is expanded", key)
		return now
	}
	now.target, now.wrong = b.readTarget(domain, lives, b.field(fields, b.target))
	if now.wrong != nil && lives.Platform == "" && b.bears() {
		now.wrong, now.minor = nil, fmt.Errorf("of %s, which does not live elsewhere, %w; it is not used", key, now.wrong)
	}
	return now
}

// put appends a row to the list at a free slot, and returns where it stands.
func (b *Builder) put(slot int, key string, line, place int, target string, fields []string) (at uint32, err error) {
	if at, err = b.appendRecord(key, line, place, target, fields); err != nil {
		return 0, err
	}
	b.list.table[slot] = at + 1
	b.list.count++
	if b.list.count*4 > len(b.list.table)*3 {
		b.grow()
	}
	return at, nil
}

// grow doubles the table.
func (b *Builder) grow() {
	small := b.list.table
	b.list.table = make([]uint32, 2*len(small))
	for _, slot := range small {
		if slot == 0 {
			continue
		}
		record := b.list.at(slot - 1)
		free, _, _ := b.list.find(record.text())
		b.list.table[free] = slot
	}
}

// appendRecord puts the record of a row into a chunk, and returns its place.
func (b *Builder) appendRecord(key string, line, place int, target string, fields []string) (at uint32, err error) {
	r := appendText(b.record[:0], key)
	r = appendNumber(r, line)
	r = appendNumber(r, place)
	for _, place := range b.kept {
		if place == b.target {
			r = appendText(r, target)
		} else {
			r = appendText(r, fields[place])
		}
	}
	b.record = r
	switch {
	case len(r) > chunkSize:
		return 0, fmt.Errorf("the row has %d bytes; at most %d are held", len(r), chunkSize)
	case len(b.list.chunks) == 0:
		b.begin(max(len(r), min(b.size, chunkSize)))
	case b.chunk.Len()+len(r) > chunkSize:
		if len(b.list.chunks) == maxChunks {
			return 0, fmt.Errorf("the rows before it take %d MiB already, which is as much as a list may", maxChunks*chunkSize>>20)
		}
		b.begin(chunkSize)
	}
	last := len(b.list.chunks) - 1
	at = uint32(last*chunkSize + b.chunk.Len())
	b.chunk.Write(r)
	b.list.chunks[last] = b.chunk.String()
	return at, nil
}

// begin begins a chunk with room for so many bytes.
func (b *Builder) begin(size int) {
	b.chunk = strings.Builder{}
	b.chunk.Grow(size)
	b.list.chunks = append(b.list.chunks, "")
}

// parseAddress reads an address of a row. What an MTA would let pass in an
// envelope may well be a slip in a list: two addresses in one field, say.
func parseAddress(written, delimiters string) (mail.Address, error) {
	address, err := mail.ParseAddress(written, delimiters)
	if hidden := mail.CheckVisible(written); hidden != nil {
		err = hidden
	}
	switch {
	case err != nil:
		return address, fmt.Errorf("%q cannot be an address: %w", clip(written), err)
	case address.IsNull():
		return address, errors.New("the row has no address")
	case address.Path != written:
		return address, fmt.Errorf("%q holds more than an address; write %s", clip(written), address.Path)
	case address.Domain == "":
		return address, fmt.Errorf("the address %q has no domain", clip(written))
	case address.Local[0] != '"' && strings.ContainsAny(address.Local, ` @,;:<>()[]\"`):
		return address, fmt.Errorf("%q is not one address; a local part that holds a space or one of @ , ; : < > ( ) [ ] \\ is written in double quotes",
			clip(written))
	}
	return address, nil
}

// errForeign is of an address whose domain is not the source's.
var errForeign = errors.New("of the domain")

// parseOurs reads the address of a row, and finds its domain.
func (b *Builder) parseOurs(written string) (mail.Address, *route.Domain, error) {
	address, err := parseAddress(written, b.list.source.Delimiters)
	if err != nil {
		return address, nil, err
	}
	domain, ours := b.list.source.Domains[address.Domain]
	if !ours {
		return address, nil, fmt.Errorf("the address %s is %w %s; this file serves %s", address.Key, errForeign, address.Domain, b.domains)
	}
	return address, domain, nil
}

// placeOf returns the index of a residence. The words of a million rows are
// few, so each is read once.
func (b *Builder) placeOf(domain *route.Domain, word string) (int, error) {
	key := placeKey{domain: domain, word: strings.ToLower(word)}
	if index, known := b.places[key]; known {
		return index, nil
	}
	if word == "" {
		return 0, fmt.Errorf("the row has no residence%s", b.residenceRemedy())
	}
	// What is kept must not be a part of the text, or all of it would be kept.
	key.word = strings.Clone(clip(key.word))
	residence, err := domain.Residence(key.word, b.list.source.Platforms)
	if err != nil {
		return 0, err
	}
	index := len(b.list.places)
	b.list.places = append(b.list.places, place{word: key.word, residence: residence})
	b.places[key] = index
	return index, nil
}

// clip shortens a text for a message.
func clip(s string) string {
	const longest = 200
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

func appendText(b []byte, s string) []byte {
	return append(appendNumber(b, len(s)), s...)
}

func appendNumber(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
