package directory

import (
	"errors"
	"fmt"
	"strings"
)

// maxUnclear bounds the addresses of a list for which mail is put off. A list with more is
// refused.
const maxUnclear = 100_000

// unclear is what stands for the residence of an address that is put off.
const unclear = "unclear"

// Flaw is a row of a source outside this host that is wrong. The list counts all the same,
// since nobody at this host can correct it, and everybody else's mail must go on.
type Flaw struct {
	Error
	// PutOff is set where nobody can tell from the row where the mailbox lives: mail for the
	// address is put off.
	PutOff bool
}

// Flaws are those of a list. The first hundred are named, in the order of their lines; the
// rest are counted.
type Flaws struct {
	Rows []Flaw
	More int
	// PutOff is the number of addresses for which mail is put off.
	PutOff int
}

// Flaws returns what is wrong with rows of the list. A file has none, for a bad row refuses it.
func (s *Snapshot) Flaws() Flaws {
	f := s.flaws
	f.PutOff = len(s.unclear)
	return f
}

// Unclear reports that the entry does not say where the mailbox lives, or that two entries
// contradict each other: mail for it is put off.
func (e Entry) Unclear() bool { return e.list.unclear[e.at] }

// bears reports a source whose bad rows do not refuse its list.
func (b *Builder) bears() bool { return b.list.source.Copy != "" }

// flaw puts on record what is wrong with a row of a source outside this host.
func (b *Builder) flaw(line int, putOff bool, problem error) {
	f := &b.list.flaws
	if len(f.Rows) == maxErrors {
		f.More++
		return
	}
	f.Rows = append(f.Rows, Flaw{Error{Path: b.list.source.Path, Line: line, Problem: problem.Error()}, putOff})
}

// putOff has mail for the entry at a place put off.
func (b *Builder) putOff(at uint32) {
	if b.list.unclear == nil {
		b.list.unclear = make(map[uint32]bool)
	}
	b.list.unclear[at] = true
}

// Unreadable tells of a line that is no row, from 1. It refuses a file. Of a copy, whose
// lines begin with the address, that address is put off.
func (b *Builder) Unreadable(line int, text string, problem error) {
	if !b.bears() || b.address != 0 {
		b.Refuse(line, problem)
		return
	}
	written := firstField(text)
	address, _, err := b.parseOurs(strings.Trim(written, " "))
	if errors.Is(err, errForeign) {
		return
	}
	if err != nil {
		b.flaw(line, false, fmt.Errorf("%w; it begins %q", problem, clip(written)))
		return
	}
	fields := make([]string, b.width)
	fields[0] = address.Path
	if slot, at, found := b.list.find(address.Key); found {
		b.putOff(at)
	} else if at, err := b.put(slot, address.Key, line, b.unclearPlace(), "", fields); err != nil {
		b.Refuse(line, err)
		return
	} else {
		b.putOff(at)
	}
	b.flaw(line, true, fmt.Errorf("%w; it is that of %s, for which mail is put off", problem, address.Key))
}

// firstField is the first field of a row that need not be one. Of a long one it is the beginning.
func firstField(text string) string {
	rest, quoted := strings.CutPrefix(text[:min(len(text), 4096)], `"`)
	if !quoted {
		field, _, _ := strings.Cut(text, ",")
		return field
	}
	var field strings.Builder
	for {
		part, after, _ := strings.Cut(rest, `"`)
		field.WriteString(part)
		if rest, quoted = strings.CutPrefix(after, `"`); !quoted {
			return field.String()
		}
		field.WriteByte('"')
	}
}

// unclearPlace is the place of entries that do not say where they live.
func (b *Builder) unclearPlace() int {
	index, known := b.places[placeKey{}]
	if !known {
		index = len(b.list.places)
		b.list.places = append(b.list.places, place{word: unclear})
		b.places[placeKey{}] = index
	}
	return index
}

// twice says what is wrong with an address that has a row already, at that place. Where the
// two rows of a source outside this host agree, the first counts. The error refuses the list.
func (b *Builder) twice(at uint32, line int, now settled, fields []string) error {
	first := Entry{list: b.list, at: at}
	if !b.bears() {
		err := fmt.Errorf("the address %s is on line %d already", first.Address(), first.Line())
		if mine, other := b.field(fields, b.login), first.Login(); mine != "" && other != "" && mine != other {
			err = fmt.Errorf("%w, as one of %q, and here of %q; it would be that of one of them", err, clip(other), clip(mine))
		}
		return err
	}
	names := fmt.Sprintf("%s is the address of two entries, %s and %s", first.Address(), name(first.Column("origin"), first.Line()), name(b.field(fields, b.origin), line))
	const remedy = "take it from the one that does not own it"
	switch {
	case now.wrong != nil:
		b.flaw(line, true, fmt.Errorf("%s, of which the second is wrong: %w; mail for it is put off", names, now.wrong))
	case first.Unclear():
		b.flaw(line, true, fmt.Errorf("%s; mail for it is put off; %s", names, remedy))
	case first.Residence() == b.list.places[now.place].residence && first.Target() == now.target:
		b.flaw(line, false, fmt.Errorf("%s, of which the first counts, with its login %q; %s", names, clip(first.Login()), remedy))
		return nil
	default:
		b.flaw(line, true, fmt.Errorf("%s, of which one lives %s and the other %s; mail for it is put off; %s",
			names, lives(first.Column("residence"), first.Target()), lives(b.list.places[now.place].word, now.target), remedy))
	}
	b.putOff(at)
	return nil
}

// lives says where an entry lives, for people.
func lives(residence, target string) string {
	if target == "" {
		return residence
	}
	return residence + " as " + target
}

// name is what the source calls an entry.
func name(origin string, line int) string {
	if origin == "" {
		return fmt.Sprintf("that of line %d", line)
	}
	return clip(origin)
}

// field returns the field at a place, which may be -1 for none.
func (b *Builder) field(fields []string, place int) string {
	if place < 0 {
		return ""
	}
	return fields[place]
}

// asErrors are the flaws of a list that has nothing else.
func (f Flaws) asErrors() *Errors {
	e := &Errors{More: f.More}
	for _, one := range f.Rows {
		e.Rows = append(e.Rows, one.Error)
	}
	return e
}

// residenceRemedy says what would be right in the place of no residence.
func (b *Builder) residenceRemedy() string {
	if b.bears() {
		return "; " + strings.Replace(b.list.source.Path, ":", ".", 1) + ".residence says what its entry's value means, or the default of all"
	}
	return ""
}
