package setup

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// postfixSide makes a guide for Postfix: what differs from what its configuration says now.
type postfixSide struct {
	*Site
	steps
	p *postconf.Settings
	// untaken are the domains of ours for which Postfix takes no mail yet. They become virtual
	// mailbox domains. Of the unsure it cannot be told.
	untaken, unsure []string
	// notes are what is left as it is, and why: a sentence each.
	notes []string
	// err is why there can be no guide; nil: there can.
	err error
	// restart says that a reload does not do.
	restart bool
}

// pair is a name with its value: of a setting, or of an option of a service.
type pair struct{ name, value string }

func newPostfixSide(s *Site) (*postfixSide, error) {
	switch {
	case s.Postfix == nil && s.postfixErr != nil && !errors.Is(s.postfixErr, postconf.ErrNone):
		return nil, fmt.Errorf("the settings of Postfix cannot be read: %w", s.postfixErr)
	case s.Postfix == nil:
		return nil, errors.New("no Postfix was found: run this on the host of the MTA, as root, with the folder of its postconf command in PATH")
	case len(s.Conf.Lookups) == 0 && !s.Conf.Rules.ObservesAll():
		return nil, fmt.Errorf("%s has no [[lookup]], by which Postfix asks who exists: add one, and see that coexistd check says ok", s.Conf.Path)
	}
	g := &postfixSide{Site: s, p: s.Postfix}
	for _, domain := range g.ours() {
		if _, taken := s.Classes[domain]; !taken {
			g.untaken = append(g.untaken, domain)
		}
	}
	if s.classesErr != nil {
		g.untaken, g.unsure = nil, g.untaken
	}
	return g, nil
}

// has reports that a domain of ours is or will be of that class.
func (g *postfixSide) has(class postconf.Class) bool {
	return class == postconf.VirtualMailboxes() && len(g.untaken) > 0 ||
		slices.ContainsFunc(g.ours(), func(domain string) bool { return g.Classes[domain] == class })
}

// postfix says what to set in Postfix.
func postfix(s *Site) (Guide, error) {
	g, err := newPostfixSide(s)
	if err == nil && s.Conf.Rules.ObservesAll() {
		return g.observe()
	}
	if err != nil {
		return Guide{}, err
	}
	if err := cmp.Or(g.passesMilters(), g.hasOthers()); err != nil {
		return Guide{}, err
	}
	g.proposeHere()
	for _, chapter := range []func(){
		// Postfix's programs may read main.cf at any moment: what asks us who exists comes before
		// the milter and before the domains, the milter before whom it guards against, and
		// the certificate before the hosts that know us by it.
		g.sockets, g.certificates, g.recipients, g.aliases, g.transports, g.relays, g.demands, g.dual, g.delimiter, g.milters, g.networks, g.domains, g.relaying,
		g.outbound, g.submission, g.releases, g.activate,
	} {
		chapter()
	}
	intro := "Postfix beside coexistd, as the configuration " + s.Conf.Path + " wants it: what differs from what postconf says now.\n" +
		"Keep a copy of main.cf and master.cf. Run it as root when coexistd runs (coexistd status): coexistd setup postfix | sh -e. Then see what coexistd doctor says."
	return Guide{Intro: strings.Join(append([]string{intro}, g.notes...), "\n"), Steps: g.steps, comment: "# "}, g.err
}

// passesMilters is an error where mail passes by all milters: to let somebody relay there, or to
// rely on our answers, would be wrong.
func (g *postfixSide) passesMilters() error {
	for _, s := range g.p.Running("smtpd") {
		if !g.p.AsksMilters(s) && !g.p.IsReturn(s) {
			return fmt.Errorf("the service %s of master.cf asks no milter, as receive_override_options has no_milters in %s: coexistd would not see its mail. "+
				"Take no_milters out there; it belongs to the -o options of a service on loopback that takes mail back from a content filter, and to no other. Then run this again", s.Name, s.Where("receive_override_options"))
		}
	}
	return nil
}

