package setup

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/policy"
)

// demand is a line of the access map: what is demanded of the server that takes mail for a domain and
// those below it (cf/README, STARTTLS: TLS_Rcpt).
type demand struct{ key, value string }

// demands are what [[tls]] demands of servers, as far as Sendmail can; the first for a domain counts.
func (g *sendmailSide) demands() (all []demand) {
	taken := make(map[string]bool)
	for i := range g.Conf.Rules.TLS {
		rule := &g.Conf.Rules.TLS[i]
		value, _ := demandOf(rule)
		if value == "" {
			continue
		}
		domains := slices.Clone(rule.Domains)
		for _, alternate := range g.Conf.Rules.Routes.Alternates() {
			if rule.Platform != "" && g.Conf.Rules.Routes.LeadsTo(alternate, rule.Platform) {
				domains = append(domains, alternate)
			}
		}
		for _, domain := range domains {
			key := "TLS_Rcpt:" + strings.TrimPrefix(domain, ".")
			if !taken[key] {
				all = append(all, demand{key, value})
			}
			taken[key] = true
		}
	}
	return all
}

// demandOf is what the access map has for a demand on servers, or "", and why it is less than what is
// demanded, or "".
func demandOf(rule *policy.TLS) (value, lacks string) {
	switch rule.Out {
	case "":
		return "", ""
	case policy.Encrypt:
		return "ENCR:112", ""
	case policy.DANE, policy.DANEOnly:
		return "", "what " + rule.Out.String() + " demands, Sendmail can demand of all servers alone: confDANE"
	}
	switch {
	case len(rule.Names) == 0:
		return "VERIFY:112", "Sendmail compares no name with the certificate"
	case len(rule.Names) > 1 || strings.HasPrefix(rule.Names[0], "."):
		return "VERIFY:112", "Sendmail compares one whole name with the certificate, and there are others"
	}
	return "VERIFY:112+CN:" + rule.Names[0], ""
}

// undemanded says what Sendmail cannot demand.
func (g *sendmailSide) undemanded() (text string) {
	for i := range g.Conf.Rules.TLS {
		if _, lacks := demandOf(&g.Conf.Rules.TLS[i]); lacks != "" {
			text += fmt.Sprintf(" Of %q: %s.", g.Conf.Rules.TLS[i].Name, lacks)
		}
	}
	return text
}

// hasDemands reports that the access map has what is demanded.
func (g *sendmailSide) hasDemands(access map[string]string) bool {
	return !slices.ContainsFunc(g.demands(), func(one demand) bool { return !strings.EqualFold(access[strings.ToLower(one.key)], one.value) })
}

// printDemands writes them, within a script.
func (g *sendmailSide) printDemands() (text string) {
	for _, one := range g.demands() {
		text += "\tprintf '%s\\n' " + quote(one.key+"\t"+one.value) + "\n"
	}
	return text
}
