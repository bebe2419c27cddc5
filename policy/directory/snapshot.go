package directory

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// Snapshot is one directory as it was at one instant. It never changes, and it may
// be asked by any number of goroutines at once. A Builder makes it.
//
// All rows lie in a few long strings, and a table of places in them finds them: a
// million addresses are some dozens of objects for the garbage collector, not millions.
type Snapshot struct {
	source  Source
	columns []string // further columns that have values, in the source's order; login among them
	empty   []string // those that have none, by Source.Lean
	login   int      // the login's place in columns, or -1
	target  int      // the target's, likewise
	places  []place
	// chunks hold the records, one after the other: key, line, the number of
	// its place, and a text for each of columns. Texts carry their length in
	// front. Numbers are base 128, the lowest seven bits first. No record is in two
	// chunks. They are many so that a list grows without being copied.
	chunks []string
	// table is a hash table with linear probing. A slot holds the record's
	// place in chunks plus one; zero is a free slot. Its size is a power of
	// two, and a quarter of it at least is free.
	table []uint32
	seed  maphash.Seed
	count int
	// flaws are the bad rows of a source outside this host, and unclear the places of the
	// entries for which mail is put off.
	flaws   Flaws
	unclear map[uint32]bool
	// quotas has nothing unless Source.Limits names columns.
	quotas quotas
}

// chunkSize is the most that a chunk has, in bytes. A record's place is a number of 32 bits:
// that of its chunk times chunkSize, and where it begins there.
const chunkSize = 1 << 20

// at returns the chunk that holds the record of a place, from there on.
func (s *Snapshot) at(place uint32) cursor {
	return cursor(s.chunks[place/chunkSize][place%chunkSize:])
}

// place is one residence with the word that the source has for it.
type place struct {
	word      string
	residence route.Residence
}

// Len returns the number of addresses.
func (s *Snapshot) Len() int { return s.count }

// Size returns how much memory the list takes, in bytes.
func (s *Snapshot) Size() int {
	const slot, limit, login = 4, 8, 8 + 4
	size := 0
	for _, chunk := range s.chunks {
		size += len(chunk)
	}
	return size + slot*len(s.table) + limit*len(s.quotas.limits) + login*len(s.quotas.places)
}

// Columns returns the names of the columns beyond address and residence, in
// lower case and in the source's order; those that have no values by Source.Lean come last.
func (s *Snapshot) Columns() []string { return slices.Concat(s.columns, s.empty) }

// Lookup returns the entry of a key, which is the Key or the Owner of a
// mail.Address. It does not allocate.
func (s *Snapshot) Lookup(key string) (Entry, bool) {
	_, at, found := s.find(key)
	if !found {
		return Entry{}, false
	}
	return Entry{list: s, at: at}, true
}

// Find returns the entry of an address, or of its owner when the address is a subaddress
// without an entry of its own. It does not allocate.
func (s *Snapshot) Find(a mail.Address) (Entry, bool) {
	e, found := s.Lookup(a.Key)
	if !found && a.Owner != a.Key {
		e, found = s.Lookup(a.Owner)
	}
	return e, found
}

// All returns the entries in the order of the source's rows.
func (s *Snapshot) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i, chunk := range s.chunks {
			for at := 0; at < len(chunk); {
				e := Entry{list: s, at: uint32(i*chunkSize + at)}
				if !yield(e) {
					return
				}
				rest := e.record().columns
				for range s.columns {
					rest.text()
				}
				at = len(chunk) - len(rest)
			}
		}
	}
}

// find returns the record of key, or the free slot where it would go.
func (s *Snapshot) find(key string) (slot int, at uint32, found bool) {
	mask := len(s.table) - 1
	slot = int(maphash.String(s.seed, key)) & mask
	for s.table[slot] != 0 {
		at = s.table[slot] - 1
		c := s.at(at)
		if c.text() == key {
			return slot, at, true
		}
		slot = (slot + 1) & mask
	}
	return slot, 0, false
}

// Entry is one row of a Snapshot. It is a small value; its methods do not
// allocate. The zero Entry has no methods to be called.
type Entry struct {
	list *Snapshot
	at   uint32
}

// Address returns the entry's address in the form of mail.Address.Key.
func (e Entry) Address() string { return e.record().key }

// Line returns the number of the entry's line in its source, from 1.
func (e Entry) Line() int { return e.record().line }

// Residence returns where the address's mailbox lives. It means nothing where Unclear says
// so.
func (e Entry) Residence() route.Residence { return e.place().residence }

// Login returns the user name that owns the address, or "".
func (e Entry) Login() string { return e.further(e.list.login) }

// Target returns the address that reaches the mailbox at the other platform, its domain in
// normal form, or "" where the row names none.
func (e Entry) Target() string { return e.further(e.list.target) }

// Column returns the value of the column of that name, in lower case as Columns
// has it, or "" when there is none. "address" gives the address as Address
// does, "residence" the source's word for the residence in lower case, or "unclear".
func (e Entry) Column(name string) string {
	switch name {
	case "address":
		return e.Address()
	case "residence":
		if e.Unclear() {
			return unclear
		}
		return e.place().word
	}
	return e.further(slices.Index(e.list.columns, name))
}

// Domain returns the normal form of the address's domain.
func (e Entry) Domain() string {
	address := e.Address()
	return address[strings.LastIndexByte(address, '@')+1:]
}

func (e Entry) place() place { return e.list.places[e.record().place] }

// further returns the value of the column at an index of Snapshot.columns.
func (e Entry) further(index int) string {
	if index < 0 {
		return ""
	}
	rest := e.record().columns
	for range index {
		rest.text()
	}
	return rest.text()
}

// record is what the arena holds of a row.
type record struct {
	key         string
	line, place int
	columns     cursor // a text for each of them, and what follows the record
}

func (e Entry) record() (r record) {
	r.columns = e.list.at(e.at)
	r.key = r.columns.text()
	r.line = r.columns.number()
	r.place = r.columns.number()
	return r
}

// cursor is what is left of a chunk, read from its front. It reads only what
// appendRecord wrote.
type cursor string

func (c *cursor) number() int {
	n, s := 0, *c
	for i := 0; ; i++ {
		n |= int(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			*c = s[i+1:]
			return n
		}
	}
}

func (c *cursor) text() string {
	n := c.number()
	s := string((*c)[:n])
	*c = (*c)[n:]
	return s
}
