package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// Ruling is what becomes of one recipient.
type Ruling struct {
	Address   string // as it was written
	Residence route.Residence
	Ways      route.Ways // none when it is refused
	// Elsewhere is the address that the message goes to instead or besides, or empty.
	Elsewhere string
	// Instead, SentOn and Rule are as in route.Route.
	Instead, SentOn bool
	Rule            string
	Verdict         verdict.Verdict
	Reply           verdict.Reply // set when Verdict is Tempfail or Reject
	Reasons         verdict.Reasons
	Check           string // the check that decided, or empty: "loop"
	// Held names the checks that hold the message for this recipient, when
	// Verdict is Quarantine; Report says that the recipient is told of it, or in their
	// place those of ReportTo.
	Held     []string
	Report   bool
	ReportTo []string
	// Observed says that the mode is observe for this recipient: all of this is what would
	// be, and nothing is done. See Done.
	Observed bool

	tags []verdict.Finding // that put headers on this recipient's copy
}

// ruling makes a ruling of a recipient's route.
func ruling(r *route.Recipient, found route.Route) Ruling {
	return Ruling{
		Address: r.Path, Residence: found.Residence, Ways: found.Ways, Elsewhere: found.Elsewhere, Instead: found.Instead, SentOn: found.SentOn, Rule: found.Rule,
		Verdict: found.Verdict, Reply: found.Reply(), Reasons: found.Reasons, Check: found.Check,
	}
}

// Refuse is the ruling on a recipient who is refused for a reason that has a reply.
func Refuse(path string, why verdict.Reason) Ruling {
	reply := why.Reply()
	return Ruling{Address: path, Verdict: reply.Verdict(), Reply: reply, Reasons: verdict.Because(why)}
}

// isRemoved reports a recipient that is taken out alone.
func (r *Ruling) isRemoved() bool {
	return r.Verdict == verdict.Quarantine || r.Verdict == verdict.Discard
}

// Decision is what becomes of one message. The zero Decision lets nothing through.
type Decision struct {
	Checkpoint verdict.Checkpoint
	// Platform is the platform that a message at S1 came from; else empty.
	Platform string
	// Checks are the checks that were made, by name. Those of several recipients
	// may differ; all of them are named.
	Checks  []string
	Verdict verdict.Verdict
	Reply   verdict.Reply // set when Verdict is Tempfail or Reject
	// Check names the check that decided, or is empty.
	Check string
	// Findings are what the checks saw, those of the scanners first.
	Findings []verdict.Finding
	// Passed are the checks that a pass spares the message, and PassedArchive.
	Passed []string
	// Archived is the address to which a copy for the archive goes, or empty.
	Archived   string
	Reasons    verdict.Reasons
	Recipients []Ruling
	// Observed is what would have been done, were it not only observed, for those
	// recipients for whom it is. Verdict and all else are by the other ones alone. Nil: there
	// are no such recipients.
	Observed *Outcome
	// Drop tells the MTA to take the message and throw it away: nobody is left to get
	// it.
	Drop bool
	// Edits are all changes to the message, in order. There are none with Drop, nor when
	// Verdict is Tempfail or Reject.
	Edits []Edit
}

// PutOff returns the decision to try again later, for a reason that has such a reply. The
// message stays as it is.
func (d Decision) PutOff(why verdict.Reason) Decision {
	d.Reply = why.Reply()
	d.Verdict, d.Reasons, d.Check = d.Reply.Verdict(), verdict.Because(why), ""
	d.Edits, d.Drop, d.Archived = nil, false, ""
	return d
}

// RefuseMessage is the decision on a message that is refused at its entry, for a reason
// that has a reply. One that is observed for all goes on. The policy is nil where there is
// no configuration yet.
func (p *Policy) RefuseMessage(m *Message, why verdict.Reason) Decision {
	d := Decision{Checkpoint: m.Entry.Point}
	if m.Entry.IsProvisional() {
		d.Checkpoint = verdict.S0
	}
	refused := d.PutOff(why)
	if p == nil || p.enforces(m) {
		return refused
	}
	d.Verdict = verdict.Accept
	d.Observed = &Outcome{Verdict: refused.Verdict, Reply: refused.Reply, Reasons: refused.Reasons}
	return d
}