// hasOthers is an error where Postfix takes mail for domains that the milter does not know, and
// refuses.
func (g *postfixSide) hasOthers() error {
	foreign := g.p.Foreign(g.ours())
	if len(foreign) == 0 {
		return nil
	}
	return fmt.Errorf("there are domains for which Postfix takes mail, and that %s lacks: %s. coexistd would refuse it, as it refuses to relay. "+
		"Where this host has all their users, add for each: [domain.%q] with unlisted = \"here\". See that coexistd check says ok, run coexistd reload, and run this again",
		g.Conf.Path, strings.Join(foreign, ", "), foreign[0])
}

// set returns the commands for those settings of main.cf that are not as wanted.
func (g *postfixSide) set(wanted ...pair) (lines []string) {
	for _, one := range wanted {
		if g.p.Raw[one.name] != one.value {
			lines = append(lines, "postconf -e "+quote(one.name+" = "+one.value))
		}
	}
	return lines
}

// option returns the commands for those options of a service that are not as wanted.
func (g *postfixSide) option(s *postconf.Service, wanted ...pair) (lines []string) {
	for _, one := range wanted {
		value, possible := postconf.Unspaced(one.value)
		if !possible {
			g.err = fmt.Errorf("%s must stand in the -o options of %s in master.cf, which take no table between braces whose rows have blanks: write these rows into a file, and run this again. It is %s", one.name, s.Name, one.value)
		}
		own, has := s.Own[one.name]
		if own, _ = postconf.Unspaced(own); !has || own != value {
			lines = append(lines, "postconf -P "+quote(s.Name+"/"+s.Kind+"/"+one.name+"="+value))
		}
	}
	return lines
}

// quote writes a word for the shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// lookup is one of our maps as Postfix names it.
func (g *postfixSide) lookup(name string) string {
	return "socketmap:" + g.Conf.Lookups[0].Address + ":" + name
}

// own is what a setting has in main.cf's own words, save for a default that comes to nothing.
func (g *postfixSide) own(setting string) string {
	if g.p.Main[setting] == "" {
		return ""
	}
	return g.p.Raw[setting]
}

// behind adds a map of ours to a setting's tables, behind those that it has.
func (g *postfixSide) behind(setting, name string) pair {
	if g.p.Asks(setting, name, g.Conf.Lookups) {
		return pair{setting, g.p.Raw[setting]}
	}
	return pair{setting, joined(g.own(setting), g.lookup(name))}
}

// before does the same, before those.
func (g *postfixSide) before(setting, name string) pair {
	if g.p.Asks(setting, name, g.Conf.Lookups) {
		return pair{setting, g.p.Raw[setting]}
	}
	return pair{setting, joined(g.lookup(name), g.own(setting))}
}

// joined is a list of what is not empty.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(one string) bool { return one == "" }), ", ")
}

// domains has Postfix take mail for our domains. Where it has virtual mailboxes already, it knows how
// to deliver to them.
func (g *postfixSide) domains() {
	if len(g.unsure) > 0 {
		g.steps = append(g.steps, Step{Title: "See whether Postfix takes mail for " + strings.Join(g.unsure, ", "),
			Text: "That cannot be told: " + strings.ReplaceAll(g.classesErr.Error(), "\n", "; ") + ". See that it is there and that root can read it, and run this again."})
	}
	if len(g.untaken) == 0 {
		return
	}
	var list []string
	if g.p.IsWritten("virtual_mailbox_domains") {
		list = postconf.List(g.p.Raw["virtual_mailbox_domains"])
	}
	var wanted []pair
	if len(list) == 0 && !g.p.IsWritten("virtual_transport") {
		wanted = append(wanted, pair{"virtual_transport", "lmtp:unix:private/dovecot-lmtp"})
	}
	wanted = append(wanted, pair{"virtual_mailbox_domains", strings.Join(append(list, g.untaken...), ", ")})
	text := "Every domain must have postmaster and abuse: give each a mailbox, or an alias in a map of yours."
	if len(wanted) > 1 {
		text = "Mailboxes here are delivered by LMTP, to Dovecot as a rule: contrib/postfix has the lines for it. Where another program takes them, write it into virtual_transport.\n" + text
	}
	g.add("Take mail for "+strings.Join(g.untaken, ", "), text, g.set(wanted...)...)
}

