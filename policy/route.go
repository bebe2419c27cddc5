package policy

import (
	"fmt"
	"strings"
)

// origin is an entry once it is no longer provisional.
type origin struct {
	point    Checkpoint // S0, S1 or S2
	platform *Platform  // set at S1
	onHost   bool
}

// Locate returns where an address of one of our domains lives by the
// directory's answer and by the domain's rule for unlisted addresses. Known is
// false when nobody lives there, or the domain is not ours. Postmaster and
// abuse live here unless something else is said of them (RFC 5321 section
// 4.5.1, RFC 2142). It must not be asked when the directory failed.
func (p *Policy) Locate(a Address, l Listing) (r Residence, known bool) {
	domain := p.Domains[a.Domain]
	switch {
	case domain == nil:
		return Residence{}, false
	case l.Found:
		return l.Residence, true
	case domain.AcceptUnlisted:
		return domain.Unlisted, true
	}
	return Residence{}, isRole(a)
}

// isRole reports the two mailboxes that every domain must have.
func isRole(a Address) bool {
	local, _, _ := strings.Cut(a.Owner, "@")
	return local == "postmaster" || local == "abuse"
}

// alternate returns the domain of ours whose alternate domain this is, and the
// name of the platform that it reaches; nil when it is none.
func (p *Policy) alternate(domain string) (ours *Domain, platform string) {
	for _, d := range p.Domains {
		for name, alternate := range d.Alternates {
			if alternate == domain {
				return d, name
			}
		}
	}
	return nil, ""
}

// AlternateOf returns the platform whose alternate domain this is, or nil.
func (p *Policy) AlternateOf(domain string) *Platform {
	_, name := p.alternate(domain)
	return p.Platform(name)
}

// Home returns the address of ours that an address of an alternate domain
// stands for. Any other address is returned as it is.
func (p *Policy) Home(a Address) Address {
	if a.Domain == "" || p.Domains[a.Domain] != nil {
		return a
	}
	if ours, _ := p.alternate(a.Domain); ours != nil {
		a.Key = strings.TrimSuffix(a.Key, a.Domain) + ours.Name
		a.Owner = strings.TrimSuffix(a.Owner, a.Domain) + ours.Name
		a.Domain = ours.Name
	}
	return a
}

// rule decides one recipient's way from where the message entered. How often
// the message was here before is left to Decide.
func (p *Policy) rule(from origin, sender Address, r Recipient) Ruling {
	switch domain := p.Domains[r.Address.Domain]; {
	case from.point != S2 && p.isRouted(r):
		return refuse(r, "", Reject, Reply{554, "5.7.1", "Relay access denied"},
			fmt.Sprintf("the local part of %q names a way to another domain, and mail from outside is not relayed", printable(r.Address.Key)))
	case r.Address.Domain == "":
		return p.local(from, sender, r, "a bare local part belongs to the MTA")
	case domain == nil:
		return p.ruleForeign(from, sender, r)
	default:
		return p.ruleOurs(from, sender, r, domain)
	}
}

// isRouted reports a local part that sends mail on to another domain, as in
// user%other@ours, other!user@ours and "user@other"@ours (RFC 5321 appendix F.2).
// MTAs follow such ways where they would deliver. An address that the directory
// itself lists is what it is; its owner's listing says nothing of the tag.
func (p *Policy) isRouted(r Recipient) bool {
	local := strings.TrimSuffix(r.Address.Key, "@"+r.Address.Domain)
	if !strings.ContainsAny(local, "%!@") || r.Listing.Failed || r.Listing.Found && r.Listing.Address == r.Address.Key {
		return false
	}
	residence, known := p.Locate(r.Address, r.Listing)
	return r.Address.Domain == "" || known && residence.Kind != There
}

// ruleForeign decides for a domain that is not ours, alternates included.
func (p *Policy) ruleForeign(from origin, sender Address, r Recipient) Ruling {
	to := p.AlternateOf(r.Address.Domain)
	switch {
	case from.point == S0 && to != nil:
		return refuse(r, "", Reject, Reply{554, "5.7.1", "Relay access denied: an alternate domain takes mail at its platform only"},
			fmt.Sprintf("%s is an alternate domain of %s, and mail from the Internet does not enter here for it", r.Address.Domain, to.Name))
	case from.point == S0:
		return refuse(r, "", Reject, Reply{554, "5.7.1", "Relay access denied"},
			fmt.Sprintf("%q is no domain of ours, and mail from the Internet is not relayed", r.Address.Domain))
	case from.point == S1 && to == from.platform:
		if r.Listing.Found {
			return loop(sender, r, to, fmt.Sprintf("%s, but %s sent the message for %s here", listed(r.Listing), to.Name, printable(r.Address.Key)))
		}
		return loop(sender, r, to, fmt.Sprintf("%s sent the message for %s here, which is an address of its own", to.Name, printable(r.Address.Key)))
	case from.point == S1 && !from.platform.MayRelay:
		return refuse(r, "", Reject, Reply{554, "5.7.1", "Relay access denied"},
			fmt.Sprintf("may_relay of platform %s does not allow its users to send through us", from.platform.Name))
	}
	ways := []string{"S3", "ED"}
	if to != nil {
		ways = into(to)
	} else if p.Outbound != "" {
		ways = through(p.Platform(p.Outbound))
	}
	ruling := Ruling{Address: r.Path, Flow: p.flow(from, sender, r, ways), Reason: "the recipient's domain is not ours"}
	if to != nil {
		ruling.Residence = to.Name
	}
	return ruling
}

// replyFailed answers when the directory gave nothing that a decision could rest on.
var replyFailed = Reply{451, "4.3.0", "The directory cannot be read at the moment, try again later"}

