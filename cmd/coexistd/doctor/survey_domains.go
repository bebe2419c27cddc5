package doctor

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// namedDomains are those of users that main.cf names, sorted. The host's name is one of them where it is
// that of a whole domain, and no host in one.
func (s *survey) namedDomains() []string {
	list := s.mta.Foreign(nil)
	name := strings.ToLower(s.mta.Main["myhostname"])
	if registered, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil && registered == name {
		list = append(list, name)
		slices.Sort(list)
	}
	return list
}

// surveyDomains looks for domains that coexistd would refuse since its configuration lacks them.
func surveyDomains(ctx context.Context, s *survey) (findings []Finding) {
	switch foreign := s.mta.Foreign(s.domains); {
	case !s.configured && len(s.domains) > 0:
		findings = append(findings, fine("Postfix takes mail for %s: coexistd will refuse what comes from the Internet for those that its configuration lacks, so each needs a [domain] there", strings.Join(s.domains, ", ")))
	case s.configured && len(foreign) > 0:
		findings = append(findings, failure("Postfix takes mail for %s, which %s lacks: coexistd will refuse it when it comes from the Internet", some(foreign), s.conf.Path).
			do("where this host has all their users, add for each: [domain.%q] with unlisted = \"here\"", foreign[0]))
	case s.configured:
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

// ownName looks at the host's name: as a domain that people write to, and as the domain of users.
func (s *survey) ownName(ctx context.Context) (findings []Finding) {
	name := strings.ToLower(s.mta.Main["myhostname"])
	if slices.Contains(s.domains, name) {
		if len(s.strict([]string{name})) == 0 {
			return nil // Whom the directory lacks is this host's own.
		}
		return []Finding{warning("myhostname is %s, which is the domain of users as well: mail of this host itself (root, cron) and names without a domain will count as theirs, and be refused where the directory lacks them", name).
			do("give the host a name of its own, such as myhostname = mail.%s, and write %s where main.cf has meant it by $myhostname (mydestination, myorigin)", name, name)}
	}
	local, err := s.takes(ctx, "mydestination", []string{name})
	if err != nil {
		findings = append(findings, warning("what mydestination has cannot be read: %v", err).do("see that %s can read it", account.OwnName()))
	}
	if len(local) > 0 {
		findings = append(findings, warning("Postfix takes mail for the host's own name, %s (mydestination): coexistd will refuse it when it comes from the Internet", name).
			do("where people outside write to addresses there, add: [domain.%q] with unlisted = \"here\"; otherwise take it out of mydestination", name))
	}
	return findings
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
		case s.mta.Main[class.Recipients] != "":
			findings = append(findings, fine("%s (%s) says who exists in %s: coexistd setup postfix adds the map recipients behind it, for users who live elsewhere%s", class.Recipients, s.mta.Raw[class.Recipients], some(domains), s.refuses(strict)))
		case len(strict) == 0:
			findings = append(findings, fine("%s is empty: Postfix takes mail to anybody of %s, and coexistd lets it", class.Recipients, some(domains)))
		default:
			findings = append(findings, warning("%s is empty: Postfix takes mail to anybody of %s. coexistd will refuse whom the directory lacks", class.Recipients, some(strict)).
				do("list all their addresses in the directory, or set unlisted = \"here\" for each in the configuration"))
		}
	}
	return findings
}

// strict are those of some domains in which coexistd refuses whom the directory lacks.
func (s *survey) strict(domains []string) []string {
	return slices.DeleteFunc(slices.Clone(domains), func(domain string) bool {
		return s.configured && s.conf.Rules.Routes.Domains[domain].Unlisted.Kind != route.Nowhere
	})
}

// refuses says what is to be decided about domains in which coexistd refuses whom the directory lacks.
func (s *survey) refuses(strict []string) string {
	if s.configured || len(strict) == 0 {
		return ""
	}
	return `. coexistd will refuse whom the directory lacks; with unlisted = "here" in the domain's section it leaves them to the MTA, and the directory needs those alone who live elsewhere`
}
