package doctor

import (
	"slices"

	"coexistd/cmd/coexistd/sendmailcf"
)

// lookAtDaemons looks for listeners that Sendmail cannot open side by side.
func lookAtDaemons(s *sendmail) (findings []Finding) {
	daemons := s.Listening()
	for i, one := range daemons {
		for _, other := range daemons[:i] {
			if one.Meets(other) && !one.MayLack() && !other.MayLack() {
				findings = append(findings, failure("the daemons %s and %s listen at one port, %d, of the same address: Sendmail cannot open it twice, and ends within a minute", other.Name, one.Name, sendmailcf.PortNumber(one.Port)).
					do("take the DAEMON_OPTIONS of one of them out of sendmail.mc (Debian's own are MTA-v4 and MSP-v4)%s", remade))
			}
		}
	}
	return findings[:min(len(findings), mostNamed)]
}

// lookAtReach looks for listeners that other hosts do not reach, as Debian's.
func lookAtReach(x *examination) (findings []Finding) {
	isForUsers := func(d sendmailcf.Daemon) bool {
		us := x.filtersOfOurs(d)
		return d.IsSubmission() && len(us) > 0 && us[0].IsForUsers(x.conf.Listeners)
	}
	for _, kind := range [...]struct {
		has   func(d sendmailcf.Daemon) bool
		comes string
	}{{sendmailcf.Daemon.IsPublic, "mail from other hosts"}, {isForUsers, "mail from users elsewhere"}} {
		all := slices.DeleteFunc(slices.Clone(x.sendmail.Listening()), func(d sendmailcf.Daemon) bool { return !kind.has(d) })
		if slices.ContainsFunc(all, func(d sendmailcf.Daemon) bool { return !d.IsLoopback() }) {
			continue
		}
		for _, d := range all {
			findings = append(findings, warning("daemon (%s) listens on an address of this host's own alone, and no other takes %s", d.Name, kind.comes).
				do("take Addr= out of the DAEMON_OPTIONS of %s in sendmail.mc%s", d.Name, remade))
		}
	}
	return findings[:min(len(findings), mostNamed)]
}
