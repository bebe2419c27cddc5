package directory

import (
	"hash/maphash"
	"iter"
	"strings"
	"sync"

	"coexistd/policy"
)

// File is the content of one directory file. Its entries never change, and it
// may be asked by any number of goroutines at once.
//
// All rows lie in one string, and a table of offsets into it finds them: a
// million addresses are two objects for the garbage collector, not millions.
type File struct {
	source  Source
	columns []string // further columns, in the file's order; login among them
	login   int      // the login's place in columns, or -1
	places  []place
	// arena holds the records, one after the other: key, line, the number of
	// its place, and a text for each of columns. Texts carry their length in
	// front. Numbers are base 128, the lowest seven bits first.
	arena string
	// table is a hash table with linear probing. A slot holds the record's
	// offset in arena plus one; zero is a free slot. Its size is a power of
	// two, and a third of it at least is free.
	table []uint32
	seed  maphash.Seed
	count int
	// quotas has nothing unless Source.Limits names columns.
	quotas quotas

	mu      sync.Mutex // guards what follows
	seen    stamp      // the file's state on disk that was judged last
	sum     uint64     // the hash of its content
	refusal error      // why it was refused; nil when it is what this File holds
}

// place is one residence with the word that the file has for it.
type place struct {
	word      string
	residence policy.Residence
}

// Source returns where the file came from.
func (f *File) Source() Source { return f.source }

// Len returns the number of addresses.
func (f *File) Len() int { return f.count }

// Columns returns the names of the columns beyond address and residence, in
// lower case and in the file's order.
func (f *File) Columns() []string { return append([]string(nil), f.columns...) }

// Lookup returns the entry of a key, which is the Key or the Owner of a
// policy.Address. It does not allocate.
func (f *File) Lookup(key string) (Entry, bool) {
	_, at, found := f.find(key)
	if !found {
		return Entry{}, false
	}
	return Entry{file: f, at: at}, true
}

// lookup returns the entry of an address, or of its owner.
func (f *File) lookup(a policy.Address) (Entry, bool) {
	e, found := f.Lookup(a.Key)
	if !found && a.Owner != a.Key {
		e, found = f.Lookup(a.Owner)
	}
	return e, found
}

// All returns the entries in the order of the file's rows.
func (f *File) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for at := 0; at < len(f.arena); {
			if !yield(Entry{file: f, at: uint32(at)}) {
				return
			}
			c := cursor(f.arena[at:])
			c.text()
			c.number()
			c.number()
			for range f.columns {
				c.text()
			}
			at = len(f.arena) - len(c)
		}
	}
}

// find returns the record of key, or the free slot where it would go.
func (f *File) find(key string) (slot int, at uint32, found bool) {
	mask := len(f.table) - 1
	slot = int(maphash.String(f.seed, key)) & mask
	for f.table[slot] != 0 {
		at = f.table[slot] - 1
		c := cursor(f.arena[at:])
		if c.text() == key {
			return slot, at, true
		}
		slot = (slot + 1) & mask
	}
	return slot, 0, false
}

// Entry is one row of a directory file. It is a small value; its methods do not
// allocate. The zero Entry has no methods to be called.
type Entry struct {
	file *File
	at   uint32
}

// Address returns the entry's address in the form of policy.Address.Key.
func (e Entry) Address() string {
	c := e.record()
	return c.text()
}

// Line returns the number of the entry's line in its file, from 1.
func (e Entry) Line() int {
	c := e.record()
	c.text()
	return c.number()
}

// Residence returns where the address's mailbox lives.
func (e Entry) Residence() policy.Residence { return e.place().residence }

// Login returns the user name that owns the address, or "".
func (e Entry) Login() string { return e.further(e.file.login) }

// Column returns the value of the column of that name, in lower case as Columns
// has it, or "" when there is none. "address" gives the address as Address
// does, "residence" the file's word for the residence in lower case.
func (e Entry) Column(name string) string {
	switch name {
	case "address":
		return e.Address()
	case "residence":
		return e.place().word
	}
	for i, column := range e.file.columns {
		if column == name {
			return e.further(i)
		}
	}
	return ""
}

// Domain returns the normal form of the address's domain.
func (e Entry) Domain() string {
	address := e.Address()
	return address[strings.LastIndexByte(address, '@')+1:]
}

func (e Entry) record() cursor { return cursor(e.file.arena[e.at:]) }

func (e Entry) place() place {
	c := e.record()
	c.text()
	c.number()
	return e.file.places[c.number()]
}

// further returns the value of the column at an index of File.columns.
func (e Entry) further(index int) string {
	if index < 0 {
		return ""
	}
	c := e.record()
	c.text()
	c.number()
	c.number()
	for range index {
		c.text()
	}
	return c.text()
}

// cursor is what is left of an arena, read from its front. It reads only what
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
