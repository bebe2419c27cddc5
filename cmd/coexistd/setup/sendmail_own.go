package setup

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/networks"
)

// ownLine is a line of coexistd.mc.
type ownLine struct {
	text string
	// met says that what it brings about is so.
	met bool
	// why is said in the line above it.
	why string
}

// ownText is what coexistd.mc is to hold: what is not in force, and what is by the file itself. It is empty
// where all is in force without it.
func (g *sendmailSide) ownText() string {
	var text strings.Builder
	last := ""
	for _, one := range g.ownLines() {
		if one.met && !g.isOwn(one.text) {
			continue
		}
		if one.why != "" && one.why != last {
			fmt.Fprintf(&text, "dnl %s\n", one.why)
		}
		last = one.why
		fmt.Fprintln(&text, one.text)
	}
	if text.Len() == 0 {
		return ""
	}
	return "dnl Written by coexistd setup sendmail, which takes it away again with --retire.\n" + text.String()
}

// isOwn reports that coexistd.mc, as it is, has a line of that kind: with the same first argument.
func (g *sendmailSide) isOwn(text string) bool {
	head := text
	if i := strings.IndexAny(text, ",)"); i >= 0 {
		head = text[:i]
	}
	return slices.ContainsFunc(slices.Collect(strings.Lines(g.m.Texts[ownMC])), func(line string) bool {
		rest, is := strings.CutPrefix(line, head)
		return is && strings.HasPrefix(rest, text[len(head):len(head)+1])
	})
}

// define is a line that sets what m4 knows by a name.
func define(name, value string) string { return fmt.Sprintf("define(`%s', `%s')dnl", name, value) }

// ownLines are all lines that there may be, in their order.
func (g *sendmailSide) ownLines() []ownLine {
	return slices.Concat(g.boundLines(), g.networkLines(), g.accessLines(), g.outboundLines(), g.certificateLines(), g.loginLines(), g.senderLines(), g.ruleLines(), g.filterLines())
}

// boundLines lift bounds that are too low for the mail of platforms.
func (g *sendmailSide) boundLines() []ownLine {
	const usualHeader, mostHeader, most, hops = 32768, 65000, 100, 25
	header, recipients := g.number("MaxHeadersLength", usualHeader), g.number("MaxRecipientsPerMessage", 0)
	return []ownLine{
		{define("confMAX_HEADERS_LENGTH", strconv.Itoa(mostHeader)), header <= 0 || header > usualHeader, "Exchange Online's headers are long."},
		{define("confMAX_RCPTS_PER_MESSAGE", strconv.Itoa(most)), recipients <= 0 || recipients >= most, "Each host must take a hundred recipients (RFC 5321)."},
		{define("confMAX_HOP", strconv.Itoa(most)), g.number("MaxHopCount", hops) >= 8*g.Conf.Rules.Routes.MaxPasses, "A message may come back max_passes times."},
	}
}

// number is the value of an option that is a number.
func (g *sendmailSide) number(name string, usual int) int {
	value, err := strconv.Atoi(g.m.Option(name, strconv.Itoa(usual)))
	if err != nil {
		return 0
	}
	return value
}

// networkLines let the clients relay that are ours without authentication. Those that Sendmail lets by
// itself, this host's, need none.
func (g *sendmailSide) networkLines() (lines []ownLine) {
	const most = 512
	relays, _ := g.m.Relays()
	has := networks.SetOf(relays...)
	for _, network := range g.Conf.Rules.OurNetworks.Prefixes() {
		if sendmailcf.IsThisHost(network) || sendmailcf.CountWhole(network) > most {
			continue
		}
		for one := range sendmailcf.Whole(network) {
			lines = append(lines, ownLine{"RELAY_DOMAIN(`" + sendmailcf.AccessKey(one) + "')dnl", has.Holds(one), "our_networks send to the Internet."})
		}
	}
	return lines
}

// outboundLines have all mail for the Internet leave through a platform.
func (g *sendmailSide) outboundLines() []ownLine {
	address, platform := g.outboundHost()
	if platform == nil {
		return nil
	}
	title := "Send all mail for the Internet through " + platform.Name
	if address == "" {
		g.addOnce(g.unknownHost(title, platform))
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "25"
	}
	why := "All mail for the Internet leaves through " + platform.Name + "."
	lines := []ownLine{{define("SMART_HOST", "["+host+"]"), g.m.Macros["S"] == "["+host+"]", why}}
	if port != "25" {
		lines = append(lines, ownLine{define("RELAY_MAILER_ARGS", "TCP $h "+port), g.m.Mailers["relay"].Port == port, why})
	}
	return lines
}

