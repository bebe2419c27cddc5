package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Point says what is done with the mail of one contact point.
type Point struct {
	// Checks are those that are made, in order. CheckLoop is not among them: it
	// is always made.
	Checks []Check
	// Report tells recipients, in their quarantine reports, of what is held here.
	Report bool
}

// Check says what follows from the findings of one check.
type Check struct {
	Name    string
	OnHit   Verdict // for what the check objects to
	OnError Verdict // for what it could not tell
	// Thresholds give verdicts to scores, ascending. When there are any, a
	// scored finding's verdict is that of the highest one that it reaches.
	Thresholds []Threshold
}

// Threshold is a score and the verdict of messages that reach it.
type Threshold struct {
	At      float64
	Verdict Verdict
}

// verdict is what follows from a finding. What a scanner only wants to mark is
// never treated worse than a hit, and what it wants to see again later is put
// off, unless hits are of no consequence.
func (c Check) verdict(f Finding) Verdict {
	switch {
	case f.State == Unknown:
		return max(c.OnError, min(f.Proposed, c.OnHit))
	case f.Proposed == Tempfail:
		if c.OnHit == Accept {
			return Accept
		}
		return Tempfail
	case f.Scored && len(c.Thresholds) > 0:
		v := Accept
		for _, t := range c.Thresholds {
			if f.Score >= t.At {
				v = t.Verdict
			}
		}
		return v
	case f.State == Clean:
		return Accept
	case f.Proposed != Accept:
		return min(c.OnHit, f.Proposed)
	}
	return c.OnHit
}

// Allowance spares some mail some checks: that which meets each of its
// conditions. A condition that is empty holds for all mail, and at least one is
// not empty.
type Allowance struct {
	Name    string // stands in the log
	Checks  []string
	Clients []netip.Prefix
	// Senders and Recipients hold addresses (as Address.Key and Address.Owner
	// have them) and domains as "@" with their normal form.
	Senders, Recipients []string
}

func (a *Allowance) holds(check string, client netip.Addr, sender, recipient Address) bool {
	return slices.Contains(a.Checks, check) &&
		(len(a.Clients) == 0 || contains(a.Clients, client)) &&
		(len(a.Senders) == 0 || sender.isIn(a.Senders)) &&
		(len(a.Recipients) == 0 || recipient.isIn(a.Recipients))
}

// isIn reports that a list names the address, its owner or its domain.
func (a Address) isIn(list []string) bool {
	return !a.IsNull() && (slices.Contains(list, a.Key) || slices.Contains(list, a.Owner) || slices.Contains(list, "@"+a.Domain))
}

// isScan reports a check that a scanner makes, by the message itself.
func isScan(check string) bool {
	return check == CheckVirus || check == CheckSpam || check == CheckMalware
}

// stage is a contact point on a recipient's way, with what is done there.
type stage struct {
	at Checkpoint
	Point
}

// readsBody reports that the checks of a point need the message's body: those of
// scanners, signatures of mail from outside, and limits that count bytes.
func (p *Policy) readsBody(at Checkpoint, point Point) bool {
	return slices.ContainsFunc(point.Checks, func(c Check) bool {
		switch c.Name {
		case CheckSpoof:
			return at == S0
		case CheckRate:
			return slices.ContainsFunc(p.Rates, func(r Rate) bool { return r.Count == Bytes && slices.Contains(r.Points, at) })
		}
		return isScan(c.Name)
	})
}

// NeedsContent tells whether the checks read the content of some, and of all,
// messages that come by a listener with that checkpoint. Mail made on this host is
// S2 at any listener, and a Pass brings the checks of another point along.
func (p *Policy) NeedsContent(listener Checkpoint) (some, all bool) {
	points := []stage{{S0, p.Points[S0]}, {S0, p.PastMX}, {S1, p.Points[S1]}, {S2, p.Points[S2]}, {S3, p.Points[S3]}, {S4, p.Points[S4]}}
	entries := points[:4]
	switch listener {
	case S0:
		entries = []stage{points[0], points[1], points[3]}
	case S2:
		entries = points[3:4]
	}
	reads := func(s stage) bool { return p.readsBody(s.at, s.Point) }
	signed := slices.ContainsFunc(p.Platforms, func(platform *Platform) bool { return len(platform.Proof.Domains) > 0 })
	return signed || slices.ContainsFunc(points, reads),
		!slices.ContainsFunc(entries, func(s stage) bool { return !reads(s) })
}

