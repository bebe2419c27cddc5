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
	g := Guide{comment: "# ", Intro: "Google Workspace, for its administrator (a super administrator, or one with the privilege Gmail Settings). " +
		"Google has these settings in its Admin console alone, https://admin.google.com: each step is done there by hand, and each line is a field with its value. " +
		"Changes take effect within 24 hours, as a rule within minutes. What stands here does not change by being done again: where a setting of that name is there, edit it."}
	tenants := s.googleTenants()
	if len(tenants) == 0 {
		return g, errNoGoogle
	}
	for _, w := range tenants {
		g.Steps = append(g.Steps, w.edition())
		g.Steps = append(g.Steps, w.aliasDomains()...)
		g.Steps = append(g.Steps, w.host(), w.catchAll())
		g.Steps = append(g.Steps, w.internal())
		if w.platform.MayRelay {
			g.Steps = append(g.Steps, w.outThroughUs())
		}
		g.Steps = append(g.Steps, w.inboundGateway())
		if s.Conf.Rules.Routes.Outbound == w.platform.Name {
			g.Steps = append(g.Steps, w.smtpRelay())
		}
		g.Steps = append(g.Steps, w.addressesElsewhere(), w.keys(), w.test())
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
		Text: "Mail for all of " + strings.Join(w.names(), ", ") + " may come to Google; those whose mailbox is elsewhere need no licence there. " +
			"Who has an account for other services alone (Drive, Meet) and a mailbox elsewhere: Directory > Users > the user > Apps, or an organisational unit of theirs, with Gmail turned OFF. With Gmail on, Google delivers their mail to itself.",
	}
}

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
					"Domain name", alternate, "Type", "User alias domain (of "+d.Name+"; of a domain that is not the account's primary one, the console may not offer it: the Directory API has domainAliases.insert, with parentDomainName "+d.Name+")",
					"Verify", "by the TXT record that Google shows; its MX: coexistd setup dns"),
			})
		}
	}
	return steps
}

func (w workspace) hostname() string { return w.Conf.Rules.Hostname }

// isCertified reports that the MTA's certificate has this host's name.
func (w workspace) isCertified() bool { return IsCertified(w.CertificateNames, w.hostname()) }

// routeName is what the host is called in Google's settings.
const routeName = "coexistd"

func (w workspace) host() Step {
	tls := "check, with Require CA-signed certificate and Validate certificate hostname; then Test TLS connection"
	if !w.isCertified() {
		tls = "leave unchecked until this host shows a certificate of an authority with the name " + w.hostname() + "; Gmail encrypts all the same where it can. Then check it, with Require CA-signed certificate and Validate certificate hostname"
	}
	return Step{Title: w.platform.Name + ": this host as a mail route", Text: fields("Apps > Google Workspace > Gmail > Hosts > Add route",
		"Name", routeName, "Specify email server", "Single host, "+w.hostname()+", port 25", "Perform MX lookup on host", "leave unchecked",
		"Require mail to be transmitted via a secure (TLS) connection", tls)}
}

// proof are the fields of a routing setting by which its mail proves the tenant.
func (w workspace) proof() []string {
	proofs := w.Conf.Rules.Tenants[w.platform.Name]
	if proofs.Header == "" {
		return []string{"Headers, Add custom headers", `first add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.` + w.platform.Name + " in " + w.Conf.Path +
			", and make the secret (coexistd key): without it, mail from outside that Google hands on counts as the Internet's, since all its customers send from the same addresses. Then run this again"}
	}
	value := "the line in the file that the configuration names as secret_file of platform." + w.platform.Name + ".proof"
	for _, file := range w.Conf.Files {
		if file.Key == "platform."+w.platform.Name+".proof.secret_file" {
			value = "the line in " + file.Path + ", without what stands before or behind it"
		}
	}
	return []string{"Headers, Add custom headers", "header " + proofs.Header + " (without its X- where the field shows that already), its value " + value + ". Whoever reads it can forge mail: it is no header to be shown in tickets"}
}

// pattern matches the addresses of the tenant's domains, but not those in alias domains.
func (w workspace) pattern() string {
	var quoted []string
	for _, name := range w.names() {
		quoted = append(quoted, regexp.QuoteMeta(name))
	}
	if len(quoted) == 1 {
		return "^.*@" + quoted[0] + "$"
	}
	return "^.*@(" + strings.Join(quoted, "|") + ")$"
}