// addOnce adds a step, unless it is there.
func (g *sendmailSide) addOnce(step Step) {
	if !slices.Contains(g.steps, step) {
		g.steps = append(g.steps, step)
	}
}

// lacksCertificate says that there is nothing by which Office 365 could tell this host but its address: a line, or
// nothing.
func (g *sendmailSide) lacksCertificate() string {
	isShown := g.m.Option("ClientCertFile", "") != "" || g.m.Option("ServerCertFile", "") != "" && g.hasOurName()
	if len(g.Pairs(Office365)) == 0 || isShown {
		return ""
	}
	return "\nSendmail has no certificate in the name of a domain of yours to show to Office 365, whose connector must then know this host by its address. With such a certificate in confSERVER_CERT, run this again."
}

// certificateLines show platforms who we are, and have clients show theirs where the configuration goes by
// that.
func (g *sendmailSide) certificateLines() (lines []ownLine) {
	certificate, key := g.m.Option("ServerCertFile", ""), g.m.Option("ServerKeyFile", "")
	if len(g.Pairs(Office365)) > 0 && certificate != "" && key != "" && g.hasOurName() {
		const why = "Office 365 tells by the certificate that a connection is ours."
		lines = append(lines, ownLine{define("confCLIENT_CERT", certificate), g.m.Option("ClientCertFile", "") != "", why},
			ownLine{define("confCLIENT_KEY", key), g.m.Option("ClientKeyFile", "") != "", why})
	}
	if g.goesByCertificates() {
		const why = "Sendmail tells of the certificates of those clients whose issuer it knows."
		lines = append(lines, ownLine{define("confCACERT", "/etc/ssl/certs/ca-certificates.crt"), g.m.Option("CACertFile", "") != "", why},
			ownLine{define("confCACERT_PATH", "/etc/ssl/certs"), g.m.Option("CACertPath", "") != "", why})
	}
	return lines
}

// loginLines let users log in.
func (g *sendmailSide) loginLines() []ownLine {
	if g.usersAddress() == "" {
		return nil
	}
	const mechanisms = "PLAIN LOGIN"
	isPlain := func(one string) bool { return one == "PLAIN" || one == "LOGIN" }
	offered := strings.Fields(strings.ToUpper(g.m.Option("AuthMechanisms", "")))
	offers := slices.ContainsFunc(offered, isPlain)
	if !offers {
		offered = strings.Fields(mechanisms)
	}
	trusts := !slices.ContainsFunc(offered, func(one string) bool { return !g.m.Class("TrustAuthMech").Has(strings.ToLower(one)) })
	const why = "Users log in; passwords are Cyrus SASL's business, and are asked for by TLS alone."
	options := g.m.Option("AuthOptions", "")
	lines := []ownLine{
		{"TRUST_AUTH_MECH(`" + strings.Join(offered, " ") + "')dnl", trusts, why},
		{define("confAUTH_MECHANISMS", mechanisms), offers, why},
		{define("confAUTH_OPTIONS", "p y"), options != "", why},
	}
	hasCertificate := g.m.Option("ServerCertFile", "") != ""
	switch {
	case g.m.Texts[starttlsM4] != "":
		lines = append(lines, ownLine{"include(`" + g.m.beside(starttlsM4) + "')dnl", hasCertificate, why})
	case !hasCertificate && (options == "" || strings.Contains(options, "p")):
		g.addOnce(Step{Title: "Give Sendmail a certificate", Text: "Without one, nobody can log in. Define confSERVER_CERT and confSERVER_KEY in " + sendmailMC + "; Debian's sendmailconfig makes one, of which this guide then knows (" + starttlsM4 + ")."})
	}
	return lines
}

// senderLines keep the domain of users' addresses, in the place of which MASQUERADE_AS would have another
// written: Debian's package sets it to what /etc/mailname says.
func (g *sendmailSide) senderLines() (lines []ownLine) {
	for _, domain := range sendmailcf.Shared(g.Conf) {
		own := g.m.Class("w").Has(domain.Name) || !g.isAtMailer(domain.Name) // which takeDomains makes of it
		lines = append(lines, ownLine{sendmailcf.Unmasked(domain.Name), g.m.MasqueradeOf(domain, own) == "",
			"Users' addresses stay as they are, whatever MASQUERADE_AS makes of hosts'."})
	}
	return lines
}

