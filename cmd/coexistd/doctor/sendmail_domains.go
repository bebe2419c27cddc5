package doctor

import (
	"cmp"
	"os"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/mail"
)

// lookAtSendmailDomains sees whether Sendmail takes mail for our domains.
func lookAtSendmailDomains(x *examination) []Finding {
	s := x.sendmail
	access, err := s.Table("access")
	unread := slices.Concat(s.Class("w").Unread, s.Class("R").Unread)
	if err != nil {
		unread = append(unread, err.Error())
	}
	var taken, refused []string
	for _, domain := range x.domains() {
		if s.Class("w").Has(domain) || s.RelaysTo(domain, access) {
			taken = append(taken, domain)
		} else {
			refused = append(refused, domain)
		}
	}
	var findings []Finding
	const remedy = "write each into /etc/mail/local-host-names when its mailboxes are accounts of this host, otherwise into /etc/mail/relay-domains; then run: systemctl restart sendmail"
	switch {
	case len(refused) > 0 && len(unread) > 0:
		findings = append(findings, warning("whether Sendmail takes mail for %s cannot be told: %s", some(refused), some(unread)).
			do(`see that %s can read it; or run as root: printf '.D{client_addr}192.0.2.1\ncheck_rcpt postmaster@%s\n' | sendmail -bt, which must not say "Relaying denied"`, account.OwnName(), refused[0]))
	case len(refused) > 0:
		findings = append(findings, failure("Sendmail takes no mail for %s: all of it is refused, relaying denied", some(refused)).do(remedy))
	}
	own, relayed := s.foreign(x, append(x.domains(), x.conf.Rules.Routes.Alternates()...)) // lookAtAlternates tells of these.
	findings = append(findings, x.lookForForeign("Sendmail", own)...)
	findings = append(findings, x.relayedBeside(relayed)...)
	if len(taken) > 0 {
		findings = append(findings, fine("Sendmail takes mail for %s", some(taken)))
	}
	return findings
}

// hostname is the name to which Sendmail takes names without a domain to belong ($j), in lower case. Where
// sendmail.cf leaves it to Sendmail, it is taken to be ours, or the system's, with the domain that class w
// has of it.
func (s *sendmail) hostname(x *examination) string {
	if s.isNamed() {
		return strings.ToLower(s.Macros["j"])
	}
	system, _ := os.Hostname()
	name := strings.ToLower(cmp.Or(x.conf.Rules.Hostname, system))
	for _, word := range s.Class("w").Words() {
		if strings.HasPrefix(word, name+".") {
			return word
		}
	}
	return name
}

// isNamed reports that sendmail.cf has the host's name.
func (s *sendmail) isNamed() bool {
	return s.Macros["j"] != "" && !strings.Contains(s.Macros["j"], "$")
}

// foreign are the domains beside ours for which Sendmail takes mail, sorted: those of its own (class w,
// VIRTUSER_DOMAIN), and those that anybody may send to through it (relay-domains, the access map). The
// names of this host are not among them. Where sendmail.cf does not say what it is called, any name right
// below a domain of ours may be one.
func (s *sendmail) foreign(x *examination, ours []string) (own, relayed []string) {
	system, _ := os.Hostname()
	isOfHost := func(domain string) bool {
		_, parent, _ := strings.Cut(domain, ".")
		return domain == s.hostname(x) || domain == strings.ToLower(system) || domain == "localhost" || strings.HasPrefix(domain, "localhost.") ||
			!s.isNamed() && slices.Contains(ours, parent)
	}
	add := func(list *[]string, words []string) {
		for _, word := range words {
			domain, err := mail.NormalDomain(word)
			_, isNetwork := sendmailcf.Network(word)
			if err == nil && !isNetwork && !isOfHost(domain) && strings.Contains(domain, ".") && !slices.Contains(ours, domain) && !slices.Contains(own, domain) && !slices.Contains(relayed, domain) {
				*list = append(*list, domain)
			}
		}
	}
	add(&own, s.Class("w").Words())
	add(&own, s.Class("VirtHost").Words())
	add(&relayed, s.Class("R").Words())
	access, _ := s.Table("access") // lookAtSendmailDomains tells the error.
	for key, value := range access {
		domain := strings.TrimPrefix(key, "to:")
		if strings.EqualFold(value, "RELAY") && !strings.ContainsAny(domain, ":@") {
			add(&relayed, []string{domain})
		}
	}
	slices.Sort(own)
	slices.Sort(relayed)
	return own, relayed
}

