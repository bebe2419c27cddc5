package doctor

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// lookAtSendmailLogins sees whether users can log in at the listeners whose mail we take for theirs alone.
func lookAtSendmailLogins(x *examination) []Finding {
	return together("daemon", x.sendmail.Listening(), func(d sendmailcf.Daemon) string { return d.Name }, func(d sendmailcf.Daemon) (Finding, bool) {
		us := x.filtersOfOurs(d)
		if len(us) != 1 || !us[0].IsForUsers(x.conf.Listeners) || d.IsPublic() {
			return Finding{}, false
		}
		return x.sendmail.judgeLogins(d)
	})
}

// judgeLogins says why nobody can log in at a listener, or send mail to other domains after that.
func (s *sendmail) judgeLogins(d sendmailcf.Daemon) (f Finding, bad bool) {
	offered := strings.Fields(strings.ToUpper(s.Option("AuthMechanisms", "")))
	isPlain := func(mechanism string) bool { return mechanism == "PLAIN" || mechanism == "LOGIN" }
	var untrusted []string
	for _, mechanism := range offered {
		if !s.Class("TrustAuthMech").Has(strings.ToLower(mechanism)) {
			untrusted = append(untrusted, mechanism)
		}
	}
	switch {
	case strings.Contains(d.Modifiers, "A"):
		return failure("offers no login (M=A), so that all of its mail gets 530").do("take A out of M= in the DAEMON_OPTIONS of %s in sendmail.mc%s", d.Name, remade), true
	case !slices.ContainsFunc(offered, isPlain):
		return warning("offers neither PLAIN nor LOGIN (AuthMechanisms), by which mail programs log in: who cannot do otherwise gets 530").
			inMC("TRUST_AUTH_MECH(`PLAIN LOGIN')dnl and define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl"), true
	case len(untrusted) > 0:
		return failure("lets users log in by %s, after which their mail for other domains is refused, relaying denied: the class {TrustAuthMech} lacks that", strings.Join(untrusted, ", ")).
			inMC("TRUST_AUTH_MECH(`%s')dnl", strings.Join(offered, " ")), true
	case !slices.ContainsFunc(offered, func(mechanism string) bool { return !isPlain(mechanism) }) && strings.Contains(s.Option("AuthOptions", ""), "p") && s.Option("ServerCertFile", "") == "":
		return failure("offers no login, as AuthOptions has p, which wants TLS first, and there is no certificate (ServerCertFile): all of its mail gets 530").
			inMC("include(`/etc/mail/tls/starttls.m4')dnl (Debian), or the defines of confSERVER_CERT and confSERVER_KEY"), true
	}
	return f, false
}