// Decide rules on the whole message, with the facts that Asks has asked for. The
// strictest verdict of its recipients is the message's, with three exceptions: a
// recipient that is to be dropped is dropped alone, one for whom the message is
// held is taken out alone, and so is one of several that mail made on this host
// names in vain, which is left to the MTA to bounce.
func (c *Case) Decide() Decision {
	if why := cmp.Or(c.unfit, c.Trouble); why.Code != "" {
		return c.policy.RefuseMessage(&c.Message, why)
	}
	if c.ProbeIsFirst && c.Probe() != nil {
		return c.dropProbe()
	}
	c.find()
	d := c.begin()
	d.Checks, d.Recipients, d.Findings = c.checks, c.rulings, c.findings
	if c.pass != nil {
		d.Passed = c.pass.Checks
	}
	var spared []verdict.Reason
	for i := range d.Recipients {
		if d.Recipients[i].Verdict <= verdict.Tag {
			spared = append(spared, c.judge(i, &d.Recipients[i])...)
		}
	}
	d.conclude()
	d.Reasons = c.addThrough(d.Reasons)
	d.addSpared(spared)
	return c.edit(c.archive(d))
}

// mostSpared bounds the reasons for checks that recipients are spared which the message has. Each
// of thousands may have one of their own, as their Ruling says.
const mostSpared = 16

// addSpared adds reasons for which recipients are spared checks, each once.
func (d *Decision) addSpared(spared []verdict.Reason) {
	added := 0
	for _, why := range spared {
		if added < mostSpared && !d.Reasons.Has(why) {
			d.Reasons = d.Reasons.And(why)
			added++
		}
	}
}

// begin returns a decision that says where the message has entered, and nothing else.
func (c *Case) begin() Decision {
	d := Decision{Checkpoint: c.from.Point, Reasons: c.entered()}
	if c.from.Point == verdict.S1 {
		d.Platform = c.from.Platform.Name
	}
	return d
}

// entered says why the message has entered where it has.
func (c *Case) entered() verdict.Reasons {
	why := verdict.Because(c.Entry.Why, c.Entry.Handed)
	switch {
	case c.pass != nil:
		return why.And(c.pass.Why())
	case c.Entry.IsProvisional():
		return why.AndAll(c.proof.Reasons)
	}
	return why
}

// find adds to the scanners' findings those of the other checks. What is over a
// limit goes no further, so nothing else is asked of it.
func (c *Case) find() {
	const ofOurs = 5 // auth, block, rate, spoof and tls
	c.findings = append(make([]verdict.Finding, 0, len(c.Findings)+ofOurs), c.Findings...)
	if slices.Contains(c.checks, verdict.CheckRate) && c.found(verdict.CheckRate) == nil {
		f := c.claimed().Finding(c.Grants)
		c.findings, c.stopped = append(c.findings, f), f.Proposed >= verdict.Tempfail
	}
	for _, name := range c.checks {
		switch {
		case c.stopped || c.found(name) != nil:
		case name == verdict.CheckAuth:
			c.findings = append(c.findings, c.Entry.authenticated())
		case name == verdict.CheckTLS:
			c.findings = append(c.findings, c.Entry.encrypted(c.Sender))
		case name == verdict.CheckSpoof:
			c.findings = append(c.findings, c.spoofed())
		case name == verdict.CheckBlock:
			c.findings = append(c.findings, c.blockedByAny())
		case name == verdict.CheckSpam && !slices.Contains(c.scans, name):
			c.findings = append(c.findings, verdict.Passed(name))
		}
	}
	c.hearPlatform()
}

// hearPlatform has what a proven platform says of its own mail, that it is spam, for the
// finding of the check spam, unless a scanner found as much.
func (c *Case) hearPlatform() {
	found := c.found(verdict.CheckSpam)
	if found == nil || found.State == verdict.Hit || c.from.Point != verdict.S1 {
		return
	}
	if name := tenant.Spam(c.Header); name != "" {
		*found = verdict.Finding{
			Check: verdict.CheckSpam, State: verdict.Hit, Name: name,
			Reasons: verdict.Because(verdict.Why(verdict.SpamByPlatform, c.from.Platform.Name, name)),
		}
	}
}

// spoofed is the finding of the check spoof.
func (c *Case) spoofed() verdict.Finding {
	facts := c.spoofFacts()
	if c.from.Point == verdict.S2 {
		return c.policy.Spoof.Owned(&facts)
	}
	return c.policy.Spoof.Forged(&facts)
}

// blockedByAny is the finding of the check block for the message: that for the first recipient
// who has blocked it, or that nobody has. Each recipient is judged by their own: see findingFor.
func (c *Case) blockedByAny() verdict.Finding {
	for i := range c.rulings {
		if c.rulings[i].Verdict <= verdict.Tag && c.mayBlock(i) {
			if found := c.blocked(i); found.State == verdict.Hit {
				return found
			}
		}
	}
	return verdict.Passed(verdict.CheckBlock)
}

// findingFor is what a check saw of the message, as it counts for one recipient.
func (c *Case) findingFor(i int, check string) verdict.Finding {
	if check == verdict.CheckBlock {
		return c.blocked(i)
	}
	if f := c.found(check); f != nil {
		return *f
	}
	return verdict.Finding{Check: check, Reasons: verdict.Because(verdict.Why(verdict.CheckNotMade))}
}

