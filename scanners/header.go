// Package scanners holds what reads a message's content: each part of it turns
// headers or body into a finding for the policy to decide on.
package scanners

import "strings"

// Header is one header field. Value is exactly what the MTA gave: folding and
// leading white space are kept.
type Header struct {
	Name, Value string
}

// Headers are a message's header fields in the order in which they stand.
type Headers []Header

// Values returns the values of all fields of that name, in order. Field names
// match without case (RFC 5322 section 1.2.2), and that of ASCII only: a letter
// that folds to one of its longer look-alikes makes another name.
func (h Headers) Values(name string) []string {
	var values []string
	for _, header := range h {
		if len(header.Name) == len(name) && strings.EqualFold(header.Name, name) {
			values = append(values, header.Value)
		}
	}
	return values
}
