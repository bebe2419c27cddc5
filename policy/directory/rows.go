package directory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"coexistd/policy"
)

const (
	maxLine   = 64 << 10 // bytes of one row
	maxErrors = 100      // bad rows that are named
	minRow    = 5        // bytes: "a@b,o"; no row that lists an address is shorter
)

// Error is one bad row of a directory file.
type Error struct {
	Path    string
	Line    int // from 1
	Problem string
}

// Error returns "users.csv:17: what is wrong".
func (e Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem) }

// Errors are the bad rows of a directory file. The first hundred are named, in
// the order of their lines; the rest are counted.
type Errors struct {
	Rows []Error
	More int
}

// Error returns one line for each bad row.
func (e *Errors) Error() string {
	var text strings.Builder
	for i, row := range e.Rows {
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(row.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&text, "\nand %d more", e.More)
	}
	return text.String()
}

// builder makes a File out of a text.
type builder struct {
	file      *File
	arena     strings.Builder
	record    []byte // scratch
	width     int    // fields of a row; zero until the header has been read
	address   int    // the address's place among the fields
	residence int
	login     int              // the login's, or -1
	limits    []int            // the places of Source.Limits
	given     []int64          // scratch: the limits of a row
	places    map[placeKey]int // indices of File.places
	domains   string           // Source.Domains, for messages
	errors    Errors
}

type placeKey struct {
	domain *policy.Domain
	word   string
}

// build reads the whole text of a directory file.
func build(s Source, text string, seen stamp) (*File, error) {
	b := &builder{
		file:    &File{source: s, login: -1, seed: maphash.MakeSeed(), seen: seen},
		places:  make(map[placeKey]int),
		domains: strings.Join(slices.Sorted(maps.Keys(s.Domains)), ", "),
	}
	b.file.sum = maphash.String(b.file.seed, text)
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		b.bad(1, "the file is UTF-16; save it as UTF-8")
		return nil, &b.errors
	}
	text = strings.TrimPrefix(text, "\ufeff")
	rows := min(strings.Count(text, "\n")+1, len(text)/minRow)
	size := 4
	for size*3 < rows*4 {
		size *= 2
	}
	b.file.table = make([]uint32, size)
	b.arena.Grow(len(text))
	b.lines(text)
	if len(b.errors.Rows) > 0 {
		return nil, &b.errors
	}
	if b.file.count == 0 && s.refusesUnlisted() {
		return nil, fmt.Errorf("%s lists no address, so every address of its domains would be refused; list at least one, or say where unlisted addresses live", s.Path)
	}
	b.file.arena = b.arena.String()
	if b.arena.Cap()-b.arena.Len() > b.arena.Len()/8 {
		b.file.arena = strings.Clone(b.file.arena)
	}
	return b.file, nil
}

// lines reads the header and the rows. Without a sound header no row can be
// judged, so that a bad one ends the reading.
func (b *builder) lines(text string) {
	var fields []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.Trim(line, " ") == "" {
			continue
		}
		err := checkLine(line)
		if err == nil {
			fields, err = splitRow(fields[:0], line)
		}
		if err == nil && b.width > 0 {
			err = b.row(number, fields)
		}
		if b.width == 0 {
			if err == nil {
				err = b.header(fields)
			}
			if err != nil {
				b.bad(number, err.Error())
				return
			}
			continue
		}
		if err != nil {
			b.bad(number, err.Error())
		}
	}
	if b.width == 0 {
		b.bad(1, "the file is empty; its first line would be address,residence,login")
	}
}

func (b *builder) bad(line int, problem string) {
	if len(b.errors.Rows) == maxErrors {
		b.errors.More++
		return
	}
	b.errors.Rows = append(b.errors.Rows, Error{Path: b.file.source.Path, Line: line, Problem: problem})
}

// header reads the names of the columns.
func (b *builder) header(fields []string) error {
	b.address, b.residence, b.login = -1, -1, -1
	seen := make(map[string]bool)
	for i, name := range fields {
		name = strings.ToLower(name)
		switch {
		case name == "":
			return fmt.Errorf("column %d of the header line has no name", i+1)
		case seen[name]:
			return fmt.Errorf("the header line names the column %q twice", name)
		case name == "address":
			b.address = i
		case name == "residence":
			b.residence = i
		default:
			if name == "login" {
				b.login, b.file.login = i, len(b.file.columns)
			}
			b.file.columns = append(b.file.columns, strings.Clone(name))
		}
		seen[name] = true
	}
	for _, name := range []string{"address", "residence"} {
		if !seen[name] {
			return fmt.Errorf("the header line lacks the column %q; the first line would be address,residence,login", name)
		}
	}
	for _, name := range b.file.source.Limits {
		if !seen[name] {
			return fmt.Errorf("the header line lacks the column %q, which a [[rate]] of the configuration names; add the column, whose fields may be empty", name)
		}
		b.limits = append(b.limits, slices.IndexFunc(fields, func(field string) bool { return strings.ToLower(field) == name }))
	}
	b.width = len(fields)
	return nil
}

// readLimits reads the limits of a row as given, and refuses those that nobody
// could go by.
func (b *builder) readLimits(fields []string) error {
	b.given = b.given[:0]
	for i, at := range b.limits {
		limit, err := parseLimit(fields[at])
		if err != nil {
			return fmt.Errorf("the column %q holds %w", b.file.source.Limits[i], err)
		}
		b.given = append(b.given, limit)
	}
	return nil
}

