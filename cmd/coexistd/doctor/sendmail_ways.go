package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// lookAtWays sees where Sendmail sends mail to: for the mailboxes here, and for alternate domains.
func lookAtWays(x *examination) []Finding {
	table, err := x.sendmail.Table("mailertable")
	if err != nil {
		return nil // It cannot be told.
	}
	return slices.Concat(x.lookForWay(table), x.lookAtShadows(table), x.lookAtRoutes(table))
}

// lookForWay sees whether Sendmail has a way to the mailboxes here: accounts of the host, users of
// the virtusertable, or a mailer that the mailertable names. What has none goes to where the MX points.
func (x *examination) lookForWay(table map[string]string) []Finding {
	s := x.sendmail
	if s.Macros["S"] != "" {
		return nil // A smart host takes all.
	}
	here := x.mailboxesHere()
	var lost []string
	for _, domain := range x.domains() {
		mailbox, needed := here[domain]
		if needed && !s.Class("w").Has(domain) && sendmailcf.RouteIn(table, domain) == "" && !s.isVirtual(domain, mailbox) {
			lost = append(lost, domain)
		}
	}
	if len(lost) == 0 || len(s.Class("w").Unread) > 0 || len(s.Class("VirtHost").Unread) > 0 {
		return nil
	}
	found := failure("mail for the mailboxes of %s here goes to where its MX points, and comes back: it is in neither class w nor the mailertable", some(lost))
	line := fmt.Sprintf("in /etc/mail/mailertable stands how the mailboxes are reached, such as: %s dovecot:localhost, as contrib/sendmail describes", lost[0])
	if _, is := s.Maps["mailertable"]; !is {
		return []Finding{found.inMC("FEATURE(`mailertable')dnl with the other FEATURE lines, and see that %s (Debian's make makes the table when it is run a second time)", line)}
	}
	return []Finding{found.do("see that %s; then run: make -C /etc/mail", line)}
}

// lookAtLocalMailer sees whether the program is there that brings mail to the accounts of this host.
func lookAtLocalMailer(x *examination) []Finding {
	s := x.sendmail
	program := s.Mailers["local"].Program
	if !filepath.IsAbs(program) || s.Macros["R"]+s.Macros["H"] != "" {
		return nil // Sendmail brings it itself, or LOCAL_RELAY or MAIL_HUB has another host do so.
	}
	if _, err := os.Stat(program); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	here := x.mailboxesHere()
	atAccounts := slices.DeleteFunc(x.domains(), func(domain string) bool {
		_, needed := here[domain]
		return !needed || !s.Class("w").Has(domain)
	})
	if len(atAccounts) == 0 {
		return nil
	}
	return []Finding{failure("mail for accounts of this host stays in the queue (%s): %s, the program of Sendmail's mailer local, is not there", some(atAccounts), program).
		do("install it (Debian: apt-get install sensible-mda), then run: sendmail -q; or put the mailer that is there into sendmail.mc, such as FEATURE(`local_procmail')dnl" + remade)}
}

// isVirtual reports that the virtusertable says where a mailbox of a domain is; where none is known,
// that it has any of them. What cannot be read may do so.
func (s *sendmail) isVirtual(domain, mailbox string) bool {
	if !s.Class("VirtHost").Has(domain) {
		return false
	}
	table, err := s.Table("virtuser")
	if err != nil || table["@"+domain] != "" {
		return true
	}
	if mailbox != "" {
		return table[strings.ToLower(mailbox)] != ""
	}
	for key := range table {
		if strings.HasSuffix(key, "@"+domain) {
			return true
		}
	}
	return false
}

// lookAtShadows looks for domains whose line of the mailertable does not count, since they are this
// host's own.
func (x *examination) lookAtShadows(table map[string]string) []Finding {
	var shadowed []string
	for _, domain := range x.domains() {
		if x.sendmail.Class("w").Has(domain) && table[domain] != "" {
			shadowed = append(shadowed, domain)
		}
	}
	if len(shadowed) == 0 {
		return nil
	}
	return []Finding{failure("Sendmail delivers mail for %s to accounts of this host (class w), and does not look at the line of the mailertable", some(shadowed)).
		do("take each out of /etc/mail/local-host-names, and write it into /etc/mail/relay-domains; or take it out of /etc/mail/mailertable; then run: make -C /etc/mail; systemctl restart sendmail")}
}

// lookAtRoutes looks for lines of the mailertable by which mail gets nowhere.
func (x *examination) lookAtRoutes(table map[string]string) (findings []Finding) {
	here := x.mailboxesHere()
	told := make(map[Finding]bool)
	for _, domain := range append(x.domains(), x.conf.Rules.Routes.Alternates()...) {
		_, needed := here[domain]
		isOurs, alternate := x.conf.Rules.Routes.Domains[domain] != nil, x.conf.Rules.Routes.AlternateOf(domain)
		if isOurs && !needed || x.sendmail.Class("w").Has(domain) || !isOurs && alternate != nil && alternate.Relay != "" {
			continue // The line is not asked for.
		}
		if value := sendmailcf.RouteIn(table, domain); value != "" {
			if f, bad := x.judgeRoute(domain, value); bad && !told[f] && len(findings) < mostNamed {
				told[f] = true
				findings = append(findings, f)
			}
		}
	}
	return findings
}

// judgeRoute says what is wrong with a line of the mailertable.
func (x *examination) judgeRoute(domain, value string) (f Finding, bad bool) {
	s := x.sendmail
	name, host, _ := strings.Cut(value, ":")
	name = strings.ToLower(name)
	mailer, known := s.Mailers[name]
	const remedy = "correct the line of %s in /etc/mail/mailertable; then run: make -C /etc/mail"
	switch {
	case name == "error":
		return failure("the mailertable refuses mail for %s (%s)", domain, value).do(remedy, domain), true
	case name == "discard":
		return failure("the mailertable throws mail for %s away (%s)", domain, value).do(remedy, domain), true
	case !known:
		return failure("the mailertable gives mail for %s to %s, but sendmail.cf has no mailer %s: all of it is lost or put off", domain, value, name).
			do("put the lines of the mailer %s behind MAILER_DEFINITIONS at the end of sendmail.mc, as contrib/sendmail has them for dovecot%s; or "+remedy, name, remade, domain), true
	case mailer.Port != "" && s.isOwn(host, mailer.Port):
		return failure("the mailertable gives mail for %s back to this host's own port %s (%s): it goes in a circle", domain, mailer.Port, value).do(remedy, domain), true
	}
	return f, false
}

// isOwn reports that a host of the mailertable is a listener of this Sendmail's.
func (s *sendmail) isOwn(host, port string) bool {
	if inner, _, is := strings.Cut(strings.TrimPrefix(host, "["), "]"); is {
		host = strings.TrimPrefix(inner, "IPv6:")
	} else {
		host, _, _ = strings.Cut(host, ":") // It may name several.
	}
	switch address, err := netip.ParseAddr(host); {
	case err == nil && !isOfThisHost(address):
		return false
	case err != nil && !strings.EqualFold(host, "localhost") && !s.Class("w").Has(strings.ToLower(host)):
		return false
	case err != nil:
		host = "localhost"
	}
	return slices.ContainsFunc(s.Listening(), submission{host, port}.isAt)
}

// isOfThisHost reports an address that this host has.
func isOfThisHost(address netip.Addr) bool {
	if address.IsLoopback() {
		return true
	}
	list, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(list, func(one net.Addr) bool {
		prefix, err := netip.ParsePrefix(one.String())
		return err == nil && prefix.Addr() == address
	})
}
