package setup

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"coexistd/policy/route"
)

// errNoGoogle says that there is nothing to set up.
var errNoGoogle = errors.New(`no platform of the configuration is Google Workspace: it would be [platform.google], or one with the networks "spf:_spf.google.com"`)

// workspace is a tenant of Google Workspace with its domains.
type workspace struct {
	*Site
	platform *route.Platform
	domains  []*route.Domain
}

func (s *Site) googleTenants() (tenants []workspace) {
	for _, pair := range s.Pairs(Google) {
		if last := len(tenants) - 1; last >= 0 && tenants[last].platform == pair.Platform {
			tenants[last].domains = append(tenants[last].domains, pair.Domain)
			continue
		}
		tenants = append(tenants, workspace{s, pair.Platform, []*route.Domain{pair.Domain}})
	}
	return tenants
}

func google(s *Site) (Guide, error) {
	g := Guide{comment: "# ", Intro: "Google Workspace, for its administrator: a super administrator, since domains and users are set as well as Gmail. " +
		"Google has these settings in its Admin console alone, https://admin.google.com: each step is done there by hand, and each line is a field with its value. Each is kept by Save, where a box opens over a page on both. " +
		"Changes take effect within 24 hours, as a rule within minutes. What stands here does not change by being done again: where a setting of that name is there, edit it."}
	tenants := s.googleTenants()
	if len(tenants) == 0 {
		return g, errNoGoogle
	}
	for _, w := range tenants {
		g.Steps = append(g.Steps, w.edition())
		g.Steps = append(g.Steps, w.aliasDomains()...)
		g.Steps = append(g.Steps, w.keys(), w.host(), w.catchAll(), w.internal())
		if len(s.BothAt[w.platform.Name]) > 0 {
			g.Steps = append(g.Steps, w.copies())
		}
		if w.platform.MayRelay {
			g.Steps = append(g.Steps, w.outThroughUs())
		}
		g.Steps = append(g.Steps, w.inboundGateway())
		if s.Conf.Rules.Routes.Outbound == w.platform.Name {
			g.Steps = append(g.Steps, w.smtpRelay())
		}
		if to := w.journalTo(w.platform); to != "" {
			g.Steps = append(g.Steps, w.journal(to))
		}
		g.Steps = append(g.Steps, w.addressesElsewhere(), w.test())
	}
	return g, nil
}

// fields writes a step's text: sentences, then fields with their values.
func fields(text string, pairs ...string) string {
	lines := []string{text}
	for i := 0; i+1 < len(pairs); i += 2 {
		lines = append(lines, "- "+pairs[i]+": "+pairs[i+1])
	}
	return strings.Join(lines, "\n")
}

func (w workspace) names() (names []string) {
	for _, d := range w.domains {
		names = append(names, d.Name)
	}
	return names
}