// row adds one row to the file.
func (b *builder) row(line int, fields []string) error {
	if len(fields) != b.width {
		return fmt.Errorf("the row has %d fields and the header line %d; a comma within a field wants the field in double quotes",
			len(fields), b.width)
	}
	address, domain, err := b.parseAddress(fields[b.address])
	if err != nil {
		return err
	}
	index, err := b.placeOf(domain, fields[b.residence])
	if err != nil {
		return err
	}
	if err := b.readLimits(fields); err != nil {
		return err
	}
	slot, at, found := b.file.find(address.Key)
	if found {
		first := Entry{file: b.file, at: at}
		return fmt.Errorf("the address %s is on line %d already", address.Key, first.Line())
	}
	b.file.table[slot] = uint32(b.arena.Len()) + 1
	b.appendRecord(address.Key, line, index, fields)
	if b.login >= 0 {
		b.file.quotas.give(b.file, fields[b.login], b.given)
	}
	b.file.count++
	return nil
}

func (b *builder) appendRecord(key string, line, place int, fields []string) {
	r := appendText(b.record[:0], key)
	r = appendNumber(r, line)
	r = appendNumber(r, place)
	for i, field := range fields {
		if i != b.address && i != b.residence {
			r = appendText(r, field)
		}
	}
	b.arena.Write(r)
	b.record = r
	b.file.arena = b.arena.String()
}

// parseAddress reads the address of a row. What an MTA would let pass in an
// envelope may well be a slip in a list: two addresses in one field, say.
func (b *builder) parseAddress(written string) (policy.Address, *policy.Domain, error) {
	address, err := policy.ParseAddress(written, b.file.source.Delimiters)
	switch {
	case err != nil:
		return address, nil, fmt.Errorf("%q cannot be an address: %w", clip(written), err)
	case address.IsNull():
		return address, nil, errors.New("the row has no address")
	case address.Path != written:
		return address, nil, fmt.Errorf("%q holds more than an address; write %s", clip(written), address.Path)
	case address.Domain == "":
		return address, nil, fmt.Errorf("the address %q has no domain", clip(written))
	case address.Local[0] != '"' && strings.ContainsAny(address.Local, ` @,;:<>()[]\"`):
		return address, nil, fmt.Errorf("%q is not one address; a local part that holds a space or one of @ , ; : < > ( ) [ ] \\ is written in double quotes",
			clip(written))
	}
	domain, ours := b.file.source.Domains[address.Domain]
	if !ours {
		return address, nil, fmt.Errorf("the address %s is of the domain %s; this file serves %s", address.Key, address.Domain, b.domains)
	}
	return address, domain, nil
}

// placeOf returns the index of a residence. The words of a million rows are
// few, so each is read once.
func (b *builder) placeOf(domain *policy.Domain, word string) (int, error) {
	key := placeKey{domain: domain, word: strings.ToLower(word)}
	if index, known := b.places[key]; known {
		return index, nil
	}
	if word == "" {
		return 0, errors.New("the row has no residence")
	}
	// What is kept must not be a part of the text, or all of it would be kept.
	key.word = strings.Clone(clip(key.word))
	residence, err := domain.Residence(key.word)
	if err != nil {
		return 0, err
	}
	index := len(b.file.places)
	b.file.places = append(b.file.places, place{word: key.word, residence: residence})
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

var (
	errOpenQuote  = errors.New("a field in double quotes does not end on its line")
	errAfterQuote = errors.New("text follows the double quote that ends a field; a double quote within a field is written twice")
	errBareQuote  = errors.New("a double quote stands within a field that does not begin with one; put the field in double quotes and write the inner ones twice")
	errUTF8       = errors.New("the row is not UTF-8; save the file as UTF-8")
)

// checkLine refuses what no list has a use for and what some later reader of
// the file would trip over.
func checkLine(line string) error {
	if len(line) > maxLine {
		return fmt.Errorf("the row has %d bytes; at most %d are read", len(line), maxLine)
	}
	for i := range len(line) {
		if line[i] < ' ' || line[i] == 0x7f {
			return fmt.Errorf("the row holds the control character 0x%02x at byte %d", line[i], i+1)
		}
	}
	if !utf8.ValidString(line) {
		return errUTF8
	}
	return nil
}

// splitRow appends the fields of a line to fields, without the spaces around
// them (RFC 4180 section 2, except that no field holds a line break).
func splitRow(fields []string, line string) ([]string, error) {
	for {
		field, rest, more, err := cutField(line)
		if err != nil {
			return fields, err
		}
		fields = append(fields, strings.Trim(field, " "))
		if !more {
			return fields, nil
		}
		line = rest
	}
}

// cutField returns the first field of a line and what follows its comma.
func cutField(line string) (field, rest string, more bool, err error) {
	if !strings.HasPrefix(line, `"`) {
		field, rest, more = strings.Cut(line, ",")
		if strings.IndexByte(field, '"') >= 0 {
			return "", "", false, errBareQuote
		}
		return field, rest, more, nil
	}
	rest = line[1:]
	end := 0
	for {
		i := strings.IndexByte(rest[end:], '"')
		if i < 0 {
			return "", "", false, errOpenQuote
		}
		end += i
		if !strings.HasPrefix(rest[end:], `""`) {
			break
		}
		end += 2
	}
	field, rest = strings.ReplaceAll(rest[:end], `""`, `"`), rest[end+1:]
	switch {
	case rest == "":
		return field, "", false, nil
	case rest[0] != ',':
		return "", "", false, errAfterQuote
	}
	return field, rest[1:], true, nil
}