// relayedBeside tells of domains beside ours to which anybody may send mail through Sendmail.
func (x *examination) relayedBeside(domains []string) []Finding {
	if len(domains) == 0 {
		return nil
	}
	return []Finding{warning("anybody may send mail through Sendmail to %s (relay-domains, the access map), which %s lacks: coexistd refuses it when it comes from the Internet", some(domains), x.conf.Path).
		do("add for each that is yours: [domain.%q] with unlisted = \"here\"; take the others out", domains[0])}
}

// sharedSendmailName looks for a host that has the name of one of some domains of users in which coexistd refuses
// whom the directory lacks.
func (x *examination) sharedSendmailName(domains []string) []Finding {
	name := x.sendmail.hostname(x)
	if !slices.Contains(x.strict(domains), name) {
		return nil
	}
	return []Finding{sharedName("the host's name ($j)", name).
		do("give the host a name of its own: define(`confDOMAIN_NAME', `mail.%s')dnl in sendmail.mc, and write %s into /etc/mail/local-host-names%s", name, name, remade)}
}

// isBelowOurs reports an alternate domain below a shared one, mail for which must be taken.
func (x *examination) isBelowOurs(alternate string) bool {
	return slices.ContainsFunc(x.domains(), func(domain string) bool { return strings.HasSuffix(alternate, "."+domain) })
}

// lookAtAlternates looks for alternate domains that Sendmail takes for its own.
func lookAtAlternates(x *examination) []Finding {
	s := x.sendmail
	access, _ := s.Table("access") // of one that cannot be read is told where domains of ours lack
	var own, relayed []string
	for _, domain := range x.conf.Rules.Routes.Alternates() {
		switch {
		case s.Class("w").Has(domain), s.Class("VirtHost").Has(domain):
			own = append(own, domain)
		case s.Class("R").Has(domain), !x.isBelowOurs(domain) && s.RelaysTo(domain, access):
			relayed = append(relayed, domain)
		}
	}
	var findings []Finding
	if len(own) > 0 {
		findings = append(findings, failure("Sendmail takes %s for domains of this host: mail for users who live elsewhere is delivered or refused here", some(own)).
			do("take each out of /etc/mail/local-host-names, or of VIRTUSER_DOMAIN in sendmail.mc%s", remade))
	}
	if len(relayed) > 0 {
		findings = append(findings, warning("anybody may relay mail through Sendmail to %s, although class R should have no alternate domain: only coexistd keeps them from it", some(relayed)).
			do("take each, or the domain above it, out of /etc/mail/relay-domains and the access map; then run: systemctl restart sendmail"))
	}
	return findings
}

// lookAtMasquerade looks for domains of users in the place of which Sendmail writes another: who answers
// such mail reaches nobody.
func lookAtMasquerade(x *examination) []Finding {
	s := x.sendmail
	as := ""
	var changed, lines []string
	for _, domain := range sendmailcf.Shared(x.conf) {
		if one := s.MasqueradeOf(domain, s.Class("w").Has(domain.Name)); one != "" {
			as, changed = one, append(changed, domain.Name)
			lines = append(lines, sendmailcf.Unmasked(domain.Name))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return []Finding{failure("Sendmail writes %s in the place of %s in the senders of mail, and in From (MASQUERADE_AS; with FEATURE(allmasquerade) in To and Cc, too): answers do not come to the users, and DKIM signatures break", as, some(changed)).
		inMC("%s", strings.Join(lines[:min(len(lines), mostNamed)], " and "))}
}

// masquerades looks for senders of this host that Sendmail writes as users of one of some domains, where coexistd
// refuses answers to them. Whom EXPOSED_USER names, Sendmail leaves alone.
func (x *examination) masquerades(domains []string) []Finding {
	domain := strings.ToLower(x.sendmail.Macros["M"])
	const account = "root" // who writes most on every host
	if !slices.Contains(x.strict(domains), domain) || x.sendmail.Class("E").Has(account) {
		return nil
	}
	address := account + "@" + domain
	if x.lists != nil { // A survey without a configuration has no directory to go by.
		asked := &aliases{x: x, set: x.lists().Set()}
		if p, _, _ := asked.place(address); !isRefused(p) {
			return nil
		}
	}
	return []Finding{warning("Sendmail writes senders of this host as users of %s (MASQUERADE_AS), as in %s: coexistd refuses bounces and answers to those that the directory lacks", domain, address).
		do("list such accounts in the directory with the residence here, set unlisted = \"here\" for %s, or write EXPOSED_USER(`%s')dnl into sendmail.mc%s", domain, account, remade)}
}
