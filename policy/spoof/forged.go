package spoof

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// maxAuthorDomains is how many domains the authors of one message may have. For
// each of them there is a policy to be asked for.
const maxAuthorDomains = 4

// Forged is the finding of the check spoof for mail from outside: whether the message is
// from whom it says. At S1, the tenant's proof answers for those of our domains that have
// mailboxes there, and what other domains publish was the platform's to ask: SPF knows
// nothing of the hosts that pass a message on.
func (r *Rules) Forged(f *Facts) verdict.Finding {
	q := inquiry{r, f}
	if f.Platform != "" {
		return strictest(q.unproven())
	}
	found := append(malformed(f), q.unproven()...)
	if !q.isVouched() {
		if why, imitates := f.Names.imitates(f.Authors); imitates {
			found = append(found, objection("look-alike", verdict.Tag, why))
		}
	}
	return strictest(found)
}

// Borrows reports that a message from outside comes in the name of a domain of ours; at S1,
// of one that has no mailboxes at its platform, so that the tenant's proof does not answer
// for it.
func (r *Rules) Borrows(f *Facts) bool {
	q := inquiry{r, f}
	return len(q.claims()) > 0
}

// Unproven returns why a message is put off that comes in our own name and bears no
// proof of any tenant, as far as the envelope and the header tell; the zero Reason, where
// it does not.
func (r *Rules) Unproven(f *Facts) verdict.Reason {
	q := inquiry{r, f}
	for _, claim := range append(q.claims(), q.senders()...) {
		if len(q.Unproven) > 0 && claim.domain != "" {
			return q.lacksProof(claim)
		}
	}
	return verdict.Reason{}
}

// lacksProof is the reason for a claim that any tenant of the platforms could make.
func (q *inquiry) lacksProof(c claim) verdict.Reason {
	return verdict.Why(verdict.TenantNotProven, c.where, c.domain, strings.Join(q.Unproven, " and "))
}

// inquiry is the question whether one message from outside is forged.
type inquiry struct {
	rules *Rules
	*Facts
}

// objection is a hit that gets at most the verdict that is proposed. That of None is what
// the check's OnHit says.
func objection(name string, proposed verdict.Verdict, why verdict.Reason) verdict.Finding {
	return verdict.Finding{Check: verdict.CheckSpoof, State: verdict.Hit, Name: name, Reasons: verdict.Because(why), Proposed: proposed}
}

// unsettled says that the DNS failed or the directory.
func unsettled(mildest verdict.Verdict, down bool, code verdict.Code, args ...string) verdict.Finding {
	return verdict.Finding{Check: verdict.CheckSpoof, Reasons: verdict.Because(verdict.Why(code, args...)), Proposed: mildest, Down: down}
}

