package policy

import (
	"fmt"
	"strings"
)

// The checks. Of CheckLoop, see Decide.
const (
	CheckDDoS    = "ddos" // connections
	CheckRate    = "rate"
	CheckAuth    = "auth"
	CheckSpoof   = "spoof"
	CheckSpam    = "spam"
	CheckVirus   = "virus"
	CheckMalware = "malware" // attachments
)

// State is what a check saw of a message.
type State uint8

// The states of a finding.
const (
	Clean   State = iota // there is nothing to object to
	Hit                  // there is
	Unknown              // the check could not tell
)

var stateNames = [...]string{"clean", "hit", "unknown"}

// String returns the state's name as it stands in the log.
func (s State) String() string { return stateNames[s] }

// Finding is what one check saw of one message. It is a fact: what follows from
// it, Policy says.
type Finding struct {
	Check string
	State State
	// Name names what a hit found: a virus's signature, a kind of attachment. It
	// is for people and may be shown to the SMTP client; empty otherwise.
	Name string
	// Reason is one sentence for the log. It is set for a hit and for unknown.
	Reason string
	// Down is set for an unknown that says nothing of the message: what makes the
	// check could not be asked at all. Deciding is the same for both kinds.
	Down bool
	// Score is how bad the message is in the scanner's own measure, when Scored
	// is set. A clean message may have one.
	Score  float64
	Scored bool
	// Proposed is the verdict that the scanner itself would give a hit that is
	// not a full one: Tag for what it would only mark, Tempfail for what it would
	// put off. Accept leaves the verdict to Check.OnHit. For unknown, it is the
	// mildest verdict, whatever Check.OnError is, but not beyond Check.OnHit.
	Proposed Verdict
	// Reply is what a client is told whose message is refused or put off for this
	// finding; zero: what is said of the check in general.
	Reply Reply
	// Detail is further text for the log only, such as a spam filter's symbols.
	Detail string
}

// String returns the finding as the log has it: "spam hit GTUBE 15.00 (SYMBOLS)".
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Check + " " + f.State.String())
	if f.Name != "" {
		b.WriteString(" " + f.Name)
	}
	if f.Scored {
		fmt.Fprintf(&b, " %.2f", f.Score)
	}
	if f.State == Unknown {
		b.WriteString(": " + f.Reason)
	}
	if f.Detail != "" {
		b.WriteString(" (" + f.Detail + ")")
	}
	return b.String()
}