// ruleOurs decides for an address of one of our domains.
func (p *Policy) ruleOurs(from origin, sender Address, r Recipient, domain *Domain) Ruling {
	if r.Listing.Failed {
		return refuse(r, "", Tempfail, replyFailed,
			fmt.Sprintf("the directory of %s cannot answer", domain.Name))
	}
	residence, known := p.Locate(r.Address, r.Listing)
	switch {
	case !known:
		return refuse(r, "", Reject, Reply{550, "5.1.1", "The address is not known here"},
			fmt.Sprintf("the directory of %s lacks %q", domain.Name, r.Address.Key))
	case from.point == S0 && domain.MX != "" && domain.RefusePastMX && !isRole(r.Address):
		return refuse(r, residence.String(), Reject, Reply{550, "5.7.1", "Mail for this domain is taken by its MX only"},
			fmt.Sprintf("the MX of %s is at %s, and past_mx refuses what comes past it", domain.Name, domain.MX))
	case residence.Kind == Moving:
		return refuse(r, residence.String(), Tempfail, Reply{450, "4.2.1", "The mailbox is being moved, try again later"},
			fmt.Sprintf("the directory says that %s is moving", r.Address.Owner))
	}
	platform := p.Platform(residence.Platform)
	if residence.Kind != Here && (platform == nil || domain.Alternates[platform.Name] == "") {
		return refuse(r, residence.String(), Tempfail, replyFailed,
			fmt.Sprintf("the directory names platform %q for %s, which has no alternate domain there", residence.Platform, domain.Name))
	}
	switch why := p.source(r); {
	case residence.Kind == Here:
		return p.local(from, sender, r, why)
	case from.point == S1 && from.platform == platform && residence.Kind == Both:
		ruling := p.local(from, sender, r, why+", and it comes from there: it is delivered here only")
		ruling.Residence = residence.String()
		return ruling
	case from.point == S1 && from.platform == platform:
		return loop(sender, r, platform, fmt.Sprintf("%s, but %s sent the message here", why, platform.Name))
	default:
		return p.remote(from, sender, r, residence, platform, why)
	}
}

// source says, for the log and the sender's bounce, what the residence rests on.
func (p *Policy) source(r Recipient) string {
	domain := p.Domains[r.Address.Domain]
	switch {
	case r.Listing.Found:
		return listed(r.Listing)
	case domain.AcceptUnlisted:
		return fmt.Sprintf("the directory lacks %s, and unlisted addresses of %s live at %s", printable(r.Address.Owner), domain.Name, place(domain.Unlisted))
	}
	return fmt.Sprintf("%s is always accepted", printable(r.Address.Owner))
}

func listed(l Listing) string {
	return fmt.Sprintf("the directory says that %s lives at %s", printable(l.Address), place(l.Residence))
}

func place(r Residence) string {
	if r.Kind == Both {
		return "both (here and " + r.Platform + ")"
	}
	return r.String()
}

func (p *Policy) local(from origin, sender Address, r Recipient, why string) Ruling {
	return Ruling{Address: r.Path, Residence: Residence{}.String(), Flow: p.flow(from, sender, r, []string{"LD"}), Reason: why}
}

func (p *Policy) remote(from origin, sender Address, r Recipient, residence Residence, platform *Platform, why string) Ruling {
	ruling := Ruling{
		Address:   r.Path,
		Residence: residence.String(),
		Flow:      p.flow(from, sender, r, into(platform)),
		Rewritten: []string{r.Address.At(p.Domains[r.Address.Domain].Alternates[platform.Name])},
		Reason:    why,
	}
	if residence.Kind == Both {
		ruling.Flow = p.flow(from, sender, r, []string{"LD"}) + ", " + ruling.Flow
	}
	return ruling
}

// loop refuses a recipient whose message would go round. RFC 3463 section 3.5
// gives X.4.6 to routing loops. A looping bounce is dropped, since refusing it
// could make another.
func loop(sender Address, r Recipient, platform *Platform, why string) Ruling {
	ruling := refuse(r, platform.Name, Reject, Reply{554, "5.4.6", "Mail loop: " + why}, why)
	if sender.IsNull() {
		ruling.Verdict, ruling.Reply = Discard, Reply{}
		ruling.Reason += "; a looping bounce is dropped"
	}
	ruling.Check = CheckLoop
	return ruling
}

func refuse(r Recipient, residence string, verdict Verdict, reply Reply, reason string) Ruling {
	return Ruling{Address: r.Path, Residence: residence, Verdict: verdict, Reply: reply, Reason: reason}
}

// into is the way to a mailbox at a platform; through, the way to the Internet
// through it.
func into(p *Platform) []string    { return []string{"S4", p.Letter + "1", "LD"} }
func through(p *Platform) []string { return []string{"S4", p.Letter + "1", p.Letter + "4", "ED"} }

// flow writes a way from where the message began.
func (p *Policy) flow(from origin, sender Address, r Recipient, ways []string) string {
	var steps []string
	if from.point == S1 {
		letter := from.platform.Letter
		first := letter + "2"
		domain := p.Domains[r.Address.Domain]
		if _, ours := p.Domains[sender.Domain]; !ours && domain != nil && domain.MX == from.platform.Name {
			first = letter + "1"
		}
		steps = append(steps, first, letter+"3")
	}
	steps = append(steps, from.point.String())
	return strings.Join(append(steps, ways...), "=>")
}

// printable makes a stranger's text fit for an SMTP reply: printable ASCII of
// bounded length.
func printable(s string) string {
	const longest = 120
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
	if len(clean) > longest {
		clean = clean[:longest] + "..."
	}
	return clean
}
