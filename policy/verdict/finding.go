package verdict

import (
	"fmt"
	"strings"
)

// The checks. CheckLoop is always on.
const (
	CheckLoop    = "loop"
	CheckDDoS    = "ddos" // connections
	CheckRate    = "rate"
	CheckAuth    = "auth"
	CheckTLS     = "tls" // how the connection is encrypted
	CheckSpoof   = "spoof"
	CheckBlock   = "block" // senders whom the recipient has blocked
	CheckSpam    = "spam"
	CheckVirus   = "virus"
	CheckMalware = "malware" // attachments
)

// State is what a check saw of a message. The zero State is Unknown.
type State uint8

// The states of a finding.
const (
	Unknown State = iota // the check could not tell
	Clean                // there is nothing to object to
	Hit                  // there is
)

var stateNames = [...]string{"unknown", "clean", "hit"}

// String returns the state's name as it stands in the log.
func (s State) String() string { return stateNames[s] }

// Finding is what one check saw of one message. It is a fact: what follows from it,
// policy.Check says. The zero Finding could not tell.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	// Name names what a hit found: a virus's signature, a kind of attachment. It is
	// for people and may be shown to the SMTP client; empty otherwise.
	Name string `json:"name,omitempty"`
	// Reasons are set for a hit and for Unknown. The reply of one that has it is what
	// a client is told whose message is refused or put off for this finding; else it
	// is what is said of the check in general.
	Reasons Reasons `json:"reasons,omitzero"`
	// Down is set for an Unknown that says nothing of the message: what makes the
	// check could not be asked at all. Deciding is the same for both kinds.
	Down bool `json:"down,omitempty"`
	// Score is how bad the message is in the scanner's own measure, when Scored is
	// set. A clean message may have one.
	Score  float64 `json:"score,omitempty"`
	Scored bool    `json:"scored,omitempty"`
	// Proposed is the verdict that the check itself would give a hit that is not a
	// full one: Tag for what it would only mark, Tempfail for what it would put off.
	// None leaves the verdict to Check.OnHit. For Unknown, it is the mildest verdict,
	// whatever Check.OnError is, but not beyond Check.OnHit.
	Proposed Verdict `json:"proposed,omitzero"`
	// Detail is further text for the log only, such as a spam filter's symbols.
	Detail string `json:"detail,omitempty"`
	// Took is for how many nanoseconds the message was with its scanner, the wait for a free
	// place included. It is zero where no scanner was asked.
	Took int64 `json:"took,omitempty"`
}

// Passed is the finding of a check that has nothing to object to.
func Passed(check string) Finding { return Finding{Check: check, State: Clean} }

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
		b.WriteString(": " + f.Reasons.String())
	}
	if f.Detail != "" {
		b.WriteString(" (" + f.Detail + ")")
	}
	return b.String()
}

// Why returns the reasons for a verdict that follows from the finding.
func (f Finding) Why() Reasons {
	if len(f.Reasons.list) == 0 {
		return Because(Why(Reported, f.String()))
	}
	return Because(Why(ByCheck, f.Check)).AndAll(f.Reasons)
}

// Reply is what the SMTP client is told whose message has that verdict for the
// finding. A spam filter's reasons are not for the sender.
func (f Finding) Reply(v Verdict) Reply {
	if v < Tempfail {
		return Reply{}
	}
	if own := f.Reasons.Reply(); own.Verdict() == v {
		return own
	}
	code := RefusedAs
	switch {
	case v == Tempfail && f.State == Unknown:
		code = CheckUnknown
	case v == Tempfail:
		code = NotTaken
	case f.State == Unknown:
		code = CheckUnknownRefused
	case f.Check == CheckVirus:
		return Why(VirusFound, f.Name).Reply()
	case f.Check == CheckMalware:
		return Why(AttachmentRefused, f.Name).Reply()
	}
	return Why(code, f.Check).Reply()
}
