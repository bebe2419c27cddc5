package doctor

import (
	"context"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/setup"
)

// soonOver is how long before a certificate ends that is told.
const soonOver = 30 * 24 * time.Hour

// shown is a certificate that the MTA shows.
type shown struct {
	to      string // "those who send to it"
	setting string // by which the MTA knows it
	path    string
	read    *x509.Certificate
	chain   []*x509.Certificate // which begins with read
}

// names says for which names a certificate is. Clients go by no other: a common name, as the certificate has that
// Debian makes for Sendmail, counts no more (RFC 9525 section 2).
func (s *shown) names() string {
	if len(s.read.DNSNames) == 0 {
		return "without a name in its subjectAltName"
	}
	return "for " + strings.Join(s.read.DNSNames, ", ")
}

// mtaName is what the MTA is called where its guide is asked for.
func (x *examination) mtaName() string {
	if x.mta.err == nil {
		return "postfix"
	}
	return "sendmail"
}

// showing is what to set so that the MTA shows a certificate to those who send to it.
func (x *examination) showing() string {
	if x.mta.err == nil {
		return "postconf -e 'smtpd_tls_chain_files = KEYFILE, CERTFILE' 'smtpd_tls_security_level = may'"
	}
	return "put into sendmail.mc: define(`confSERVER_CERT', `CERTFILE')dnl and define(`confSERVER_KEY', `KEYFILE')dnl" + remade
}

// lookAtCertificates looks at what the MTA shows to those who send to it, and to those to whom it
// sends: Office 365 tells by the latter which connector's mail it is.
func lookAtCertificates(_ context.Context, x *examination) []Finding {
	server, client, known := x.certificates()
	if !known {
		return nil // which is told of the MTA
	}
	site := &setup.Site{Conf: x.conf}
	var findings []Finding
	for _, one := range []*shown{&server, &client} {
		if one.path == "" {
			continue
		}
		var err error
		if one.chain, err = setup.Chain(one.path); err != nil {
			findings = append(findings, warning("the certificate that the MTA shows to %s (%s) cannot be told: %v", one.to, one.setting, err).do("see that it is there, in PEM, and that %s can read it", account.OwnName()))
			continue
		}
		one.read = one.chain[0]
		if one != &client || one.path != server.path {
			findings = append(findings, x.judgeTime(one))
		}
	}
	if len(x.conf.Rules.Routes.Platforms) == 0 {
		return findings
	}
	return append(findings, append(x.judgeServer(&server), x.judgeClient(site, &client)...)...)
}

// certificates are those of the MTA; known is false where its settings are not.
func (x *examination) certificates() (server, client shown, known bool) {
	server.to, client.to = "those who send to it", "those to whom it sends"
	switch {
	case x.mta.err == nil:
		first := func(one *shown, settings ...string) {
			for _, name := range settings {
				if list := postconf.List(x.mta.Main[name]); one.path == "" && len(list) > 0 && list[0] != "none" {
					one.path, one.setting = list[0], name
				}
			}
		}
		first(&server, "smtpd_tls_chain_files", "smtpd_tls_cert_file")
		first(&client, "smtp_tls_chain_files", "smtp_tls_cert_file")
	case x.sendmail.err == nil:
		server.setting, client.setting = "ServerCertFile", "ClientCertFile"
		server.path, client.path = x.sendmail.Option(server.setting, ""), x.sendmail.Option(client.setting, "")
	default:
		return server, client, false
	}
	return server, client, true
}

// judgeTime tells how long a certificate holds.
func (x *examination) judgeTime(one *shown) Finding {
	names := one.names()
	end := one.read.NotAfter
	const remedy = "renew it, and have the MTA read it: systemctl reload postfix (or restart sendmail)"
	switch left := end.Sub(x.now); {
	case left <= 0:
		return failure("the certificate that the MTA shows to %s, %s (%s), has been over since %s: who demands TLS delivers nothing, and connectors do not know this host", one.to, one.path, names, end.Format(time.DateOnly)).do(remedy)
	case left <= soonOver:
		return warning("the certificate that the MTA shows to %s, %s (%s), ends in %d days, on %s", one.to, one.path, names, left/(24*time.Hour), end.Format(time.DateOnly)).do(remedy)
	}
	return fine("the certificate that the MTA shows to %s, %s (%s), holds until %s", one.to, one.path, names, end.Format(time.DateOnly))
}

