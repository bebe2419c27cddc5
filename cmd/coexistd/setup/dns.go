package setup

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// The times to live of records, in seconds. MX records are the ones that are changed in a hurry.
const (
	usualTTL = 3600
	mxTTL    = 300
)

func dns(s *Site) (Guide, error) {
	g := Guide{comment: "; ", Intro: "Records of the DNS, as lines of zone files, for whoever writes the zones. " +
		"SPF, DKIM, DMARC and the alternate domains come first, before the first mailbox moves, and hold while mailboxes are on several sides; the MX comes last. " +
		"What they become when the split ends, coexistd setup dns --retire says. A domain has one record for SPF and one for DMARC: each takes the place of the published one. Other TXT records stay, and so do MX records that no step takes out."}
	for _, d := range s.domains() {
		g.Steps = append(g.Steps, s.spfStep(d.Name, s.Senders(d), nil), s.dkimStep(d), s.dmarcStep(d))
	}
	for _, name := range s.Conf.Rules.Routes.Alternates() {
		g.Steps = append(g.Steps, s.alternateSteps(name)...)
	}
	for _, d := range s.domains() {
		g.Steps = append(g.Steps, s.mxStep(d, d.MX))
	}
	return g, nil
}

// retireDNS undoes the split of each domain whose mailboxes are all on one side.
func retireDNS(s *Site) (Guide, error) {
	g := Guide{comment: "; ", Intro: "What the DNS has when the split ends, for each domain whose mailboxes are all on one side by the directories. " +
		"The MX comes first, while all connectors, routes and alternate domains still work. When its old time to live is over, and no mail comes the old way any more, the rest follows."}
	for _, d := range s.domains() {
		lives := s.Lives[d.Name]
		if len(lives) != 1 {
			g.Steps = append(g.Steps, Step{Title: d.Name + ": not yet", Text: s.notYet(d, lives)})
			continue
		}
		g.Steps = append(g.Steps, s.retireSteps(d, lives[0])...)
	}
	return g, nil
}

func (s *Site) notYet(d *route.Domain, lives []string) string {
	if len(lives) == 0 {
		return "The directories have no mailbox of it, so that it is not known where they are. Nothing is undone before that is known: see coexistd directory list."
	}
	return "By the directories, and by unlisted, it has mailboxes " + places(lives) + ". While it has, its records stay as coexistd setup dns says. " +
		"Move the last of them, then run this again: it tells the MX, the SPF record without the sides that nobody uses any more, and which keys and alternate domains go."
}

// places names sides: "here and at office365".
func places(names []string) string {
	var words []string
	for _, name := range names {
		if name == "" {
			words = append(words, "here")
		} else {
			words = append(words, "at "+name)
		}
	}
	return strings.Join(words, " and ")
}

func (s *Site) retireSteps(d *route.Domain, last string) []Step {
	var stay, leave []Sender
	var left, alternates []string
	for _, sender := range s.Senders(d) {
		if sender.Name == last {
			stay = append(stay, sender)
			continue
		}
		leave = append(leave, sender)
		left = append(left, sender.Name)
	}
	spf := s.spfStep(d.Name, stay, leave)
	if last != "" {
		spf.Text = "First see that nothing sends through this host any longer: programs, printers, lists. If something does, leave its addresses in.\n" + spf.Text
	}
	dkim := Step{Title: d.Name + ": the DKIM keys of the sides that nobody uses any more", Text: "A week after the last message was signed there, so that what is under way still verifies, take out the records of: "}
	var keys []string
	for _, p := range s.platformsOf(d) {
		if p.Name == last {
			continue
		}
		for _, selector := range s.selectors(p) {
			keys = append(keys, selector+"._domainkey."+d.Name)
		}
		if alternate := d.Alternates[p.Name]; alternate != "" && !IsVendors(alternate) {
			alternates = append(alternates, alternate)
		}
	}
	if last != "" {
		keys = append(keys, "the selector of this host's own signer")
	}
	dkim.Text += strings.Join(keys, ", ") + "."
	steps := []Step{s.mxStep(d, last), spf, dkim}
	if len(alternates) > 0 {
		steps = append(steps, Step{Title: d.Name + ": the alternate domains", Text: "Last, when all is undone " + places(left) + " (coexistd setup SIDE --retire) and the configuration names them no longer, take out all records of " + strings.Join(alternates, ", ") + "."})
	}
	return steps
}

func (s *Site) domains() []*route.Domain {
	domains := s.Conf.Rules.Routes.Domains
	var list []*route.Domain
	for _, name := range slices.Sorted(maps.Keys(domains)) {
		list = append(list, domains[name])
	}
	return list
}

