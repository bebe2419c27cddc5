package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/senders"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// Message is all that is known of one message. What stands below Needs is consulted only
// where Case.Asks has asked for it, and must be known when the case is decided.
type Message struct {
	Entry Entry
	// Sender is MAIL FROM, parsed.
	Sender mail.Address
	// Recipients are those that Admit did not refuse, in order.
	Recipients []route.Recipient
	// Unread is the number of recipients of mail made on this host that are no addresses,
	// and TooMany is set when it has more recipients than are taken: its MTA cannot bear
	// a refusal at RCPT.
	Unread  int
	TooMany bool
	// Observed is the number of recipients that Admit would have refused, or that would have
	// been refused before it was asked, were they not only observed: the MTA has them.
	Observed int
	// Client is the connecting address; invalid when the MTA gave none.
	Client netip.Addr
	// Helo is what the client calls itself, or empty.
	Helo string
	// Login is the authenticated user, or empty.
	Login string
	// Certificate is the common name of the client's TLS certificate, whose chain the
	// MTA trusts, or empty.
	Certificate string
	// QueueID is the MTA's name of the message, or empty.
	QueueID string
	Header  *mail.Header
	// Authors returns what the header says of the message's authors, the same each time.
	// It is asked only where something hangs on them: to read them takes as long as half
	// a decision. Nil: the header says nothing.
	Authors func() *spoof.Authors
	// ChangesFields is set when the MTA lets header fields be changed and removed.
	ChangesFields bool
	// Row and Limit answer from the directory as rate.Facts has them. They must give the
	// same answer for the same question at all times. Nil: there is no directory.
	Row   route.Rows
	Limit func(login, column string) (value string, failed bool)
	// Senders are those that recipients have allowed and blocked.
	Senders *senders.List
	// ArchiveListing is the directory's answer for the archive's address, where that is ours.
	ArchiveListing route.Listing
	// Nonce makes the trace of this message unlike any other. It must be random.
	Nonce [8]byte
	// Now is the time in seconds since 1970, for passes to hold or not.
	Now int64
	Needs
}

// Needs are the facts that are had only when they are needed.
type Needs struct {
	// Size is the message's length in bytes.
	Size int64
	// Signatures are what was found of the message's DKIM signatures, nil when they were
	// not verified.
	Signatures []spoof.DKIM
	// Authentication is what the DNS tells of the sender. Nil: it could not be had.
	Authentication *spoof.Authentication
	// Grants are the limiter's answers to Charges, in order. None: it was not asked.
	Grants []rate.Grant
	// Findings are what the scanners saw. One of a check that no scanner makes takes the
	// place of what the other facts say of it.
	Findings []verdict.Finding
	// Trouble is why the message cannot be decided on, or zero.
	Trouble verdict.Reason
	// ProbeIsFirst is set when Case.Probe has not come before. Only then is it dropped.
	ProbeIsFirst bool
}

// Case is one message on its way to a decision: what is known of it, and where its
// recipients' ways lead. Of a message that came through an upstream, its Entry, Client and
// Helo are those of the client before that. Whoever opens it adds the facts that Asks names, and then has
// it decided. No other fact may change once it is open.
type Case struct {
	Message
	policy *Policy
	// unfit is why the message is refused whatever else is found, or zero.
	unfit   verdict.Reason
	pass    *seal.Pass  // lets our own mail past checks; nil for all other
	signed  bool        // a pass of ours is there, whoever it is for
	body    seal.Body   // the mark of the message's body, once it is known
	probe   *seal.Probe // nil for all but our probes
	traces  seal.Traces
	proof   tenant.Proof
	from    route.Origin
	rulings []Ruling // by the envelope and the header alone
	// borrowed is set at S1 for mail in the name of a domain of ours that has no
	// mailboxes at its platform.
	borrowed bool
	// isJournal is set for a report to the archive, which is not checked.
	isJournal bool
	checks    []string    // that are made, in order, loop before all
	scans     []string    // those of them that scanners make
	claim     *rate.Claim // what is asked of the limits, once that was worked out
	stopped   bool        // by a limit: nothing else is asked
	findings  []verdict.Finding
}

// maxForged bounds the header fields of one name that a message may have of those that
// are removed: to remove one, the MTA walks through the header again. Of traces only the
// genuine ones are removed, and seal bounds them.
const maxForged = 100