// others are the other platforms that have mailboxes of the tenant's domains.
func (w workspace) others() (names []string) {
	for _, d := range w.domains {
		for _, p := range w.platformsOf(d) {
			if p != w.platform && !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (w workspace) edition() Step {
	return Step{
		Title: w.platform.Name + ": the edition, and the account",
		Needs: "an edition of Google Workspace with Gmail (Business, Enterprise, Education, Frontline, Nonprofits). The legacy free edition has neither routing, inbound gateway nor SMTP relay service, and Essentials editions have no Gmail.",
		Text: "Account > Domains > Manage domains: " + strings.Join(w.names(), ", ") + " must be there, verified, with Gmail activated. Leave out what Google says of the MX then: coexistd setup dns says where it points. Those whose mailbox is elsewhere need no licence.\n" +
			"Who has an account for other services alone (Drive, Meet) and a mailbox elsewhere goes into an organisational unit for which Gmail is off" + gmailOff + ". With Gmail on, Google delivers their mail to itself.",
	}
}

// gmailOff says where Gmail is turned off. A group can only turn it on.
const gmailOff = " (Apps > Google Workspace > Gmail > Service status, with that unit selected: OFF, Override), and into no access group for which it is on"

// aliasDomains are the alternate domains, in which each mailbox there has an address.
func (w workspace) aliasDomains() (steps []Step) {
	for _, d := range w.domains {
		alternate := d.Alternates[w.platform.Name]
		switch {
		case alternate == "":
		case IsVendors(alternate):
			steps = append(steps, Step{Title: w.platform.Name + ": the alternate domain " + alternate, Text: "Google makes it by itself, as the test domain of " + strings.TrimSuffix(alternate, ".test-google-a.com") + ": Account > Domains > Manage domains lists it. Nothing is to be set."})
		default:
			steps = append(steps, Step{
				Title: w.platform.Name + ": the alias domain " + alternate,
				Text: fields("Each user and group of "+d.Name+" gets an address in it, without a licence. Account > Domains > Manage domains > Add a domain",
					"Domain name", alternate, "Type", "User alias domain, and not Secondary domain, which would give nobody an address. It becomes one of the account's primary domain; where "+d.Name+" is a secondary one, the Directory API alone can do it: domainAliases.insert, with parentDomainName "+d.Name,
					"Verify", "by the TXT record that Google shows; then activate Gmail for it. Its MX record: see coexistd setup dns"),
			})
		}
	}
	return steps
}

func (w workspace) hostname() string { return w.Conf.Rules.Hostname }

// gmailPath is where the Admin console has the settings of Gmail.
const gmailPath = "Apps > Google Workspace > Gmail > "

// routeName is what the host is called in Google's settings.
const routeName = "coexistd"

func (w workspace) host() Step {
	return Step{Title: w.platform.Name + ": this host as a mail route", Text: fields("Apps > Google Workspace > Gmail > Hosts > Add route",
		"Name", routeName, "Specify email server", "Single host, "+w.hostname()+", port 25", "Perform MX lookup on host", "leave unchecked",
		"Require mail to be transmitted via a secure (TLS) connection (Recommended)", w.demandedTLS())}
}

// demandedTLS says what of TLS Google may demand of this host: what the host's certificate does
// not fulfil keeps all mail from coming.
func (w workspace) demandedTLS() string {
	const both = "Require CA-signed certificate and Validate certificate hostname"
	switch {
	case len(w.CertificateNames) == 0 && w.CertificateErr == nil:
		return "leave unchecked: which certificate this host shows is not known here. Where it shows none, Google would deliver nothing; Gmail encrypts all the same where it can. When it shows one of a public authority for " + w.hostname() + ", check it, with " + both + ", and Test TLS connection before Save"
	case w.CertificateErr != nil:
		return "check, but leave " + both + " unchecked: Google takes no certificate then but one of a public authority for " + w.hostname() + ", and of that of this host is to be said: " + w.CertificateErr.Error() +
			". With them Google would deliver nothing. So Gmail encrypts, and does not see whom it speaks with. Get one of a public authority, run this again, then check both"
	}
	return "check, with " + both + "; Test TLS connection before Save. Where that fails, leave the two unchecked: Google does not know the authority"
}

// proof are the fields of a routing setting by which its mail proves the tenant.
func (w workspace) proof() []string {
	proofs := w.Conf.Rules.Tenants[w.platform.Name]
	if proofs.Header == "" {
		return []string{"Headers, Add custom headers", `first add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.` + w.platform.Name + " in " + w.Conf.Path +
			", and make the secret (coexistd key): without it, mail from outside that Google hands on counts as the Internet's, since all its customers send from the same addresses. Then run this again"}
	}
	value := "what the file holds that the configuration names as secret_file of platform." + w.platform.Name + ".proof"
	for _, file := range w.Conf.Files {
		if file.Key == "platform."+w.platform.Name+".proof.secret_file" {
			value = "what " + file.Path + " holds" + ", without spaces or a line break"
		}
	}
	return []string{"Headers, Add custom headers", "header " + proofs.Header + " (without its X- where the field shows that already), its value " + value + ". Who reads it can forge mail from Google: each administrator with the privilege Gmail Settings can, and it belongs in no ticket"}
}

// pattern matches the addresses of the tenant's domains, but not those in alias domains. Google's
// patterns tell cases apart, unless they say otherwise.
func (w workspace) pattern() string { return patternOf(w.names()) }

// patternOf matches the addresses of some domains.
func patternOf(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, regexp.QuoteMeta(name))
	}
	if len(quoted) == 1 {
		return "(?i)^.*@" + quoted[0] + "$"
	}
	return "(?i)^.*@(" + strings.Join(quoted, "|") + ")$"
}

// reroute are the fields by which a setting hands mail on to this host, and says what Gmail took
// it for.
func (w workspace) reroute() []string {
	return append(append([]string{
		"Headers, Add X-Gm-Original-To header", "check", "Headers, Add X-Gm-Spam and X-Gm-Phishy headers", "check: Gmail's verdict comes along, and coexistd heeds it",
	}, w.proof()...),
		"Route, Change route", "check, "+routeName, "Route, Also reroute spam", "check: unless it is, mail that Gmail takes for spam ends there, and the user here never sees it; coexistd holds or marks it as the configuration says",
		"Route, Suppress bounces from this recipient", "leave unchecked")
}

func (w workspace) catchAll() Step {
	pairs := append([]string{
		"1. Specify envelope recipients to match", "Pattern match, " + w.pattern() + " (not All recipients: an unknown address in an alias domain would come here, too, and be refused as a loop)",
		"2. If the envelope recipient matches the above, do the following", "Modify message",
	}, w.reroute()...)
	pairs = append(pairs,
		"Spam, Bypass spam filter for this message", "leave unchecked",
		"3. Options", "Perform this action only on non-recognized addresses",
		"Reorder", "before all other rules for non-recognized addresses: such a rule for All recipients would take this mail")
	text := "Mail for a mailbox that is not at Google comes here. For Google a non-recognized address is one that it does not know, one of a suspended user, and one of a user with Gmail turned off. Google's page on split delivery has a catch-all under Routing instead " +
		"(Unrecognized / Catch-all): the settings there miss suspended users and those with Gmail turned off. Apps > Google Workspace > Gmail > Default routing > Configure (or Add another rule)"
	if others := w.others(); len(others) > 0 {
		text = "What is for a mailbox at " + strings.Join(others, " or ") + " comes the same way, and goes on from here.\n" + text
	}
	return Step{Title: w.platform.Name + ": default routing, the catch-all", Text: fields(text, pairs...)}
}

// internal is the setting for mail from users there. Google's page on default routing speaks of
// inbound mail alone, and that on split delivery has internal mail under Routing. Mail that both
// take may have the proof twice, which proves the tenant as well.
func (w workspace) internal() Step {
	pairs := append([]string{"Name", routeName + " from users", "Email messages to affect", "Internal - Receiving alone", "For the above types of messages, do the following", "Modify message"}, w.reroute()...)
	pairs = append(pairs, "Show options, B. Account types to affect", "Unrecognized / Catch-all alone: uncheck Users and Groups",
		"Show options, C. Envelope filter", "Only affect specific envelope recipients, Pattern match, "+w.pattern())
	return Step{Title: w.platform.Name + ": mail from users at Google to mailboxes elsewhere", Text: fields(
		"Default routing is for inbound mail, as Google describes it. So try it first: a user at Google writes to a mailbox elsewhere. When that comes with the proof (coexistd's log says so), leave this step out. When it bounces as unknown, "+
			"or comes without the proof: Apps > Google Workspace > Gmail > Routing > Routing > Configure (or Add another rule).\n"+
			"Google counts as internal what has a domain of yours in From. Mail that both rules take may come with the header twice: the same secret proves it as once does.", pairs...)}
}

// copies is the setting for mailboxes on both sides: what comes to Google for them comes here, too. What coexistd
// sends there goes to their addresses in alternate domains, and does not come back.
func (w workspace) copies() Step {
	affected, why := "Internal - Receiving alone", "Where the MX is not at Google, coexistd delivers what is from elsewhere to both sides."
	domains := w.BothAt[w.platform.Name]
	if slices.ContainsFunc(domains, func(name string) bool { return w.Conf.Rules.Routes.Domains[name].MX == w.platform.Name }) {
		affected, why = "Inbound, and Internal - Receiving", "The MX is at Google, where the Internet's mail for them comes first."
	}
	pairs := append([]string{
		"Name", routeName + " copies", "Email messages to affect", affected, "For the above types of messages, do the following", "Modify message",
		"Also deliver to", "Add more recipients, Add, Advanced; all that follows, up to Show options, is set there, for the copy, and not for the message itself",
		"Headers, Add X-Gm-Spam and X-Gm-Phishy headers", "check",
	}, w.proof()...)
	pairs = append(pairs, "Route, Change route", "check, "+routeName, "Spam and delivery options, Do not deliver spam to this recipient", "leave unchecked: coexistd holds or marks it as the configuration says",
		"Spam and delivery options, Suppress bounces from this recipient", "check: the sender's message has arrived at Google",
		"Show options, B. Account types to affect", "Users alone", "Show options, C. Envelope filter", "Only affect specific envelope recipients, Pattern match, "+patternOf(domains))
	return Step{Title: w.platform.Name + ": copies for mailboxes on both sides", Text: fields(
		"For those whose residence is both, of "+strings.Join(domains, ", ")+": what users at Google and others send to them there comes here as well. "+why+" coexistd delivers here alone what comes from Google for them, once it has the proof.\n"+
			"First put them into an organisational unit, or a configuration group, of their own. "+gmailPath+"Routing, with that unit or group selected, > Routing > Configure (or Add another rule). Try it with one: a message must be there once on each side", pairs...)}
}

func (w workspace) outThroughUs() Step {
	pairs := []string{"Name", routeName + " outbound", "Email messages to affect", "Outbound", "For the above types of messages, do the following", "Modify message"}
	pairs = append(pairs, w.proof()...)
	pairs = append(pairs, "Route, Change route", "check, "+routeName, "Show options, B. Account types to affect", "Users, Groups")
	return Step{Title: w.platform.Name + ": mail of users at Google to the Internet, through this host (may_relay)", Text: fields(
		"Not by Outbound gateway, which adds no header: without the proof this host relays for nobody. Apps > Google Workspace > Gmail > Routing > Routing > Configure (or Add another rule)", pairs...)}
}

// ourAddresses are those from which this host sends, as fields have them.
func (w workspace) ourAddresses() string {
	here := w.thisHost()
	if here.Err != nil {
		return here.Err.Error() + "; then run this again"
	}
	var list []string
	for _, text := range here.Terms {
		list = append(list, text[len("ip4:"):])
	}
	return strings.Join(list, ", ")
}

// inboundGateway has Gmail judge mail that this host hands on by the hop before it.
func (w workspace) inboundGateway() Step {
	const reject = "leave unchecked: "
	only := reject + "the MX is at Google, where the Internet's mail comes from everywhere"
	if !slices.ContainsFunc(w.domains, func(d *route.Domain) bool { return d.MX == w.platform.Name }) {
		only = "leave unchecked until all works. Then check it: the MX of no shared domain is at Google, and what comes past this host is forged or lost its way. Leave it unchecked when the account has further domains whose MX is at Google"
	}
	tls := "check when this host sends by TLS (Postfix: smtp_tls_security_level = may or better)"
	if w.Postfix != nil && !slices.Contains([]string{"", "none"}, w.Postfix.Main["smtp_tls_security_level"]) {
		tls = "check"
	}
	return Step{Title: w.platform.Name + ": this host as an inbound gateway", Text: fields(
		"What this host hands on fails SPF at Google, which is judged by the client's address. For these addresses Gmail goes by the hop before, and makes no SPF and DMARC check of its own on them: coexistd makes them at S0, unless the configuration takes the check spoof from there, or has mode = \"observe\". Apps > Google Workspace > Gmail > Spam, Phishing and Malware > Inbound gateway (of the top organisational unit) > Edit, Enable",
		"Gateway IPs", w.ourAddresses()+" (public addresses alone; a gateway in front of this host that hands mail to Google itself is a gateway IP, too)",
		"Automatically detect external IP", "check", "Reject all mail not from gateway IPs", only, "Require TLS for connections from the email gateways listed above", tls,
		"Message Tagging, Message is considered spam if the following header regexp matches", `check, regexp (?i)^X-Spam-Flag: YES, Message is spam if regexp matches`,
		"Disable Gmail spam evaluation on mail from this gateway; only use header value", "leave unchecked")}
}

func (w workspace) smtpRelay() Step {
	helo := "says " + w.hostname() + " in EHLO, which is in a domain of the account, so that bounces, which have no sender, should be taken, too: try one"
	in := func(name string) bool { return w.hostname() == name || strings.HasSuffix(w.hostname(), "."+name) }
	if !slices.ContainsFunc(w.names(), in) {
		helo = "must say a name in a domain of the account in EHLO (" + w.names()[0] + "), or bounces, which have no sender, are refused; " + w.hostname() + " is in none"
	}
	return Step{
		Title: w.platform.Name + ": all mail to the Internet leaves through Google (outbound): SMTP relay service",
		Text: fields("This host sends to smtp-relay.gmail.com, port 587 (coexistd setup postfix), and "+helo+". Google bounds what an account and each of its users relays in 24 hours (a user 10,000 recipients), and a trial more so. "+
			"Apps > Google Workspace > Gmail > Routing > SMTP relay service (of the top organisational unit) > Configure",
			"Name", routeName, "Allowed senders", "Only addresses in my domains (Google speaks of the primary domain: try each other one; mail that is forwarded for outside senders leaves by MAIL FROM of theirs, which this refuses: let that leave from here)",
			"Authentication", "Only accept mail from the specified IP addresses: "+w.ourAddresses(), "Require SMTP Authentication", "leave unchecked", "Encryption, Require TLS encryption", "check"),
	}
}

// journal has the archive get a copy of each message.
func (w workspace) journal(to string) Step {
	return Step{
		Title: w.platform.Name + ": the journal to the archive",
		Needs: "Enterprise Standard, Enterprise Plus or Education Plus",
		Text: fields("Each message over there, also those among its own mailboxes, is reported to the archive. [archive] of coexistd takes these reports unchecked (journals); where the archive is not here, they do not pass here. "+
			"Google tries again for some days while the archive puts a report off, and not when it refuses one. "+gmailPath+"Routing > Third-party email archiving",
			"the address to which journal messages go", to+", and Add Setting"),
	}
}

func (w workspace) addressesElsewhere() Step {
	return Step{Title: w.platform.Name + ": who lives elsewhere, in Google's address book", Text: "So that users at Google find colleagues elsewhere: external contacts, by the Domain Shared Contacts API, an app of the Marketplace, or Google Cloud Directory Sync from LDAP or Active Directory; there is no import of CSV. Make no users and no groups of them: an address that Google knows is not handed on. Groups are expanded on one side only."}
}

func (w workspace) keys() Step {
	return Step{Title: w.platform.Name + ": DKIM", Text: "Apps > Google Workspace > Gmail > Authenticate email: for " + strings.Join(w.names(), " and for ") + ": Generate new record (2048 bits, prefix google), publish it (coexistd setup dns), then Start authentication, which works when Google sees the record in the DNS. " +
		"A new account may have to wait some days for it. Without it Google signs for a domain of its own below gappssmtp.com, which DMARC counts for nothing, and which proves the tenant only where the configuration names it (proof = { dkim = \"…\" })."}
}

func (w workspace) test() Step {
	return Step{Title: w.platform.Name + ": see that it works", Text: "Send from Google to a mailbox here, from here to a mailbox at Google, and from outside to both. While the MX is not at Google, mail from outside comes there by hand: " +
		"swaks --server smtp.google.com --to ADDRESS --from SOMEBODY@ELSEWHERE, from a host that is none of the gateway's. Try an address in CAPITALS, one that nobody has (it must bounce), and one of a suspended user. Reporting > Email log search says what Google did with each, and coexistd explain what this host does; coexistd doctor tells what the DNS lacks."}
}

func retireGoogle(s *Site) (Guide, error) {
	g := Guide{comment: "# ", Intro: "What to undo in Google Workspace when the split ends, for its administrator, in this order: Admin console, https://admin.google.com. Changes take effect within 24 hours, as a rule within minutes."}
	tenants := s.googleTenants()
	if len(tenants) == 0 {
		return g, errNoGoogle
	}
	for _, w := range tenants {
		g.Steps = append(g.Steps, w.retire()...)
	}
	return g, nil
}

// retire undoes what guides have set. It is for when each domain's mailboxes are all on one side:
// until then, the rules that hand mail on stay.
func (w workspace) retire() []Step {
	name := w.platform.Name
	var there, elsewhere []string
	for _, d := range w.domains {
		lives := w.Lives[d.Name]
		switch {
		case len(lives) != 1:
			return []Step{{Title: name + ": not yet", Text: "The directories have mailboxes of " + d.Name + " " + cmp.Or(places(lives), "nowhere") + ". While they are on several sides, or it is not known where they are, all stays as coexistd setup google says: without these rules, mail for those who are not at Google bounces. Move the last of them, then run this again."}}
		case lives[0] == name:
			there = append(there, d.Name)
		default:
			elsewhere = append(elsewhere, d.Name)
		}
	}
	var steps []Step
	if len(there) > 0 {
		steps = append(steps, Step{Title: name + ": let in all of the Internet's mail, before the MX", Text: "For " + strings.Join(there, ", ") + " the MX is, or comes, to Google. " + gmailPath + "Spam, Phishing and Malware > Inbound gateway: uncheck Reject all mail not from gateway IPs, if it is checked, and wait 24 hours: with it, Google refuses what comes by the MX."})
	}
	if len(elsewhere) > 0 {
		steps = append(steps, Step{Title: name + ": the mailboxes that have left, before the MX", Text: "For " + strings.Join(elsewhere, ", ") + ": when what is in the mailboxes was copied, turn Gmail off for all who still have it" + gmailOff + ". Then wait 24 hours. The catch-all stays until the MX has left, so that late mail is handed on."})
	}
	steps = append(steps,
		Step{Title: name + ": the MX", Text: "coexistd setup dns --retire says where it goes. Nothing below is undone before the TTL of the old MX record is over, and coexistd's log has no more mail from Google but that of its own users."},
		Step{Title: name + ": default routing, and routing", Text: gmailPath + "Default routing: delete the rule with the route " + routeName + ". From then on Google refuses addresses that it does not know. " + gmailPath + "Routing: delete " + routeName + " from users, " + routeName + " copies" + w.ifMayRelay() + ", as far as they are there, and with them the custom header of the proof."})
	if to := w.journalTo(w.platform); to != "" {
		steps = append(steps, Step{Title: name + ": the journal", Text: gmailPath + "Routing > Third-party email archiving: delete " + to + ", unless the archive is to go on having what passes at Google alone."})
	}
	if w.Conf.Rules.Routes.Outbound == name {
		steps = append(steps, Step{Title: name + ": SMTP relay service", Text: "When this host sends to the Internet itself, or not at all (take relayhost out: coexistd setup postfix --retire): " + gmailPath + "Routing > SMTP relay service: delete " + routeName + "."})
	}
	steps = append(steps,
		Step{Title: name + ": the inbound gateway", Text: gmailPath + "Spam, Phishing and Malware > Inbound gateway, Gateway IPs: take out those of this host, and of gateways in front of it that are given up (" + w.ourAddresses() + "); without others uncheck Enable."},
		Step{Title: name + ": the route", Text: gmailPath + "Hosts: delete " + routeName + ", which no rule uses any more."})
	for _, d := range w.domains {
		if alternate := d.Alternates[name]; alternate != "" && !IsVendors(alternate) {
			steps = append(steps, Step{Title: name + ": the alias domain " + alternate, Text: "Last, when no configuration of coexistd names it, the queue of this host has nothing for it, and nobody uses an address in it (to send as, or to log in elsewhere): take its MX record out of the DNS, then Account > Domains > Manage domains > " + alternate + " > Remove, then its other records."})
		}
	}
	return append(steps, w.secret()...)
}

// secret says what becomes of the file of the proof. Another setting may name the same one.
func (w workspace) secret() []Step {
	var path string
	own := "platform." + w.platform.Name + ".proof.secret_file"
	for _, file := range w.Conf.Files {
		if file.Key == own {
			path = file.Path
		}
	}
	if path == "" {
		return nil
	}
	text := "Take the proof out of the configuration, then delete " + path + "."
	for _, file := range w.Conf.Files {
		if file.Path == path && file.Key != own {
			text = "Take the proof out of the configuration. Leave " + path + ": " + file.Key + " names it, too. Whoever had it from Google's rules can forge mail by it: put a new secret in its place, on both sides."
		}
	}
	return []Step{{Title: w.platform.Name + ": the secret", Text: text}}
}

func (w workspace) ifMayRelay() string {
	if w.platform.MayRelay {
		return ", and " + routeName + " outbound, so that Google sends by itself"
	}
	return ""
}
