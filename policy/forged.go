package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxAuthorDomains is how many domains the authors of one message may have. For
// each of them there is a policy to be asked for.
const maxAuthorDomains = 4

// forged is the finding of the check spoof for mail from outside: whether the
// message is from whom it says. At S1, its tenant's proof answers for our own
// domains, and what other domains publish was the platform's to ask: SPF knows
// nothing of the hosts that pass a message on.
func (p *Policy) forged(m *Message) Finding {
	q := inquiry{p, m, p.own()}
	found := malformed(&m.Authors)
	if m.Entry.settle(m.Proof).point == S0 {
		found = append(found, q.unproven()...)
	}
	if !q.isVouched() {
		if why := q.own.imitates(slices.Concat(m.Authors.From, m.Authors.Sender)); why != "" {
			found = append(found, marked("look-alike", why))
		}
	}
	return strictest(found)
}

// inquiry is the question whether one message from outside is forged.
type inquiry struct {
	policy  *Policy
	message *Message
	own     own
}

// objection is a hit that Check.OnHit answers.
func objection(name, reason string, reply Reply) Finding {
	return Finding{Check: CheckSpoof, State: Hit, Name: name, Reason: reason, Reply: reply}
}

// marked is a hit that is marked at most.
func marked(name, reason string) Finding {
	return Finding{Check: CheckSpoof, State: Hit, Name: name, Reason: reason, Proposed: Tag}
}

// unsettled says that the DNS failed or the directory.
func unsettled(reason string, mildest Verdict, down bool) Finding {
	return Finding{Check: CheckSpoof, State: Unknown, Reason: reason, Proposed: mildest, Down: down}
}

// strictest makes one finding of all: the strictest of them, with the names and
// reasons of all. One that could not be settled is put off rather than held, and
// lets the message off no lighter than the hits beside it.
func strictest(found []Finding) Finding {
	worst := Finding{Check: CheckSpoof}
	var names, reasons []string
	mildest := Accept
	for _, f := range found {
		if f.strictness() > worst.strictness() {
			worst = f
		}
		mildest = max(mildest, f.Proposed)
		if f.Name != "" && !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
		reasons = append(reasons, f.Reason)
	}
	worst.Reason = strings.Join(reasons, "; ")
	if worst.State == Unknown {
		worst.Proposed = mildest
	} else {
		worst.Name = strings.Join(names, ", ")
	}
	return worst
}

// strictness orders the findings of this check.
func (f Finding) strictness() Verdict {
	switch {
	case f.State == Clean:
		return Accept
	case f.State == Unknown:
		return Tempfail
	case f.Proposed == Accept:
		return Reject + 1
	}
	return f.Proposed
}

// malformed objects to what the header says of its authors, whoever they are. RFC
// 5322 section 3.6 asks for one From field and section 3.6.2 for a mailbox in it;
// of several fields, one program checks one and another shows the other.
func malformed(a *Authors) (found []Finding) {
	switch {
	case a.Fields > 1:
		found = append(found, objection("several From fields", fmt.Sprintf("the header has %d From fields", a.Fields), replySeveral))
	case a.Fields == 0:
		found = append(found, marked("no author", "the header has no From field"))
	case a.Broken == "" && len(a.From) == 0:
		found = append(found, marked("no author", "the From field names nobody"))
	}
	if a.Unread {
		// Whoever is named behind the bound could be one of ours.
		found = append(found, objection("many authors", "the fields that name authors hold more than is looked at", replyMany))
	}
	if a.Broken != "" {
		found = append(found, marked("unreadable author", "the authors cannot be read: "+printable(a.Broken)))
	}
	if slices.ContainsFunc(a.From, func(author Author) bool { return author.Address.Domain == "" }) {
		found = append(found, marked("author without domain", "an address of the From field has no domain"))
	}
	return found
}

// RFC 5322 section 3.6 has no enhanced code of its own; RFC 3463 section 3.7 gives
// the X.6 class to content that cannot be taken.
var replySeveral = Reply{550, "5.6.0", "The message has several From fields"}

var replyMany = Reply{550, "5.7.1", "The message has too many authors"}