// Open begins a case. Of the message, all must be known that does not stand in Needs.
func (p *Policy) Open(m Message) *Case {
	c := &Case{Message: m, policy: p}
	unready := c.comeThrough()
	if c.unfit = cmp.Or(p.unfit(&c.Message), unready); c.unfit.Code != "" {
		return c
	}
	if traces := m.Header.Values(seal.TraceHeader); len(traces) > 0 {
		c.traces = p.Keys.OpenTraces(traces, seal.MarksOf(m.Header))
	}
	c.pass, c.probe = c.openPass(), c.openProbe()
	c.Prove(nil)
	return c
}

// unfit is why a message is refused whatever the policy says of its recipients, or zero.
func (p *Policy) unfit(m *Message) verdict.Reason {
	switch {
	case m.Header.TooLarge():
		return verdict.Why(verdict.HeaderTooLarge)
	case m.TooMany:
		return verdict.Why(verdict.TooManyOnHost)
	case len(m.Recipients)+m.Unread+m.Observed == 0:
		// No MTA comes to the end of a message without a recipient, so there is one of
		// whom nothing is known.
		return verdict.Why(verdict.RecipientsNotAsked)
	}
	for _, name := range p.bounded {
		if m.Header.Count(name) > maxForged {
			return verdict.Why(verdict.TooManyFields, name)
		}
	}
	return verdict.Reason{}
}

// openPass returns the pass of a message of our own. It counts for nothing when the
// message has a recipient for whom it was not signed: in another's hands it would open
// the point that it names to whomever that one writes.
func (c *Case) openPass() *seal.Pass {
	values := c.Header.Values(seal.PassHeader)
	if len(values) == 0 {
		return nil
	}
	pass, ok := c.policy.Keys.OpenPass(values, seal.MarksOf(c.Header).And(c.body), c.Now)
	c.signed = ok
	if !ok || slices.ContainsFunc(c.Recipients, func(r route.Recipient) bool { return !c.policy.Keys.IsFor(&pass, r.Address.Owner) }) {
		return nil
	}
	return &pass
}

// Unbound reports that only the mark of the message's body can tell whether a pass that it
// bears is for it: that is so of a message that was held without a mark in its header. The
// mark is to be given to Bind before anything else is told or asked. Where no body is read,
// nothing is held for which a pass would matter.
func (c *Case) Unbound() bool {
	if c.unfit.Code != "" || c.signed || c.body != "" || c.policy.Keys.IsZero() || c.Header.Count(seal.PassHeader) == 0 {
		return false
	}
	reads, _ := c.policy.NeedsContent(verdict.Undecided)
	return reads
}

// Bind tells the mark of the message's body.
func (c *Case) Bind(body seal.Body) {
	c.body = body
	if c.pass = c.openPass(); c.pass != nil {
		c.Prove(c.Signatures)
	}
}

// Prove settles where the message has entered, by its header and by what was found of
// its signatures, nil while they were not verified.
func (c *Case) Prove(signatures []spoof.DKIM) {
	c.Signatures = signatures
	if c.Entry.IsProvisional() {
		c.proof = c.policy.Tenants.Prove(c.Entry.Candidates, tenant.Evidence{
			Header: c.Header, Certificate: c.Certificate, Signatures: c.Signatures,
		})
	}
	platform := c.journal()
	if c.isJournal = platform != ""; c.isJournal {
		c.proof = tenant.Proof{Platform: platform, Reasons: verdict.Because(verdict.Why(verdict.JournalReport, platform))}
	}
	c.from = c.policy.settle(c.Entry, c.proof.Platform)
	if c.pass != nil {
		// Where it entered when it came first.
		if c.from = (route.Origin{Point: c.pass.Point}); c.pass.Point == verdict.S1 {
			c.from = c.policy.tenantOf(c.pass.Platform)
		}
		c.from.Upstream = true // else it would not have been held
	}
	c.rulings = c.route()
	if c.borrowed = false; c.from.Point == verdict.S1 && c.pass == nil {
		facts := c.spoofFacts()
		c.borrowed = c.policy.Spoof.Borrows(&facts)
	}
	c.checks, c.scans = c.names()
}

// Measure tells the message's length in bytes, before anything that Asks names is added.
func (c *Case) Measure(size int64) {
	c.Size = size
	if c.unfit.Code == "" && c.policy.Routes.GoesBySize() {
		c.Prove(c.Signatures)
	}
}

// Proof is what was found of the message's tenant so far.
func (c *Case) Proof() tenant.Proof { return c.proof }