func (w workspace) catchAll() Step {
	pairs := []string{
		"1. Specify envelope recipients to match", "Pattern match, " + w.pattern() + " (not All recipients: an unknown address in an alias domain would come here, too, and be refused as a loop)",
		"2. If the envelope recipient matches the above", "Modify message",
		"Headers, Add X-Gm-Original-To header", "check", "Headers, Add X-Gm-Spam and X-Gm-Phishy headers", "check: Gmail's verdict comes along, and coexistd heeds it",
	}
	pairs = append(pairs, w.proof()...)
	pairs = append(pairs,
		"Route, Change route", "check, "+routeName, "Route, Also reroute spam", "check: unless it is, mail that Gmail takes for spam ends there, and the user here never sees it; coexistd holds or marks it as the configuration says",
		"Route, Suppress bounces from this recipient", "leave unchecked", "Spam, Bypass spam filter for this message", "leave unchecked",
		"3. Options", "Perform this action only on non-recognized addresses")
	text := "Mail for a mailbox that is not at Google comes here. It is Default routing that catches all of these: addresses that Google does not know, suspended users, and users with Gmail turned off. " +
		"The settings under Routing hold for users with Gmail on alone; a catch-all among them misses the others. Apps > Google Workspace > Gmail > Default routing > Configure (Add another rule)"
	if others := w.others(); len(others) > 0 {
		text = "What is for a mailbox at " + strings.Join(others, " or ") + " comes the same way, and goes on from here.\n" + text
	}
	return Step{Title: w.platform.Name + ": default routing, the catch-all", Text: fields(text, pairs...)}
}

// internal is the setting for mail from users there, of which Google's pages on default routing,
// which speak of inbound mail, say nothing.
func (w workspace) internal() Step {
	pairs := []string{"Name", routeName + " from users", "Email messages to affect", "Internal - receiving", "For the above types of messages", "Modify message"}
	pairs = append(pairs, w.proof()...)
	pairs = append(pairs, "Route, Change route", "check, "+routeName, "Show options, B. Account types to affect", "Unrecognized / Catch-all alone: uncheck Users and Groups",
		"Show options, C. Envelope filter", "Only affect specific envelope recipients, Pattern match, "+w.pattern())
	return Step{Title: w.platform.Name + ": mail from users at Google to mailboxes elsewhere", Text: fields(
		"First try it: a user at Google writes to a mailbox here. Where that comes with the proof (coexistd's log says proof), leave this step out: Google's pages call default routing a setting for inbound mail. "+
			"Where it bounces as unknown: Apps > Google Workspace > Gmail > Routing > Routing > Configure (Add another rule)", pairs...)}
}

func (w workspace) outThroughUs() Step {
	pairs := []string{"Name", routeName + " outbound", "Email messages to affect", "Outbound", "For the above types of messages", "Modify message"}
	pairs = append(pairs, w.proof()...)
	pairs = append(pairs, "Route, Change route", "check, "+routeName, "Show options, B. Account types to affect", "Users, Groups")
	return Step{Title: w.platform.Name + ": mail of users at Google to the Internet, through this host (may_relay)", Text: fields(
		"Not by Outbound gateway, which adds no header: without the proof this host relays for nobody. Apps > Google Workspace > Gmail > Routing > Routing > Configure (Add another rule)", pairs...)}
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
		only = "leave unchecked until all works. Then check it: no MX is at Google, and what comes past this host is forged or lost its way. Leave it unchecked when the account has further domains whose MX is at Google"
	}
	tls := "check"
	if !w.isCertified() {
		tls = "check when this host sends by TLS (Postfix: smtp_tls_security_level = may or better)"
	}
	return Step{Title: w.platform.Name + ": this host as an inbound gateway", Text: fields(
		"What this host hands on fails SPF at Google, which is judged by the client's address. For these addresses Gmail goes by the hop before, and makes no SPF and DMARC check of its own on them: coexistd has made them. Apps > Google Workspace > Gmail > Spam, Phishing and Malware > Inbound gateway (of the top organisational unit) > Edit, Enable",
		"Gateway IPs", w.ourAddresses()+" (public addresses alone; a gateway in front of this host that hands mail to Google itself is one, too)",
		"Automatically detect external IP", "check", "Reject all mail not from gateway IPs", only, "Require TLS for connections from the email gateways listed above", tls,
		"Message Tagging, Message is considered spam if the following header regexp matches", `check, regexp ^X-Spam-Flag: YES, Message is spam if regexp matches`,
		"Disable Gmail spam evaluation on mail from this gateway; only use header value", "leave unchecked")}
}

