package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config"
	"coexistd/policy/mail"
)

// lookAtLookupMap sees whether Sendmail can ask our lookups, by both of its maps.
func lookAtLookupMap(x *examination) []Finding {
	m, is := x.sendmail.Maps["sendmail"]
	if !is && len(x.conf.Lookups) == 0 {
		return nil
	}
	for _, name := range [...]string{"sendmail", "sendmail_rcpt"} {
		if f, bad := x.judgeLookupMap(name); bad {
			return []Finding{f}
		}
	}
	return []Finding{fine("Sendmail asks coexistd at %s", m.Address)}
}

// judgeLookupMap says what is wrong with a map that asks our lookups.
func (x *examination) judgeLookupMap(name string) (f Finding, bad bool) {
	m := x.sendmail.Maps[name]
	kind, address := sendmailcf.Socket(m.Address)
	switch {
	case m.Class != "socket" && name == "sendmail":
		return failure("Sendmail has no map called sendmail that asks coexistd: its users who live elsewhere are unknown here, and bounces and forwarded mail for them go astray").inMC("%s", x.include()), true
	case m.Class != "socket":
		return failure("Sendmail has no map called %s that asks coexistd for recipients: all mail for the shared domains is refused (554)", name).
			inMC("%s; the file must be the one of this version", x.include()), true
	case len(x.conf.Lookups) == 0:
		return failure("Sendmail asks coexistd at %s, but there is no [[lookup]]: all mail for the shared domains is put off", m.Address).
			do("add to %s: [[lookup]] with address = %q; then run: systemctl restart coexistd", x.conf.Path, "inet:127.0.0.1:8702"), true
	case !config.ListenedAt(kind, address, x.conf.Lookups):
		return failure("Sendmail asks coexistd at %s, where no [[lookup]] is: all mail for the shared domains is put off", m.Address).
			inMC("define(`COEXISTD_LOOKUP', `%s')dnl before the include of coexistd.m4", sendmailcf.Written(x.conf.Lookups[0].Address)), true
	}
	right := fmt.Sprintf("K%s socket -f -d2h -T<TMPF> %s", name, m.Address)
	for _, one := range [...]struct {
		flag byte
		is   bool
		what string
	}{
		{'t', true, "takes a lookup that fails for an address that is not found: mail goes astray"},
		{'m', true, "does not take the addresses that coexistd gives"},
		{'A', true, "adds to the addresses that coexistd gives"},
		{'N', true, "adds a NUL to each question, so that no address is found"},
		{'T', false, "does not tell a lookup that fails from an address that is not found: mail goes astray while coexistd cannot answer"},
		{'f', false, "folds the case of local parts, which is lost for those who live elsewhere"},
	} {
		if _, has := m.Flags[one.flag]; has == one.is {
			return failure("the map %s %s (-%c)", name, one.what, one.flag).inMC("%s, which is what coexistd.m4 has", right), true
		}
	}
	// Timeout.rcpt of a client that is a Sendmail, and more than others have.
	const longestRCPT = time.Hour
	if waits, _ := sendmailcf.Time(cmp.Or(m.Flags['d'], "30s")); waits <= longestRCPT {
		return failure("the map %s waits for an answer no longer than %v (-d), and then takes it for that to its next question: mail goes to others", name, waits).
			inMC("%s, which is what coexistd.m4 has", right), true
	}
	return f, false
}

// parseLocal are the rules of sendmail.mc's own for addresses.
func (s *sendmail) parseLocal() []string { return slices.Concat(s.Rules["ParseLocal"], s.Rules["98"]) }

// lookAtRules sees whether the rules of coexistd.m4 use what the map answers.
func lookAtRules(x *examination) []Finding {
	lacking := x.sendmail.lackingRules()
	if len(lacking) == 0 {
		return nil
	}
	return []Finding{failure("no rule of sendmail.cf (ParseLocal) %s", strings.Join(lacking, ", and none ")).inMC("%s; the file must be the one of this version", x.include())}
}

// lackingRules says what no rule does that must be done with the map's answers. Where there is no
// map, that has been told.
func (s *sendmail) lackingRules() (lacking []string) {
	m, is := s.Maps["sendmail"]
	if !is || m.Class != "socket" {
		return nil
	}
	lacks := func(parts ...string) bool {
		return !slices.ContainsFunc(s.parseLocal(), func(rule string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(rule, part) })
		})
	}
	mark, marks := m.Flags['T']
	for _, one := range [...]struct {
		isMissing bool
		what      string
	}{
		{lacks("$={Coexistd}", "$(sendmail ") || lacks("$={Coexistd}", "$(sendmail_rcpt "), "asks the map for addresses of the class {Coexistd}"},
		{marks && lacks(mark, "$#error"), "puts off what the map cannot answer (" + mark + ")"},
		{lacks("error :", "$#error"), "refuses what the map says is refused"},
		{lacks("$>Recurse"), "rewrites to the address that the map gives"},
		{lacks("$| $j"), "asks the map for names without a domain"},
	} {
		if one.isMissing {
			lacking = append(lacking, one.what)
		}
	}
	return lacking
}

// lookAtCoexistdClass compares the domains for which Sendmail asks with ours.
func lookAtCoexistdClass(x *examination) []Finding {
	if _, is := x.sendmail.Maps["sendmail"]; !is {
		return nil
	}
	class := x.sendmail.Class("Coexistd")
	known := make(map[string]bool)
	for _, word := range class.Words() {
		if domain, err := mail.NormalDomain(word); err == nil {
			known[domain] = true
		}
	}
	wanted := sendmailcf.DomainsAsked(x.conf)
	routes := &x.conf.Rules.Routes
	alternates := routes.Alternates()
	var findings []Finding
	lacking := slices.DeleteFunc(slices.Clone(wanted), func(domain string) bool { return known[domain] })
	if len(lacking) > 0 && len(class.Unread) == 0 {
		findings = append(findings, failure("Sendmail does not ask coexistd about %s, which the class {Coexistd} lacks", some(lacking)).
			inMC("define(`COEXISTD_DOMAINS', `%s')dnl before the include of coexistd.m4; the file must be the one of this version, and of a line C{Coexistd} of your own Sendmail takes 2,047 characters", strings.Join(wanted, " ")))
	}
	var more []string
	for domain := range known {
		if routes.Domains[domain] == nil && !slices.Contains(alternates, domain) {
			more = append(more, domain)
		}
	}
	slices.Sort(more)
	if len(more) > 0 {
		findings = append(findings, warning("Sendmail asks coexistd about %s, which the configuration lacks", some(more)).
			do("take what is not yours out of COEXISTD_DOMAINS in sendmail.mc%s; or add [domain.%q] to %s", remade, more[0], x.conf.Path))
	}
	return findings
}
