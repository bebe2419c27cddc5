package ldap

import (
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// memberOf names the groups of an entry.
const memberOf = "memberof"

// maxKnown is how many DNs are kept with what is known of them.
const maxKnown = 100_000

// groups are those whose members live somewhere.
type groups struct {
	choices []Choice
	nested  bool
	places  map[string]int // by their DNs in normal form
	known   map[string]int // the place of each DN that was looked at, as it was written; -1: none of these
	members map[string]int // with nested: the first place of each member, by its DN in lower case
}

func newGroups(r Residence) *groups {
	g := &groups{choices: r.Groups, nested: r.Nested, places: make(map[string]int), known: make(map[string]int)}
	for i, c := range r.Groups {
		dn := normalDN(c.Value)
		if _, twice := g.places[dn]; !twice {
			g.places[dn] = i
		}
	}
	return g
}

// residence returns where members live of the first group that an entry is a member of, or "".
func (g *groups) residence(dn string, memberOf []string) string {
	first := len(g.choices)
	if g.nested {
		if place, isMember := g.members[strings.ToLower(dn)]; isMember {
			first = place
		}
	} else if len(g.choices) > 0 {
		for _, group := range memberOf {
			if place := g.place(group); place >= 0 {
				first = min(first, place)
			}
		}
	}
	if first == len(g.choices) {
		return ""
	}
	return g.choices[first].Means
}

// place returns the place of a group, or -1 when it tells nothing.
func (g *groups) place(dn string) int {
	if place, isKnown := g.known[dn]; isKnown {
		return place
	}
	place, tells := g.places[normalDN(dn)]
	if !tells {
		place = -1
	}
	if len(g.known) < maxKnown {
		g.known[dn] = place
	}
	return place
}

// addMember notes a member, whose group is at that place.
func (g *groups) addMember(dn string, place int) error {
	if len(g.members) >= maxRows {
		return fmt.Errorf("it sent more than %d members", maxRows)
	}
	key := strings.ToLower(dn)
	if _, isMember := g.members[key]; !isMember {
		g.members[key] = place
	}
	return nil
}

// normalDN is the form in which DNs are compared. What is none stays as it is.
func normalDN(text string) string {
	if dn, err := goldap.ParseDN(text); err == nil {
		text = dn.String()
	}
	return strings.ToLower(text)
}
