package policy

import (
	"slices"
	"strings"
)

// Case is one message on its way to a decision: what is known of it, and where its
// recipients' ways lead. Whoever opens it adds, to the Message, the facts that Asks
// names, and then has it decided. No other fact may change once it is open.
type Case struct {
	Message
	policy  *Policy
	from    origin
	rulings []Ruling // by the envelope and the header alone
	checks  []string // that are made, in order
	charges []Charge // what is asked of the limits, once charged is set
	charged bool
	// limitless is set when the directory cannot tell a limit.
	limitless bool
	// stopping is the number of charges whose rules may stop the message.
	stopping int
	stopped  bool // by a limit: nothing else is asked
	findings []Finding
}

// Open begins a case. Of the message, those facts must be known that Asks does not
// ask for.
func (p *Policy) Open(m Message) *Case {
	c := &Case{Message: m, policy: p}
	c.from, c.rulings = p.route(&c.Message)
	c.checks = c.names()
	return c
}

// Decide opens a case of which all is known, and decides it.
func (p *Policy) Decide(m Message) Decision { return p.Open(m).Decide() }

// Asks says what Decide needs to know of a message beyond its envelope and header.
type Asks struct {
	// Scans are the checks for scanners to make, in order.
	Scans []string
	// Authors, Authentication and Rate are set when the facts Authors,
	// Authentication and Grants are needed.
	Authors, Authentication, Rate bool
	// Body is set when any of this needs the message's body.
	Body bool
}

// Asks returns what Decide needs. It is nothing when the message is refused
// whatever is found.
func (c *Case) Asks() Asks {
	var asks Asks
	for _, name := range c.checks {
		switch {
		case isScan(name):
			asks.Scans = append(asks.Scans, name)
		case name == CheckSpoof:
			asks.Authors, asks.Authentication = true, c.from.point == S0
		case name == CheckRate:
			asks.Rate = true
		}
	}
	bytes := asks.Rate && slices.ContainsFunc(c.policy.Rates, func(r Rate) bool { return r.Count == Bytes })
	asks.Body = len(asks.Scans) > 0 || asks.Authentication || bytes
	return asks
}

// names returns the names of the checks that are made on the message, in order.
func (c *Case) names() []string {
	d := Decision{Recipients: c.rulings}
	d.conclude()
	if d.Verdict > Tag {
		return nil
	}
	var names []string
	for i, ruling := range c.rulings {
		if ruling.Verdict > Tag {
			continue
		}
		c.examine(i, ruling, func(_ stage, check Check) {
			if !slices.Contains(names, check.Name) {
				names = append(names, check.Name)
			}
		})
	}
	return names
}

// Decide rules on the whole message, with the facts that Asks has asked for. The
// strictest verdict of its recipients is the message's, with three exceptions: a
// recipient that is to be dropped is dropped alone, one for whom the message is
// held is taken out alone, and so is one of several that mail made on this host
// names in vain, which is left to the MTA to bounce.
func (c *Case) Decide() Decision {
	c.find()
	d := Decision{
		Checkpoint: c.from.point, Checks: append([]string{CheckLoop}, c.checks...),
		Reason: c.policy.entryReason(c.Message), Recipients: slices.Clone(c.rulings), Findings: c.findings,
	}
	if c.from.point == S1 {
		d.Platform = c.from.platform.Name
	}
	if c.Pass != nil {
		d.Passed = c.Pass.Checks
	}
	var spared []string
	for i := range d.Recipients {
		if d.Recipients[i].Verdict <= Tag {
			spared = append(spared, c.judge(i, &d.Recipients[i])...)
		}
	}
	d.conclude()
	for _, why := range spared {
		if !strings.Contains(d.Reason, why) {
			d.Reason += "; " + why
		}
	}
	if d.Verdict <= Tag {
		c.policy.rewrite(&d, c.Message)
		d.tag()
	}
	return d
}

// find adds to the scanners' findings those of the other checks. What is over a
// limit goes no further, so nothing else is asked of it.
func (c *Case) find() {
	c.findings = slices.Clone(c.Findings)
	found := func(name string) bool {
		return slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Check == name })
	}
	if slices.Contains(c.checks, CheckRate) && !found(CheckRate) {
		f := c.rated()
		c.findings, c.stopped = append(c.findings, f), f.Proposed >= Tempfail
	}
	for _, name := range c.checks {
		switch {
		case c.stopped || found(name):
		case name == CheckAuth:
			c.findings = append(c.findings, c.Entry.authenticated())
		case name == CheckSpoof && c.from.point == S2:
			c.findings = append(c.findings, c.policy.owned(&c.Message))
		case name == CheckSpoof:
			c.findings = append(c.findings, c.policy.forged(&c.Message))
		}
	}
}

// examine makes the checks of one recipient that is not refused: it calls ask
// for each, save those that he is spared, for which it returns the reasons.
//
// A message with a pass comes from this host. Who sent it, and how much, was
// judged when it came first, and only what its content is, is looked at again.
func (c *Case) examine(i int, ruling Ruling, ask func(stage, Check)) (spared []string) {
	r := c.Recipients[i]
	for _, point := range c.policy.points(c.from, r, ruling) {
		for _, check := range point.Checks {
			if c.Pass != nil && !isScan(check.Name) {
				continue
			}
			if why := c.policy.spares(check.Name, &c.Message, r); why == "" {
				ask(point, check)
			} else if !slices.Contains(spared, why) {
				spared = append(spared, why)
			}
		}
	}
	return spared
}

// judge applies the findings to one recipient: the strictest of all verdicts is
// his. Every check that would hold the message for him is named in Held. It
// returns the reasons for the checks that he is spared, which his own Reason has
// as well.
func (c *Case) judge(i int, ruling *Ruling) (spared []string) {
	var reply Reply
	spared = c.examine(i, *ruling, func(point stage, check Check) {
		// What came to its end was not stopped by ddos at its beginning.
		if check.Name == CheckDDoS || c.stopped && check.Name != CheckRate {
			return
		}
		f := c.finding(check.Name)
		verdict := check.verdict(f)
		switch verdict {
		case Tag:
			ruling.tags = append(ruling.tags, f)
		case Quarantine:
			if !slices.Contains(ruling.Held, check.Name) {
				ruling.Held = append(ruling.Held, check.Name)
			}
			ruling.Report = ruling.Report || point.Report
		}
		if verdict > ruling.Verdict {
			ruling.Verdict, ruling.Check = verdict, check.Name
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
func (c *Case) finding(check string) Finding {
	for _, f := range c.findings {
		if f.Check == check {
			return f
		}
	}
	return Finding{Check: check, State: Unknown, Reason: "the check was not made"}
}