// Unproven reports that the message's signatures may still settle where it has entered.
// They are to be given to Prove before anything else is asked.
func (c *Case) Unproven() bool { return c.proof.Pending }

// route finds each recipient's way, whatever the message contains.
func (c *Case) route() []Ruling {
	rulings := make([]Ruling, len(c.Recipients))
	routes := &c.policy.Routes
	var taking *route.Taking
	if len(routes.Rules) > 0 {
		taking = routes.Taking(&route.Facts{Keys: c.policy.Keys, From: c.from, Sender: c.Sender, Login: c.Login, Client: c.Client, Header: c.Header, Size: c.Size})
	}
	for i := range c.Recipients {
		r := &c.Recipients[i]
		found := taking.Take(routes.Find(c.from, c.Sender, r), r)
		if found.SentOn {
			found = routes.Returned(found, c.Sender, r, c.traces.Passes(r.Address.Owner))
		}
		rulings[i] = ruling(r, found)
		c.putOffUnproven(&rulings[i])
		rulings[i].Observed = c.policy.Observes(c.Sender, r.Address)
	}
	if c.from.OnHost {
		leaveToMTA(rulings)
	}
	return rulings
}

// putOffUnproven has a recipient be put off whom S0 refuses and S1 would not, where the
// message is one of our own users that may have lost its proof (see spoof.Rules.Unproven):
// what S0 may not relay and the platform could, and what comes past the MX.
func (c *Case) putOffUnproven(r *Ruling) {
	relays := func(platform string) bool { return c.policy.Routes.Platform(platform).MayRelay }
	switch {
	case len(c.proof.Absent) == 0:
		return
	case r.Reasons.HasCode(verdict.PastMX):
	case r.Reasons.HasCode(verdict.RelayFromOutside) && slices.ContainsFunc(c.proof.Absent, relays):
	default:
		return
	}
	facts := c.spoofFacts()
	if why := c.policy.Spoof.Unproven(&facts); why.Code != "" {
		*r = Refuse(r.Address, why)
	}
}

// Asks says what Decide needs to know of a message beyond its envelope and header.
type Asks struct {
	// Scans are the checks for scanners to make, in order.
	Scans []string
	// Authentication and Rate are set when the facts Signatures and Authentication, and
	// Grants, are needed.
	Authentication, Rate bool
	// Bounce is set for a bounce that may be one of a probe of ours, which its body tells.
	// It is decided on like any other.
	Bounce bool
	// Body is set when any of this needs the message's body.
	Body bool
}

// Asks returns what Decide needs. It is nothing when the message is refused
// whatever is found.
func (c *Case) Asks() Asks {
	asks := Asks{Scans: c.scans, Bounce: c.mayTellOfProbe()}
	for _, name := range c.checks {
		switch {
		case name == verdict.CheckSpoof:
			asks.Authentication = c.from.Point == verdict.S0 || c.borrowed
		case name == verdict.CheckRate:
			asks.Rate = true
		}
	}
	asks.Authentication = asks.Authentication || c.hangsOnSignatures()
	countsBytes := asks.Rate && slices.ContainsFunc(c.policy.Rates, func(r rate.Rule) bool {
		return r.Count == rate.Bytes && len(c.counted(&r)) > 0
	})
	asks.Body = asks.Bounce || len(c.rulings) > 0 && c.policy.Routes.GoesBySize() || c.Unbound() || c.Unproven() || len(asks.Scans) > 0 || asks.Authentication || countsBytes
	return asks
}

// names returns the names of the checks that are made on the message, in order: loop,
// which always is, and then those of the points. Scans are those that scanners make.
func (c *Case) names() (names, scans []string) {
	names = append(make([]string, 0, 1+len(checkRows)), verdict.CheckLoop)
	if !c.goesOn() {
		return names, nil
	}
	scans = make([]string, 0, len(checkRows))
	for i := range c.rulings {
		if c.rulings[i].Verdict > verdict.Tag {
			continue
		}
		c.examine(i, func(_ stage, check Check) {
			if !slices.Contains(names, check.Name) {
				names = append(names, check.Name)
			}
			if check.asksScanner() && !slices.Contains(scans, check.Name) {
				scans = append(scans, check.Name)
			}
		})
	}
	return names, scans
}

// goesOn reports that the message is not refused whatever the checks find, and that somebody
// is left to get it.
func (c *Case) goesOn() bool {
	enforced, some := conclude(c.rulings, false)
	if some && enforced.Verdict <= verdict.Tag {
		return true
	}
	observed, some := conclude(c.rulings, true)
	return some && observed.Verdict <= verdict.Tag && enforced.Verdict < verdict.Tempfail
}