// Guards returns what is done at an entry about clients who ask for more than
// DDoS allows. It is false when nothing is. A platform's networks are shared by
// many, and are not bounded.
func (p *Policy) Guards(e Entry) (Check, bool) {
	var points []Point
	switch {
	case e.OnHost || e.Provisional:
	case e.Point == S0:
		points = []Point{p.Points[S0], p.PastMX}
	default:
		points = []Point{p.Points[e.Point]}
	}
	for _, point := range points {
		for _, c := range point.Checks {
			if c.Name == CheckDDoS {
				return c, true
			}
		}
	}
	return Check{}, false
}

// GuardsAny reports that Guards is true for some entries of a listener with that
// checkpoint.
func (p *Policy) GuardsAny(listener Checkpoint) bool {
	for _, at := range [...]Checkpoint{S0, S2} {
		if _, guards := p.Guards(Entry{Point: at}); guards && (listener == at || listener == Undecided || listener == S1 && at == S0) {
			return true
		}
	}
	return false
}

// points returns what holds for one recipient: the point at which the message
// entered, and those at which it leaves for him.
func (p *Policy) points(from origin, r Recipient, ruling Ruling) []stage {
	entry := stage{from.point, p.Points[from.point]}
	if domain := p.Domains[r.Address.Domain]; from.point == S0 && domain != nil && domain.MX != "" {
		entry.Point = p.PastMX
	}
	stages := []stage{entry}
	for _, exit := range [...]Checkpoint{S3, S4} {
		if len(p.Points[exit].Checks) > 0 && strings.Contains(ruling.Flow, "=>"+exit.String()+"=>") {
			stages = append(stages, stage{exit, p.Points[exit]})
		}
	}
	return stages
}

// spares returns why a recipient is spared a check, or "".
func (p *Policy) spares(check string, m *Message, r Recipient) string {
	if pass := m.Pass; pass != nil && slices.Contains(pass.Checks, check) {
		return fmt.Sprintf("%s is passed by: %s", check, pass.why())
	}
	for i := range p.Allow {
		if allow := &p.Allow[i]; allow.holds(check, m.Client, m.Sender, r.Address) {
			return fmt.Sprintf("%s is passed by: %q allows it", check, allow.Name)
		}
	}
	return ""
}

// authenticated is the finding of the check auth.
func (e Entry) authenticated() Finding {
	f := Finding{Check: CheckAuth}
	if !e.Known {
		f.State, f.Name = Hit, "not authenticated"
		f.Reason = "the client is not logged in, and is none of our_networks and our_certificates"
		// RFC 4954 section 6.
		f.Reply = Reply{530, "5.7.0", "Authentication required"}
	}
	return f
}

func (f Finding) why() string {
	why := f.Check + ": " + f.Reason
	if f.Reason == "" {
		why = f.String()
	}
	return why
}

// reply is what the SMTP client is told when a finding refuses his message. A
// spam filter's reasons are not for him.
func (f Finding) reply(v Verdict) Reply {
	switch {
	case v < Tempfail:
		return Reply{}
	case f.Reply.Code >= 400 && (f.Reply.Code < 500) == (v == Tempfail):
		return f.Reply
	case v == Tempfail && f.State == Unknown:
		return Reply{451, "4.3.0", "The message cannot be checked at the moment, try again later"}
	case v == Tempfail:
		return Reply{451, "4.7.1", "The message is not taken at the moment, try again later"}
	case f.State == Unknown:
		return Reply{554, "5.3.0", "The message cannot be checked"}
	case f.Check == CheckVirus:
		return Reply{554, "5.7.1", "Virus found: " + printable(f.Name)}
	case f.Check == CheckMalware:
		return Reply{554, "5.7.1", "Attachment refused: " + printable(f.Name)}
	}
	return Reply{550, "5.7.1", "The message is refused as " + f.Check}
}

// The headers of tagged messages.
const (
	// TagHeader names the check and what it found, once for each.
	TagHeader = "X-Coexist-Tag"
	// SpamHeader is what mail programs and filters look for, with the value YES.
	SpamHeader = "X-Spam-Flag"
)

// tag fills in the headers that the delivered recipients' findings ask for.
func (d *Decision) tag() {
	seen := make(map[string]bool)
	add := func(name, value string) {
		if !seen[name+value] {
			seen[name+value] = true
			d.Headers = append(d.Headers, Field{name, value})
		}
	}
	for _, ruling := range d.Recipients {
		if ruling.Verdict > Tag {
			continue
		}
		for _, f := range ruling.tags {
			what := printable(f.Name)
			if f.State == Unknown {
				what = f.State.String()
			}
			if f.Scored {
				what = strings.TrimSpace(fmt.Sprintf("%s %.2f", what, f.Score))
			}
			add(TagHeader, f.Check+"; "+what)
			if f.Check == CheckSpam && f.State != Unknown {
				add(SpamHeader, "YES")
			}
		}
	}
}
