package route

import (
	"cmp"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// Recipient is one recipient of the envelope with what the directory says.
type Recipient struct {
	// Path is RCPT TO's path without angle brackets, byte for byte: the MTA
	// removes a recipient only when it is named just so.
	Path string
	// Notify and ORcpt are the values of the ESMTP arguments NOTIFY and ORCPT
	// (RFC 3461), or empty.
	Notify, ORcpt string
	// Address is Path, parsed.
	Address mail.Address
	// Listing is the directory's answer for Rules.Home of Address. It is consulted only
	// for domains that are ours, save in the reason for a loop.
	Listing Listing
}

// Route is what becomes of one recipient by where the message comes from and where the
// mailbox lives.
type Route struct {
	// Verdict is Accept, Tempfail, Reject, or Discard for what must not be answered.
	Verdict verdict.Verdict
	// Residence is where the mailbox lives, Nowhere when that is not known.
	Residence Residence
	Ways      Ways // none unless Verdict is Accept
	// Elsewhere is the address to which the message is sent on instead or, with dual
	// delivery, besides; else empty.
	Elsewhere string
	// Instead is set when Elsewhere takes the place of the address that was written.
	Instead bool
	// SentOn is set when the message is sent on to another platform's mailbox: to
	// Elsewhere, or to the address that it has, by the platform's relay or since one
	// platform gave the other's own address.
	SentOn  bool
	Reasons verdict.Reasons
	// Check is verdict.CheckLoop when that decided, else empty.
	Check string
	// Rule names the Rule that takes the recipient, or is empty.
	Rule string
}

// Find returns one recipient's route from where the message entered. While that is not
// known, it is put off. How often the message was here before is left to Returned.
func (r *Rules) Find(from Origin, sender mail.Address, to *Recipient) Route {
	switch domain := r.Domains[to.Address.Domain]; {
	case from.Point == verdict.Undecided:
		return refuse(Residence{}, verdict.Why(verdict.NotSetUp))
	case IsHidden(to.Address.Domain):
		return refuse(Residence{}, verdict.Why(verdict.HiddenRecipient))
	case from.Point != verdict.S2 && r.isRouted(to):
		return refuse(Residence{}, verdict.Why(verdict.RoutedLocalPart, to.Address.Key))
	case to.Address.Domain == "":
		why := verdict.Because(verdict.Why(verdict.BareLocalPart))
		return r.deliver(from, sender, to, Place{Residence: Residence{Kind: Here}}, why)
	case domain == nil:
		return r.findForeign(from, sender, to)
	default:
		return r.findOurs(from, sender, to, domain)
	}
}

// isRouted reports a local part that sends mail on to another domain, as in
// user%other@ours, other!user@ours and "user@other"@ours (RFC 5321 appendix F.2).
// MTAs follow such ways where they would deliver. An address that the directory
// itself lists is what it is; its owner's listing says nothing of the tag.
func (r *Rules) isRouted(to *Recipient) bool {
	local := strings.TrimSuffix(to.Address.Key, "@"+to.Address.Domain)
	if !strings.ContainsAny(local, "%!@") || to.Listing.Failed || to.Listing.Found && to.Listing.Address == to.Address.Key {
		return false
	}
	residence := r.Locate(to.Address, to.Listing)
	return to.Address.Domain == "" || residence.Kind != Nowhere && residence.Kind != There
}

// findForeign routes an address whose domain is not ours, alternates included.
func (r *Rules) findForeign(from Origin, sender mail.Address, to *Recipient) Route {
	a, platform := to.Address, r.AlternateOf(to.Address.Domain)
	var residence Residence
	if platform != nil {
		residence = Residence{Kind: There, Platform: platform.Name}
	}
	switch {
	case from.Point == verdict.S0 && platform != nil:
		return refuse(Residence{}, verdict.Why(verdict.AlternateFromOutside, a.Domain, platform.Name))
	case from.Point == verdict.S0:
		return refuse(Residence{}, verdict.Why(verdict.RelayFromOutside, a.Domain))
	case from.Point == verdict.S1 && platform == from.Platform:
		if to.Listing.Found {
			return loop(sender, residence, verdict.Because(listed(to.Listing), verdict.Why(verdict.LoopListed, platform.Name, a.Key)))
		}
		return loop(sender, residence, verdict.Because(verdict.Why(verdict.LoopOwnAddress, platform.Name, a.Key)))
	case from.Point == verdict.S1 && !from.Platform.MayRelay:
		return refuse(Residence{}, verdict.Why(verdict.RelayFromPlatform, from.Platform.Name))
	}
	tail := []Hop{Ours(verdict.S3), ED}
	if platform != nil {
		tail = into(platform)
	} else if r.Outbound != "" {
		tail = through(r.Platform(r.Outbound))
	}
	return Route{
		Verdict: verdict.Accept, Residence: residence, Ways: Ways{r.way(from, sender, to, tail...)},
		// What one platform sends to another's own address may come back from there.
		SentOn:  from.Point == verdict.S1 && platform != nil,
		Reasons: verdict.Because(verdict.Why(verdict.NotOurs)),
	}
}

// Place is where mail for one address of ours is delivered, wherever it comes from.
type Place struct {
	Residence Residence
	// Platform is the other platform of the residence, and Elsewhere the address that
	// reaches the mailbox there; nil and empty where there is none. Elsewhere is empty, too,
	// where the platform's relay takes the address as it is.
	Platform  *Platform
	Elsewhere string
	// Refused is why mail is refused or put off wherever it comes from, or zero.
	Refused verdict.Reason
}

// maxElsewhere bounds an address that a message is sent on to, in octets. In its brackets it is a path of
// 256 (RFC 5321 section 4.5.3.1.3) less one, the longest that Sendmail takes from a milter: a
// recipient that is added with a longer one it loses.
const maxElsewhere = 253

// Place returns where mail for an address of one of our domains is delivered.
func (r *Rules) Place(a mail.Address, l Listing) Place {
	domain := r.Domains[a.Domain]
	if l.Failed {
		return Place{Refused: verdict.Why(verdict.DirectoryFailed, domain.Name)}
	}
	p := Place{Residence: r.Locate(a, l)}
	switch p.Residence.Kind {
	case Nowhere:
		p.Refused = verdict.Why(verdict.Unlisted, domain.Name, a.Key)
	case Moving:
		p.Refused = verdict.Why(verdict.Moving, a.Owner)
	case There, Both:
		p.Platform = r.Platform(p.Residence.Platform)
		home := r.home(domain)
		p.Elsewhere = p.Platform.elsewhere(home, a, l.Target)
		switch byRelay := p.Platform != nil && p.Platform.ByRelay && p.Residence.Kind == There; {
		case byRelay && home != domain:
			p.Elsewhere = a.At(home.Name) // The platform knows none but this.
		case byRelay:
			p.Elsewhere = ""
		case p.Elsewhere == "":
			// No directory takes a row that says so.
			p.Refused = verdict.Why(verdict.DirectoryFailed, domain.Name)
		default:
			return p.bounded(a)
		}
	}
	return p
}

// bounded is the place with a refusal where its address is too long to be sent on to.
func (p Place) bounded(a mail.Address) Place {
	if len(p.Elsewhere) > maxElsewhere {
		p.Elsewhere = ""
		p.Refused = verdict.Why(verdict.TooLongThere, a.Key, p.Residence.Platform, strconv.Itoa(maxElsewhere))
	}
	return p
}

// home is the domain whose people a domain of ours has.
func (r *Rules) home(domain *Domain) *Domain { return cmp.Or(r.Domains[domain.SameAs], domain) }

// elsewhere is the address that reaches a mailbox at the platform, or "".
func (p *Platform) elsewhere(domain *Domain, a mail.Address, target string) string {
	switch {
	case p == nil:
		return ""
	case target == "" && domain.Alternates[p.Name] == "":
		return ""
	case target == "":
		return a.At(domain.Alternates[p.Name])
	case p.DropsTag || a.Owner == a.Key:
		return target
	}
	to, _ := mail.ParseAddress(target, "") // the directory has
	return to.Tagged(a.Tag())
}

// findOurs routes an address of one of our domains.
func (r *Rules) findOurs(from Origin, sender mail.Address, to *Recipient, domain *Domain) Route {
	place := r.Place(to.Address, to.Listing)
	known := place.Residence.Kind != Nowhere
	switch {
	case known && domain.RefusePastMX && from.Point == verdict.S0 && (domain.MX != "" || !from.Upstream) && !IsRole(to.Address):
		return refuse(place.Residence, verdict.Why(verdict.PastMX, domain.Name, cmp.Or(domain.MX, "an upstream")))
	case place.Refused.Code != "":
		return refuse(place.Residence, place.Refused)
	}
	why := verdict.Because(r.source(to))
	switch isFromThere := from.Point == verdict.S1 && from.Platform == place.Platform; {
	case isFromThere && place.Residence.Kind == Both:
		place.Platform, place.Elsewhere = nil, ""
		why = why.And(verdict.Why(verdict.HereOnly))
	case isFromThere:
		return loop(sender, place.Residence, why.And(verdict.Why(verdict.LoopSentBack, place.Platform.Name)))
	}
	return r.deliver(from, sender, to, place, why)
}

// source says what the residence rests on.
func (r *Rules) source(to *Recipient) verdict.Reason {
	domain := r.Domains[to.Address.Domain]
	if domain == nil {
		return verdict.Why(verdict.AddressThere, to.Address.Key, r.AlternateOf(to.Address.Domain).Name)
	}
	switch unlisted := domain.Unlisted; {
	case to.Listing.Found:
		return listed(to.Listing)
	case unlisted.Kind == Here:
		return verdict.Why(verdict.UnlistedLivesHere, to.Address.Owner, domain.Name)
	case unlisted.Kind == Both:
		return verdict.Why(verdict.UnlistedLivesBoth, to.Address.Owner, domain.Name, unlisted.Platform)
	case unlisted.Kind != Nowhere:
		return verdict.Why(verdict.UnlistedLives, to.Address.Owner, domain.Name, unlisted.String())
	}
	return verdict.Why(verdict.AlwaysAccepted, to.Address.Owner)
}

func listed(l Listing) verdict.Reason {
	switch l.Residence.Kind {
	case Here:
		return verdict.Why(verdict.ListedHere, l.Address)
	case Both:
		return verdict.Why(verdict.ListedBoth, l.Address, l.Residence.Platform)
	}
	return verdict.Why(verdict.Listed, l.Address, l.Residence.String())
}

// deliver routes to a mailbox here, at a platform, or to both.
func (r *Rules) deliver(from Origin, sender mail.Address, to *Recipient, place Place, why verdict.Reasons) Route {
	route := Route{Verdict: verdict.Accept, Residence: place.Residence, Reasons: why, Elsewhere: place.Elsewhere, SentOn: place.Platform != nil}
	route.Instead = place.Elsewhere != "" && place.Residence.Kind == There
	if place.Residence.Kind != There {
		route.Ways = append(route.Ways, r.way(from, sender, to, LD))
	}
	if place.Platform != nil {
		route.Ways = append(route.Ways, r.way(from, sender, to, into(place.Platform)...))
	}
	return route
}

// Returned is the route of a recipient for whom the message was sent on so many times
// before: the route that Find gave, or a refusal.
func (r *Rules) Returned(route Route, sender mail.Address, to *Recipient, passes int) Route {
	if !route.SentOn || passes < r.MaxPasses {
		return route
	}
	again := verdict.Why(verdict.LoopPasses, strconv.Itoa(passes))
	if route.Rule != "" {
		looping := loop(sender, route.Residence, route.Reasons.And(again))
		looping.Rule = route.Rule
		return looping
	}
	return loop(sender, Residence{Kind: There, Platform: route.Residence.Platform}, verdict.Because(r.source(to), again))
}

// loop refuses a recipient whose message would go round. A looping bounce is dropped,
// since refusing it could make another.
func loop(sender mail.Address, residence Residence, why verdict.Reasons) Route {
	route := Route{Verdict: verdict.Reject, Residence: residence, Reasons: why, Check: verdict.CheckLoop}
	if sender.IsNull() {
		route.Verdict = verdict.Discard
		route.Reasons = why.And(verdict.Why(verdict.LoopingBounce))
	}
	return route
}

// refuse refuses a recipient for a reason that has a reply.
func refuse(residence Residence, why verdict.Reason) Route {
	return Route{Verdict: why.Reply().Verdict(), Residence: residence, Reasons: verdict.Because(why)}
}

// Reply is what the SMTP client is told: the zero Reply unless Verdict is Tempfail or
// Reject.
func (r Route) Reply() verdict.Reply {
	if r.Verdict < verdict.Tempfail {
		return verdict.Reply{}
	}
	return r.Reasons.Reply()
}
