// Package sendmail holds what contrib has for Sendmail, so that the program can write it where
// it belongs.
package sendmail

import _ "embed" // It fills rules.

//go:embed coexistd.m4
var rules string

// Rules is coexistd.m4.
func Rules() string { return rules }