// judge applies the findings to one recipient: the strictest of all verdicts is the
// recipient's. Every check that would hold the message is named in Held. Nobody is told of
// what they have blocked. It returns the reasons for the checks that the recipient is spared,
// which its own Reasons have as well.
func (c *Case) judge(i int, r *Ruling) (spared []verdict.Reason) {
	spared = c.examine(i, func(point stage, check Check) {
		// What came to its end was not stopped by ddos at its beginning.
		if check.Name == verdict.CheckDDoS || c.stopped && check.Name != verdict.CheckRate {
			return
		}
		if r.Observed && c.found(check.Name) == nil && !slices.Contains(c.checks, check.Name) {
			return // Nobody was asked, since the message is refused for other recipients.
		}
		f := c.findingFor(i, check.Name)
		v := check.verdict(f)
		switch v {
		case verdict.Tag:
			r.tags = append(r.tags, f)
		case verdict.Quarantine:
			if !slices.Contains(r.Held, check.Name) {
				r.Held = append(r.Held, check.Name)
			}
			r.Report = r.Report || point.Report
		}
		if v > r.Verdict {
			r.Verdict, r.Check = v, check.Name
			r.Reasons, r.Reply = f.Why(), f.Reply(v)
		}
	})
	if r.Report = r.Report && !slices.Contains(r.Held, verdict.CheckBlock); r.Report {
		var owner bool
		r.ReportTo, owner = c.Row.Of(c.policy.Routes.Home(c.Recipients[i].Address)).Told()
		r.Report = owner || len(r.ReportTo) > 0
	}
	if r.Verdict >= verdict.Tempfail {
		r.Ways, r.Elsewhere, r.Instead, r.SentOn = nil, "", false, false
	}
	r.Reasons = r.Reasons.And(spared...)
	return spared
}

// found returns what a check saw, or nil.
func (c *Case) found(check string) *verdict.Finding {
	for i := range c.findings {
		if c.findings[i].Check == check {
			return &c.findings[i]
		}
	}
	return nil
}

// leaveToMTA lets a message made on this host go on when some of its recipients,
// but not all, would be refused for good: no client is there to be told, so the
// MTA sends the bounce when delivery fails. A looping recipient is not left to
// the MTA, whose own lookups would send it round again, nor is one that they would send to a relay. For those who are observed it goes
// on in any case.
func leaveToMTA(rulings []Ruling) {
	goesOn := slices.ContainsFunc(rulings, func(r Ruling) bool { return r.Verdict <= verdict.Tag || r.Verdict == verdict.Tempfail })
	observed := slices.ContainsFunc(rulings, func(r Ruling) bool { return r.Observed })
	for i := range rulings {
		r := &rulings[i]
		if (goesOn || observed && !r.Observed) && r.Verdict == verdict.Reject && r.Check != verdict.CheckLoop && !r.Reasons.HasCode(verdict.HiddenRecipient) {
			r.Verdict, r.Reply = verdict.Accept, verdict.Reply{}
			r.Reasons = r.Reasons.And(verdict.Why(verdict.LeftToMTA))
		}
	}
}

// conclude makes the message's verdict of its recipients'. Where there are none, they are
// the MTA's alone: mail made on this host, to what is no address, or those who would have
// been refused at RCPT, but are observed.
func (d *Decision) conclude() {
	enforced, some := conclude(d.Recipients, false)
	d.Verdict, d.Reply, d.Check = enforced.Verdict, enforced.Reply, enforced.Check
	switch {
	case !some:
		d.Verdict = verdict.Accept
	case enforced.Verdict > verdict.Accept:
		d.Reasons = enforced.Reasons
	}
	if observed, some := conclude(d.Recipients, true); some {
		d.Observed = &observed
	}
}

// The headers of tagged messages.
const (
	// TagHeader names the check and what it found, once for each.
	TagHeader = "X-Coexist-Tag"
	// SpamHeader is what mail programs and filters look for, with the value YES.
	SpamHeader = "X-Spam-Flag"
)

// tags are the header fields that the delivered recipients' findings ask for, as name
// and value.
func (d *Decision) tags() [][2]string {
	var all [][2]string
	add := func(name, value string) {
		if one := [2]string{name, value}; !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	for _, r := range d.Recipients {
		if r.Verdict > verdict.Tag {
			continue
		}
		for _, f := range r.tags {
			what := mail.Printable(f.Name)
			if f.State == verdict.Unknown {
				what = f.State.String()
			}
			if f.Scored {
				what = strings.TrimSpace(fmt.Sprintf("%s %.2f", what, f.Score))
			}
			add(TagHeader, f.Check+"; "+what)
			if f.Check == verdict.CheckSpam && f.State != verdict.Unknown {
				add(SpamHeader, "YES")
			}
		}
	}
	return all
}
