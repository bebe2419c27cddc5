package sendmailcf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy"
)

// Demand is a line of the access map: what is demanded of the server that takes mail for a domain and
// those below it (cf/README, STARTTLS: TLS_Rcpt).
type Demand struct{ Key, Value string }

// IsIn reports that an access map has it.
func (d Demand) IsIn(access map[string]string) bool {
	return strings.EqualFold(access[strings.ToLower(d.Key)], d.Value)
}

// Demands are what [[tls]] demands of servers, as far as Sendmail can. For a domain the first counts that
// names it, and where none does, the first that names those below it.
func Demands(rules *policy.Rules) (all []Demand) {
	add := func(domain, value string) {
		key := "TLS_Rcpt:" + domain
		if !slices.ContainsFunc(all, func(one Demand) bool { return one.Key == key }) {
			all = append(all, Demand{key, value})
		}
	}
	for _, below := range [...]bool{false, true} {
		for i := range rules.TLS {
			value, _ := demandOf(&rules.TLS[i])
			if value == "" {
				continue
			}
			for _, domain := range domainsOf(rules, &rules.TLS[i]) {
				if parent, isBelow := strings.CutPrefix(domain, "."); isBelow == below {
					add(parent, value)
				}
			}
		}
	}
	return all
}

// domainsOf are the domains for whose servers a demand is.
func domainsOf(rules *policy.Rules, demand *policy.TLS) []string {
	domains := slices.Clone(demand.Domains)
	for _, alternate := range rules.Routes.Alternates() {
		if demand.Platform != "" && rules.Routes.LeadsTo(alternate, demand.Platform) {
			domains = append(domains, alternate)
		}
	}
	return domains
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

// Undemanded says what of [[tls]] Sendmail cannot demand of servers, a sentence each.
func Undemanded(rules *policy.Rules) (all []string) {
	demands := Demands(rules)
	for i := range rules.TLS {
		rule := &rules.TLS[i]
		value, lacks := demandOf(rule)
		platform := rules.Routes.Platform(rule.Platform)
		switch {
		case value == "":
		case platform != nil && platform.ByRelay:
			lacks = cmp.Or(lacks, "Sendmail demands nothing of "+platform.Relay+", as mail for users there keeps its domain")
		case slices.ContainsFunc(rule.Domains, func(domain string) bool {
			parent, isBelow := strings.CutPrefix(domain, ".")
			return isBelow && !slices.Contains(demands, Demand{"TLS_Rcpt:" + parent, value})
		}):
			lacks = cmp.Or(lacks, "Sendmail demands the same of a domain and of those below it, and another [[tls]] names that one")
		}
		if lacks != "" {
			all = append(all, fmt.Sprintf("Of %q: %s.", rule.Name, lacks))
		}
	}
	return all
}