// ruleLines include coexistd.m4, with the defines that it needs.
func (g *sendmailSide) ruleLines() []ownLine {
	met := g.hasRules()
	lines := []ownLine{{define("COEXISTD_DOMAINS", strings.Join(sendmailcf.DomainsAsked(g.Conf), " ")), met, "All mail passes coexistd, which says where each address lives."}}
	if milter := sendmailcf.ListenerFor(g.Conf, false); milter != sendmailcf.UsualMilter {
		lines = append(lines, ownLine{define("COEXISTD_MILTER", milter), met, lines[0].why})
	}
	if lookup := sendmailcf.Written(g.Conf.Lookups[0].Address); lookup != sendmailcf.UsualLookup {
		lines = append(lines, ownLine{define("COEXISTD_LOOKUP", lookup), met, lines[0].why})
	}
	if ports := g.Conf.Rules.Routes.RelayPorts(); len(ports) > 0 {
		lines = append(lines, ownLine{define("COEXISTD_RELAY_PORTS", strings.Join(ports, " ")), met, "A [[route]] takes mail to relays at these ports."})
	}
	lines = append(lines, ownLine{"include(`" + g.m.beside(rulesM4) + "')dnl", met, lines[0].why})
	if len(g.othersFilters()) == 0 {
		return lines
	}
	return slices.Concat(
		[]ownLine{{"define(`COEXISTD_OTHERS', defn(`confINPUT_MAIL_FILTERS'))undefine(`confINPUT_MAIL_FILTERS')dnl", met, "coexistd comes before other filters: what it changes, none has signed yet."}},
		lines,
		[]ownLine{{"define(`confINPUT_MAIL_FILTERS', defn(`confINPUT_MAIL_FILTERS')`,'defn(`COEXISTD_OTHERS'))dnl", met, "The other filters follow."}},
	)
}

// hasRules reports that what coexistd.m4 brings about is so, for our domains.
func (g *sendmailSide) hasRules() bool {
	for _, name := range []string{"sendmail", "sendmail_rcpt"} {
		if m := g.m.Maps[name]; m.Class != "socket" || !m.LeadsTo(g.Conf.Lookups) {
			return false
		}
	}
	for _, domain := range sendmailcf.DomainsAsked(g.Conf) {
		if !g.m.Class("Coexistd").Has(domain) {
			return false
		}
	}
	if len(g.m.LacksRelays(&g.Conf.Rules.Routes)) > 0 {
		return false
	}
	return slices.ContainsFunc(g.m.Filters, func(f sendmailcf.Filter) bool {
		return f.LeadsTo(g.Conf.Listeners) && !f.IsForUsers(g.Conf.Listeners) && strings.ContainsAny(f.Flags, "T4") && slices.Contains(g.m.CommonFilters(), f.Name)
	})
}

// filterLines have what users bring come by a listener of ours that is for them.
func (g *sendmailSide) filterLines() []ownLine {
	address := g.usersAddress()
	if address == "" {
		return nil
	}
	const why = "What users bring comes by a listener of its own."
	isThere := slices.ContainsFunc(g.m.Filters, func(f sendmailcf.Filter) bool { return f.IsForUsers(g.Conf.Listeners) })
	lines := []ownLine{{fmt.Sprintf("MAIL_FILTER(`%s', `S=%s, F=T, T=%s')dnl", usersFilter, address, sendmailcf.UsualTimes), isThere, why}}
	isUsers := func(d sendmailcf.Daemon) bool { return d.AsksLogin() && d.Name != ownDaemon }
	if !slices.ContainsFunc(g.m.Listening(), isUsers) {
		lines = append(lines, ownLine{"DAEMON_OPTIONS(`Name=" + ownDaemon + ", Family=inet, Port=submission, M=Ea, InputMailFilters=" + g.usersList() + "')dnl",
			slices.ContainsFunc(g.m.Listening(), sendmailcf.Daemon.AsksLogin), why})
	}
	return lines
}

// ownDaemon is the name of the listener that coexistd.mc may have.
const ownDaemon = "MSA-coexistd"
