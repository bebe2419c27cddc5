// Package setup says what to set on each side, for one configuration: the MTA here, the other
// platforms, the DNS. What it says is data: steps with their commands. Making them asks
// nothing: what must be asked first is a Site.
package setup

import (
	"fmt"
	"io"
	"strings"
)

// Guide is what to set on one side, in the order in which it is done.
type Guide struct {
	// Side is the side's name: "postfix".
	Side string `json:"side"`
	// Intro says for whom the guide is, what it brings about and how it is used: a sentence
	// or some.
	Intro string `json:"intro"`
	// Steps are in their order. Without any there is nothing to be done.
	Steps []Step `json:"steps"`

	comment string // what begins a line that is no command
}

// Step is one thing to be done.
type Step struct {
	// Title says in one line what is brought about.
	Title string `json:"title"`
	// Needs are the edition, the licence or the role that it takes; empty: nothing special.
	Needs string `json:"needs,omitempty"`
	// Text says why, what to see to, and what is done by hand. Its paragraphs are lines.
	Text string `json:"text,omitempty"`
	// File is where the lines of Code belong; empty: they are commands.
	File string `json:"file,omitempty"`
	// Code are lines to be taken as they stand; empty where all is done by hand.
	Code string `json:"code,omitempty"`
}

// steps are those of a guide that is being made.
type steps []Step

// add adds a step of commands, unless it has none.
func (s *steps) add(title, text string, lines ...string) {
	if len(lines) > 0 {
		*s = append(*s, Step{Title: title, Text: text, Code: strings.Join(lines, "\n")})
	}
}

// side is one row of the table of sides.
type side struct {
	name string
	// guide says what to set, retire what to undo.
	guide, retire func(*Site) (Guide, error)
}

// Sides are the names of the sides that have a guide.
func Sides() []string {
	var names []string
	for _, one := range sides() {
		names = append(names, one.name)
	}
	return names
}

// Make returns the guide for a side: what to set, or with retire what to undo. The error
// says what the configuration lacks for it, or that there is no such side.
func Make(name string, site *Site, retire bool) (Guide, error) {
	for _, one := range sides() {
		if one.name != name {
			continue
		}
		how := one.guide
		if retire {
			how = one.retire
		}
		guide, err := how(site)
		guide.Side = name
		return guide, err
	}
	return Guide{}, fmt.Errorf("%q is no side that can be set up; it would be one of: %s", name, strings.Join(Sides(), ", "))
}

// Write writes a guide as text: commands as they stand, all else in comments, so that the
// whole may be run.
func (g Guide) Write(w io.Writer) {
	g.remark(w, g.Intro)
	if len(g.Steps) == 0 {
		g.remark(w, "Nothing is to be done.")
	}
	for i, step := range g.Steps {
		fmt.Fprintln(w)
		g.remark(w, fmt.Sprintf("%d. %s", i+1, step.Title))
		if step.Needs != "" {
			g.remark(w, "Needs: "+step.Needs)
		}
		g.remark(w, step.Text)
		if step.File != "" {
			g.remark(w, step.File+":")
		}
		if step.Code != "" {
			fmt.Fprintln(w, strings.TrimRight(step.Code, "\n"))
		}
	}
}

// remark writes a text as comments, in lines of no more than 100 characters.
func (g Guide) remark(w io.Writer, text string) {
	for paragraph := range strings.Lines(text) {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && len(line)+1+len(word) > 100-len(g.comment) {
				fmt.Fprintln(w, g.comment+line)
				line = ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		if line != "" {
			fmt.Fprintln(w, g.comment+line)
		}
	}
}