// judgeServer looks at what platforms may demand of this host: its name, and an authority that all know.
func (x *examination) judgeServer(server *shown) []Finding {
	host := x.conf.Rules.Hostname
	switch {
	case server.path == "":
		return []Finding{warning("the MTA shows no certificate to those who send to it: a platform's connector or route that demands TLS delivers nothing here").
			do("get one for %s from an authority that all know, and have the MTA show it: %s. Then run: coexistd setup %s", host, x.showing(), x.mtaName())}
	case server.read != nil && !setup.IsCertified(server.read.DNSNames, host):
		return []Finding{warning("the certificate that the MTA shows to those who send to it is not for %s (hostname) but %s: a connector or route that demands that name delivers nothing here", host, server.names()).
			do("get one that has the name; or have the platforms' settings name one that it has (coexistd setup office365, coexistd setup google)")}
	case server.read == nil || x.now.After(server.read.NotAfter):
		return nil // which is told already
	}
	if err := setup.Distrust(server.chain, host, x.now); err != nil {
		return []Finding{warning("of the certificate that the MTA shows to those who send to it, %s, is to be said: %v. A connector or route that demands one of a public authority delivers nothing here", server.path, err).
			do("get one for %s from an authority that all know; until then have platforms demand TLS alone ($Tls = 'encrypted' in coexistd setup office365; coexistd setup google says it)", host)}
	}
	return nil
}

// judgeClient looks at the name by which Office 365 finds the connector of our mail. It must be, or
// be below, a domain that the tenant has accepted.
func (x *examination) judgeClient(site *setup.Site, client *shown) []Finding {
	pairs := site.Pairs(setup.Office365)
	if len(pairs) == 0 {
		return nil
	}
	accepted := make(map[string]bool)
	for _, pair := range pairs {
		accepted[pair.Domain.Name] = true
		if pair.Alternate != "" {
			accepted[pair.Alternate] = true
		}
	}
	isAccepted := func(name string) bool {
		name = strings.TrimPrefix(strings.ToLower(name), "*.")
		for domain := range accepted {
			if name == domain || strings.HasSuffix(name, "."+domain) {
				return true
			}
		}
		return false
	}
	const connectors = "Office 365 looks for the connector of our mail by the certificate first"
	switch {
	case client.path == "":
		return []Finding{warning("the MTA shows no certificate to those to whom it sends: %s, and by the address only where nobody else sends from it", connectors).
			do("when it shows one in the name of a domain of yours to those who send to it, run: coexistd setup %s, which has it shown here, too", x.mtaName())}
	case client.read != nil && !slices.ContainsFunc(client.read.DNSNames, isAccepted):
		return []Finding{warning("the certificate that the MTA shows to those to whom it sends, %s, is %s, and %s: its name must be in one of the tenant's accepted domains", client.path, client.names(), connectors).
			do("get one with a name in one of %s, set it in the MTA, and run: coexistd setup office365", some(slices.Sorted(maps.Keys(accepted))))}
	}
	return nil
}

// lookAtSmartHost looks for mail that leaves through Office 365 by a login with a password, which it
// gives up (SMTP AUTH with basic authentication).
func lookAtSmartHost(setting, host string, mayLogIn bool) []Finding {
	host = strings.ToLower(host)
	if !mayLogIn || !strings.Contains(host, "smtp.office365.com") && !strings.Contains(host, "smtp-legacy.office365.com") && !strings.Contains(host, ".outlook.com") && !strings.Contains(host, ".mx.microsoft") {
		return nil
	}
	return []Finding{warning("%s is %s, where the MTA logs in with a password: Office 365 ends that (SMTP AUTH, by the end of 2026), and with it mail to the Internet", setting, host).
		do("have Office 365 know this host by a connector: coexistd setup office365, with outbound = \"office365\"; then send to the host that coexistd setup postfix says, without a password")}
}

// smartHost is where Postfix sends all mail for others, if it logs in there.
func (p *postfix) smartHost() []Finding {
	return lookAtSmartHost("relayhost", p.Main["relayhost"], p.Main["smtp_sasl_auth_enable"] == "yes")
}

// smartHost is where Sendmail sends all mail for others. It logs in wherever it is asked to and has
// a password for (AuthInfo).
func (s *sendmail) smartHost() []Finding {
	_, mayLogIn := s.Maps["authinfo"]
	rows, _ := s.Table("access") // what cannot be read is told elsewhere
	for key := range rows {
		mayLogIn = mayLogIn || strings.HasPrefix(key, "authinfo:")
	}
	return lookAtSmartHost("SMART_HOST", s.Macros["S"], mayLogIn || s.Option("DefaultAuthInfo", "") != "")
}
