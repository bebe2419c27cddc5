package policy

import "fmt"

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
	for i, name := range checkpointNames {
		if i > 0 && name == s {
			return Checkpoint(i), true
		}
	}
	return Undecided, false
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
// in order of strictness, so that the larger of two verdicts is the stricter.
type Verdict uint8

// The verdicts, the mildest first.
const (
	Accept Verdict = iota
	Tag
	Quarantine
	Discard
	Tempfail
	Reject
)

var verdictNames = [...]string{"accept", "tag", "quarantine", "discard", "tempfail", "reject"}

// String returns the verdict's name as it stands in the configuration.
func (v Verdict) String() string { return verdictNames[v] }

// Reply is what the SMTP client is told: a basic code (RFC 5321 section 4.2),
// an enhanced code (RFC 3463) and one line of text. The zero Reply says
// nothing, which leaves the answer to the MTA.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

// IsZero reports that there is nothing to say.
func (r Reply) IsZero() bool { return r.Code == 0 }

// String returns the reply as one SMTP line without its line end, or "".
func (r Reply) String() string {
	if r.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
}

// Kind says in which of four ways an address has its mailbox.
type Kind uint8

// The kinds of residence.
const (
	Here   Kind = iota // on our own mail server
	There              // on another platform
	Both               // here and on another platform: dual delivery
	Moving             // a move is under way: try again later
)

// Residence is where one address's mailbox lives. Platform names the other
// platform of There and Both and is empty for the rest.
type Residence struct {
	Kind     Kind
	Platform string
}

// String returns the residence as a directory writes it: "here", the
// platform's name, "both" or "moving".
func (r Residence) String() string {
	switch r.Kind {
	case There:
		return r.Platform
	case Both:
		return "both"
	case Moving:
		return "moving"
	}
	return "here"
}

// Listing is what the directory answered for one address. It is a fact:
// policy decides what follows from it.
type Listing struct {
	Failed    bool      // the directory could not answer
	Found     bool      // the address, or its owner's, has an entry
	Address   string    // the entry's address, lower case; empty unless Found
	Residence Residence // meaningful when Found
}