// strictest makes one finding of all: the strictest of them, with the names and
// reasons of all, its own reasons first. One that could not be settled is put off rather
// than held, and lets the message off no lighter than the hits beside it.
func strictest(found []verdict.Finding) verdict.Finding {
	worst, at := verdict.Passed(verdict.CheckSpoof), -1
	var names []string
	mildest := verdict.None
	for i, f := range found {
		if strictness(f) > strictness(worst) {
			worst, at = f, i
		}
		mildest = max(mildest, f.Proposed)
		if f.Name != "" && !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	for i, f := range found {
		if i != at {
			worst.Reasons = worst.Reasons.AndAll(f.Reasons)
		}
	}
	if worst.State == verdict.Unknown {
		worst.Proposed = mildest
	} else {
		worst.Name = strings.Join(names, ", ")
	}
	return worst
}

// strictness orders the findings of this check.
func strictness(f verdict.Finding) verdict.Verdict {
	switch {
	case f.State == verdict.Clean:
		return verdict.Accept
	case f.State == verdict.Unknown:
		return verdict.Tempfail
	case f.Proposed == verdict.None:
		return verdict.Reject + 1
	}
	return f.Proposed
}

// malformed objects to what the header says of its authors, whoever they are. RFC
// 5322 section 3.6 asks for one From field and section 3.6.2 for a mailbox in it;
// of several fields, one program checks one and another shows the other.
func malformed(f *Facts) (found []verdict.Finding) {
	a := f.Authors
	switch {
	case a.Fields > 1:
		found = append(found, objection("several From fields", verdict.None, verdict.Why(verdict.SeveralFrom, strconv.Itoa(a.Fields))))
	case a.Fields == 0:
		found = append(found, objection("no author", verdict.Tag, verdict.Why(verdict.FromLacks)))
	case a.Broken == "" && len(a.From) == 0:
		found = append(found, objection("no author", verdict.Tag, verdict.Why(verdict.FromNamesNobody)))
	}
	if a.Unread {
		// Whoever is named behind the bound could be one of ours.
		found = append(found, objection("many authors", verdict.None, verdict.Why(verdict.AuthorsUnread)))
	}
	if a.Broken != "" {
		found = append(found, objection("unreadable author", verdict.Tag, verdict.Why(verdict.AuthorUnreadable, a.Broken)))
	}
	// MTAs write their bounces as MAILER-DAEMON, with a domain or without one.
	if slices.ContainsFunc(a.From, func(author Author) bool {
		return author.Address.Domain == "" && !(f.Sender.IsNull() && author.Address.Key == "mailer-daemon@")
	}) {
		found = append(found, objection("author without domain", verdict.Tag, verdict.Why(verdict.AuthorWithoutDomain)))
	}
	return found
}

// unproven objects to authors and an envelope sender that neither the DNS nor a
// signature proves.
func (q *inquiry) unproven() (found []verdict.Finding) {
	claims, many := q.claims(), q.tooMany()
	domains, a := q.Authors.Domains, q.Authentication
	if a == nil {
		mildest := verdict.None
		if len(claims) > 0 && !q.isFromService() {
			mildest = verdict.Tempfail
		}
		return append(many, unsettled(mildest, true, verdict.SenderNotAsked))
	}
	for _, claim := range claims {
		found = append(found, q.usurped(claim)...)
	}
	if q.Platform != "" {
		return found
	}
	for _, claim := range q.senders() {
		if q.proveOurs(claim.domain) == AuthFail {
			found = append(found, objection("own domain as Sender", verdict.Tag, verdict.Why(verdict.OwnDomainAsSender, claim.domain)))
			break
		}
	}
	if many != nil {
		return append(found, many...)
	}
	for _, domain := range domains {
		if !q.Names.has(domain) {
			found = append(found, q.spareOurs(q.disowned(a.dmarc(domain)))...)
		}
	}
	if len(domains) == 0 && len(claims) == 0 {
		found = append(found, q.failed(AuthFail)...)
	}
	return found
}

// tooMany objects to authors of more domains than are asked for their policies.
func (q *inquiry) tooMany() []verdict.Finding {
	switch domains := q.Authors.Domains; {
	case q.Authors.MoreDomains:
		return []verdict.Finding{objection("many authors", verdict.None, verdict.Why(verdict.TooManyDomainsSeen, strconv.Itoa(maxSights)))}
	case len(domains) > maxAuthorDomains:
		return []verdict.Finding{objection("many authors", verdict.None, verdict.Why(verdict.TooManyDomains, strconv.Itoa(len(domains)), strconv.Itoa(maxAuthorDomains)))}
	}
	return nil
}

// claim is a domain of ours in whose name a message comes, and where it says so.
// It is empty for an envelope sender without a domain: an MTA adds its own to it.
type claim struct{ domain, where string }

// claims lists them, each domain once. A subdomain of ours is ours, listed or not. At
// S1 they are those alone that the tenant's proof does not answer for.
func (q *inquiry) claims() (claims []claim) {
	for _, domain := range q.Authors.Domains {
		if len(claims) < maxAuthorDomains && q.Names.has(domain) && !q.isAnswered(domain) {
			claims = append(claims, claim{domain, "the From field"})
		}
	}
	domain := q.Sender.Domain
	if q.Sender.IsNull() || domain != "" && !q.Names.has(domain) || q.isAnswered(domain) ||
		slices.ContainsFunc(claims, func(c claim) bool { return c.domain == domain }) {
		return claims
	}
	return append(claims, claim{domain, "the envelope sender"})
}

// senders lists the domains of ours that Sender fields name. To name one is no claim to be
// its mail, but what a platform sends for its tenant does: a journal report is in the name of
// whoever wrote what it encloses, and its Sender field in the tenant's.
func (q *inquiry) senders() (named []claim) {
	for _, author := range q.Authors.Sender {
		if q.Names.has(author.Address.Domain) {
			named = append(named, claim{author.Address.Domain, "the Sender field"})
		}
	}
	return named
}

// spareOurs has what a stranger's policy refuses be put off, where it may be our own tenant's
// that has lost its proof: passed on by one of our users, or made by the platform.
func (q *inquiry) spareOurs(found []verdict.Finding) []verdict.Finding {
	if len(q.Unproven) == 0 || !slices.ContainsFunc(found, func(f verdict.Finding) bool { return strictness(f) >= verdict.Reject }) {
		return found
	}
	for _, claim := range append(q.claims(), q.senders()...) {
		if claim.domain != "" && q.proveOurs(claim.domain) == AuthFail {
			return []verdict.Finding{q.unsure(claim)}
		}
	}
	return found
}

// unsure is the finding for a claim that any tenant of the platforms could make: nobody can
// tell whose the message is. Where forged mail is only marked or held, so is this.
func (q *inquiry) unsure(c claim) verdict.Finding {
	return verdict.Finding{Check: verdict.CheckSpoof, Reasons: verdict.Because(q.lacksProof(c)), Proposed: verdict.Tempfail}
}

// isAnswered reports that at S1 the tenant's proof answers for a domain: one that is not
// ours, or that has mailboxes at the platform.
func (q *inquiry) isAnswered(domain string) bool {
	if q.Platform == "" {
		return false
	}
	above := q.Names.above(domain)
	home := q.Routes.Home(mail.Address{Domain: above})
	if ours := q.Routes.Domains[home.Domain]; ours != nil {
		return q.Routes.Platform(q.Platform).Holds(ours)
	}
	platform := q.Routes.AlternateOf(above)
	return platform == nil || platform.Name == q.Platform
}

// usurped objects to a message in the name of a domain of ours, whatever that
// domain publishes, unless it is proven or comes from one of the services. Exchange
// Online leaves its tenant's header out at times: mail of our own users is then put off,
// since to refuse it would lose it.
func (q *inquiry) usurped(c claim) []verdict.Finding {
	results := q.Authentication.String()
	switch proven := q.proveOurs(c.domain); {
	case proven == AuthPass:
		return nil
	case proven == AuthTempError:
		return []verdict.Finding{unsettled(verdict.Tempfail, false, verdict.OwnDomainNotAsked, c.where, c.domain, results)}
	case c.domain == "":
		return []verdict.Finding{objection("own domain", verdict.None, verdict.Why(verdict.SenderWithoutDomain, c.where))}
	case len(q.Unproven) > 0:
		return []verdict.Finding{q.unsure(c)}
	case q.Platform != "":
		return []verdict.Finding{objection("own domain", verdict.None, verdict.Why(verdict.OwnDomainElsewhere, c.where, c.domain, results, q.Platform))}
	}
	return []verdict.Finding{objection("own domain", verdict.None, verdict.Why(verdict.OwnDomain, c.where, c.domain, results))}
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
	if aligned := q.Names.aligned(a, a.dmarc(domain)); aligned != AuthFail {
		return aligned
	}
	return result
}

// isVouched reports a message that comes from one of the services, or of which any
// domain of ours is proven.
func (q *inquiry) isVouched() bool {
	known := func(domain string) bool { return q.Names.has(domain) || q.isService(domain) }
	return q.isFromService() || q.Authentication != nil && q.proving().proof(known, known) == AuthPass
}

// isFromService reports a client in the networks of a service. What all tenants of a
// platform send from is nobody's service.
func (q *inquiry) isFromService() bool {
	return !q.Shared && q.rules.Services.Networks.Has(q.Client)
}

// isService reports the domain of a service, or one below it.
func (q *inquiry) isService(domain string) bool {
	return slices.ContainsFunc(q.rules.Services.Domains, func(service string) bool {
		return domain == service || strings.HasSuffix(domain, "."+service)
	})
}

// proving returns what can prove that a message is ours. A client that sends for
// all tenants of a platform passes SPF for any domain whose record names the
// platform, as ours does, whoever the tenant is. Where the tenant could have
// proven itself otherwise, SPF proves nothing.
func (f *Facts) proving() *Authentication {
	a := *f.Authentication
	if f.Shared {
		a.SPF = SPF{}
	}
	return &a
}

// disowned objects to an author whose domain is not ours, by what it publishes.
func (q *inquiry) disowned(d DMARC) []verdict.Finding {
	a := q.Authentication
	aligned := q.Names.aligned(a, d)
	if aligned == AuthPass {
		return nil
	}
	most := q.rules.DMARC
	switch d.Lookup {
	case AuthTempError:
		return unknown(most, verdict.None, verdict.DMARCNotAsked, d.Domain, a.String())
	case AuthPass:
		asked := d.asks(q.Nonce)
		if d.Unsure {
			aligned, asked = AuthTempError, max(d.Subdomains, d.Nonexistent)
		}
		most = min(most, asked)
	default:
		// RFC 7489 section 6.6.3: one that cannot be read is none.
		return q.failed(aligned)
	}
	switch {
	case aligned == AuthTempError:
		return unknown(most, verdict.Tempfail, verdict.DMARCNotProven, d.Domain, a.String())
	case most <= verdict.Accept:
		return nil
	}
	return []verdict.Finding{objection("DMARC", most, verdict.Why(verdict.DMARCFails, d.Domain, a.String()))}
}

// failed objects to a fail of SPF in a message whose author's domain has no policy by
// DMARC. Aligned says whether its signature, which forwarded mail keeps, might have proved
// the author if the DNS had not failed. A softfail is no fail (RFC 7208 section 8.5).
func (q *inquiry) failed(aligned AuthResult) []verdict.Finding {
	a, most := q.Authentication, q.rules.SPF
	switch {
	case most <= verdict.Accept:
		return nil
	case a.SPF.Result == AuthTempError:
		return unknown(most, verdict.None, verdict.SPFNotAsked, a.SPF.Domain, a.String())
	case a.SPF.Result != AuthFail:
		return nil
	case aligned == AuthTempError:
		return unknown(most, verdict.Tempfail, verdict.SPFNotProven, a.SPF.Domain, a.String())
	}
	return []verdict.Finding{objection("SPF", most, verdict.Why(verdict.SPFFails, a.SPF.Domain))}
}

// unknown is what follows where the DNS failed, and the worst that this may be has that
// verdict: nothing where it would be marked at most. Where the DNS keeps what a domain
// publishes, nobody asked for the message to be refused: RFC 7208 section 8.6 and RFC 7489
// section 6.6.2 allow to go on. Where it keeps what might prove the message, that is put
// off: whoever forges chooses the names that are asked for, and would choose those whose
// servers do not answer.
func unknown(worst, mildest verdict.Verdict, code verdict.Code, args ...string) []verdict.Finding {
	if worst <= verdict.Tag {
		return nil
	}
	return []verdict.Finding{unsettled(mildest, false, code, args...)}
}

// String returns the results for the log: "SPF fail for example.com, DKIM pass for
// example.net".
func (a *Authentication) String() string {
	const most = 3
	var b strings.Builder
	fmt.Fprintf(&b, "SPF %s for %s", a.SPF.Result, cmp.Or(mail.Printable(a.SPF.Domain), "no domain"))
	for i, signature := range a.DKIM {
		if i == most {
			fmt.Fprintf(&b, ", and %d signatures more", len(a.DKIM)-most)
			break
		}
		fmt.Fprintf(&b, ", DKIM %s for %s", signature.Result, mail.Printable(signature.Domain))
	}
	if len(a.DKIM) == 0 {
		b.WriteString(", DKIM none")
	}
	return b.String()
}