// unproven objects to authors and an envelope sender that neither the DNS nor a
// signature proves.
func (q *inquiry) unproven() (found []Finding) {
	m := q.message
	claims, more := q.claims()
	if more {
		found = append(found, objection("many authors", fmt.Sprintf("the From field cannot be read, and names more than %d domains", maxSights), replyMany))
	}
	a := m.Authentication
	if a == nil {
		mildest := Accept
		if len(claims) > 0 && !q.isFromService() {
			mildest = Tempfail
		}
		return append(found, unsettled("what the DNS says of the sender could not be had", mildest, true))
	}
	for _, claim := range claims {
		found = append(found, q.usurped(claim)...)
	}
	for _, author := range m.Authors.Sender {
		domain := author.Address.Domain
		if q.own.has(domain) && q.proveOurs(domain) == AuthFail {
			found = append(found, marked("own domain as Sender", fmt.Sprintf("the Sender field names %s, which is ours, without proof", printable(domain))))
			break
		}
	}
	domains := authorDomains(&m.Authors)
	if len(domains) > maxAuthorDomains {
		return append(found, objection("many authors", fmt.Sprintf("the authors are of %d domains, and at most %d are looked at", len(domains), maxAuthorDomains),
			replyMany))
	}
	for _, domain := range domains {
		if !q.own.has(domain) {
			found = append(found, q.disowned(a.dmarc(domain))...)
		}
	}
	if len(domains) == 0 && len(claims) == 0 {
		found = append(found, q.failed(AuthFail)...)
	}
	return found
}