// recipients has Postfix know who exists, in each class that has a domain of ours with a
// directory.
func (g *postfixSide) recipients() {
	var wanted []pair
	var lines []string
	for _, class := range postconf.Classes {
		if class.Recipients == "" || !g.has(class) {
			continue
		}
		if g.mustTakeAll(class) {
			wanted = append(wanted, pair{class.Recipients, ""})
			continue
		}
		if class.Recipients == "virtual_mailbox_maps" {
			lines = append(lines, g.keepVirtual()...)
		}
		wanted = append(wanted, g.behind(class.Recipients, "recipients"))
	}
	text := "smtpd refuses whom none of its own tables know, before it asks a milter."
	if len(lines) > 0 {
		text += " virtual(8), which delivers to the mailboxes here, takes no socketmap: it keeps its own tables by an option in master.cf."
	}
	g.add("Let Postfix know that users who live elsewhere exist", text, append(lines, g.set(wanted...)...)...)
}

// mustTakeAll reports a class whose maps of recipients stay empty, or become so: ours would be the only
// one, and does not know all users. It notes why.
func (g *postfixSide) mustTakeAll(class postconf.Class) bool {
	leaving := slices.DeleteFunc(g.Conf.Rules.Routes.Leaving(), func(domain string) bool {
		isNew := class == postconf.VirtualMailboxes() && slices.Contains(g.untaken, domain)
		return g.Classes[domain] != class && !isNew
	})
	isEmpty := g.p.Main[class.Recipients] == ""
	alone := isEmpty || g.p.OnlyOursKnow(class, g.Conf.Lookups)
	switch {
	case len(leaving) > 0 && alone:
		g.notes = append(g.notes, fmt.Sprintf("%s is to be empty: Postfix takes mail to anybody of %s. In %s, where unlisted is \"here\", coexistd knows those alone whom the directory lists. "+
			"Where a table has the users here, name it in %s and run this again: Postfix refuses then whom nobody has.", class.Recipients, class.Domains, strings.Join(leaving, ", "), class.Recipients))
	case g.p.TakesAll(class, &g.Conf.Rules.Routes):
		g.notes = append(g.notes, fmt.Sprintf("%s is empty and stays so: Postfix takes mail to anybody of %s, where there may be domains that coexistd does not know, "+
			"and the milter refuses whom the directory lacks.", class.Recipients, class.Domains))
	default:
		return false
	}
	return true
}

// keepVirtual gives virtual(8), which takes no socketmap, the tables that it has had.
func (g *postfixSide) keepVirtual() []string {
	own := joined(g.p.WithoutOurs(postconf.List(g.p.Raw["virtual_mailbox_maps"]), g.Conf.Lookups)...)
	transport, _, _ := strings.Cut(g.p.Main["virtual_transport"], ":")
	i := slices.IndexFunc(g.p.Services, func(s *postconf.Service) bool {
		return s.Name == transport && s.Kind == "unix" && s.Program == "virtual"
	})
	if i < 0 || own == "" || g.p.Services[i].Own["virtual_mailbox_maps"] != "" {
		return nil
	}
	return g.option(g.p.Services[i], pair{"virtual_mailbox_maps", own})
}

// aliases has the mail that no milter sees reach users who live elsewhere.
func (g *postfixSide) aliases() {
	wanted := g.behind("virtual_alias_maps", "aliases")
	own := postconf.Tables(g.own("virtual_alias_maps"))
	if slices.ContainsFunc(own, func(table string) bool { return !postconf.IsListable(table) }) {
		// A table such as one in LDAP still has who has moved away.
		wanted = g.before("virtual_alias_maps", "aliases")
	}
	g.add("Let mail that no milter sees reach users who live elsewhere",
		"Such are bounces, what a .forward file sends on, and the members of aliases.", g.set(wanted)...)
}

// transports has mail wait for a mailbox that is being moved, and go by a platform's relay.
func (g *postfixSide) transports() {
	g.add("Let mail wait for a mailbox that is being moved, and go by a platform's relay",
		"Mail in the queue follows a user who moves away, too.", g.set(g.before("transport_maps", "transport"))...)
}