// points calls yield with what holds for one recipient: the point at which the message
// entered, and those at which it leaves on the recipient's way.
func (c *Case) points(i int, yield func(stage)) {
	p := c.policy
	entry := stage{c.from.Point, p.entry(c.from.Point, c.Recipients[i].Address)}
	if c.borrowed {
		entry.Checks = append([]Check{{Name: verdict.CheckSpoof, OnHit: verdict.Reject, OnError: verdict.Tempfail}}, entry.Checks...)
	}
	yield(entry)
	for _, exit := range [...]verdict.Checkpoint{verdict.S3, verdict.S4} {
		if len(p.Points[exit].Checks) > 0 && c.rulings[i].Ways.Leaves(exit) {
			yield(stage{exit, p.Points[exit]})
		}
	}
}

// examine makes the checks of one recipient that is not refused: it calls ask for each,
// save those that the recipient is spared, for which it returns the reasons.
//
// A message with a pass comes from this host. Who sent it, and how much, was
// judged when it came first, and only what its content is, is looked at again. A report to the
// archive is spared all.
func (c *Case) examine(i int, ask func(stage, Check)) (spared []verdict.Reason) {
	if c.isJournal {
		return nil
	}
	c.points(i, func(point stage) {
		for _, check := range point.Checks {
			switch {
			case c.pass != nil && !readsContent(check.Name):
				continue
			case check.Name == verdict.CheckBlock && !c.mayBlock(i):
				continue
			}
			if why, isSpared := c.spares(check.Name, c.Recipients[i]); !isSpared {
				ask(point, check)
			} else if !slices.Contains(spared, why) {
				spared = append(spared, why)
			}
		}
	})
	return spared
}

// spares tells whether a recipient is spared a check, and why.
func (c *Case) spares(check string, r route.Recipient) (why verdict.Reason, spared bool) {
	if c.pass != nil && slices.Contains(c.pass.Checks, check) {
		if c.pass.ID == seal.PassReport {
			return verdict.Why(verdict.SparedByOurs, check), true
		}
		return verdict.Why(verdict.SparedByPass, check, c.pass.ID), true
	}
	for i := range c.policy.Allow {
		if allow := &c.policy.Allow[i]; allow.spares(check, c, r.Address) && !(check == verdict.CheckSpoof && c.sparesForeign(allow)) {
			return verdict.Why(verdict.SparedByAllow, check, allow.Name), true
		}
	}
	if check == verdict.CheckSpam && c.hasSenders(r, senders.Allowed) {
		owner := c.owner(r)
		if name := c.Senders.Find(owner, senders.Allowed, c.Proven(), c.Now); name != "" {
			return verdict.Why(verdict.SparedBySender, check, owner, name), true
		}
	}
	return verdict.Reason{}, false
}

// isSignedBy reports that a signature of one of these domains passes, as far as signatures were
// verified. A signature names one From field: to a message that another has sent, a stranger may
// have added a second one, which people would see (RFC 6376 section 8.15).
func (c *Case) isSignedBy(domains []string) bool {
	if c.Header.Count("From") != 1 || c.Header.Count("DKIM-Signature") == 0 {
		return false
	}
	signatures := c.Signatures
	if c.Authentication != nil {
		signatures = c.Authentication.DKIM
	}
	return slices.ContainsFunc(signatures, func(s spoof.DKIM) bool { return s.Result == spoof.AuthPass && mail.IsBelow(s.Domain, domains) })
}

// hangsOnSignatures reports that a signature may spare the message a check.
func (c *Case) hangsOnSignatures() bool {
	return c.Header.Count("DKIM-Signature") > 0 && slices.ContainsFunc(c.policy.Allow, func(a Allowance) bool {
		return len(a.DKIM) > 0 && slices.ContainsFunc(a.Checks, func(name string) bool { return slices.Contains(c.checks, name) })
	})
}

// owner is by whom a recipient's senders are known.
func (c *Case) owner(r route.Recipient) string { return c.policy.Routes.Home(r.Address).Owner }

// hasSenders reports a recipient who has allowed or blocked somebody.
func (c *Case) hasSenders(r route.Recipient, kind senders.Kind) bool {
	return !c.Senders.IsEmpty() && c.Senders.Has(c.owner(r), kind)
}

// Proven returns the message's author where it is proven: see spoof.Facts.Proven.
func (c *Case) Proven() mail.Address {
	facts := c.spoofFacts()
	return facts.Proven()
}

