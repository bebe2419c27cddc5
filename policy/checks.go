package policy

import (
	"slices"

	"coexistd/policy/verdict"
)

// CheckRow is all that is particular to one check.
type CheckRow struct {
	Name string
	// Usual are the points that make the check when the configuration says nothing.
	// PastMX says it of S0 for domains whose MX is elsewhere.
	Usual  []verdict.Checkpoint
	PastMX bool
	// Misplaced says for each point at which the check cannot stand why.
	Misplaced map[verdict.Checkpoint]string
	// Scanner names the section of what makes the check by asking a server. Empty: it
	// needs none.
	Scanner string
	// ReadsContent is set for a check that a scanner makes by the message itself. What
	// was held and is released meets such checks alone.
	ReadsContent bool
	// ByWord are points at which a platform's own verdict is what the check goes by, unless
	// the configuration names the check there and has its scanner.
	ByWord []verdict.Checkpoint
	// OnHit and OnError are the usual verdicts. OnHitAt has another OnHit for some points,
	// whatever is said for all points alike.
	OnHit, OnError verdict.Verdict
	OnHitAt        map[verdict.Checkpoint]verdict.Verdict
	// AlwaysTells is set for a check that is never in want of an answer.
	AlwaysTells bool
	// Scored is set for a check whose findings may have a score.
	Scored bool
	// NotSpared says, for a check that [[allow]] does not spare, where its exceptions
	// are written. It is empty for a check that can be spared.
	NotSpared string
	// Verdicts are those that OnHit may be, and OnlyThese says why; nil: all.
	Verdicts  []verdict.Verdict
	OnlyThese string
}

const (
	noClient   = "no client connects there, mail leaves; ddos is made at S0 and S2"
	fewClients = "the platform's few clients connect for all of its users; ddos is made at S0 and S2"
	noStranger = "our own users send there, whom nobody blocks; block is made at S0 and S1"
	noLogin    = "clients do not log in there; auth is made at S2"
	noServer   = "no client connects there, mail leaves; out of [[tls]] says what is demanded of servers, and tls is made at S0, S1 and S2"
	judged     = "who sends was judged where the message entered; "
)

// checkRows are all checks that a point can make, in the order of their making. The
// verdicts of rate are those of its rules. Spam goes through while rspamd cannot tell: it
// harms less than a delay of all mail. What may be a virus does not.
var checkRows = []CheckRow{
	{
		Name: verdict.CheckDDoS, Usual: []verdict.Checkpoint{verdict.S0, verdict.S2}, PastMX: true,
		Misplaced: map[verdict.Checkpoint]string{verdict.S1: fewClients, verdict.S3: noClient, verdict.S4: noClient},
		OnHit:     verdict.Tempfail, OnError: verdict.Accept, AlwaysTells: true,
		NotSpared: "connections are bounded before it is known whose mail comes; name networks in exempt of [check.ddos]",
		Verdicts:  []verdict.Verdict{verdict.Accept, verdict.Tempfail, verdict.Reject}, OnlyThese: "there is no message yet",
	},
	{
		Name: verdict.CheckRate, Usual: []verdict.Checkpoint{verdict.S0, verdict.S2}, PastMX: true,
		OnHit: verdict.Reject, OnError: verdict.Accept,
		NotSpared: "a limit's exceptions are in the overrides of its [[rate]]",
	},
	{
		Name: verdict.CheckAuth, Usual: []verdict.Checkpoint{verdict.S2},
		Misplaced: map[verdict.Checkpoint]string{
			verdict.S0: noLogin, verdict.S1: noLogin, verdict.S3: judged + "auth is made at S2", verdict.S4: judged + "auth is made at S2",
		},
		OnHit: verdict.Reject, OnError: verdict.Accept, AlwaysTells: true,
		NotSpared: "who need not log in is said by our_networks and our_certificates",
	},
	{
		// Where nothing can be told of the connection, mail waits for an administrator to look.
		Name: verdict.CheckTLS, Usual: []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2}, PastMX: true,
		Misplaced: map[verdict.Checkpoint]string{verdict.S3: noServer, verdict.S4: noServer},
		OnHit:     verdict.Reject, OnError: verdict.Tempfail,
		NotSpared: "what is demanded of whom, and of nobody else, is said by each [[tls]]",
	},
	{
		Name: verdict.CheckSpoof, Usual: []verdict.Checkpoint{verdict.S0, verdict.S2}, PastMX: true,
		Misplaced: map[verdict.Checkpoint]string{
			verdict.S1: "what a proven tenant sends was judged by its platform; spoof is made at S0 and S2",
			verdict.S3: judged + "spoof is made at S0 and S2", verdict.S4: judged + "spoof is made at S0 and S2",
		},
		OnHit: verdict.Reject, OnError: verdict.Accept,
	},
	{
		Name: verdict.CheckBlock, Usual: []verdict.Checkpoint{verdict.S0, verdict.S1}, PastMX: true,
		Misplaced: map[verdict.Checkpoint]string{
			verdict.S2: noStranger, verdict.S3: judged + "block is made at S0 and S1", verdict.S4: judged + "block is made at S0 and S1",
		},
		OnHit: verdict.Quarantine, OnError: verdict.Accept, AlwaysTells: true,
		NotSpared: "what a recipient has blocked, coexistd senders remove lets in again",
		Verdicts:  []verdict.Verdict{verdict.Accept, verdict.Quarantine, verdict.Discard},
		OnlyThese: "it is for the one recipient who has blocked the sender, and others get the message as it came",
	},
	{
		// Where the MX is elsewhere, spam is that platform's work. What it finds, it only
		// writes into headers for the mail that it passes on: that is heard, and marked.
		Name: verdict.CheckSpam, Usual: []verdict.Checkpoint{verdict.S0, verdict.S1}, Scanner: "rspamd", ReadsContent: true,
		ByWord: []verdict.Checkpoint{verdict.S1},
		OnHit:  verdict.Quarantine, OnError: verdict.Accept, OnHitAt: map[verdict.Checkpoint]verdict.Verdict{verdict.S1: verdict.Tag}, Scored: true,
	},
	{
		Name: verdict.CheckVirus, Usual: []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2}, PastMX: true, Scanner: "clamd", ReadsContent: true,
		OnHit: verdict.Reject, OnError: verdict.Tempfail,
		NotSpared: "no trust in a sender makes a virus harmless",
	},
	{
		Name: verdict.CheckMalware, Usual: []verdict.Checkpoint{verdict.S0}, PastMX: true, ReadsContent: true,
		OnHit: verdict.Quarantine, OnError: verdict.Quarantine,
	},
}

