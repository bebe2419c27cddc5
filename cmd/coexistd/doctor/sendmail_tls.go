package doctor

import (
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// lookAtSendmailDemands sees whether Sendmail demands of servers what out of [[tls]] says, and whether its
// clients can meet what in says.
func lookAtSendmailDemands(x *examination) (findings []Finding) {
	s := x.sendmail
	if access, err := s.Table("access"); err == nil { // of one that cannot be read is told where domains of ours lack
		var lacks []string
		for _, one := range sendmailcf.Demands(x.conf.Rules) {
			if !one.IsIn(access) {
				lacks = append(lacks, one.Key+" "+one.Value)
			}
		}
		if len(lacks) > 0 {
			findings = append(findings, failure("the access map lacks what out of [[tls]] demands of servers, so that mail goes to them whatever they show: %s", some(lacks)).
				do("run the step of coexistd setup sendmail that writes these lines"))
		}
	}
	if undemanded := sendmailcf.Undemanded(x.conf.Rules); len(undemanded) > 0 {
		findings = append(findings, warning("Sendmail demands less of servers than [[tls]] says. %s", strings.TrimSuffix(strings.Join(undemanded, " "), ".")).
			do("bear with it, or have that mail leave by a Postfix"))
	}
	demanded, verified := x.conf.Rules.DemandsTLS()
	switch {
	case demanded && s.Option("ServerCertFile", "") == "":
		findings = append(findings, warning("Sendmail offers no TLS: whom a [[tls]] demands it of is refused").do("%s", x.showing()))
	case verified && strings.Contains(s.Option("TLSSrvOptions", ""), "V"):
		findings = append(findings, warning("Sendmail asks clients for no certificate: whom a [[tls]] demands one of is refused").
			inMC("confTLS_SRV_OPTIONS without V"))
	}
	return findings
}
