// Package powershell runs the small part of PowerShell that the project's own scripts are
// written in, for tests: there is no PowerShell where they run. The grammar is tree-sitter's (see
// lab.PowerShell), so that what is run is what an editor would read. What a script uses beyond
// that part is an error, and is never passed over. The cmdlets are the test's own.
package powershell

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Script is one that has been read.
type Script struct {
	text string
	root node
}

// node is one of the tree.
type node struct {
	kind, field string
	start, end  int
	children    []node
}

// UnmarshalJSON reads what contrib/lab/powershell/parse.mjs writes.
func (n *node) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&n.kind, &n.field, &n.start, &n.end, &n.children})
}

// Read takes a script and its tree. The error names the first line that is no PowerShell, or
// that has a character which PowerShell 5.1 would read otherwise than PowerShell 7.
func Read(text, tree string) (*Script, error) {
	s := &Script{text: text}
	for i := range len(text) {
		if text[i] >= 0x80 {
			return nil, fmt.Errorf("line %d is not plain ASCII", s.line(i))
		}
	}
	if err := json.Unmarshal([]byte(tree), &s.root); err != nil {
		return nil, err
	}
	return s, s.faults(s.root)
}

func (s *Script) faults(n node) error {
	if n.kind == "ERROR" || strings.HasPrefix(n.kind, "MISSING") {
		return fmt.Errorf("line %d is no PowerShell (%s): %.80q", s.line(n.start), n.kind, s.of(n))
	}
	for _, child := range n.children {
		if err := s.faults(child); err != nil {
			return err
		}
	}
	return nil
}

func (s *Script) of(n node) string { return s.text[n.start:n.end] }

func (s *Script) line(at int) int { return strings.Count(s.text[:at], "\n") + 1 }

// parts are a node's children without comments and what separates arguments.
func (n node) parts() []node {
	var list []node
	for _, child := range n.children {
		if child.kind != "comment" && child.kind != "command_argument_sep" {
			list = append(list, child)
		}
	}
	return list
}

// only is a node's one part of that kind, or the zero node.
func (n node) only(kind string) node {
	for _, child := range n.children {
		if child.kind == kind {
			return child
		}
	}
	return node{}
}
