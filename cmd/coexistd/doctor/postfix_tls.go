package doctor

import (
	"slices"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy"
)

// lookAtDemands sees whether what [[tls]] demands can be met, and is asked for.
func lookAtDemands(x *examination) (findings []Finding) {
	if x.conf.Rules.DemandsOfServers() {
		findings = x.judgeDemands()
	}
	some, verified := x.conf.Rules.DemandsTLS()
	if !some {
		return findings
	}
	for _, s := range x.mta.Running("smtpd") {
		switch level := x.mta.Value(s, "smtpd_tls_security_level"); {
		case level == "" || level == "none":
			findings = append(findings, warning("smtpd (%s) offers no TLS: whom a [[tls]] demands it of is refused there", s.Name).
				do("give Postfix a certificate (smtpd_tls_chain_files), put into main.cf: smtpd_tls_security_level = may; then run: postfix reload"))
		case verified && x.mta.Value(s, "smtpd_tls_ask_ccert") != "yes" && x.mta.Value(s, "smtpd_tls_req_ccert") != "yes":
			findings = append(findings, warning("smtpd (%s) asks clients for no certificate: whom a [[tls]] demands one of is refused there", s.Name).
				do("put into main.cf: smtpd_tls_ask_ccert = yes, and the issuers that you trust: smtpd_tls_CAfile; then run: postfix reload"))
		}
	}
	return findings
}

// judgeDemands sees whether Postfix demands of servers what out says, and can tell who meets it.
func (x *examination) judgeDemands() []Finding {
	const unmet = "mail goes to servers whatever out of [[tls]] demands of them"
	if len(x.conf.Lookups) == 0 {
		return []Finding{failure("there is no [[lookup]], of which Postfix asks what is demanded of servers: %s", unmet).
			do("add to %s: [[lookup]] with address = \"inet:127.0.0.1:8702\"; then run: systemctl restart coexistd, and: coexistd setup postfix", x.conf.Path)}
	}
	findings := []Finding{x.judgeAsked(asked{"tls", "smtp_tls_policy_maps", unmet})}
	demanded := func(levels ...policy.Encryption) bool {
		return slices.ContainsFunc(x.conf.Rules.TLS, func(one policy.TLS) bool { return slices.Contains(levels, one.Out) })
	}
	smtp := x.mta.Running("smtp")
	if demanded(policy.Verify, policy.Secure) {
		findings = append(findings, together("smtp", smtp, serviceName, func(s *postconf.Service) (Finding, bool) {
			trusts := x.mta.Value(s, "smtp_tls_CAfile") != "" || x.mta.Value(s, "smtp_tls_CApath") != "" || x.mta.Value(s, "tls_append_default_CA") == "yes"
			return failure("trusts no authority: mail for servers whose certificate a [[tls]] has verified stays in the queue").
				do("%s", put(s, "smtp_tls_CApath", "/etc/ssl/certs")), !trusts
		})...)
	}
	if demanded(policy.DANE, policy.DANEOnly) {
		findings = append(findings, together("smtp", smtp, serviceName, func(s *postconf.Service) (Finding, bool) {
			return failure("asks the DNS without DNSSEC, so that it cannot do as a [[tls]] with dane demands").
				do("see that the servers of /etc/resolv.conf validate DNSSEC; %s", put(s, "smtp_dns_support_level", "dnssec")), x.mta.Value(s, "smtp_dns_support_level") != "dnssec"
		})...)
	}
	return findings
}
