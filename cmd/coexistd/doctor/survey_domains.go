package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
)

// withWhole adds the host's name to some domains where it is that of a whole domain, and no host in one.
// The domains are sorted.
func withWhole(name string, domains []string) []string {
	name = strings.ToLower(name)
	if registered, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil && registered == name {
		domains = append(domains, name)
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

// surveyDomains looks for domains that coexistd would refuse since its configuration lacks them.
func surveyDomains(ctx context.Context, s *survey) (findings []Finding) {
	foreign := s.lookForForeign("Postfix", s.mta.Foreign(s.domains))
	switch {
	case !s.configured:
		findings = s.toBeListed("Postfix")
	case len(foreign) > 0:
		findings = foreign
	default:
		findings = append(findings, fine("%s has all domains that main.cf names", s.conf.Path))
	}
	for _, class := range postconf.Classes {
		tables := slices.DeleteFunc(postconf.Tables(s.mta.Main[class.Domains]), func(one string) bool { return !strings.Contains(one, ":") })
		if len(tables) > 0 && s.mta.IsWritten(class.Domains) {
			findings = append(findings, warning("%s has domains in %s: coexistd will refuse mail from the Internet for those that its configuration lacks", class.Domains, some(tables)).
				do("see that each domain there has a [domain] in the configuration"))
		}
	}
	return append(findings, s.ownName(ctx)...)
}

// toBeListed says which domains the configuration is to have.
func (s *survey) toBeListed(mta string) []Finding {
	if len(s.domains) == 0 {
		return nil
	}
	return []Finding{fine("%s takes mail for %s: coexistd will refuse what comes from the Internet for those that its configuration lacks, so each needs a [domain] there", mta, strings.Join(s.domains, ", "))}
}

// ownName looks at the host's name: as the domain of users, and as a domain that people write to.
func (s *survey) ownName(ctx context.Context) (findings []Finding) {
	name := strings.ToLower(s.mta.Main["myhostname"])
	if slices.Contains(s.domains, name) {
		return s.judgeHostname(s.strict(s.domains))
	}
	local, err := s.takes(ctx, "mydestination", []string{name})
	if err != nil {
		findings = append(findings, warning("what mydestination has cannot be read: %v", err).do("see that %s can read it", account.OwnName()))
	}
	origin, _ := s.mta.Origin() // surveyAliases tells the error.
	switch {
	case len(local) > 0 && origin == name:
		findings = append(findings, s.originDomain("Postfix", name, "mydestination, and myorigin for names without a domain"))
	case len(local) > 0:
		findings = append(findings, ownDomain("Postfix", name, "mydestination").
			do("where people outside write to addresses there, add: [domain.%q] with unlisted = \"here\"; otherwise take it out of mydestination", name))
	}
	return findings
}

// sharedName tells that the host's name, of that setting, is the domain of users.
func sharedName(setting, name string) Finding {
	return warning("%s is %s, which is the domain of users as well: mail of this host itself (root, cron) and names without a domain count as theirs, and are refused where the directory lacks them", setting, name)
}

// ownDomain tells that mail for the host's name is taken, as the setting has it, and that coexistd refuses it.
func ownDomain(mta, name, setting string) Finding {
	return warning("%s takes mail for the host's own name, %s (%s): coexistd will refuse it when it comes from the Internet", mta, name, setting)
}

// originDomain is ownDomain where the host's name is the domain of names without one: it is to stay.
func (s *survey) originDomain(mta, name, setting string) Finding {
	return ownDomain(mta, name, setting).do("have the configuration say: %s", s.ofHost(name))
}

// ofHost is what the configuration is to say of a name of this host: that it has the users of the domain that it
// is in.
func (s *survey) ofHost(name string) string {
	same := ""
	if domain := s.usersOf(name); !s.configured || s.conf.HasDirectory(domain) {
		same = fmt.Sprintf("same_as = %q and ", domain)
	}
	return fmt.Sprintf("[domain.%q] with %sunlisted = \"here\"", name, same)
}

// usersOf is the domain of users that a name of this host is in, or any.
func (s *survey) usersOf(name string) string {
	for _, domain := range s.domains {
		if strings.HasSuffix(strings.ToLower(name), "."+domain) {
			return domain
		}
	}
	if len(s.domains) == 0 {
		return "acmecorp.com"
	}
	return s.domains[0]
}

// surveyRecipients tells by what Postfix knows who exists, and what coexistd adds to it.
func surveyRecipients(ctx context.Context, s *survey) (findings []Finding) {
	for _, class := range postconf.Classes {
		if class.Recipients == "" {
			continue
		}
		domains, err := s.takes(ctx, class.Domains, s.domains)
		if err != nil {
			findings = append(findings, warning("what %s has cannot be read: %v", class.Domains, err).do("see that it is there, and that %s can read it", account.OwnName()))
		}
		strict := s.strict(domains)
		switch {
		case len(domains) == 0:
		case s.mta.Main[class.Recipients] == "":
			findings = append(findings, takesAnybody(class.Recipients+" is empty: Postfix takes mail to anybody of", domains, strict))
		default:
			findings = append(findings, fine("%s (%s) says who exists in %s: coexistd setup postfix adds the map recipients behind it, for users who live elsewhere%s", class.Recipients, s.mta.Raw[class.Recipients], some(domains), s.refuses(strict)))
		}
	}
	return findings
}

// takesAnybody tells of domains of which the MTA takes mail to anybody. Strict are those of them in which
// coexistd refuses whom the directory lacks.
func takesAnybody(says string, domains, strict []string) Finding {
	if len(strict) == 0 {
		return fine("%s %s, and coexistd lets it", says, some(domains))
	}
	return warning("%s %s. coexistd will refuse whom the directory lacks", says, some(strict)).
		do("list all their addresses in the directory, or set unlisted = \"here\" for each in the configuration")
}

// refuses says what is to be decided about domains in which coexistd refuses whom the directory lacks.
func (s *survey) refuses(strict []string) string {
	if s.configured || len(strict) == 0 {
		return ""
	}
	return `. coexistd will refuse whom the directory lacks; with unlisted = "here" in the domain's section it leaves them to the MTA, and the directory needs those alone who live elsewhere`
}