// authorDomains lists the domains of the From field's mailboxes, each once.
func authorDomains(a *Authors) []string {
	var domains []string
	for _, author := range a.From {
		if domain := author.Address.Domain; domain != "" && !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	return domains
}

// claim is a domain of ours in whose name a message comes, and where it says so.
// It is empty for an envelope sender without a domain: an MTA adds its own to it.
type claim struct{ domain, where string }

// claims lists them, each domain once. A subdomain of ours is ours, listed or not,
// and so is what stands behind an @ in a From field that cannot be read. More is
// set when such a field names more domains than are looked at.
func (q *inquiry) claims() (claims []claim, more bool) {
	m := q.message
	add := func(domain, where string) {
		if !slices.ContainsFunc(claims, func(c claim) bool { return c.domain == domain }) {
			claims = append(claims, claim{domain, where})
		}
	}
	for _, domain := range authorDomains(&m.Authors) {
		if q.own.has(domain) {
			add(domain, "the From field")
		}
	}
	if m.Authors.Broken != "" {
		var addressed []string
		addressed, more = domainsAddressed(visible(m.Authors.Text, longestText))
		for _, domain := range addressed {
			if len(claims) < maxAuthorDomains && q.own.has(domain) {
				add(domain, "the text of the From field")
			}
		}
	}
	if sender := m.Sender; !sender.IsNull() && (sender.Domain == "" || q.own.has(sender.Domain)) {
		add(sender.Domain, "the envelope sender")
	}
	return claims, more
}

// usurped objects to a message in the name of a domain of ours, whatever that
// domain publishes, unless it is proven or comes from one of the services.
func (q *inquiry) usurped(c claim) []Finding {
	results := q.message.Authentication
	switch q.proveOurs(c.domain) {
	case AuthPass:
		return nil
	case AuthTempError:
		return []Finding{unsettled(fmt.Sprintf("%s names %s, which is ours, and the DNS failed: %s", c.where, printable(c.domain), results), Tempfail, false)}
	}
	if c.domain == "" {
		return []Finding{objection("own domain", c.where+" has no domain, and would be given one of ours",
			Reply{550, "5.7.1", "The sender's address has no domain"})}
	}
	return []Finding{objection("own domain", fmt.Sprintf("%s names %s, which is ours, without proof: %s", c.where, printable(c.domain), results),
		// RFC 7372 section 3.4.
		Reply{550, "5.7.26", "Neither SPF nor DKIM proves that the message is from " + printable(c.domain)})}
}

// proveOurs tells whether a message is proven to be from a domain of ours, or
// comes from one of the services: as proof does.
func (q *inquiry) proveOurs(domain string) AuthResult {
	if q.isFromService() {
		return AuthPass
	}
	a := q.proving()
	result := a.proof(q.isService, q.isService)
	if result == AuthPass {
		return result
	}
	if aligned := q.own.aligned(a, a.dmarc(domain)); aligned != AuthFail {
		return aligned
	}
	return result
}

// isVouched reports a message that comes from one of the services, or of which any
// domain of ours is proven.
func (q *inquiry) isVouched() bool {
	if q.isFromService() {
		return true
	}
	known := func(domain string) bool { return q.own.has(domain) || q.isService(domain) }
	return q.message.Authentication != nil && q.proving().proof(known, known) == AuthPass
}

// isFromService reports a client in the networks of a service.
func (q *inquiry) isFromService() bool {
	return contains(q.policy.Spoof.Services.Networks, q.message.Client)
}

// isService reports the domain of a service, or one below it.
func (q *inquiry) isService(domain string) bool {
	return slices.ContainsFunc(q.policy.Spoof.Services.Domains, func(service string) bool { return isWithin(domain, service) })
}

// proving returns what can prove that a message is ours. A client that sends for
// all tenants of a platform passes SPF for any domain whose record names the
// platform, as ours does, whoever the tenant is. Where the tenant could have
// proven himself otherwise, SPF proves nothing.
func (q *inquiry) proving() *Authentication {
	a := *q.message.Authentication
	if slices.ContainsFunc(q.policy.Platforms, func(platform *Platform) bool {
		return platform.Proof.Any() && contains(platform.Networks, q.message.Client)
	}) {
		a.SPF = SPF{}
	}
	return &a
}

// disowned objects to an author whose domain is not ours, by what it publishes.
func (q *inquiry) disowned(d DMARC) []Finding {
	a := q.message.Authentication
	aligned := q.own.aligned(a, d)
	if aligned == AuthPass {
		return nil
	}
	verdict := q.policy.Spoof.DMARC
	switch d.Lookup {
	case AuthTempError:
		return unread(verdict, fmt.Sprintf("the policy of %s is not known, since the DNS failed: %s", printable(d.Domain), a))
	case AuthPass:
		asked := d.asks(q.message.Nonce)
		if d.Unsure {
			aligned, asked = AuthTempError, max(d.Subdomains, d.Nonexistent)
		}
		verdict = min(verdict, asked)
	default:
		// RFC 7489 section 6.6.3: one that cannot be read is none.
		return q.failed(aligned)
	}
	domain := printable(d.Domain)
	switch {
	case aligned == AuthTempError:
		return unproved(verdict, fmt.Sprintf("whether the message fails the policy of %s is not known, since the DNS failed: %s", domain, a))
	case verdict == Accept:
		return nil
	}
	f := objection("DMARC", fmt.Sprintf("it fails the policy of %s: %s", domain, a),
		// RFC 7372 section 3.4.
		Reply{550, "5.7.26", "The message fails the DMARC policy of " + domain})
	f.Proposed = verdict
	return []Finding{f}
}

// failed objects to a fail of SPF in a message whose author's domain has no policy
// by DMARC. Aligned says whether its signature, which forwarded mail
// keeps, might have proved him if the DNS had not failed. A softfail is no fail (RFC 7208 section 8.5).
func (q *inquiry) failed(aligned AuthResult) []Finding {
	a, verdict := q.message.Authentication, q.policy.Spoof.SPF
	domain := printable(a.SPF.Domain)
	switch {
	case verdict == Accept:
		return nil
	case a.SPF.Result == AuthTempError:
		return unread(verdict, fmt.Sprintf("whether the client may send for %s is not known, since the DNS failed: %s", domain, a))
	case a.SPF.Result != AuthFail:
		return nil
	case aligned == AuthTempError:
		return unproved(verdict, fmt.Sprintf("the client may not send for %s, and whether its author signed the message is not known, since the DNS failed: %s", domain, a))
	}
	f := objection("SPF", fmt.Sprintf("the client may not send for %s, says its SPF record", domain),
		// RFC 7372 section 3.2.
		Reply{550, "5.7.23", "SPF validation failed for " + domain})
	f.Proposed = verdict
	return []Finding{f}
}

// unread is what follows where the DNS failed for what a domain publishes, and
// the worst that this may be has that verdict. Nobody asked for the message to be
// refused: RFC 7208 section 8.6 and RFC 7489 section 6.6.2 allow to go on.
func unread(worst Verdict, reason string) []Finding { return failure(worst, Accept, reason) }

// unproved is what follows where the DNS failed for what might prove a message, and
// one without proof has that verdict. It is put off: whoever forges chooses the
// names that are asked for, and would choose those whose servers do not answer.
func unproved(worst Verdict, reason string) []Finding { return failure(worst, Tempfail, reason) }

// failure makes nothing of what would be marked at most.
func failure(worst, mildest Verdict, reason string) []Finding {
	if worst <= Tag {
		return nil
	}
	return []Finding{unsettled(reason, mildest, false)}
}

// String returns the results for the log: "SPF fail for example.com, DKIM pass for
// example.net".
func (a *Authentication) String() string {
	const most = 3
	var b strings.Builder
	fmt.Fprintf(&b, "SPF %s for %s", a.SPF.Result, cmp.Or(printable(a.SPF.Domain), "no domain"))
	for i, signature := range a.DKIM {
		if i == most {
			fmt.Fprintf(&b, ", and %d signatures more", len(a.DKIM)-most)
			break
		}
		fmt.Fprintf(&b, ", DKIM %s for %s", signature.Result, printable(signature.Domain))
	}
	if len(a.DKIM) == 0 {
		b.WriteString(", DKIM none")
	}
	return b.String()
}