// demands has Postfix demand of servers what the configuration says.
func (g *postfixSide) demands() {
	if g.Conf.Rules.DemandsOfServers() {
		g.add("Demand of servers what [[tls]] says", "Mail waits in the queue where a server does not meet it.", g.set(g.before("smtp_tls_policy_maps", "tls"))...)
	}
}

func (g *postfixSide) delimiter() {
	g.add("Cut subaddresses by the same characters as coexistd", "They are those of recipient_delimiter in "+g.Conf.Path+".", g.set(pair{"recipient_delimiter", g.Conf.Rules.Delimiters})...)
}

// networks lets the clients relay that are ours without authentication.
func (g *postfixSide) networks() {
	list, _ := g.p.Networks()
	value := g.p.Raw["mynetworks"]
	if !g.p.IsWritten("mynetworks") {
		value = g.p.Main["mynetworks"]
	}
	for _, network := range g.Conf.Rules.OurNetworks.Prefixes() {
		if slices.ContainsFunc(list, func(has netip.Prefix) bool { return has.Overlaps(network) && has.Bits() <= network.Bits() }) {
			continue
		}
		text := network.String()
		if network.Addr().Is6() {
			text = "[" + network.Addr().String() + "]" + fmt.Sprintf("/%d", network.Bits())
		}
		value = strings.TrimSpace(value + " " + text)
	}
	if value == g.p.Main["mynetworks"] {
		return // be it Postfix's default
	}
	g.add("Let our_networks send to the Internet", "Who sends from mynetworks needs no login.", g.set(pair{"mynetworks", value})...)
}

// outbound has all mail for the Internet leave through a platform.
func (g *postfixSide) outbound() {
	host, platform := g.outboundHost()
	if platform == nil || host != "" && g.p.Main["relayhost"] == host {
		return
	}
	title := "Send all mail for the Internet through " + platform.Name
	if host == "" {
		g.steps = append(g.steps, g.unknownHost(title, platform))
		return
	}
	text := ""
	if now := g.p.Main["relayhost"]; now != "" {
		text = "relayhost is " + now + " now, which is given up."
	}
	g.add(title, text, g.set(pair{"relayhost", host})...)
}

// certificates has Postfix use TLS towards the platforms, show them who we are, and ask clients
// for theirs where the configuration goes by them.
func (g *postfixSide) certificates() {
	var wanted []pair
	text := ""
	if g.p.Main["smtp_tls_security_level"] == "" {
		wanted = append(wanted, pair{"smtp_tls_security_level", "may"})
	}
	if len(g.Pairs(Office365)) > 0 && g.p.Main["smtp_tls_cert_file"] == "" && g.p.Main["smtp_tls_chain_files"] == "" {
		shown := g.shown()
		if wanted = append(wanted, shown...); len(shown) > 0 {
			text = "Office 365 tells by the certificate that a connection is ours."
		} else {
			g.notes = append(g.notes, "Postfix has no certificate in the name of a domain of yours to show to Office 365, whose connector must then know this host by its address. "+
				"With such a certificate in smtpd_tls_chain_files, run this again.")
		}
	}
	if g.goesByCertificates() && g.p.Main["smtpd_tls_ask_ccert"] != "yes" {
		wanted = append(wanted, pair{"smtpd_tls_ask_ccert", "yes"})
		text += " Postfix tells of those certificates only whose issuer is in smtpd_tls_CAfile."
	}
	g.add("Use TLS, and show who we are", strings.TrimSpace(text), g.set(wanted...)...)
}

// shown has Postfix show to other hosts the certificate that it shows to clients, where that has a name of
// ours.
func (g *postfixSide) shown() []pair {
	switch {
	case !g.hasOurName():
		return nil
	case g.p.Main["smtpd_tls_chain_files"] != "":
		return []pair{{"smtp_tls_chain_files", "$smtpd_tls_chain_files"}}
	case g.p.Main["smtpd_tls_cert_file"] != "":
		return []pair{{"smtp_tls_cert_file", "$smtpd_tls_cert_file"}, {"smtp_tls_key_file", "$smtpd_tls_key_file"}}
	}
	return nil
}