// Checks returns the rows of all checks that a point can make, in the order of their
// making. The check loop is not among them: it is always made.
func Checks() []CheckRow { return slices.Clone(checkRows) }

// CheckOf returns a check's row; ok is false where there is no check of that name.
func CheckOf(name string) (row CheckRow, ok bool) {
	if i := indexOf(name); i >= 0 {
		return checkRows[i], true
	}
	return CheckRow{}, false
}

// indexOf returns a check's place among the rows, or -1.
func indexOf(name string) int {
	return slices.IndexFunc(checkRows, func(row CheckRow) bool { return row.Name == name })
}

// readsContent reports a check that a scanner makes by the message itself.
func readsContent(check string) bool {
	i := indexOf(check)
	return i >= 0 && checkRows[i].ReadsContent
}

// Point says what is done with the mail of one contact point.
type Point struct {
	// Checks are those that are made, in order. The check loop is not among them: it
	// is always made.
	Checks []Check
	// Report tells recipients, in their quarantine reports, of what is held here.
	Report bool
}

// check returns the check of that name; ok is false when the point does not make it.
func (p Point) check(name string) (c Check, ok bool) {
	i := slices.IndexFunc(p.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		return Check{}, false
	}
	return p.Checks[i], true
}

// Makes reports that the point makes the check of that name.
func (p Point) Makes(name string) bool {
	_, made := p.check(name)
	return made
}

// Check says what follows from the findings of one check at one point.
type Check struct {
	Name    string
	OnHit   verdict.Verdict // for what the check objects to
	OnError verdict.Verdict // for what it could not tell
	// ByWord has the check go by the platform's own verdict alone: no scanner is asked.
	ByWord bool
	// Thresholds give verdicts to scores, ascending. When there are any, a
	// scored finding's verdict is that of the highest one that it reaches.
	Thresholds []Threshold
}

// Threshold is a score and the verdict of messages that reach it.
type Threshold struct {
	At      float64
	Verdict verdict.Verdict
}

// asksScanner reports that a scanner makes the check, by the message itself.
func (c Check) asksScanner() bool { return readsContent(c.Name) && !c.ByWord }

// verdict is what follows from a finding. What a scanner only wants to mark is
// never treated worse than a hit, and what it wants to see again later is put
// off, unless hits are of no consequence.
func (c Check) verdict(f verdict.Finding) verdict.Verdict {
	switch {
	case f.State == verdict.Unknown:
		return max(c.OnError, min(f.Proposed, c.OnHit))
	case f.Proposed == verdict.Tempfail:
		if c.OnHit == verdict.Accept {
			return verdict.Accept
		}
		return verdict.Tempfail
	case f.Scored && len(c.Thresholds) > 0:
		v := verdict.Accept
		for _, t := range c.Thresholds {
			if f.Score >= t.At {
				v = t.Verdict
			}
		}
		return v
	case f.State == verdict.Clean:
		return verdict.Accept
	case f.Proposed > verdict.Accept:
		return min(c.OnHit, f.Proposed)
	}
	return c.OnHit
}