// mayBlock reports that a recipient may have blocked the message: they have blocked somebody,
// and it is no bounce, nor another message of the null sender, with which a mail server answers
// what the recipient has sent (RFC 5321 section 4.5.5).
func (c *Case) mayBlock(i int) bool {
	return !c.Sender.IsNull() && c.hasSenders(c.Recipients[i], senders.Blocked)
}

// blocked is the finding of the check block for one recipient, by the sender of the envelope
// and by those whom the header names as authors.
func (c *Case) blocked(i int) verdict.Finding {
	owner := c.owner(c.Recipients[i])
	name := c.blockedAs(owner, c.Sender)
	if name == "" && c.Authors != nil {
		for _, author := range c.Authors().From {
			if name = c.blockedAs(owner, author.Address); name != "" {
				break
			}
		}
	}
	if name == "" {
		return verdict.Passed(verdict.CheckBlock)
	}
	return verdict.Finding{
		Check: verdict.CheckBlock, State: verdict.Hit, Name: name, Reasons: verdict.Because(verdict.Why(verdict.SenderBlocked, owner, name)),
	}
}

// blockedAs returns the name by which a recipient has blocked a sender, or "". Nobody blocks
// those in our own domains.
func (c *Case) blockedAs(owner string, sender mail.Address) string {
	if routes := &c.policy.Routes; routes.Domains[routes.Home(sender).Domain] != nil {
		return ""
	}
	return c.Senders.Find(owner, senders.Blocked, sender, c.Now)
}

// sparesForeign reports mail of another tenant that would be spared the check spoof by where its
// client is, which is where all tenants' are. Whom the administrator names as a sender may
// be a tenant like any other, but in no name of ours.
func (c *Case) sparesForeign(allow *Allowance) bool {
	if !c.proof.Foreign || allow.Clients.Len() == 0 {
		return false
	}
	if len(allow.Senders) == 0 {
		return true
	}
	facts := c.spoofFacts()
	return c.policy.Spoof.Borrows(&facts)
}

// Charges returns what the message asks of the limits, for Needs.Grants. A recipient
// counts where its way has a point that the rule names and that makes the check rate.
func (c *Case) Charges() []rate.Charge { return c.claimed().Charges() }

// IsStopped reports that the limiter's answers stop the message, so that nothing else
// need be asked of it.
func (c *Case) IsStopped() bool {
	return c.claimed().Finding(c.Grants).Proposed >= verdict.Tempfail
}

// noClaim is that of every message where there are no rules.
var noClaim rate.Claim

func (c *Case) claimed() *rate.Claim {
	if len(c.policy.Rates) == 0 {
		return &noClaim
	}
	if c.claim == nil {
		facts := rate.Facts{
			Login: c.Login, Client: c.Client, Sender: c.policy.Routes.Home(c.Sender), Size: c.Size, Row: c.Row, Limit: c.Limit,
		}
		c.claim = rate.Ask(c.policy.Rates, &facts, c.counted)
	}
	return c.claim
}

// counted returns the recipients that a rule counts.
func (c *Case) counted(rule *rate.Rule) []mail.Address {
	var counted []mail.Address
	for i := range c.rulings {
		if c.rulings[i].Verdict > verdict.Tag {
			continue
		}
		counts := false
		c.examine(i, func(s stage, check Check) {
			counts = counts || check.Name == verdict.CheckRate && slices.Contains(rule.Points, s.at)
		})
		if counts {
			counted = append(counted, c.policy.Routes.Home(c.Recipients[i].Address))
		}
	}
	return counted
}

// spoofFacts are what the check spoof goes by.
func (c *Case) spoofFacts() spoof.Facts {
	p := c.policy
	f := spoof.Facts{
		Names: p.names, Routes: &p.Routes, Delimiters: p.Delimiters,
		Sender: c.Sender, Client: c.Client, Login: c.Login, Authors: &spoof.Authors{},
		Authentication: c.Authentication, Row: c.Row, Nonce: c.Nonce, Unproven: c.proof.Absent,
	}
	if c.Authors != nil {
		f.Authors = c.Authors()
	}
	if c.from.Point == verdict.S1 {
		f.Platform = c.from.Platform.Name
	}
	platforms, _ := p.Networks.Of(c.Client)
	f.Shared = slices.ContainsFunc(platforms, func(name string) bool { proofs := p.Tenants[name]; return proofs.Any() })
	return f
}
