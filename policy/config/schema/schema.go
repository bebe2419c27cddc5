// Package schema reads a configuration by a table of what may be said in it. A Schema has
// each key once: its name, what its value can be, what holds without it, and what it means.
// Of that are made the strict reading (Table) and the default file (Schema.Default). What
// holds between keys is the caller's code.
package schema

import (
	"slices"
	"strings"

	"coexistd/policy/config/document"
	"coexistd/policy/config/mistakes"
)

// Key is what may be said in one place of the file.
type Key struct {
	Name string
	Kind Kind
	// Usual is what holds when nothing is said, as the file would say it; nil: nothing.
	// Usually is the same in words, where it hangs on other things.
	Usual   any
	Usually string
	// Missing tells why the key must be said, and how. It is empty for one that may be left
	// out.
	Missing string
	// Example is a value as the file would say it, where Usual does not show it.
	Example string
	// Meaning is a sentence in Markdown, for the reference, without a full stop.
	Meaning string
}

// Section is one table of the file.
type Section struct {
	// Path is its key. A part that is "*" is a name that the administrator gives.
	Path string
	// Header is how it is written, for one; About is what it is about.
	Header, About string
	Keys          []Key
}

// Schema is the file, section by section. The first is what stands before all tables.
type Schema []Section

// Keys returns the keys of the section at a path.
func (s Schema) Keys(path string) []Key {
	if i := slices.IndexFunc(s, func(one Section) bool { return one.Path == path }); i >= 0 {
		return s[i].Keys
	}
	return nil
}

// Within returns the names of the sections within the one at a path.
func (s Schema) Within(path string) (names []string) {
	for _, one := range s {
		rest, inside := strings.CutPrefix("."+one.Path, strings.TrimSuffix("."+path, ".")+".")
		if name, _, _ := strings.Cut(rest, "."); inside && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// under returns the path of the section within another that has a name, or is for all names.
func (s Schema) under(path, name string) string {
	if within := s.Within(path); slices.Contains(within, "*") && !slices.Contains(within, name) {
		name = "*"
	}
	return strings.TrimPrefix(path+"."+name, ".")
}

// has reports that a section has a key.
func (s Schema) has(path, name string) bool {
	return slices.ContainsFunc(s.Keys(path), func(k Key) bool { return k.Name == name })
}

// Reader reads one file.
type Reader struct {
	Schema   Schema
	Lines    document.Lines
	Problems mistakes.Problems // so far
	// Kinds are those of the mistakes in what stands at the top, by its key, where they are
	// not mistakes.OfFile.
	Kinds map[string]mistakes.Kind
}

// Fail puts a mistake on record.
func (r *Reader) Fail(at mistakes.Place, format string, args ...any) {
	r.Problems.Add(at, format, args...)
}

// Top returns the whole file, unread: its name is that of the file in mistakes.
func (r *Reader) Top(file string, entries map[string]any) *Table {
	return &Table{reader: r, Place: mistakes.Place{File: file, Line: 1}, Entries: entries}
}

// Nothing returns a table that says nothing, for one that the file does not have.
func (r *Reader) Nothing() *Table { return &Table{reader: r} }
