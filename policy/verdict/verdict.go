// Package verdict is the vocabulary that all rooms share: contact points, verdicts, what
// checks find, and the catalogue of every reason with the reply that the client gets.
package verdict

import (
	"fmt"
	"slices"
)

// Checkpoint is one of our own contact points: a place where a message enters
// or leaves the mail system that coexistd guards.
type Checkpoint uint8

// The contact points of this side. Undecided is the zero value: a listener
// that carries it leaves the point to be decided for each message.
const (
	Undecided Checkpoint = iota
	S0                   // mail from the Internet
	S1                   // mail from another platform, its tenant proven
	S2                   // mail from our own users
	S3                   // mail leaving for the Internet
	S4                   // mail leaving for another platform
)

var checkpointNames = [...]string{"", "S0", "S1", "S2", "S3", "S4"}

// String returns the point's name as it stands in the configuration and the
// log: "S0" to "S4", or "" for Undecided.
func (c Checkpoint) String() string { return checkpointNames[c] }

// ParseCheckpoint reads a point's name; ok is false for any other text.
func ParseCheckpoint(s string) (c Checkpoint, ok bool) {
	i := slices.Index(checkpointNames[:], s)
	return Checkpoint(max(i, 0)), i > 0
}

// MarshalText writes the point's name.
func (c Checkpoint) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a point's name; empty text is Undecided. The error says
// that there is no such point.
func (c *Checkpoint) UnmarshalText(text []byte) error {
	point, ok := ParseCheckpoint(string(text))
	if !ok && len(text) > 0 {
		return fmt.Errorf("%.20q is not a contact point", text)
	}
	*c = point
	return nil
}

// Verdict is what is done with a message or a recipient. The constants stand
// in order of strictness, so that the larger of two verdicts is the stricter. The zero
// Verdict, None, is that nothing is decided; it lets no message through.
type Verdict uint8

// The verdicts, the mildest first.
const (
	None Verdict = iota
	Accept
	Tag
	Quarantine
	Discard
	Tempfail
	Reject
)

var verdictNames = [...]string{"none", "accept", "tag", "quarantine", "discard", "tempfail", "reject"}

// String returns the verdict's name as it stands in the configuration.
func (v Verdict) String() string { return verdictNames[v] }