// txt is a line of a zone file. Strings are of 255 bytes at most (RFC 1035 section 3.3).
func txt(name, text string) string {
	const most = 255
	var quoted []string
	for len(text) > 0 {
		part := text[:min(len(text), most)]
		text = text[len(part):]
		quoted = append(quoted, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(part)+`"`)
	}
	return fmt.Sprintf("%s. %d IN TXT %s", name, usualTTL, strings.Join(quoted, " "))
}

func zoneOf(name string) string { return "the zone of " + name }

// spfStep is the record for SPF of a domain.
func (s *Site) spfStep(domain string, senders, leaving []Sender) Step {
	step := Step{Title: domain + ": SPF"}
	spf := s.SPF(domain, senders, leaving)
	switch {
	case spf.Err != nil:
		step.Text = sentence(spf.Err.Error())
	case spf.Published:
		step.Text = "It is published as it should be: " + strings.Join(spf.Notes, "; ") + "."
	default:
		step.Text = sentence(strings.Join(spf.Notes, ".\n"))
		step.File, step.Code = zoneOf(domain), txt(domain, spf.Text)
	}
	return step
}

// sentence begins a text with a capital, where that does not change a name, and ends it.
func sentence(text string) string {
	if first, _, _ := strings.Cut(text, " "); !strings.ContainsAny(first, ":.=_/") {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return strings.TrimSuffix(text, ".") + "."
}

// dkimStep says whose keys a domain has. What they are, only those know who sign.
func (s *Site) dkimStep(d *route.Domain) Step {
	var lines []string
	for _, p := range s.platformsOf(d) {
		var lacking []string
		for _, selector := range s.selectors(p) {
			if len(s.DNS[selector+"._domainkey."+d.Name].TXT) == 0 {
				lacking = append(lacking, selector+"._domainkey."+d.Name)
			}
		}
		lines = append(lines, dkimOf(p.Name, d.Name, Office365(s, p), Google(s, p), lacking))
	}
	lines = append(lines, "This host: what leaves from here is signed by the MTA's own signer (OpenDKIM, rspamd, dkimpy), whose settings name the selector; publish the key that it made. Let it be no selector of a platform's (selector1, selector2, google).")
	return Step{Title: d.Name + ": DKIM", Text: strings.Join(lines, "\n")}
}

func dkimOf(platform, domain string, office365, google bool, lacking []string) string {
	switch {
	case len(lacking) == 0 && (office365 || google):
		return platform + ": its keys are published. See that it signs with them."
	case office365:
		return platform + ": publish CNAME records for " + strings.Join(lacking, " and ") + ". Where they point differs from tenant to tenant and from domain to domain, and is asked for in Exchange Online PowerShell: " +
			"Get-DkimSigningConfig -Identity " + domain + " | Format-List Selector1CNAME, Selector2CNAME (where there is none: New-DkimSigningConfig -DomainName " + domain + " -Enabled $false). " +
			"The Defender portal shows them, too: Email authentication settings, DKIM. When they are published: Set-DkimSigningConfig -Identity " + domain + " -Enabled $true."
	case google:
		return platform + ": publish a TXT record for " + strings.Join(lacking, "") + ", which admin.google.com makes: Apps > Google Workspace > Gmail > Authenticate email, " + domain + ", Generate new record, 2048 bits, prefix google. When it is published: Start authentication, there."
	}
	return platform + ": ask it for its selector and its key for " + domain + ", and have it sign with them."
}

// dmarcStep is the record for DMARC of a domain.
func (s *Site) dmarcStep(d *route.Domain) Step {
	name := "_dmarc." + d.Name
	step := Step{Title: d.Name + ": DMARC"}
	records := s.DNS[name]
	published := records.DMARC()
	above := s.DNS["_dmarc."+organisation(d.Name)].DMARC()
	const strict = " Before it says more than p=none, see by its reports that all sides sign as " // and the domain
	switch {
	case records.Err != nil:
		step.Text = "What is published is not known: " + records.Err.Error() + ". Run this again when the DNS answers."
	case len(published) > 1:
		step.Text = fmt.Sprintf("%d records are published, so that receivers use none of them. Leave one.", len(published))
	case len(published) == 1:
		step.Text = "It is published, and stays: " + mail.Printable(published[0]) + "." + strict + d.Name + "."
	case len(above) == 1:
		step.Text = "That of " + organisation(d.Name) + " holds for it: " + mail.Printable(above[0]) + "."
	default:
		step.Text = "None is published. This one asks for reports alone; have somebody read them, or a service that does." + strict + d.Name + "."
		step.File, step.Code = zoneOf(d.Name), txt(name, "v=DMARC1; p=none; rua=mailto:postmaster@"+d.Name)
	}
	return step
}

// alternateSteps are the records of an alternate domain, or of one that targets have.
func (s *Site) alternateSteps(name string) []Step {
	p := s.Conf.Rules.Routes.AlternateOf(name)
	records := s.DNS[name]
	mx := Step{Title: name + ": MX (" + p.Name + ")"}
	switch {
	case records.Err != nil:
		mx.Text = "What is published is not known: " + records.Err.Error() + ". Run this again when the DNS answers."
	case IsVendors(name) && len(records.MX) > 0:
		mx.Text = "Its zone is " + p.Name + "'s own, and has an MX: " + some(records.MX) + ". Nothing is to be published."
		return []Step{mx}
	case IsVendors(name):
		mx.Text = "Its zone is " + p.Name + "'s own, and has no MX: mail for it does not get there. See that the domain is one of the tenant's, and spelled as there."
		return []Step{mx}
	default:
		mx = s.mxAt(mx, name, p)
	}
	return []Step{mx, s.spfStep(name, []Sender{s.sender(p)}, nil)}
}

// mxStep is the MX of a domain of ours: at a platform, or with "" here.
func (s *Site) mxStep(d *route.Domain, at string) Step {
	step := Step{Title: d.Name + ": MX"}
	records := s.DNS[d.Name]
	if records.Err != nil {
		step.Text = "What is published is not known: " + records.Err.Error() + ". Run this again when the DNS answers."
		return step
	}
	if p := s.Conf.Rules.Routes.Platform(at); p != nil {
		return s.mxAt(step, d.Name, p)
	}
	host := s.Conf.Rules.Hostname
	theirs := s.theirs(records.MX)
	ours := without(records.MX, theirs)
	gateways := slices.DeleteFunc(slices.Clone(ours), s.IsOurs)
	switch here := without(ours, gateways); {
	case len(theirs) == 0 && len(ours) > 0 && len(gateways) == 0:
		step.Text = "It points to this host (" + some(here) + "), as it should."
	case len(theirs) == 0 && len(here) > 0:
		step.Text = "It points to this host (" + some(here) + "), and to " + some(gateways) + ", no host of a platform's, and stays. What is there must hand mail on to this host." + s.nameUpstream()
	case len(theirs) == 0 && len(gateways) > 0:
		step.Text = "It points to " + some(gateways) + ", no host of a platform's, and stays. A gateway there hands mail on to this host." + s.nameUpstream()
	case len(ours) > 0:
		step.Text = "Mail goes to " + some(ours) + ", and to " + some(theirs) + " of a platform, too, which is to have none from the Internet (mx). Take the latter out, and leave:"
		step.File, step.Code = zoneOf(d.Name), mxLines(d.Name, ours)
	case strings.Contains(host, ".") && len(s.DNS[host].Addresses) > 0:
		step.Text = s.beforeMX(d.Name, records.MX) + "When this host takes mail for it, and each side is tested, its mail comes here. A gateway in front of this host takes the place of its name."
		step.File, step.Code = zoneOf(d.Name), mxLines(d.Name, []string{host})
	default:
		step.Text = "It points to no host of ours, and the DNS knows no address of " + host + " (hostname). Give this host a name with an address, then run this again."
	}
	return step
}

// nameUpstream says what a gateway before this host wants here, where nothing tells of one.
func (s *Site) nameUpstream() string {
	if len(s.Conf.Rules.Upstreams) > 0 {
		return ""
	}
	return " Name it in [upstream.NAME] of the configuration, so that what it hands on is judged by the client before it."
}

// mxAt is the MX of a domain at a platform.
func (s *Site) mxAt(step Step, domain string, p *route.Platform) Step {
	published := s.DNS[domain].MX
	isOf := func(host string) bool { return slices.Contains(s.Takes(host), p) }
	theirs := slices.DeleteFunc(slices.Clone(published), func(host string) bool { return !isOf(host) })
	others := without(published, theirs)
	before := s.beforeMX(domain, others)
	if gateways := slices.DeleteFunc(without(others, s.theirs(others)), s.IsOurs); len(gateways) > 0 {
		before += "If " + some(gateways) + " is a gateway that stays, leave the MX, and have it hand mail on to " + p.Name + ". "
	}
	switch another := s.another(domain, p, theirs); {
	case len(theirs) > 0 && len(others) == 0 && another != "":
		step.Text = another + " " + askMX(domain)
	case len(theirs) > 0 && len(others) == 0:
		step.Text = "It points to " + some(theirs) + ", as it should."
	case len(theirs) > 0:
		step.Text = "Mail goes to " + some(others) + ", too. Take that out, and leave:"
		step.File, step.Code = zoneOf(domain), mxLines(domain, theirs)
	case Google(s, p):
		step.Text = before + "When " + p.Name + " takes mail for it, each side is tested, and Reject all mail not from gateway IPs has been unchecked there for a day (coexistd setup google), this is its only MX:"
		step.File, step.Code = zoneOf(domain), fmt.Sprintf("%s. %d IN MX 1 %s.", domain, mxTTL, googleMX)
	case Office365(s, p):
		step.Text = before + "Its MX at " + p.Name + " cannot be told from its name: domains that were added since July 2026 have names below mx.microsoft. " + askMX(domain)
	case IsName(RelayHost(p)):
		step.Text = before + "The host that takes its mail is the relay of " + p.Name + ":"
		step.File, step.Code = zoneOf(domain), mxLines(domain, []string{RelayHost(p)})
	default:
		step.Text = before + "Ask " + p.Name + " for the name of its MX, and publish that alone."
	}
	return step
}

// askMX says where Microsoft tells the MX of a domain.
func askMX(domain string) string {
	return "Ask, and publish what is said as the only MX: " +
		"admin.microsoft.com, Settings > Domains > " + domain + " > DNS records; or Get-MgDomainServiceConfigurationRecord -DomainId " + domain + " (Microsoft Graph PowerShell), the record of type Mx."
}

// beforeMX says what comes before a change of a domain's MX, which now points to some hosts.
func (s *Site) beforeMX(domain string, now []string) (text string) {
	if len(now) > 0 {
		text = "Now it points to " + some(now) + ". Give that record a TTL of 300 first, as long before as its TTL is now. "
	}
	if slices.ContainsFunc(s.DNS[stsName(domain)].TXT, func(one string) bool { return strings.HasPrefix(one, "v=STSv1") }) {
		text += "It has a policy for MTA-STS (" + stsName(domain) + "): add the new host to https://mta-sts." + domain + "/.well-known/mta-sts.txt and change the id first, and wait for its max_age, or senders deliver nothing to the new host (RFC 8461 section 5.1). "
	}
	return text
}

// stsName is the name of the record that says that a domain has a policy for MTA-STS (RFC 8461
// section 3.1).
func stsName(domain string) string { return "_mta-sts." + domain }

// another says that hosts of Office 365 are, by their names, the MX of another domain; empty: they
// are not. Each domain of a tenant has an MX of its own, whose first label is the domain with hyphens
// in the place of dots.
func (s *Site) another(domain string, p *route.Platform, hosts []string) string {
	if !Office365(s, p) {
		return ""
	}
	label := func(name string) string { return strings.ReplaceAll(name, ".", "-") }
	for _, host := range hosts {
		first, _, _ := strings.Cut(host, ".")
		if first == label(domain) || !isOffice365MX(host) {
			continue
		}
		for _, name := range s.domainsAt(p) {
			if first == label(name) {
				return "It points to " + host + ", the MX of " + name + ". Exchange Online takes mail there for all domains of the tenant, and yet has an MX for each: it may change one without the other."
			}
		}
		return "It points to " + host + ", which by its name is the MX of none of the tenant's domains that the configuration has. Where it is another tenant's, mail for " + domain + " is refused there."
	}
	return ""
}

// domainsAt are the domains that a platform has: those of ours with mailboxes there, and those that
// reach them.
func (s *Site) domainsAt(p *route.Platform) []string {
	names := slices.Clone(p.TargetDomains)
	for _, d := range s.domains() {
		if slices.Contains(s.platformsOf(d), p) {
			names = append(names, d.Name, d.Alternates[p.Name])
		}
	}
	return names
}

// IsName reports a host that has a name, as an MX record needs.
func IsName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && strings.Contains(host, ".")
}

// theirs are those of some hosts that are a platform's.
func (s *Site) theirs(hosts []string) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return len(s.Takes(host)) == 0 })
}

func without(list, gone []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(gone, one) })
}

func mxLines(domain string, hosts []string) string {
	var lines []string
	for i, host := range hosts {
		lines = append(lines, fmt.Sprintf("%s. %d IN MX %d %s.", domain, mxTTL, 10*(i+1), host))
	}
	return strings.Join(lines, "\n")
}

// some names the first of some hosts.
func some(hosts []string) string {
	const most = 5
	text := strings.Join(hosts[:min(len(hosts), most)], ", ")
	if more := len(hosts) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
