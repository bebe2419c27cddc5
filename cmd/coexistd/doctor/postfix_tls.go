package doctor

// lookAtDemands sees whether what [[tls]] demands can be met, and is asked for.
func lookAtDemands(x *examination) (findings []Finding) {
	if x.conf.Rules.DemandsOfServers() && len(x.conf.Lookups) > 0 {
		findings = append(findings, x.judgeAsked(asked{"tls", "smtp_tls_policy_maps", "mail goes to servers whatever out of [[tls]] demands of them"}))
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