func (w workspace) smtpRelay() Step {
	helo := "says " + w.hostname() + " in EHLO, which is in a domain of the account, so that bounces without a sender are taken, too"
	in := func(name string) bool { return w.hostname() == name || strings.HasSuffix(w.hostname(), "."+name) }
	if !slices.ContainsFunc(w.names(), in) {
		helo = "must say a name in a domain of the account in EHLO (" + cmp.Or(w.names()[0]) + "), or bounces without a sender are refused; " + w.hostname() + " is in none"
	}
	return Step{
		Title: w.platform.Name + ": all mail to the Internet leaves through Google (outbound): SMTP relay service",
		Text: fields("This host sends to smtp-relay.gmail.com, port 587 (coexistd setup postfix), and "+helo+". Google bounds what an account and each of its users relays in 24 hours (a user 10,000 recipients), and a trial more so. "+
			"Apps > Google Workspace > Gmail > Routing > SMTP relay service (of the top organisational unit) > Configure",
			"Name", routeName, "Allowed senders", "Only addresses in my domains (mail that is forwarded for outside senders leaves by MAIL FROM of theirs, which this refuses: let that leave from here)",
			"Authentication", "Only accept mail from the specified IP addresses: "+w.ourAddresses(), "Require SMTP Authentication", "leave unchecked", "Encryption, Require TLS encryption", "check"),
	}
}

func (w workspace) addressesElsewhere() Step {
	return Step{Title: w.platform.Name + ": who lives elsewhere, in Google's address book", Text: "So that users at Google find colleagues elsewhere: Directory > Shared contacts (by the API, or an app of the Marketplace), or LDIF with Google Cloud Directory Sync; there is no import of CSV. Make no users and no groups of them: an address that Google knows is not handed on. Groups are expanded on one side only."}
}

func (w workspace) keys() Step {
	return Step{Title: w.platform.Name + ": DKIM", Text: "Apps > Google Workspace > Gmail > Authenticate email: for each of " + strings.Join(w.names(), ", ") + " Generate new record (2048 bits, prefix google), publish it (coexistd setup dns), then Start authentication. Without it Google signs for its own domain gappssmtp.com, which proves nothing of ours."}
}

func (w workspace) test() Step {
	return Step{Title: w.platform.Name + ": see that it works", Text: "Send from Google to a mailbox here, from here to a mailbox at Google, and from outside to both. Reporting > Email log search says what Google did with each, and coexistd explain what this host does; coexistd doctor tells what the DNS lacks."}
}

func retireGoogle(s *Site) (Guide, error) {
	g := Guide{comment: "# ", Intro: "What to undo in Google Workspace when the split ends, in this order. The MX comes first (coexistd setup dns --retire), and nothing here is undone before its old time to live is over and coexistd's log has no more mail from there."}
	tenants := s.googleTenants()
	if len(tenants) == 0 {
		return g, errNoGoogle
	}
	for _, w := range tenants {
		g.Steps = append(g.Steps, w.retire()...)
	}
	return g, nil
}

func (w workspace) retire() []Step {
	name := w.platform.Name
	steps := []Step{
		{Title: name + ": the mailboxes", Text: "Where all of them live at the end decides what stays. All at Google: users, keys and the MX there stay. All elsewhere: turn Gmail OFF for everybody first, and leave the catch-all until the MX has left, so that late mail is handed on. The directories have mailboxes of " + w.where() + "."},
		{Title: name + ": default routing, and routing", Text: "Gmail > Default routing: delete the rule with the route " + routeName + ". From then on Google refuses addresses that it does not know. Gmail > Routing: delete " + routeName + " from users" + w.ifMayRelay() + "."},
	}
	if w.Conf.Rules.Routes.Outbound == name {
		steps = append(steps, Step{Title: name + ": SMTP relay service", Text: "When this host sends to the Internet itself, or not at all (take relayhost out: coexistd setup postfix --retire): Gmail > Routing > SMTP relay service: delete " + routeName + "."})
	}
	steps = append(steps,
		Step{Title: name + ": the inbound gateway", Text: "Gmail > Spam, Phishing and Malware > Inbound gateway: take out " + w.ourAddresses() + "; without other gateways uncheck Enable. First uncheck Reject all mail not from gateway IPs, if it was checked: with it, an MX at Google takes nothing."},
		Step{Title: name + ": the route", Text: "Gmail > Hosts: delete " + routeName + ". Google refuses that while a rule uses it."})
	for _, d := range w.domains {
		if alternate := d.Alternates[name]; alternate != "" && !IsVendors(alternate) {
			steps = append(steps, Step{Title: name + ": the alias domain " + alternate, Text: "Last, when no configuration of coexistd names it and the queue of this host has nothing for it: Account > Domains > Manage domains > " + alternate + " > Remove. Its records: coexistd setup dns --retire."})
		}
	}
	return append(steps, Step{Title: name + ": the secret", Text: "Take the proof out of the configuration, and delete its file: nothing uses it any more."})
}

func (w workspace) where() string {
	var words []string
	for _, d := range w.domains {
		words = append(words, d.Name+" "+cmp.Or(places(w.Lives[d.Name]), "nowhere"))
	}
	return strings.Join(words, ", ")
}

func (w workspace) ifMayRelay() string {
	if w.platform.MayRelay {
		return ", and " + routeName + " outbound, so that Google sends by itself"
	}
	return ""
}
