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
		return c.OnError
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

// needsContent reports a check that reads the message itself.
func needsContent(check string) bool {
	return check == CheckVirus || check == CheckSpam || check == CheckMalware
}

func (p Point) needsContent() bool {
	return slices.ContainsFunc(p.Checks, func(c Check) bool { return needsContent(c.Name) })
}

// NeedsContent tells whether the checks read the content of some, and of all,
// messages that come by a listener with that checkpoint. Mail made on this host is
// S2 at any listener, and a Pass brings the checks of another point along.
func (p *Policy) NeedsContent(listener Checkpoint) (some, all bool) {
	s0, past, s1, s2 := p.Points[S0], p.PastMX, p.Points[S1], p.Points[S2]
	entries := []Point{s0, past, s1, s2}
	switch listener {
	case S0:
		entries = []Point{s0, past, s2}
	case S2:
		entries = []Point{s2}
	}
	some = slices.ContainsFunc([]Point{s0, past, s1, s2, p.Points[S3], p.Points[S4]}, Point.needsContent)
	return some, !slices.ContainsFunc(entries, func(point Point) bool { return !point.needsContent() })
}

// points returns what holds for one recipient: the point at which the message
// entered, and those at which it leaves for him.
func (p *Policy) points(from origin, r Recipient, ruling Ruling) []Point {
	entry := p.Points[from.point]
	if domain := p.Domains[r.Address.Domain]; from.point == S0 && domain != nil && domain.MX != "" {
		entry = p.PastMX
	}
	points := []Point{entry}
	for _, exit := range [...]Checkpoint{S3, S4} {
		if len(p.Points[exit].Checks) > 0 && strings.Contains(ruling.Flow, "=>"+exit.String()+"=>") {
			points = append(points, p.Points[exit])
		}
	}
	return points
}

// examine makes the checks of one recipient that is not refused: it calls ask
// for each, save those that he is spared, for which it returns the reasons.
func (p *Policy) examine(from origin, m *Message, i int, ruling Ruling, ask func(Point, Check)) (spared []string) {
	r := m.Recipients[i]
	for _, point := range p.points(from, r, ruling) {
		for _, check := range point.Checks {
			if why := p.spares(check.Name, m, r); why == "" {
				ask(point, check)
			} else if !slices.Contains(spared, why) {
				spared = append(spared, why)
			}
		}
	}
	return spared
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

// Asks returns the checks whose findings Decide needs for a message, in order.
// There are none when the message is refused whatever they find.
func (p *Policy) Asks(m Message) []string {
	from, rulings := p.route(&m)
	return p.asks(from, &m, rulings)
}

func (p *Policy) asks(from origin, m *Message, rulings []Ruling) []string {
	d := Decision{Recipients: rulings}
	d.conclude()
	if d.Verdict > Tag {
		return nil
	}
	var names []string
	for i, ruling := range rulings {
		if ruling.Verdict > Tag {
			continue
		}
		p.examine(from, m, i, ruling, func(_ Point, c Check) {
			if !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		})
	}
	return names
}

// judge applies the findings to one recipient: the strictest of all verdicts is
// his. Every check that would hold the message for him is named in Held. It
// returns the reasons for the checks that he is spared, which his own Reason has
// as well.
func (p *Policy) judge(from origin, m *Message, i int, ruling *Ruling) (spared []string) {
	var reply Reply
	spared = p.examine(from, m, i, *ruling, func(point Point, c Check) {
		f := m.finding(c.Name)
		verdict := c.verdict(f)
		switch verdict {
		case Tag:
			ruling.tags = append(ruling.tags, f)
		case Quarantine:
			if !slices.Contains(ruling.Held, c.Name) {
				ruling.Held = append(ruling.Held, c.Name)
			}
			ruling.Report = ruling.Report || point.Report
		}
		if verdict > ruling.Verdict {
			ruling.Verdict, ruling.Check = verdict, c.Name
			ruling.Reason = f.why()
			reply = f.reply(verdict)
		}
	})
	if ruling.Verdict >= Tempfail {
		ruling.Reply, ruling.Flow, ruling.Rewritten = reply, "", nil
	}
	if len(spared) > 0 {
		ruling.Reason += "; " + strings.Join(spared, "; ")
	}
	return spared
}

// finding returns what a check saw. One that was not made could not tell.
func (m *Message) finding(check string) Finding {
	for _, f := range m.Findings {
		if f.Check == check {
			return f
		}
	}
	return Finding{Check: check, State: Unknown, Reason: "the check was not made"}
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
